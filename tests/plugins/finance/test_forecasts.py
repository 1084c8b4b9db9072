"""The risk head: who answers is measured, nothing sees the future, and a bundle answers with it or says why not."""

from __future__ import annotations

import datetime
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.plugins.finance.conftest import host
from triptych.config import load_config
from triptych.errors import BundleError, DataError
from triptych.pipeline import run
from triptych.predictor import Predictor, load
from triptych.types import Sample
from triptych_finance.language.entities import Company, Gazetteer
from triptych_finance.sample import sample_prices
from triptych_finance.volatility.forecasts import META, Case, RiskHead, find_cases, inputs, labels
from triptych_finance.volatility.prices import HORIZONS, History, Prices
from triptych_finance.volatility.rivals import EVERYTHING, MEAN, PERSISTENCE, RIDGE, WAYS, Ways, by_company, compare
from triptych_finance.volatility.settings import RiskSettings

FIRST = datetime.date(2024, 1, 1)
DAYS, CALM, WILD = 420, 0.008, 0.03
COMPANIES = [Company(symbol, f"{symbol} Works", "") for symbol in ("AAX", "BBX", "CCX", "DDX", "EEX", "FFX")]
GAZETTEER = Gazetteer(COMPANIES)
Fitted = tuple[RiskHead, dict, Prices, list[Case]]


def world(*, told: bool, seed: int = 0, companies: int = 6) -> tuple[Prices, list[Case]]:
    """Every 35 days an item; half of them go before 30 wild days, which the word says, or nothing does."""
    generator = np.random.default_rng(seed)
    histories, cases = {}, []
    for company in COMPANIES[:companies]:
        deviation = np.full(DAYS, CALM)
        for at in range(45 + 5 * len(histories), DAYS - 35, 35):
            wild = bool(generator.integers(2))
            deviation[at + 1 : at + 31] = WILD if wild else CALM
            word = ("storm" if wild else "calm") if told else str(generator.choice(["storm", "calm"]))
            when = datetime.datetime.combine(FIRST + datetime.timedelta(days=at + 1), datetime.time(9), datetime.UTC)
            cases.append(Case(company.symbol, when, Sample(f"{company.symbol}-{at}", text=f"{word} ahead")))
        close = 50 * np.cumprod(1 + generator.normal(0, deviation))
        histories[company.symbol] = history(company.symbol, close)
    return Prices(histories), sorted(cases, key=lambda case: (case.when, case.sample.id))


def history(symbol: str, close: np.ndarray) -> History:
    days = np.datetime64(FIRST) + np.arange(len(close))
    return History(
        symbol, days, close, close * 1.01, close * 0.99, close, close, np.full(len(close), 9.0), np.arange(len(close))
    )


def embed(samples: list[Sample]) -> np.ndarray:
    """Two dimensions tell the word, the others are noise of the id."""
    rows = []
    for sample in samples:
        noise = np.random.default_rng(sum(map(ord, sample.id))).normal(0, 1, 6)
        rows.append([2.0 * ("storm" in sample.text), 2.0 * ("calm" in sample.text), *noise])
    return np.array(rows, dtype=np.float32)


def fitted(*, told: bool, companies: int = 6) -> Fitted:
    prices, cases = world(told=told, companies=companies)
    head, measured = RiskHead.fit(cases, prices, embed, RiskSettings(), own_prices=True)
    return head, measured, prices, cases


@pytest.fixture(scope="module")
def telling() -> Fitted:
    """Of a world where the word tells what comes."""
    return fitted(told=True)


@pytest.fixture(scope="module")
def mute() -> Fitted:
    """Of a world where nothing but the past tells it."""
    return fitted(told=False)


def test_what_the_text_tells_beyond_the_past_is_heard(telling: Fitted):
    head, measured, prices, cases = telling
    assert EVERYTHING in head.answers
    row = next(row for row in measured["rows"] if row["answers"] == EVERYTHING)
    assert row[EVERYTHING] < row[RIDGE]
    assert measured["differences"][str(row["days"])][EVERYTHING]["high"] < 0
    assert f"{EVERYTHING} over {row['days']} days" in measured["verdict"]
    last = prices.history("AAX").day(-1)
    storm, calm = (head.foretell(prices, "AAX", last, Sample("x", text=word), embed) for word in ("storm", "calm"))
    column = head.answers.index(EVERYTHING)
    assert storm[column].value > calm[column].value
    assert storm[column].way == EVERYTHING
    assert len(cases) == measured["items"]


def test_words_that_tell_nothing_leave_the_answer_to_the_past_and_are_not_encoded(mute: Fitted):
    head, measured, prices, _ = mute
    assert EVERYTHING not in head.answers
    assert [row["answers"] for row in measured["rows"]] == list(head.answers)

    def never(samples: list[Sample]) -> np.ndarray:
        raise AssertionError("nothing rests on the text")

    found = head.foretell(prices, "BBX", prices.history("BBX").day(-1), Sample("x", text="storm"), never)
    assert [one.days for one in found] == list(HORIZONS)
    for one in found:
        assert one.low < one.value < one.high
        assert np.isfinite([one.low, one.high, one.past]).all()


def test_with_few_companies_nothing_is_called_better():
    head, measured, _, _ = fitted(told=True, companies=4)
    assert head.answers == (RIDGE,) * 4
    assert any(found[EVERYTHING]["high"] < 0 for found in measured["differences"].values())


def test_labels_that_were_not_known_at_the_cut_change_nothing():
    prices, cases = world(told=True)
    targets, known = labels(cases, prices)
    blocks = inputs(cases, prices, embed, ("text",))
    days = np.array([case.when.date() for case in cases], dtype="datetime64[D]")
    symbols = [case.symbol for case in cases]
    cut = days[int(0.8 * len(days))]
    later = (days < cut)[:, None] & ~(known < cut)
    assert later.any()
    other = np.where(later, targets + 5, targets)
    settings = RiskSettings()
    one, two = (compare(blocks, wanted, days, known, symbols, settings) for wanted in (targets, other))
    assert one.rows == two.rows
    assert compare(blocks, targets + 5 * (known < cut), days, known, symbols, settings).rows != one.rows


def test_no_later_price_changes_a_forecast(telling: Fitted):
    head, _, prices, _ = telling
    since = FIRST + datetime.timedelta(days=200)
    close = prices.history("AAX").close.copy()
    close[201:] *= np.linspace(1, 3, len(close) - 201)
    other = Prices({"AAX": history("AAX", close)})
    sample = Sample("x", text="storm")
    assert head.foretell(prices, "AAX", since, sample, embed) == head.foretell(other, "AAX", since, sample, embed)


def test_persistence_is_the_past_with_the_interval_that_it_earned():
    prices, cases = world(told=False)
    targets, _ = labels(cases, prices)
    blocks = {"past": inputs(cases, prices, embed, ())["past"]}
    ways = Ways.fit(blocks, targets, RiskSettings(level=0.8))
    said = ways.foretell(PERSISTENCE, blocks)
    assert np.array_equal(said.values, blocks["past"])
    assert ((said.low <= targets) & (targets <= said.high)).mean() == pytest.approx(0.8, abs=0.03)
    assert ways.foretell(MEAN, blocks).values == pytest.approx(np.tile(targets.mean(axis=0), (len(cases), 1)))


def test_a_saved_head_answers_the_same(telling: Fitted, tmp_path: Path):
    head, _, prices, _ = telling
    head.save(tmp_path / "risk")
    again = RiskHead.load(tmp_path / "risk")
    assert (again.answers, again.embedded, again.own_prices) == (head.answers, ("text",), True)
    for symbol in prices.symbols:
        asked = (prices, symbol, prices.history(symbol).day(-1), Sample("x", text="calm"), embed)
        assert again.foretell(*asked) == head.foretell(*asked)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format": 9}, "has format 9, this version reads 1"),
        ({"answers": ["a guess"] * 4}, "is damaged"),
        ({"persistence": [1.0]}, "is damaged"),
        (None, "is damaged"),
    ],
)
def test_a_damaged_head_is_told(mute: Fitted, tmp_path: Path, change: dict | None, reason: str):
    mute[0].save(tmp_path)
    text = (tmp_path / META).read_text()
    (tmp_path / META).write_text(text[:40] if change is None else json.dumps(json.loads(text) | change))
    with pytest.raises(BundleError, match=reason):
        RiskHead.load(tmp_path)


def test_items_without_a_time_a_company_or_prices_are_counted():
    prices, _ = world(told=False)
    when = "2024-06-01T10:00:00Z"
    samples = [
        Sample("both", text="AAX Works and BBX Works rise", metadata={"published": when}),
        Sample("named", text="Profit rises", metadata={"published": when, "entities": "ccx"}),
        Sample("text", text="Profit of DDX Works rises", metadata={"time": 1_717_236_000}),
        Sample("none", text="Profit rises", metadata={"published": when}),
        Sample("undated", text="AAX Works rises", metadata={}),
        Sample("wrong", text="AAX Works rises", metadata={"published": "yesterday"}),
        Sample("early", text="AAX Works rises", metadata={"published": "2024-01-20"}),
        Sample("late", text="AAX Works rises", metadata={"published": "2029-01-20"}),
    ]
    cases, lacking = find_cases(samples, GAZETTEER, prices)
    assert [(case.sample.id, case.symbol) for case in cases] == [("named", "CCX"), ("text", "DDX")]
    assert lacking == {"exactly one company": 2, "a time": 2, "prices of 30 days before": 2}


def test_too_few_items_make_no_head_and_few_make_no_comparison():
    prices, cases = world(told=False)
    with pytest.raises(DataError, match="no item is about exactly one company"):
        RiskHead.fit([], prices, embed, RiskSettings(), own_prices=True)
    with pytest.raises(DataError, match="is known of 8 samples, 10 are needed"):
        RiskHead.fit(cases[:8], prices, embed, RiskSettings(), own_prices=True)
    head, measured = RiskHead.fit(cases[:12], prices, embed, RiskSettings(), own_prices=True)
    assert head.answers == (RIDGE,) * 4
    assert measured["verdict"].startswith(f"Nothing could be compared on the newest items, so {RIDGE} answers: volat")


def test_an_interval_over_companies_is_wider_than_their_number_of_items_makes_believe():
    generator = np.random.default_rng(0)
    names = np.repeat([f"C{n}" for n in range(8)], 50)
    own = np.repeat(generator.normal(0, 1, 8), 50)
    together = by_company(own + generator.normal(0, 0.1, 400), names)
    apart = by_company(generator.permutation(own) + generator.normal(0, 0.1, 400), names)
    assert together.high - together.low > 3 * (apart.high - apart.low)


# -- in a bundle -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded sample, read by words alone."""
    folder = tmp_path_factory.mktemp("risk")
    os.environ.setdefault("TRIPTYCH_HOME", str(folder / "home"))
    config = {
        "encoders": {"text": {"use": "compact:text", "dim": 32, "buckets": 2048}},
        "training": {"strategy": "frozen", "epochs": 5, "checkpoint_every": 20},
        "compression": {"enabled": False, "memory": False},
    }
    return run("finance", load_config(config), output=folder / "bundle", host=host()).bundle


@pytest.fixture(scope="module")
def answering(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    return load(built, host=host(), state=tmp_path_factory.mktemp("state"))


def test_a_bundle_of_the_sample_holds_a_head_and_what_it_is_worth(answering: Predictor):
    found = answering.bundle.manifest.metrics["vertical"]["risk"]
    assert found["items"] > 300
    assert found["companies"] == 12
    assert [row["days"] for row in found["rows"]] == list(HORIZONS)
    for row in found["rows"]:
        assert row["answers"] in WAYS
        assert row["items"] > 50
    assert found["verdict"] in (answering.bundle.path / "report.md").read_text()
    assert {"vertical/risk/risk.safetensors", "vertical/risk/risk.json", f"vertical/risk/{META}"} <= set(
        answering.bundle.manifest.files
    )


def test_an_answer_has_the_risk_of_each_company_from_the_latest_price(answering: Predictor):
    mood = answering.answer(text="Torvenna raises its forecast, but Skelvoort warns of a loss")
    last = Prices.read(sample_prices()).history("TVNA").day(-1)
    assert {(one.symbol, one.since) for one in mood.risk} == {("TVNA", last), ("SKQ", last)}
    assert [one.days for one in mood.risk] == [*HORIZONS, *HORIZONS]
    for one in mood.risk:
        assert one.low < one.log_volatility < one.high
        assert one.daily_percent == pytest.approx(100 * np.exp(one.log_volatility), abs=0.01)
    assert f"TVNA may move {mood.risk[0].daily_percent:.1f} % a day over 3 trading days" in mood.answer
    assert mood.no_risk == []


def test_the_day_to_look_from_may_be_given(answering: Predictor):
    prices = Prices.read(sample_prices())
    mood = answering.answer(text="News of Torvenna", when="2025-06-15")  # a Sunday
    assert {one.since for one in mood.risk} == {datetime.date(2025, 6, 13)}
    past = [prices.past_volatility("TVNA", datetime.date(2025, 6, 13), days) for days in HORIZONS]
    assert [one.past for one in mood.risk] == pytest.approx(past, abs=1e-3)


@pytest.mark.parametrize(
    ("when", "reason"),
    [
        ("2020-01-01", "has no price on or before 2020-01-01"),
        ("2024-11-20", "closes up to 2024-11-20"),
        ("2027-01-01", "ends on 2025-12-12, too long before 2027-01-01"),
    ],
)
def test_where_prices_do_not_reach_there_is_a_reason_and_the_mood_all_the_same(
    answering: Predictor, when: str, reason: str
):
    mood = answering.answer(text="Profit of Torvenna rises", when=when)
    assert mood.risk == []
    assert reason in mood.no_risk[0]
    assert mood.entities[0].symbol == "TVNA"


def test_without_a_company_there_is_no_risk_and_a_wrong_day_is_refused(answering: Predictor):
    assert answering.answer(text="The weather is fine").no_risk == ["the item names no company; give one as `entities`"]
    with pytest.raises(DataError, match="when"):
        answering.answer(text="News of Torvenna", when="soon")


def test_a_bundle_without_prices_says_so(predictor: Predictor):
    why = "vertical.prices was not set when the bundle was built"
    assert predictor.bundle.manifest.metrics["vertical"]["risk"]["verdict"] == f"No volatility is foretold: {why}."
    assert why in (predictor.bundle.path / "report.md").read_text()
    mood = predictor.answer(text="News of Torvenna")
    assert (mood.risk, mood.no_risk) == ([], [why])


def test_prices_that_cannot_be_read_cost_no_training(tmp_path: Path):
    config = {"vertical": {"prices": str(tmp_path / "none.csv")}}
    with pytest.raises(DataError, match=r"none\.csv"):
        run("finance", load_config(config), output=tmp_path / "bundle", host=host())
    assert not (tmp_path / "bundle").exists()


def test_prices_of_your_own_are_read_in_their_newest_state(built: Path, tmp_path: Path):
    """The head of a bundle with prices of its own, without building one more."""
    own = tmp_path / "prices.csv"
    lines = sample_prices().read_text().splitlines()
    kept = [line for line in lines[1:] if line.split(",")[1] < "2025-10-01" and not line.startswith("SKQ")]
    own.write_text("\n".join([lines[0], *kept]))
    loaded = load(built, host=host(), state=tmp_path / "state")
    loaded.settings = loaded.settings.model_copy(update={"prices": str(own)})
    head = RiskHead.load(loaded.files / "risk")
    head.own_prices = True
    loaded.cached("risk head", lambda: head)
    assert loaded.answer(text="News of Torvenna").risk[0].since == datetime.date(2025, 9, 30)
    assert loaded.answer(text="News of Skelvoort").no_risk == ["there are no prices of SKQ"]
    shutil.copy(sample_prices(), own)
    assert loaded.answer(text="News of Torvenna").risk[0].since == datetime.date(2025, 12, 12)
    own.write_text("symbol\nTVNA\n")
    mood = loaded.answer(text="News of Torvenna")
    assert mood.risk == []
    assert mood.no_risk[0].startswith("the prices cannot be read: the header lacks date")
