"""Drift of what comes in, by a sequential test whose rate of false reports is set.

Each source's stream is cut into windows of event time, weeks by default, and of each window five features are taken:
mean and spread of its scores, the share of neutral items, the volume, and the mean vector. Each feature is watched by
a test on the ranks of its windows (see `betting`), and all tests of a source together make `false_reports_per_year`
at most in the mean, however long they go on.

Exchangeable says more than "no drift": a trend, a season or a crisis that lasts for weeks is reported, and is meant
to be. Windows of a week keep the week's own pattern and most of the dependence between neighbours out of it.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from triptych.errors import ConfigError, DataError
from triptych_finance.signal.betting import Test
from triptych_finance.signal.clock import HOUR, EventClock, micros, moment
from triptych_finance.signal.settings import SignalSettings

FEATURES = ("score", "spread", "neutral", "volume", "vector")
_STEPS = 10_000  # in which scores are counted, so that their sums are exact in any order
_DIRECTIONS = 32  # that vectors are projected on
_GRID = 2.0**14  # the same for vectors
_YEAR_HOURS = 8766
_CLOCK, _SOURCE = "drift", "drift:"


@dataclass(frozen=True, slots=True)
class DriftInput:
    """One scored item. Give `source` as "" to watch all sources as one. `vector` is float [dim], of unit length."""

    source: str
    time: datetime
    score: float
    neutral: bool
    vector: NDArray[Any] | None = None


@dataclass(frozen=True, slots=True)
class DriftReading:
    """What one window says about one feature of a source.

    `p_value` is the window's rank among those since `since`, the beginning or the last report; `evidence` is what the
    bets have won, as log10, and `threshold` what it has to reach for `drift`.
    """

    source: str
    feature: str
    start: datetime
    end: datetime
    since: datetime
    p_value: float
    evidence: float
    threshold: float
    drift: bool


class _Event(NamedTuple):
    source: str
    time: int
    score: float
    neutral: bool
    projected: list[int] | None


class _Sums:
    """An open window: whole numbers, whose sums do not depend on their order."""

    __slots__ = ("count", "neutral", "projected", "score", "square", "vectors")

    def __init__(self) -> None:
        self.count = self.score = self.square = self.neutral = self.vectors = 0
        self.projected: list[int] = []

    def add(self, event: _Event) -> None:
        score = round(event.score * _STEPS)
        self.count += 1
        self.score += score
        self.square += score * score
        self.neutral += event.neutral
        if event.projected is not None:
            self.vectors += 1
            before = self.projected or [0] * _DIRECTIONS
            self.projected = [old + new for old, new in zip(before, event.projected, strict=True)]

    def features(self, least: int) -> dict[str, list[float]]:
        """The window's features; only the volume where there are fewer items than `least`."""
        found = {"volume": [math.log1p(self.count)]}
        if self.count >= least:
            found["score"] = [self.score / self.count / _STEPS]
            found["spread"] = [(self.square * self.count - self.score**2) / (self.count * _STEPS) ** 2]
            found["neutral"] = [self.neutral / self.count]
        if self.vectors >= least:
            found["vector"] = [total / self.vectors / _GRID for total in self.projected]
        return found

    def dump(self) -> list[Any]:
        return [self.count, self.score, self.square, self.neutral, self.vectors, list(self.projected)]

    @classmethod
    def load(cls, state: Sequence[Any]) -> Self:
        sums = cls()
        sums.count, sums.score, sums.square, sums.neutral, sums.vectors, projected = state
        sums.projected = list(projected)
        return sums


class _Source:
    def __init__(self, first: int) -> None:
        self.first = first
        self.open: dict[int, _Sums] = {}
        self.tests: dict[str, Test] = {}

    def dump(self) -> dict[str, Any]:
        buckets = [[number, *sums.dump()] for number, sums in self.open.items()]
        return {"first": self.first, "open": buckets, "tests": {k: test.dump() for k, test in self.tests.items()}}

    @classmethod
    def load(cls, state: Mapping[str, Any]) -> Self:
        source = cls(state["first"])
        source.open = {number: _Sums.load(sums) for number, *sums in state["open"]}
        source.tests = {feature: Test.load(test) for feature, test in state["tests"].items()}
        return source


class DriftWatch:
    """The tests of all sources: `observe`, `advance`, `dump` and `load` as a `Board` has them.

    `late` counts items whose window had been closed; they are passed over.
    """

    def __init__(self, settings: SignalSettings) -> None:
        self.settings = settings
        self.clock = EventClock()
        self.late = 0
        self._size = settings.drift.window_hours * HOUR
        self._lateness = round(settings.lateness_hours * HOUR)
        windows = _YEAR_HOURS / settings.drift.window_hours / settings.drift.false_reports_per_year
        self._threshold = math.log10(max(1.0, windows * len(FEATURES)))
        self._closed: int | None = None
        self._waiting: list[_Event] = []
        self._sources: dict[str, _Source] = {}
        self._changed: set[str] = set()

    def observe(self, inputs: Sequence[DriftInput]) -> None:
        """Take items in the order of their arrival; they count from the next `advance` on.

        Raises `DataError`, and takes none, for a time without a zone or a score outside [-1, 1].
        """
        events = []
        for one in inputs:
            if not -1.0 <= one.score <= 1.0:
                raise DataError(f"an item of source {one.source!r} has score {one.score}; a score lies in [-1, 1]")
            projected = None if one.vector is None else _project(one.vector)
            events.append(_Event(one.source, micros(one.time), one.score, one.neutral, projected))
        if events:
            self._waiting += events
            self._changed.add(_CLOCK)

    def advance(self, now: datetime) -> list[DriftReading]:
        """Close every window whose end is `lateness_hours` before the watermark; a reading for each feature in it."""
        self.clock.tick(micros(now))
        self._changed.add(_CLOCK)
        readings: list[DriftReading] = []
        waiting, self._waiting = self._waiting, []
        for event in waiting:
            time = self.clock.place(event.time)
            window = time // self._size
            if self._closed is not None and window <= self._closed:
                self.late += 1
            else:
                self._add(event, window)
            last = (self.clock.reach(time) - self._lateness) // self._size - 1
            if self._closed is None:
                self._closed = last
            while self._closed < last:
                self._close(self._closed + 1, readings)
                self._closed += 1
        return readings

    def dump(self) -> dict[str, dict[str, Any]]:
        """The state, as JSON, of what changed since the last call."""
        states = {key: self._state(key) for key in sorted(self._changed)}
        self._changed.clear()
        return states

    @classmethod
    def load(cls, settings: SignalSettings, states: Mapping[str, Mapping[str, Any]]) -> Self:
        """The watch whose dumps these are. Raises `ConfigError` where it was made with other windows."""
        watch = cls(settings)
        if _CLOCK not in states:
            return watch
        state = states[_CLOCK]
        if state["window_hours"] != settings.drift.window_hours:
            raise ConfigError(
                f"signal.drift.window_hours is {settings.drift.window_hours}, but what is stored was made with "
                f"{state['window_hours']}; set it back, or start with a new store"
            )
        watch.clock = EventClock.load(state["clock"])
        watch.late, watch._closed = state["late"], state["closed"]
        watch._waiting = [_Event(*event) for event in state["waiting"]]
        for key in sorted(states):
            if key.startswith(_SOURCE):
                watch._sources[key.removeprefix(_SOURCE)] = _Source.load(states[key])
        return watch

    def _state(self, key: str) -> dict[str, Any]:
        if key != _CLOCK:
            return self._sources[key.removeprefix(_SOURCE)].dump()
        return {
            "window_hours": self.settings.drift.window_hours,
            "clock": self.clock.dump(),
            "late": self.late,
            "closed": self._closed,
            "waiting": [list(event) for event in self._waiting],
        }

    def _add(self, event: _Event, window: int) -> None:
        source = self._sources.setdefault(event.source, _Source(window))
        source.first = min(source.first, window)
        source.open.setdefault(window, _Sums()).add(event)
        self._changed.add(_SOURCE + event.source)

    def _close(self, window: int, readings: list[DriftReading]) -> None:
        for name in sorted(self._sources):
            source = self._sources[name]
            if source.first > window:
                continue
            self._changed.add(_SOURCE + name)
            features = source.open.pop(window, _Sums()).features(self.settings.drift.min_items)
            for feature in FEATURES:
                if feature in features:
                    test = source.tests.setdefault(feature, Test(window))
                    readings.append(self._read(name, feature, test, features[feature], window))

    def _read(self, name: str, feature: str, test: Test, features: list[float], window: int) -> DriftReading:
        p_value = test.bet(features, f"{name}:{feature}")
        evidence, since = test.evidence(), moment(test.since * self._size)
        drift = evidence >= self._threshold
        if drift:
            test.restart(window + 1)
        start, end = moment(window * self._size), moment((window + 1) * self._size)
        return DriftReading(name, feature, start, end, since, p_value, evidence, self._threshold, drift)


@functools.cache
def _signs(dim: int) -> NDArray[np.float64]:
    """Fixed random signs [_DIRECTIONS, dim], from a hash."""
    rows = [hashlib.shake_256(f"{row}".encode()).digest(-(-dim // 8)) for row in range(_DIRECTIONS)]
    bits = np.unpackbits(np.frombuffer(b"".join(rows), dtype=np.uint8).reshape(_DIRECTIONS, -1), axis=1)[:, :dim]
    return bits.astype(np.float64) * 2 - 1


def _project(vector: NDArray[Any]) -> list[int]:
    """A vector on the fixed directions, in multiples of 1 / _GRID: whole numbers, whose sums are exact."""
    whole = np.rint(np.asarray(vector, dtype=np.float64) * _GRID)
    return [int(value) for value in _signs(len(whole)) @ whole]
