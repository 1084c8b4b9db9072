"""The index is what its formula says; calls may be cut anywhere; nothing sees the future; the budget is kept."""

from __future__ import annotations

import functools
import json
import random
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.errors import ConfigError, DataError
from triptych_finance.signal.board import Board, Observation, SignalReading, openings
from triptych_finance.signal.settings import SignalSettings

START = datetime(2025, 1, 6, tzinfo=UTC)  # a Monday
HOUR = timedelta(hours=1)
SETTING = SignalSettings(warmup_buckets=2, budget_per_week=1.0)


def at(hours: float) -> datetime:
    return START + hours * HOUR


def seen(hours: float, score: float = 0.5, entity: str = "ACME", sector: str = "Tools", weight: float = 1.0):
    return Observation(entity, sector, at(hours), score, weight)


def replay(board: Board, observations: Sequence[Observation], size: int = 7) -> list[SignalReading]:
    """In calls of `size`, `now` being the latest event time so far, as a replay does it."""
    readings, now = [], START
    for first in range(0, len(observations), size):
        chunk = observations[first : first + size]
        now = max([now, *(one.time for one in chunk)])
        board.observe(chunk)
        readings += board.advance(now)
    return readings


def stored(board: Board, kept: dict[str, Any]) -> Board:
    """The board after a restart, from what was dumped so far."""
    kept.update(json.loads(json.dumps(board.dump())))
    return Board.load(board.settings, kept)


streams = st.lists(
    st.builds(
        seen,
        st.floats(0, 24 * 40, allow_nan=False),
        st.floats(-1, 1, allow_nan=False),
        st.sampled_from(["ACME", "BOLT", "CORA"]),
        st.sampled_from(["Tools", "Food", ""]),
        st.sampled_from([0.5, 1.0, 2.0]),
    ),
    max_size=120,
)


def test_the_index_is_the_decayed_mean_shrunk_by_the_prior():
    hours, scores = [3.0, 20.0, 30.0, 70.0], [0.9, -0.2, 0.4, 0.8]
    board = Board(SETTING)
    readings = replay(board, [seen(h, s) for h, s in zip(hours, scores, strict=True)] + [seen(24 * 6, 0.0)])
    acme = {reading.end: reading for reading in readings if reading.entity == "ACME"}
    for day in (1, 2, 3, 4, 5):
        weights = [2 ** (-(24 * day - h) / 48) if h < 24 * day else 0.0 for h in hours]
        expected = sum(w * s for w, s in zip(weights, scores, strict=True)) / (sum(weights) + 4.0)
        assert acme[at(24 * day)].index == pytest.approx(expected, abs=1e-12)
    assert [acme[at(24 * day)].volume for day in (1, 2, 3, 4, 5)] == [2.0, 1.0, 1.0, 0.0, 0.0]
    assert acme[at(48)].change == acme[at(48)].index - acme[at(24)].index


def test_every_series_has_a_reading_in_every_bucket_from_its_first_on():
    board = Board(SETTING)
    readings = replay(board, [seen(1), seen(30, entity="BOLT", sector="Food"), seen(24 * 5)])
    names = Counter(reading.entity for reading in readings)
    assert names == {"ACME": 4, "sector:Tools": 4, "BOLT": 3, "sector:Food": 3}
    assert [(r.start, r.entity) for r in readings] == sorted(
        ((r.start, r.entity) for r in readings), key=lambda pair: (pair[0], pair[1].startswith("sector:"), pair[1])
    )


def test_a_bucket_closes_only_after_the_lateness():
    board = Board(SETTING)
    board.observe([seen(1), seen(29.9)])
    assert board.advance(at(29.9)) == []
    board.observe([seen(30)])
    assert [reading.end for reading in board.advance(at(30))] == [at(24), at(24)]


@settings(max_examples=50, deadline=None)
@given(streams, st.integers(1, 40), st.integers(1, 40), st.booleans())
def test_calls_may_be_cut_and_the_state_stored_anywhere(
    observations: list[Observation], one: int, other: int, ordered: bool
):
    if ordered:
        observations = sorted(observations, key=lambda item: item.time)
    whole = Board(SETTING)
    expected = replay(whole, observations, one)
    kept: dict[str, Any] = {}
    board, readings, now = Board(SETTING), [], START
    for first in range(0, len(observations), other):
        chunk = observations[first : first + other]
        for item in chunk:
            board.observe([item])
            board = stored(board, kept)
        now = max([now, *(item.time for item in chunk)])
        readings += board.advance(now)
        board = stored(board, kept)
    assert readings == expected
    assert board.late == whole.late
    states = [Board.load(SETTING, one_board).dump() for one_board in (kept, whole.dump())]
    assert states[0] == states[1]


@settings(max_examples=50, deadline=None)
@given(streams, st.floats(0, 24 * 40), st.integers(0, 10_000))
def test_nothing_after_a_moment_changes_what_closed_before(observations: list[Observation], hours: float, seed: int):
    rng = random.Random(seed)
    observations = sorted(observations, key=lambda item: item.time)
    past = [one for one in observations if one.time <= at(hours)]
    future = [one for one in observations if one.time > at(hours)]
    altered = [seen(hours + rng.random() * 900 + 0.01, rng.uniform(-1, 1), rng.choice("XYZ")) for _ in future]
    rng.shuffle(altered)
    known = replay(Board(SETTING), past, 5)
    for later in (future, rng.sample(future, len(future)), altered):
        readings = replay(Board(SETTING), past + later, 5)
        assert readings[: len(known)] == known


def test_late_news_counts_with_its_age_and_reopens_nothing():
    board = Board(SETTING)
    early = replay(board, [seen(1), seen(24 * 4)])
    board.observe([seen(5, -1.0), seen(24 * 5 + 7)])
    later = board.advance(at(24 * 5 + 7))
    assert board.late == 1
    assert not {r.end for r in later} & {r.end for r in early}
    third = next(r for r in later if r.entity == "ACME" and r.end == at(24 * 4))
    assert third.volume == 0.0
    scored = 0.5 * 2 ** (-(96 - 1) / 48) - 2 ** (-(96 - 5) / 48)
    weight = 2 ** (-(96 - 1) / 48) + 2 ** (-(96 - 5) / 48)
    assert third.index == pytest.approx(scored / (weight + 4.0))


def test_an_item_from_the_future_counts_as_now_and_closes_nothing_ahead():
    board = Board(SETTING)
    board.observe([seen(1), seen(24 * 20_000, 1.0), seen(2)])
    assert board.advance(at(26)) == []
    assert board.clock.future == 1
    board.observe([seen(55)])
    readings = [reading for reading in board.advance(at(55)) if reading.entity == "ACME"]
    assert [(r.end, r.volume) for r in readings] == [(at(24), 2.0), (at(48), 1.0)]


def test_a_clock_that_goes_back_is_passed_over_and_counted():
    board, straight = Board(SETTING), Board(SETTING)
    for one in (board, straight):
        one.observe([seen(1), seen(40)])
        one.advance(at(40))
        one.observe([seen(60)])
    assert board.advance(at(-500)) == []
    assert board.clock.backwards == 1
    board.observe([seen(90)])
    straight.observe([seen(90)])
    late, expected = board.advance(at(90)), straight.advance(at(90))
    assert [r.end for r in late] == [r.end for r in expected]


def test_silence_takes_no_memory():
    board = Board(SETTING)
    names = [f"E{number}" for number in range(20)]
    replay(board, [seen(number, entity=name, sector="") for number, name in enumerate(names)])
    board.observe([seen(24 * 30, entity="E0", sector="")])
    board.advance(at(24 * 30))
    before = len(json.dumps(board.dump()))
    board.observe([seen(24 * 760, entity="E0", sector="")])
    readings = board.advance(at(24 * 760))
    assert len(readings) == 20 * 730
    assert not any(r.alarm for r in readings if r.volume == 0)
    assert len(json.dumps(board.dump())) < before * 1.2


def test_only_what_changed_is_dumped():
    board = Board(SETTING)
    replay(board, [seen(1), seen(2, entity="BOLT", sector="")])
    board.dump()
    board.observe([seen(3)])
    board.advance(at(3))
    assert set(board.dump()) == {"board", "series:ACME", "series:sector:Tools"}
    assert board.dump() == {}


def test_another_bucket_than_the_stored_one_is_refused():
    board = Board(SETTING)
    replay(board, [seen(1)])
    with pytest.raises(ConfigError, match=r"signal.bucket_hours is 12, but what is stored was made with 24"):
        Board.load(SignalSettings(bucket_hours=12), board.dump())


@pytest.mark.parametrize(
    ("one", "message"),
    [
        (Observation("ACME", "", START, 1.5), "score 1.5"),
        (Observation("ACME", "", START, float("nan")), "score nan"),
        (Observation("ACME", "", START, 0.5, 0.0), "weight 0.0"),
        (Observation("ACME", "", START, 0.5, float("inf")), "weight inf"),
        (Observation("ACME", "", datetime(2025, 1, 6), 0.5), "no time zone"),
        (Observation("sector:Tools", "", START, 0.5), "sector:"),
    ],
)
def test_what_cannot_be_counted_is_refused_whole(one: Observation, message: str):
    board = Board(SETTING)
    with pytest.raises(DataError, match=message):
        board.observe([seen(1), one])
    assert board.dump() == {}


@functools.cache
def history(entities: int, days: int, seed: int, kind: str) -> list[Observation]:
    """Synthetic news: quiet week-ends, bursts, and, by `kind`, heavy tails, growth, or a law that changes half-way."""
    rng = np.random.default_rng(seed)
    found = []
    for entity in range(entities):
        usual = float(np.exp(rng.normal(1.0, 0.8)))
        mood = 0.0
        for day in range(days):
            drifted = kind == "drift" and day > days // 2
            mood = 0.7 * mood + (0.3 if drifted else 0.1) * rng.standard_t(2 if kind == "tails" else 8)
            mean = usual * (0.4 if day % 7 > 4 else 1.0) * np.exp(0.004 * day if kind == "growth" else 0.0)
            mean *= rng.pareto(1.5) + 0.3 if kind == "tails" else 3.0 if drifted else 1.0
            for _ in range(min(int(rng.poisson(mean)), 60)):
                score = float(np.clip(np.tanh(mood) + rng.normal(0.3 if drifted else 0.0, 0.4), -1, 1))
                found.append(seen(24 * day + rng.random() * 24, score, f"E{entity:02}", f"S{entity % 5}"))
    return sorted(found, key=lambda item: item.time)


@pytest.mark.parametrize("kind", ["plain", "tails", "growth", "drift"])
@pytest.mark.parametrize("per_week", [0.25, 0.5, 1.0])
def test_the_budget_holds_in_each_half_without_an_analyst(kind: str, per_week: float):
    days = 400
    setting = SignalSettings(budget_per_week=per_week)
    readings = replay(Board(setting), history(20, days, 7, kind), 500)
    first = {entity: min(r.start for r in readings if r.entity == entity) for entity in {r.entity for r in readings}}
    watched = [r for r in readings if r.start - first[r.entity] >= setting.warmup_buckets * timedelta(days=1)]
    begun = {(r.entity, r.start) for r in openings(readings)}
    for sectors in (False, True):
        for half in (0, 1):
            chosen = [
                r for r in watched
                if r.entity.startswith("sector:") is sectors and (r.start - START).days // (days // 2) == half
            ]  # fmt: skip
            alarms = sum((r.entity, r.start) in begun for r in chosen)
            assert alarms / (len(chosen) / 7) == pytest.approx(per_week, rel=0.2)


def test_confirmed_alarms_do_not_count_against_the_budget():
    stream, setting = history(20, 300, 8, "tails"), SignalSettings()
    board, now, count = Board(setting), START, 0
    for first in range(0, len(stream), 200):
        chunk = stream[first : first + 200]
        now = max([now, *(one.time for one in chunk)])
        board.observe(chunk)
        for reading in board.advance(now):
            if reading.alarm and board.feedback(reading.entity, reading.end, False):
                count += 1
    weeks = 20 * (300 - setting.warmup_buckets) / 7
    assert count > 1.5 * setting.budget_per_week * weeks


def test_feedback_counts_once_for_any_time_of_the_alarm_and_survives_a_restart():
    board, kept = Board(SignalSettings()), {}
    readings = replay(board, history(5, 150, 9, "plain"), 100)
    alarm = next(r for r in readings if r.alarm and not r.entity.startswith("sector:"))
    board = stored(board, kept)
    assert board.feedback(alarm.entity, alarm.start, False)
    changes = board.dump()
    assert set(changes) == {f"series:{alarm.entity}", "common:entity"}
    kept.update(changes)
    assert not board.feedback(alarm.entity, alarm.end, False)
    board = stored(board, kept)
    assert not board.feedback(alarm.entity, alarm.start + HOUR, False)
    assert board.feedback(alarm.entity, alarm.start + HOUR, True)
    assert not board.feedback("NOBODY", alarm.start, False)
    assert not board.feedback(alarm.entity, START - 1000 * HOUR, False)


@settings(max_examples=30, deadline=None)
@given(streams, st.lists(st.integers(0, 24 * 60), max_size=20))
def test_how_often_a_silent_stream_is_looked_at_changes_nothing(stream: list[Observation], looks: list[int]):
    one, other, kept = Board(SETTING), Board(SETTING), {}
    said = replay(one, stream)
    assert replay(other, stream) == said
    for hours in sorted(looks):
        said += one.pass_time(at(hours))
        one = stored(one, kept)
    again = replay(Board(SETTING), stream) + (other.pass_time(at(max(looks))) if looks else [])
    assert said == again
    one.dump(), other.dump()
    assert (one.clock.watermark, one.entities) == (other.clock.watermark, other.entities)


def test_a_silent_stream_closes_its_buckets_when_their_lateness_is_over():
    board = Board(SETTING)
    board.observe([seen(3)])
    board.advance(at(3))
    assert board.pass_time(at(24 + SETTING.lateness_hours) - timedelta(microseconds=1)) == []
    (entity, sector) = board.pass_time(at(24 + SETTING.lateness_hours))
    assert (entity.entity, sector.entity, entity.end) == ("ACME", "sector:Tools", at(24))
    board.observe([seen(20)])  # too late now
    board.advance(at(31))
    assert board.late == 1
    assert Board(SETTING).pass_time(at(1000)) == []
