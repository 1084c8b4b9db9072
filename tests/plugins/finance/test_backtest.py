"""The back-test: blind for the future, fair to its baselines, and no better than its intervals say."""

from __future__ import annotations

import random
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.plugins.finance.conftest import WordScorer
from tests.plugins.finance.news import COMPANIES, DAY, HOUR, START, lively, price_file, rows, written
from triptych.errors import DataError
from triptych_finance.hindsight import baselines
from triptych_finance.hindsight.backtest import Backtest, Rules, backtest, quiet, replay, spans_of
from triptych_finance.hindsight.judging import Figure, is_better
from triptych_finance.hindsight.outcomes import Bootstrap, Hindsight, Span, interval
from triptych_finance.signal.board import Observation
from triptych_finance.store.store import Store
from triptych_finance.volatility.prices import Prices

DAYS = 150
BURSTS = {"TVNA": (40, 80, 120), "SKQ": (60, 101), "QLMR": (50, 90)}
RULES = Rules(draws=200)


def alerts_of(folder: Path, found: list[dict[str, str]], name: str = "items.csv") -> list[tuple[str, datetime, str]]:
    """Entity, moment and kind of each alert that a replay of the rows has fired."""
    with Store.open(folder / f"{name}.sqlite3", writer=True) as store:
        replay(written(folder / name, found), store, WordScorer(), COMPANIES, lively())
        with store.reading() as tx:
            fired = [(a.entity, a.fired, a.kind) for a in tx.alerts() if a.fired is not None]
    return sorted(fired, key=lambda one: (one[1], one[0]))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Backtest:
    """Bursts of bad news, each with a jump of the price two days later: what there is to be foreseen."""
    folder = tmp_path_factory.mktemp("backtest")
    jumps = {symbol: [_working(day + 2) for day in days] for symbol, days in BURSTS.items()}
    prices = Prices.read(price_file(folder / "prices.csv", DAYS, jumps))
    return backtest(written(folder / "items.csv", rows(DAYS, BURSTS)), prices, WordScorer(), COMPANIES, lively(), RULES)


def _working(day: int) -> int:
    """The day, or the Monday after."""
    weekday = (START + day * DAY).weekday()
    return day + max(0, 7 - weekday if weekday >= 5 else 0)


@pytest.mark.parametrize("seed", range(3))
def test_whatever_comes_after_a_moment_no_alert_before_it_changes(tmp_path: Path, seed: int):
    chance = random.Random(seed)
    whole = rows(100, BURSTS, seed=seed)
    moment = START + chance.randrange(40, 90) * DAY + chance.uniform(0, 24) * HOUR
    past = [row for row in whole if datetime.fromisoformat(row["published"]) < moment]
    texts = [row["text"] for row in whole[len(past) :]]
    chance.shuffle(texts)
    shuffled = [{**row, "text": text} for row, text in zip(whole[len(past) :], texts, strict=True)]
    first, second = alerts_of(tmp_path, whole, "whole.csv"), alerts_of(tmp_path, past + shuffled, "shuffled.csv")
    before = [alert for alert in first if alert[1] <= moment]
    assert before == [alert for alert in second if alert[1] <= moment]
    assert before
    assert first != second  # what was shuffled does matter, later


def test_alerts_before_news_that_moves_prices_hit(found: Backtest):
    own = found.methods[0]
    assert own.name == "sentiment"
    events = {(o.entity, o.event) for o in found.outcomes if o.event is not None}
    bursts = {symbol: [(START + _working(day + 2) * DAY).date() for day in days] for symbol, days in BURSTS.items()}
    assert {(symbol, day) for symbol, days in bursts.items() for day in days} <= events
    assert own.hits == sum(o.event is not None for o in found.outcomes)
    assert own.judged == sum(o.judged for o in found.outcomes)
    assert all(1 <= o.lead <= RULES.horizon for o in found.outcomes if o.lead is not None)
    assert found.compared[-1].name == "chance"
    assert found.compared[-1].better


def test_the_budget_is_kept_by_every_way_of_looking(found: Backtest):
    weeks = (DAYS - 7) / 7
    for way in found.methods[:3]:
        assert way.alarms_per_week[0] * weeks <= 0.6 * 1.1 * weeks + 12  # the bound that `calibration` states
    assert {way.name for way in found.methods} == {"sentiment", "news volume", "past returns", "chance"}


def test_a_measure_lies_in_its_interval(found: Backtest):
    for way in found.methods:
        for one in way.measures.values():
            if one.value is not None and one.low is not None and one.high is not None:
                assert one.low <= one.value <= one.high


def test_it_is_the_same_each_time(tmp_path: Path, found: Backtest):
    jumps = {symbol: [_working(day + 2) for day in days] for symbol, days in BURSTS.items()}
    prices = Prices.read(price_file(tmp_path / "prices.csv", DAYS, jumps))
    items = written(tmp_path / "items.csv", rows(DAYS, BURSTS))
    chunked = lively().model_copy(update={"stream": lively().stream.model_copy(update={"chunk": 7})})
    again = backtest(items, prices, WordScorer(), COMPANIES, chunked, RULES)
    assert again.outcomes == found.outcomes
    assert again.methods == found.methods
    assert again.verdict == found.verdict


def test_volume_alone_is_blind_for_scores():
    def alarms(score: float) -> object:
        said = [
            (
                START + day * DAY,
                [Observation("TVNA", "", START + day * DAY, score * (-1) ** day, 9.0 if day == 40 else 1)],
            )
            for day in range(60)
        ]
        return baselines.news_volume(said, lively().signal, lively().alerts, COMPANIES.sector)

    assert alarms(0.9) == alarms(0.1)
    assert START + 41 * DAY + 6 * HOUR in alarms(0.5).alerts["TVNA"]  # type: ignore[attr-defined]


def test_past_returns_alarm_after_the_jump_and_never_before(tmp_path: Path):
    prices = Prices.read(price_file(tmp_path / "prices.csv", 100, {"TVNA": [50]}))
    watched = {"TVNA": (START, START + 100 * DAY), "NONE": (START, START + 100 * DAY)}
    rival = baselines.past_returns(prices, watched, lively().signal, lively().alerts, COMPANIES.sector)
    assert START + 51 * DAY + 6 * HOUR in rival.alerts["TVNA"]
    assert "NONE" not in rival.alerts
    quiet_prices = Prices.read(price_file(tmp_path / "quiet.csv", 100, {}))
    calm = baselines.past_returns(quiet_prices, watched, lively().signal, lively().alerts, COMPANIES.sector)
    until = START + 51 * DAY
    assert [m for m in rival.alerts["TVNA"] if m < until] == [m for m in calm.alerts["TVNA"] if m < until]


def hindsight_of(folder: Path, jumps: dict[str, list[int]], days: int = 100, horizon: int = 5) -> Hindsight:
    prices = Prices.read(price_file(folder / "prices.csv", days, jumps))  # type: ignore[arg-type]
    spans = {symbol: Span(START, START + days * DAY) for symbol in ("TVNA", "SKQ", "NONE")}
    return Hindsight(prices, spans, horizon=horizon, window=60, z=8.0)


def test_a_hit_is_an_event_on_the_trading_days_after_what_was_known(tmp_path: Path):
    hindsight = hindsight_of(tmp_path, {"TVNA": [50]})  # a Tuesday
    assert hindsight.entities == ["SKQ", "TVNA"]
    assert hindsight.events("TVNA") == [(START + 50 * DAY).date()]

    def lead(day: float) -> int | None:
        (outcome,) = hindsight.outcomes({"TVNA": [START + day * DAY]})
        assert outcome.judged
        return outcome.lead

    assert lead(50.3) == 1  # in the morning of the day: its close is still to come
    assert lead(51.1) is None  # the day is over
    assert lead(49.3) == 2
    assert lead(47.3) == 2  # on Saturday the last close is Friday's
    assert lead(44.3) == 5
    assert lead(43.3) is None  # one trading day too early


def test_what_the_prices_cannot_tell_is_not_judged(tmp_path: Path):
    hindsight = hindsight_of(tmp_path, {})
    (outcome,) = hindsight.outcomes({"TVNA": [START + 128 * DAY]})
    assert not outcome.judged
    sums = hindsight.sums({"TVNA": [START + 128 * DAY]})
    assert sums.alarms.sum() == 1
    assert sums.judged.sum() == 0
    assert np.isnan(sums.measures()["precision"][0])
    assert hindsight.outcomes({"NONE": [START]}) == []


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 99), max_size=12, unique=True), st.integers(0, 5))
def test_chance_keeps_the_number_of_alarms_and_lies_between_nothing_and_all(
    tmp_path_factory: pytest.TempPathFactory, days: list[int], seed: int
):
    hindsight = hindsight_of(tmp_path_factory.mktemp("prices"), {"TVNA": [50, 71]})
    alarms = {"TVNA": [START + day * DAY for day in days]}
    drawn = baselines.shifted(hindsight, alarms, draws=50, seed=seed)
    assert drawn["precision"].shape == drawn["recall"].shape == (50,)
    for draws in drawn.values():
        said = draws[np.isfinite(draws)]
        assert ((said >= 0) & (said <= 1)).all()
    sums = hindsight.sums(alarms)
    assert sums.alarms.sum() == len(days)
    assert sums.hits.sum() <= sums.judged.sum() <= sums.alarms.sum()
    assert sums.caught.sum() <= sums.events.sum()


def test_alarms_on_every_day_are_no_better_than_chance(tmp_path: Path):
    hindsight = hindsight_of(tmp_path, {"TVNA": [50, 71], "SKQ": [30]})
    alarms = {symbol: [START + day * DAY + 6 * HOUR for day in range(1, 100)] for symbol in ("TVNA", "SKQ")}
    own = hindsight.sums(alarms).measures()
    drawn = baselines.shifted(hindsight, alarms, draws=200, seed=0)
    assert own["recall"][0] == 1.0
    assert abs(float(np.nanmean(drawn["precision"])) - own["precision"][0]) < 0.02


def test_the_bootstrap_says_nothing_about_a_few_weeks(tmp_path: Path):
    short = Bootstrap(hindsight_of(tmp_path, {}, days=40), draws=10)
    assert not short.enough
    assert interval(np.zeros(0)) is None
    assert interval(np.full(10, np.nan)) is None
    assert interval(np.arange(101.0)) == (2.5, 97.5)


@pytest.mark.parametrize(
    ("precision", "recall", "better"),
    [
        ((0.1, 0.3), (-0.1, 0.1), True),
        ((-0.1, 0.1), (0.1, 0.3), True),
        ((0.1, 0.3), (-0.3, -0.1), False),  # bought with the other
        ((-0.1, 0.3), (-0.1, 0.3), False),
        ((0.0, 0.3), (0.0, 0.3), False),
    ],
)
def test_better_is_only_what_the_intervals_say(
    precision: tuple[float, float], recall: tuple[float, float], better: bool
):
    assert is_better(Figure(0.0, *precision), Figure(0.0, *recall)) is better
    assert is_better(Figure(0.2), Figure(0.2)) is False


def test_a_replay_tells_nobody_and_forgets_nothing():
    asked = lively().model_copy(update={"stream": lively().stream.model_copy(update={"keep_days": 14})})
    assert quiet(asked).alerts.channels.names == []
    assert quiet(asked).stream.keep_days > 10_000
    assert asked.alerts.channels.names == ["log"]


def test_spans_leave_the_warm_up_out(found: Backtest):
    spans = spans_of(found.readings, lively())
    series = found.readings["TVNA"]
    assert spans["TVNA"].weeks == pytest.approx((len(series) - 7) / 7)
    assert all(o.fired > spans[o.entity].begin for o in found.outcomes)


def test_what_cannot_be_judged_is_refused_with_the_reason(tmp_path: Path):
    prices = Prices.read(price_file(tmp_path / "prices.csv", 60, {}))

    def tried(found: list[dict[str, str]]) -> str:
        with pytest.raises(DataError) as error:
            backtest(written(tmp_path / "items.csv", found), prices, WordScorer(), COMPANIES, lively(), RULES)
        return str(error.value)

    assert "names a company" in tried([{**row, "text": "nobody says a word"} for row in rows(20, {})])
    assert "warm-up" in tried(rows(5, {}))
    earlier = [{**row, "published": _earlier(row["published"], 1500)} for row in rows(20, {})]
    assert "has prices in" in tried(earlier)
    with pytest.raises(DataError, match="does not exist"):
        backtest(tmp_path / "none.csv", prices, WordScorer(), COMPANIES, lively(), RULES)


def _earlier(moment: str, days: int) -> str:
    return (datetime.fromisoformat(moment) - timedelta(days=days)).isoformat()


def test_events_are_dates(found: Backtest):
    assert all(isinstance(day, date) for days in found.events.values() for day in days)
    assert found.event_count == sum(len(days) for days in found.events.values())
