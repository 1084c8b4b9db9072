"""Drift is reported where there is one, and false reports are as rare as stated."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.errors import ConfigError, DataError
from triptych_finance.signal.drift import FEATURES, DriftInput, DriftReading, DriftWatch
from triptych_finance.signal.settings import DriftSettings, SignalSettings

START = datetime(2025, 1, 2, tzinfo=UTC)  # windows of a week begin on Thursdays
SETTING = SignalSettings(drift=DriftSettings(min_items=10))
DIM = 24


def unit(vector: Any) -> np.ndarray:
    found = np.asarray(vector, dtype=np.float32)
    return found / np.linalg.norm(found)


def week(rng: np.random.Generator, number: int, source: str = "wire", **law: Any) -> list[DriftInput]:
    """A synthetic week of news by a law: how many items, their mean score, share of neutral and mean vector."""
    law = {"count": 30, "mean": 0.0, "width": 0.3, "neutral": 0.5, "centre": np.zeros(DIM), **law}
    items = []
    for _ in range(int(rng.poisson(law["count"]))):
        score = float(np.clip(rng.normal(law["mean"], law["width"]), -1, 1))
        time = START + timedelta(weeks=number, seconds=float(rng.uniform(0, 604_799)))
        vector = unit(rng.normal(size=DIM) + law["centre"])
        items.append(DriftInput(source, time, score, bool(rng.random() < law["neutral"]), vector))
    return sorted(items, key=lambda item: item.time)


def replay(watch: DriftWatch, inputs: Sequence[DriftInput], size: int = 50) -> list[DriftReading]:
    readings, now = [], START
    for first in range(0, len(inputs), size):
        chunk = inputs[first : first + size]
        now = max([now, *(one.time for one in chunk)])
        watch.observe(chunk)
        readings += watch.advance(now)
    return readings


@pytest.mark.parametrize(
    ("feature", "law"),
    [
        ("score", {"mean": 0.3}),
        ("spread", {"width": 0.6}),
        ("neutral", {"neutral": 0.85}),
        ("volume", {"count": 90}),
        ("volume", {"count": 0}),
        ("vector", {"centre": np.ones(DIM)}),
    ],
)
def test_a_lasting_change_is_found_in_its_feature_within_a_quarter(feature: str, law: dict[str, Any]):
    rng = np.random.default_rng(11)
    stream = [item for number in range(52) for item in week(rng, number)]
    stream += [item for number in range(52, 66) for item in week(rng, number, **law)]
    stream += [DriftInput("clock", START + timedelta(weeks=68), 0.0, True)]
    found = [reading for reading in replay(DriftWatch(SETTING), stream) if reading.drift]
    assert feature in {reading.feature for reading in found}
    assert all(reading.end > START + timedelta(weeks=52) for reading in found)


def test_false_reports_are_as_rare_as_stated():
    rng = np.random.default_rng(12)
    setting = SignalSettings(drift=DriftSettings(min_items=1, false_reports_per_year=0.5))
    names, weeks = [f"s{number}" for number in range(20)], 104
    stream: list[DriftInput] = []
    for number in range(weeks):
        items = [item for name in names for item in week(rng, number, name, count=3)]
        stream += sorted(items, key=lambda item: item.time)
    reports = [reading for reading in replay(DriftWatch(setting), stream, 5000) if reading.drift]
    stated = 0.5 * len(names) * weeks / 52.18
    assert 0 < len(reports) <= stated + 2 * stated**0.5


def test_p_values_are_uniform_while_nothing_changes():
    rng = np.random.default_rng(13)
    stream = [item for number in range(300) for item in week(rng, number, count=12)]
    readings = replay(DriftWatch(SETTING), stream)
    for feature in FEATURES:
        values = np.array([reading.p_value for reading in readings if reading.feature == feature])
        assert abs((values <= 0.5).mean() - 0.5) < 0.1
        assert (values <= 0.1).mean() < 0.17


def test_after_a_report_the_past_is_what_came_since():
    rng = np.random.default_rng(14)
    stream = [item for number in range(40) for item in week(rng, number)]
    stream += [item for number in range(40, 100) for item in week(rng, number, mean=0.4)]
    readings = [reading for reading in replay(DriftWatch(SETTING), stream) if reading.feature == "score"]
    reports = [reading for reading in readings if reading.drift]
    assert len(reports) == 1
    assert readings[readings.index(reports[0]) + 1].since == reports[0].end


def test_a_window_with_few_items_says_nothing_but_its_volume():
    rng = np.random.default_rng(15)
    stream = week(rng, 0) + week(rng, 1)[:5] + week(rng, 2)
    readings = replay(DriftWatch(SETTING), stream + week(rng, 3))
    assert [r.feature for r in readings if r.start == START + timedelta(weeks=1)] == ["volume"]
    assert [r.feature for r in readings if r.start == START] == list(FEATURES)


def test_vectors_may_be_absent():
    stream = [DriftInput("wire", START + timedelta(hours=3 * hour), 0.1, False) for hour in range(120)]
    readings = replay(DriftWatch(SETTING), stream)
    assert {reading.feature for reading in readings} == {"score", "spread", "neutral", "volume"}


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 200), st.integers(20, 200))
def test_calls_may_be_cut_and_the_state_stored_anywhere(seed: int, one: int, other: int):
    rng = np.random.default_rng(seed)
    stream = [item for number in range(8) for item in week(rng, number) + week(rng, number, "feed", count=12)]
    stream.insert(150, stream[0])  # late
    whole = DriftWatch(SETTING)
    expected = replay(whole, stream, one)
    kept: dict[str, Any] = {}
    watch, readings, now = DriftWatch(SETTING), [], START
    for first in range(0, len(stream), other):
        chunk = stream[first : first + other]
        now = max([now, *(item.time for item in chunk)])
        watch.observe(chunk)
        readings += watch.advance(now)
        kept.update(json.loads(json.dumps(watch.dump())))
        watch = DriftWatch.load(SETTING, kept)
    assert readings == expected
    assert watch.late == whole.late > 0


def test_nothing_later_changes_a_window_that_is_closed():
    rng = np.random.default_rng(16)
    past = [item for number in range(20) for item in week(rng, number)]
    known = replay(DriftWatch(SETTING), past)
    future: Callable[..., list[DriftInput]] = lambda **law: week(np.random.default_rng(17), 21, **law)  # noqa: E731
    for later in (future(), future(mean=0.9, count=500), future(source="other")):
        assert replay(DriftWatch(SETTING), past + later)[: len(known)] == known


def test_an_item_from_the_future_closes_nothing_ahead():
    watch = DriftWatch(SETTING)
    watch.observe(
        [DriftInput("wire", START, 0.0, True), DriftInput("wire", datetime(2090, 1, 1, tzinfo=UTC), 0.0, True)]
    )
    assert watch.advance(START + timedelta(days=1)) == []
    assert watch.clock.future == 1


def test_bad_input_and_foreign_states_are_refused():
    watch = DriftWatch(SETTING)
    with pytest.raises(DataError, match="score 2"):
        watch.observe([DriftInput("wire", START, 2.0, True)])
    watch.observe([DriftInput("wire", START, 0.0, True)])
    watch.advance(START)
    with pytest.raises(ConfigError, match="window_hours is 24, but what is stored was made with 168"):
        DriftWatch.load(SignalSettings(drift=DriftSettings(window_hours=24)), watch.dump())
