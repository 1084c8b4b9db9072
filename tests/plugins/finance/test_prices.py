"""Prices: what is read and refused, volatility as MAEC labels it, events that no later price can change."""

from __future__ import annotations

import csv
import datetime
import gzip
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.errors import DataError, UnknownNameError
from triptych_finance.volatility.prices import COLUMNS, HORIZONS, Prices

HEADER = ",".join(COLUMNS)
FIRST = datetime.date(2024, 1, 1)


def row(day: int, close: float = 10.0, symbol: str = "TVNA", **changes: object) -> str:
    values = {"open": close, "high": close * 1.02, "low": close * 0.98, "close": close, "adj_close": close, "volume": 5}
    values |= changes
    return ",".join([symbol, str(FIRST + datetime.timedelta(days=day)), *(str(values[name]) for name in COLUMNS[2:])])


def written(folder: Path, *rows: str, name: str = "prices.csv") -> Path:
    path = folder / name
    path.write_text("\n".join([HEADER, *rows]) + "\n")
    return path


def walk(closes: np.ndarray, folder: Path) -> Prices:
    return Prices.read(written(folder, *(row(day, float(close)) for day, close in enumerate(closes))))


def day(number: int) -> datetime.date:
    return FIRST + datetime.timedelta(days=number)


def test_volatility_and_changes_are_those_of_the_published_labels(shared_data: Path):
    prices = Prices.read(shared_data / "finance/stocknet/prices.csv.gz")
    checked = 0
    with (shared_data / "finance/maec/calls.csv").open(encoding="utf-8") as file:
        for call in csv.DictReader(file):
            symbol, when = call["symbol"], datetime.date.fromisoformat(call["date"])
            for days in HORIZONS:
                assert prices.past_volatility(symbol, when, days) == pytest.approx(
                    float(call[f"past_vol_{days}"]), abs=1e-3
                )
                if call[f"vol_{days}"]:
                    assert prices.realised_volatility(symbol, when, days) == pytest.approx(
                        float(call[f"vol_{days}"]), abs=1e-3
                    )
                    assert prices.change(symbol, when, days) == pytest.approx(float(call[f"ret_{days}"]), abs=1e-5)
                    checked += 1
    assert checked == 400


def test_csv_gzip_and_parquet_in_any_order_of_rows_give_the_same(tmp_path: Path):
    rows = [row(d, 10 + d, symbol) for d in range(5) for symbol in ("TVNA", "ORBX")]
    plain = Prices.read(written(tmp_path, *rows))
    zipped = tmp_path / "zipped.csv.gz"
    zipped.write_bytes(gzip.compress(written(tmp_path, *reversed(rows), name="other.csv").read_bytes()))
    cells = [dict(zip(COLUMNS, line.split(","), strict=True)) for line in rows]
    typed = [
        {k: v if k == "symbol" else datetime.date.fromisoformat(v) if k == "date" else float(v) for k, v in c.items()}
        for c in cells
    ]
    pq.write_table(pa.Table.from_pylist(typed), tmp_path / "prices.parquet")
    for other in (Prices.read(zipped), Prices.read(tmp_path / "prices.parquet")):
        assert other.symbols == plain.symbols == ["ORBX", "TVNA"]
        for symbol in plain.symbols:
            assert (other.history(symbol).dates == plain.history(symbol).dates).all()
            assert (other.history(symbol).close == plain.history(symbol).close).all()
            assert np.array_equal(other.returns(symbol), plain.returns(symbol), equal_nan=True)


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([row(0), row(1, close=-3)], "prices.csv, row 2: TVNA: open must be positive, got -3"),
        ([row(0), row(1, volume=-1)], "prices.csv, row 2: TVNA: volume must be 0 or more, got -1"),
        ([row(0), row(1, adj_close=0)], "prices.csv, row 2: TVNA: adj_close must be positive, got 0"),
        ([row(0, high="inf")], "prices.csv, row 1: TVNA: high must be finite, got inf"),
        ([row(0), row(1, high=9, low=9.5)], "prices.csv, row 2: TVNA: high 9 is lower than low 9.5"),
        ([row(0), row(1), row(0)], "prices.csv, row 3: TVNA has 2024-01-01 twice; row 1 has it already"),
        ([row(0, open="ten")], "prices.csv, row 1: TVNA: open is not a number: 'ten'"),
        ([row(0, low="")], "prices.csv, row 1: TVNA: low empty, others are not"),
        ([row(0).replace("2024-01-01", "01/02/2024")], "row 1: TVNA: the date '01/02/2024' is not a date"),
        ([row(0, symbol=" ")], "prices.csv, row 1: the symbol is empty"),
        ([row(0), "TVNA,2024-01-02"], "prices.csv, row 2: the row has 2 cells"),
        ([], "prices.csv: the file has a header but no rows"),
        (["TVNA,2024-01-02,,,,,,"], "prices.csv: the file holds no prices"),
    ],
)
def test_a_row_that_cannot_be_right_is_named(tmp_path: Path, rows: list[str], problem: str):
    with pytest.raises(DataError) as caught:
        Prices.read(written(tmp_path, *rows))
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("prices.csv", "", "prices.csv: the file is empty"),
        ("prices.csv", "symbol,date,close\nA,2024-01-01,3\n", "lacks open, high, low, adj_close, volume"),
        ("prices.txt", "hello", "prices are a .csv, .csv.gz or .parquet file"),
        ("prices.jsonl", "{}", "prices are a .csv, .csv.gz or .parquet file"),
    ],
)
def test_a_file_that_holds_no_prices_is_named(tmp_path: Path, name: str, content: str, problem: str):
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError) as caught:
        Prices.read(tmp_path / name)
    assert problem in str(caught.value)


def test_an_unknown_symbol_is_told_with_its_neighbour_and_the_file(tmp_path: Path):
    prices = Prices.read(written(tmp_path, row(0), row(1)))
    assert "TVNA" in prices
    assert "TVN" not in prices
    with pytest.raises(UnknownNameError, match=r"prices\.csv is called 'TVN'\. Did you mean 'TVNA'\?"):
        prices.returns("TVN")


def test_a_day_without_numbers_is_passed_over_and_listed(tmp_path: Path):
    prices = Prices.read(written(tmp_path, row(0, 10), "TVNA,2024-01-02,,,,,,", row(2, 11)))
    assert len(prices.history("TVNA")) == 2
    assert prices.returns("TVNA")[1] == pytest.approx(0.1)
    assert [p.split("prices.csv, ")[1] for p in prices.problems] == [
        "row 2: TVNA has no prices on 2024-01-02; the day is passed over"
    ]


def test_no_return_is_taken_over_a_gap_and_a_volatility_across_it_is_refused(tmp_path: Path):
    days = [*range(5), *range(30, 36)]
    prices = Prices.read(written(tmp_path, *(row(d, 10 + d % 3) for d in days)))
    assert len(prices.problems) == 1
    assert "row 6: TVNA has no prices between 2024-01-05 and 2024-01-31" in prices.problems[0]
    assert np.flatnonzero(np.isnan(prices.returns("TVNA"))).tolist() == [0, 5]
    message = r"prices\.csv, row 6: TVNA has no prices between 2024-01-05 and 2024-01-31; add them"
    with pytest.raises(DataError, match=message):
        prices.realised_volatility("TVNA", day(2), 4)
    with pytest.raises(DataError, match=message):
        prices.past_volatility("TVNA", day(31), 3)
    with pytest.raises(DataError, match=message):
        prices.change("TVNA", day(4), 1)
    assert math.isfinite(prices.past_volatility("TVNA", day(33), 3))
    with pytest.raises(DataError, match=r"row 5: TVNA has a gap from 2024-01-05, too long before 2024-01-25"):
        prices.position("TVNA", day(24))


def test_dates_outside_the_file_are_refused_with_the_row_where_it_ends(tmp_path: Path):
    prices = Prices.read(written(tmp_path, *(row(d, 10 + d % 3) for d in range(8))))
    with pytest.raises(DataError, match=r"row 8: TVNA ends on 2024-01-08, too long before 2024-03-01"):
        prices.past_volatility("TVNA", datetime.date(2024, 3, 1), 3)
    with pytest.raises(DataError, match=r"row 8: TVNA ends on 2024-01-08; 2 more days after 2024-01-07 are needed"):
        prices.realised_volatility("TVNA", day(6), 3)
    with pytest.raises(DataError, match=r"row 1: TVNA has no price on or before 2023-12-31"):
        prices.past_volatility("TVNA", day(-1), 3)
    with pytest.raises(DataError, match=r"row 1: TVNA has only 3 closes up to 2024-01-03, 4 are needed"):
        prices.past_volatility("TVNA", day(2), 3)


def test_a_time_of_day_sees_no_close_of_that_day(tmp_path: Path):
    prices = walk(10.0 + np.arange(10), tmp_path)
    noon = datetime.datetime(2024, 1, 4, 12, tzinfo=datetime.UTC)
    assert prices.position("TVNA", day(3)) == 3
    assert prices.position("TVNA", noon) == 2
    east = noon.astimezone(datetime.timezone(datetime.timedelta(hours=13)))  # already the 5th there
    assert prices.position("TVNA", east) == 2


def test_a_price_that_stands_still_has_a_finite_volatility(tmp_path: Path):
    assert walk(np.full(10, 7.0), tmp_path).realised_volatility("TVNA", day(2), 3) == pytest.approx(math.log(1e-4))


def test_adjusted_days_draw_a_split_without_a_cliff(tmp_path: Path):
    rows = [row(0, 20, adj_close=10), row(1, 20, adj_close=10), row(2, 10), row(3, 10)]
    window = Prices.read(written(tmp_path, *rows)).window("TVNA", day(3), 3)
    assert window.close.tolist() == [10, 10, 10]
    assert window.high == pytest.approx([10.2] * 3)
    assert window.rows.tolist() == [2, 3, 4]


def test_the_day_of_a_jump_is_an_event_and_quiet_days_are_few(tmp_path: Path):
    returns = np.random.default_rng(0).normal(0, 0.01, 300)
    returns[200] = -0.2
    prices = walk(10 * np.cumprod(1 + returns), tmp_path)
    events = prices.volatility_events("TVNA", window=60, z=5)
    assert day(200) in events
    assert len(events) < 6
    ahead = prices.volatility_events("TVNA", window=60, z=3, ahead=3)
    assert {day(197), day(198), day(199)} <= set(ahead)
    assert day(200) not in ahead


def test_short_histories_have_no_events_and_impossible_settings_are_refused(tmp_path: Path):
    prices = walk(10.0 + np.arange(10), tmp_path)
    assert prices.volatility_events("TVNA", window=60) == []
    for wrong in ({"ahead": 1}, {"ahead": -1}, {"window": 1}):
        with pytest.raises(ValueError, match="window >= 2"):
            prices.volatility_events("TVNA", **wrong)
    with pytest.raises(ValueError, match="two days or more"):
        prices.realised_volatility("TVNA", day(2), 1)


@settings(max_examples=25, deadline=None)
@given(
    cut=st.integers(30, 110),
    ahead=st.sampled_from([0, 2, 3]),
    seeds=st.tuples(st.integers(0, 999), st.integers(0, 999)),
)
def test_prices_after_a_day_change_no_event_up_to_it(
    tmp_path_factory: pytest.TempPathFactory, cut: int, ahead: int, seeds: tuple[int, int]
):
    one, two = (np.random.default_rng(seed).standard_t(2, 120) * 0.01 for seed in seeds)
    two[: cut + 1] = one[: cut + 1]
    folder = tmp_path_factory.mktemp("prices")
    found = [
        walk(10 * np.exp(np.cumsum(returns)), folder).volatility_events("TVNA", window=20, z=2, ahead=ahead)
        for returns in (one, two)
    ]
    settled = day(cut - ahead)
    assert [d for d in found[0] if d <= settled] == [d for d in found[1] if d <= settled]
