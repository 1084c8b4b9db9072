"""The synthetic sample: readable, balanced, in order, with copies and late arrivals, and with nothing real in it."""

from __future__ import annotations

import csv
import datetime
import difflib
import re
import shutil
import subprocess
import sys
import tomllib
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from triptych.data.media import load_audio, load_image
from triptych_finance.language.entities import Gazetteer
from triptych_finance.sample import SAMPLE, sample_gazetteer, sample_prices, sample_stream, sample_table
from triptych_finance.volatility.prices import Prices

LABELS = ("negative", "neutral", "positive")
Row = dict[str, str]


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    with sample_table().open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def companies() -> dict[str, dict[str, object]]:
    return {row["symbol"]: row for row in tomllib.loads(sample_gazetteer().read_text(encoding="utf-8"))["company"]}


@pytest.fixture(scope="module")
def prices() -> Prices:
    return Prices.read(sample_prices())


def truth(row: Row) -> dict[str, str]:
    """The companies of an item and how each fares."""
    return dict(part.split("=") for part in row["entity_labels"].split("|"))


def published(row: Row) -> datetime.datetime:
    return datetime.datetime.fromisoformat(row["published"])


def media() -> list[Path]:
    return sorted(path for folder in ("pictures", "voices") for path in (SAMPLE / folder).iterdir())


def copies(rows: list[Row]) -> list[tuple[Row, Row]]:
    """Pairs of items that print the same news: one pattern, the same companies, nearly the same words, within a day."""
    by_group: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        by_group[row["group"], row["entity_labels"]].append(row)
    return [
        (one, other)
        for known in by_group.values()
        for at, one in enumerate(known)
        for other in known[at + 1 :]
        if abs(published(one) - published(other)) < datetime.timedelta(days=1)
        and difflib.SequenceMatcher(None, one["text"], other["text"], autojunk=False).ratio() > 0.75
    ]


def test_there_are_enough_items_of_every_kind(rows):
    assert len(rows) >= 700
    assert len({row["group"] for row in rows}) >= 400, "sentence patterns"
    assert len({row["group"].split(".")[1] for row in rows if row["group"].startswith("event.")}) == 17
    assert sum(bool(row["image"]) for row in rows) == 84
    assert sum(bool(row["audio"]) for row in rows) == 62
    assert published(rows[-1]) - published(rows[0]) > datetime.timedelta(days=260)


def test_the_labels_are_balanced_in_text_picture_and_voice(rows):
    for column, least in (("text", 0.25), ("image", 0.2), ("audio", 0.3)):
        shares = Counter(row["label"] for row in rows if row[column])
        assert set(shares) == set(LABELS)
        assert min(shares.values()) / shares.total() >= least, column


def test_no_label_hangs_on_one_company(rows):
    """Else a model would learn names instead of news."""
    for column in ("text", "audio"):
        by_symbol: dict[str, Counter[str]] = defaultdict(Counter)
        for row in rows:
            if row[column]:
                by_symbol[next(iter(truth(row)))][row["label"]] += 1
        assert max(max(labels.values()) / labels.total() for labels in by_symbol.values()) < 0.7, column


def test_no_id_and_no_text_stands_twice(rows):
    assert len({row["id"] for row in rows}) == len(rows)
    assert len({" ".join(re.findall(r"\w+|\$", row["text"].lower())) for row in rows}) == len(rows)


def test_the_rows_are_in_order_but_for_the_late_ones(rows):
    clock, late = published(rows[0]), []
    for row in rows:
        late += [clock - published(row)] if published(row) < clock else []
        clock = max(clock, published(row))
    assert all(published(row).tzinfo == datetime.UTC for row in rows)
    assert 15 <= len(late) <= 30
    assert min(late) < datetime.timedelta(hours=6) < datetime.timedelta(days=2) < max(late)


def test_syndicated_copies_are_there_and_agree_with_their_originals(rows):
    found = copies(rows)
    assert len(found) >= 50
    assert all(one["label"] == other["label"] and one["text"] != other["text"] for one, other in found)


def test_items_of_two_companies_say_opposite_things_of_them(rows):
    opposed = [row for row in rows if set(truth(row).values()) == {"negative", "positive"}]
    assert len(opposed) >= 40
    assert {row["label"] for row in opposed} == {"negative", "positive"}
    for row in opposed:
        assert row["label"] == next(iter(truth(row).values())), "the label is that of the company named first"


def test_every_company_of_an_item_is_known_and_named_in_its_text(rows, companies):
    for row in rows:
        for symbol in truth(row):
            names = [companies[symbol]["name"], *companies[symbol]["aliases"], f"${symbol}"]
            assert any(name in row["text"] for name in names), row
        assert row["entities"] in ("", "|".join(truth(row)))
    silent = sum(not row["entities"] for row in rows)
    assert 0.1 < silent / len(rows) < 0.3, "rows in which the source leaves the companies to be found"


def test_the_gazetteer_finds_just_the_companies_of_each_item(rows):
    gazetteer = Gazetteer.read(sample_gazetteer())
    for row in rows:
        assert {mention.symbol for mention in gazetteer.find(row["text"])} == set(truth(row)), row["text"]


def test_the_company_named_first_in_the_text_comes_first(rows, companies):
    for row in rows:
        places = [
            min(
                at
                for name in (companies[s]["name"], *companies[s]["aliases"], f"${s}")
                if (at := row["text"].find(name)) >= 0
            )
            for s in truth(row)
        ]
        assert places == sorted(places), row["text"]


def test_an_alias_means_one_company_only(companies):
    assert len(companies) == 12
    assert sorted(Counter(row["sector"] for row in companies.values()).values()) == [3, 3, 3, 3]
    names = [n.lower() for s, row in companies.items() for n in {s, row["name"], *row["aliases"]}]
    assert len(set(names)) == len(names)


def test_the_media_are_those_that_the_rows_name_and_all_decode(rows):
    named = {row[key] for row in rows for key in ("image", "audio") if row[key]}
    assert named == {path.relative_to(SAMPLE).as_posix() for path in media()}
    for path in media():
        if path.suffix == ".png":
            assert path.stat().st_size <= 3_000
            assert load_image(path).size == (128, 96)
        else:
            assert path.stat().st_size <= 12_000
            assert 1.5 < len(load_audio(path, 8_000)) / 8_000 <= 3.0


def test_the_sample_is_small_and_says_that_it_is_synthetic():
    assert sum(path.stat().st_size for path in SAMPLE.rglob("*") if path.is_file()) < 1_500_000
    words = (SAMPLE / "README.txt").read_text(encoding="utf-8")
    assert "SYNTHETIC" in words
    assert "NOT SPEECH" in words


def test_the_counts_of_the_readme_are_right(rows):
    words = " ".join((SAMPLE / "README.txt").read_text(encoding="utf-8").split())
    late = sum(published(row) < max(map(published, rows[:at])) for at, row in enumerate(rows) if at)
    with_chart = sum(row["group"].startswith("vague.chart") for row in rows)
    with_voice = sum(row["group"].startswith("vague.voice") for row in rows)
    assert f"{len(rows)} headlines" in words
    assert f"{late} rows come late" in words
    assert f"{with_chart} posts say nothing without their chart, and {with_voice} excerpts" in words


def pitch(samples: np.ndarray) -> float:
    """Median log pitch of the loud frames, by the highest peak of the autocorrelation between 73 and 308 Hz."""
    found = []
    for start in range(0, len(samples) - 480, 240):
        frame = samples[start : start + 480]
        if np.sqrt((frame**2).mean()) > 0.05:
            lags = np.correlate(frame, frame, "full")[479:]
            found.append(np.log(8_000 / (26 + np.argmax(lags[26:110]))))
    return float(np.median(found))


def test_the_voices_carry_a_mood(rows):
    """Against the mean of its speaker, a voice with good news is higher."""
    spoken: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for row in rows:
        if row["audio"]:
            heard = pitch(load_audio(SAMPLE / row["audio"], 8_000))
            spoken[next(iter(truth(row)))].append((row["label"], heard))
    by_label: dict[str, list[float]] = defaultdict(list)
    for clips in spoken.values():
        mean = np.mean([heard for _, heard in clips])
        for label, heard in clips:
            by_label[label].append(heard - mean)
    low, middle, high = (float(np.mean(by_label[label])) for label in LABELS)
    assert low + 0.05 < middle < high - 0.05


def test_a_post_of_a_chart_is_labelled_by_what_the_chart_shows(rows, prices):
    posts = [row for row in rows if row["group"].startswith("vague.chart")]
    assert all(row["image"] for row in posts)
    for row in posts:
        closes = prices.window(next(iter(truth(row))), published(row), 16).close
        change = closes[-1] / closes[0] - 1
        assert row["label"] == ("positive" if change > 0.05 else "negative" if change < -0.05 else "neutral")


def test_every_day_has_possible_prices(companies):
    days: dict[str, list[str]] = defaultdict(list)
    with sample_prices().open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            opened, high, low, close, adjusted = (float(row[k]) for k in ("open", "high", "low", "close", "adj_close"))
            assert 0 < low <= min(opened, close) <= max(opened, close) <= high
            assert 0 < adjusted <= close
            assert int(row["volume"]) > 0
            days[row["symbol"]].append(row["date"])
    assert set(days) == set(companies)
    assert len({tuple(known) for known in days.values()}) == 1, "all companies trade on the same days"
    known = [datetime.date.fromisoformat(day) for day in next(iter(days.values()))]
    assert all(one < other for one, other in pairwise(known))
    assert all(day.weekday() < 5 for day in known)
    assert (known[-1] - known[0]).days > 365


def test_the_prices_are_read_without_a_problem_and_reach_beyond_the_items(rows, prices):
    assert prices.problems == ()
    for row in rows:
        for symbol in truth(row):
            assert np.isfinite(prices.realised_volatility(symbol, published(row), 30))
            assert np.isfinite(prices.past_volatility(symbol, published(row), 30))


def test_bursts_of_items_announce_some_of_the_storms_but_not_all(rows, prices):
    told: dict[tuple[str, datetime.date], list[int]] = defaultdict(list)
    for row in rows:
        for symbol, label in truth(row).items():
            told[symbol, published(row).date()].append(LABELS.index(label) - 1)
    after, elsewhere, surprises = [], [], 0
    first, last = published(rows[0]).date(), max(map(published, rows)).date()
    for symbol in prices.symbols:
        for day in prices.history(symbol).dates.tolist():
            if first < day <= last:
                near = [mood for n in (0, 1) for mood in told.get((symbol, day - datetime.timedelta(n)), [])]
                change = prices.realised_volatility(symbol, day, 3) - prices.past_volatility(symbol, day, 30)
                (after if abs(sum(near)) >= 2 else elsewhere).append(change)
        for day in prices.volatility_events(symbol, z=4):
            around = [day - datetime.timedelta(n) for n in range(6)]
            surprises += first < day <= last and not any((symbol, d) in told for d in around)
    assert len(after) >= 60
    assert np.mean(after) > np.mean(elsewhere) + 0.1
    assert surprises >= 5


# Spelt as they would be written; enough to catch a careless edit, not a register of companies
REAL = """
    3M AbbVie ABB Adidas Adobe Airbus Alibaba Allianz Alphabet Alstom Amazon Apple ArcelorMittal AstraZeneca
    Barclays BASF Bayer BMW Boeing Bombardier Bosch BP Caterpillar Chevron Cisco Citigroup Coca-Cola Daimler Danone
    Deere Diageo Disney eBay Enbridge Enel Engie Equinor Ericsson Exxon Facebook Ford Gazprom GlaxoSmithKline
    Glencore Goldman Google Hasbro Heineken Hitachi Honda Honeywell HSBC Iberdrola IBM IKEA Intel Kellogg Lego Lidl
    Lockheed Mattel McDonald's Medtronic Merck Meta Microsoft Moderna Nestle Netflix Nike Nintendo Nokia Novartis
    Novo Nvidia Oracle Orsted PepsiCo Petrobras Pfizer Philips Ravensburger Reuters Bloomberg Roche Rosneft Samsung
    Sanofi Shell Siemens Sony Stadler Starbucks Stellantis Tata Tesco Tesla Thyssenkrupp Toshiba TotalEnergies
    Toyota Unilever Uniper Vattenfall Vestas Vodafone Volkswagen Volvo Walmart Zara
"""
TICKERS = """
    AAPL ABBV ABNB ADBE AMD AMGN AMZN AVGO AXP BABA BAC BMY BRK C CAT COST CRM CSCO CVS CVX DIS DRI GE GILD GM GOOG
    GS HD HON IBM INTC JNJ JPM KO LLY LMT MA MCD META MMM MRK MRNA MS MSFT NFLX NKE NVDA ORCL PEP PFE PG PM QCOM
    SBUX SKX T TGT TSLA TSM TXN UNH UPS V VLO VLY VZ WFC WMT XOM
"""


def written() -> str:
    names = ("items.csv", "companies.toml", "templates.toml")
    return "\n".join((SAMPLE / name).read_text(encoding="utf-8") for name in names)


def test_nothing_looks_like_a_real_company_person_or_address(rows, companies):
    text = written()
    assert re.findall(rf"(?<!\w)(?:{'|'.join(map(re.escape, REAL.split()))})(?!\w)", text) == []
    assert not set(TICKERS.split()) & set(companies)
    assert not re.search(r"[\w.]+@[\w.]+\.\w+|www\.", text)
    # a name under .example never belongs to anybody (RFC 2606)
    assert {re.match(r"https://\w+\.example/", row["url"]) is not None for row in rows} == {True}


def test_no_company_of_the_benchmarks_is_in_the_sample(shared_data, companies):
    with (shared_data / "finance" / "stocknet" / "stocks.csv").open(encoding="utf-8", newline="") as file:
        stocks = list(csv.DictReader(file))
    with (shared_data / "finance" / "maec" / "calls.csv").open(encoding="utf-8", newline="") as file:
        symbols = {row["symbol"] for row in csv.DictReader(file)}
    assert not (symbols | {row["symbol"] for row in stocks}) & set(companies)
    first_words = {row["company"].split()[0].lower() for row in stocks}
    assert not first_words & {str(row["name"]).split()[0].lower() for row in companies.values()}


def test_a_replay_reads_the_same_items():
    assert sample_stream() == sample_table()


def test_the_generator_writes_the_same_tables_again(tmp_path):
    for name in ("make_sample.py", "templates.toml", "companies.toml"):
        shutil.copy(SAMPLE / name, tmp_path / name)
    subprocess.run([sys.executable, str(tmp_path / "make_sample.py")], check=True, capture_output=True, text=True)
    for name in ("items.csv", "prices.csv"):
        assert (tmp_path / name).read_bytes() == (SAMPLE / name).read_bytes(), name
    pictures = sorted(path.name for path in (SAMPLE / "pictures").iterdir())
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == pictures
    for name in pictures:
        drawn, shipped = (load_image(folder / "pictures" / name) for folder in (tmp_path, SAMPLE))
        assert np.array_equal(np.asarray(drawn), np.asarray(shipped)), name
