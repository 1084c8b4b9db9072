"""The index of every entity and sector in event time, bucket by bucket, with its alarms.

Nothing here knows the clock of the machine or the store: what comes out depends on what went in and on its order, and
not on how it was cut into calls or on how often the state was saved and loaded in between.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Self

from triptych.errors import ConfigError, DataError
from triptych_finance.signal.calibration import Budget
from triptych_finance.signal.clock import HOUR, EventClock, micros, moment
from triptych_finance.signal.detector import Detector, Measure, Past
from triptych_finance.signal.series import Group, Series
from triptych_finance.signal.settings import SignalSettings

SECTOR = "sector:"
_BOARD, _COMMON, _SERIES, _PAST = "board", "common:", "series:", "past:"
_FIXED = ("bucket_hours", "half_life_hours")  # what a stored state cannot change


@dataclass(frozen=True, slots=True)
class Observation:
    """What one item says about one entity. `score` in [-1, 1]; `sector` may be ""."""

    entity: str
    sector: str
    time: datetime
    score: float
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class SignalReading:
    """The index of an entity or sector ("sector:<name>") at the `end` of a bucket.

    `change` is since the bucket before, `volume` the weight of the bucket's own news, `statistic` its surprise in
    bits (k: one bucket in 2^k), and `threshold` what an alarm needs. `alarm` holds for as long as the alarm goes on:
    count its beginnings with `openings`. `direction` is 1, -1, or 0 where volume alone is unusual.
    """

    entity: str
    start: datetime
    end: datetime
    index: float
    change: float
    volume: float
    statistic: float
    threshold: float
    alarm: bool
    direction: int


def openings(readings: Iterable[SignalReading]) -> list[SignalReading]:
    """The readings, given in order of time, at which an alarm begins: these are what the budget counts."""
    before: dict[str, bool] = {}
    opened = []
    for reading in readings:
        if reading.alarm and not before.get(reading.entity, False):
            opened.append(reading)
        before[reading.entity] = reading.alarm
    return opened


class _Event(NamedTuple):
    entity: str
    sector: str
    time: int
    score: float
    weight: float


class Board:
    """All series. `observe` takes what was read, `advance` closes buckets, `dump` gives what must be stored.

    `late` counts observations whose bucket had been closed; they enter the index with their age and reopen nothing.
    """

    def __init__(self, settings: SignalSettings) -> None:
        self.settings = settings
        self.clock = EventClock()
        self.late = 0
        self._size = settings.bucket_hours * HOUR
        self._lateness = round(settings.lateness_hours * HOUR)
        self._half_life = settings.half_life_hours * HOUR
        self._fade = 2.0 ** (-self._size / self._half_life)
        self._closed: int | None = None  # the last closed bucket
        self._waiting: list[_Event] = []
        self._groups = {kind: Group(Detector(settings), Budget(settings)) for kind in ("entity", "sector")}
        self._changed: set[str] = set()

    @property
    def entities(self) -> list[str]:
        """The entities seen so far, sorted."""
        return list(self._groups["entity"].ordered)

    def observe(self, observations: Sequence[Observation]) -> None:
        """Take observations, in the order of their arrival; they count from the next `advance` on.

        Raises `DataError`, and takes none, for a time without a zone, a score outside [-1, 1], a weight that is not
        a positive number, or an entity that is called like a sector's series.
        """
        events = []
        for one in observations:
            if not -1.0 <= one.score <= 1.0 or not 0.0 < one.weight < math.inf:
                raise DataError(
                    f"an observation of {one.entity!r} has score {one.score} and weight {one.weight}; "
                    "a score lies in [-1, 1], a weight is a positive number"
                )
            if one.entity.startswith(SECTOR):
                raise DataError(f"an entity is called {one.entity!r}; names that begin with {SECTOR!r} are for sectors")
            events.append(_Event(one.entity, one.sector, micros(one.time), one.score, one.weight))
        if events:
            self._waiting += events
            self._changed.add(_BOARD)

    def advance(self, now: datetime) -> list[SignalReading]:
        """Close every bucket whose end is `lateness_hours` before the watermark; a reading for each series of each.

        The watermark is the latest event time so far, none later than `now`. A `now` before the last one is passed
        over and counted. Readings come bucket by bucket, entities first, each by name.
        """
        self.clock.tick(micros(now))
        self._changed.add(_BOARD)
        readings: list[SignalReading] = []
        waiting, self._waiting = self._waiting, []
        for event in waiting:
            time = self.clock.place(event.time)
            self._take(event, time)
            self._close_until(self.clock.reach(time), readings)
        return readings

    def pass_time(self, now: datetime) -> list[SignalReading]:
        """As `advance`, of a stream that is silent: the watermark goes on to `now`. Before any news it stands."""
        at = micros(now)
        readings = self.advance(moment(max(at, self.clock.now or at)))
        if self._closed is not None:
            self._close_until(self.clock.reach(at), readings)
        return readings

    def feedback(self, entity: str, time: datetime, false_alarm: bool) -> bool:
        """An analyst's verdict on the alarm of an entity or sector that `time`, from its start to its end, lies in.

        Counts once: the same verdict again changes nothing and returns False, as does one about no known alarm.
        """
        group = self._groups["sector" if entity.startswith(SECTOR) else "entity"]
        series = group.series.get(entity)
        if series is None:
            return False
        at = micros(time)
        for bucket in (at // self._size, (at - 1) // self._size):  # an end is the start of the next bucket
            if group.budget.verdict(series.account, bucket, false_alarm=false_alarm):
                self._changed |= {_SERIES + entity, _COMMON + self._kind(entity)}
                return True
        return False

    def dump(self) -> dict[str, dict[str, Any]]:
        """The state, as JSON, of what changed since the last call."""
        states = {key: self._state(key) for key in sorted(self._changed)}
        self._changed.clear()
        return states

    @classmethod
    def load(cls, settings: SignalSettings, states: Mapping[str, Mapping[str, Any]]) -> Self:
        """The board whose dumps these are, each key's latest; a new one where there are none.

        Raises `ConfigError` where the state was made with other buckets or another half-life.
        """
        board = cls(settings)
        if _BOARD not in states:
            return board
        state = states[_BOARD]
        for name, stored in zip(_FIXED, state["fixed"], strict=True):
            if stored != getattr(settings, name):
                raise ConfigError(
                    f"signal.{name} is {getattr(settings, name)}, but what is stored was made with {stored}; "
                    "set it back, or start with a new store"
                )
        board.clock = EventClock.load(state["clock"])
        board.late, board._closed = state["late"], state["closed"]
        board._waiting = [_Event(*event) for event in state["waiting"]]
        for kind, group in board._groups.items():
            common = states.get(_COMMON + kind)
            if common is not None:
                group.detector = Detector.load(settings, common["detector"])
                group.budget.surplus = common["surplus"]
        for key in sorted(states):
            if key.startswith(_SERIES):
                name = key.removeprefix(_SERIES)
                past = Past(settings.window, states[_PAST + name]["past"])
                board._groups[board._kind(name)].put(name, Series.load(states[key], past))
        return board

    def _state(self, key: str) -> dict[str, Any]:
        if key == _BOARD:
            return {
                "fixed": [getattr(self.settings, name) for name in _FIXED],
                "clock": self.clock.dump(),
                "late": self.late,
                "closed": self._closed,
                "waiting": [list(event) for event in self._waiting],
            }
        if key.startswith(_COMMON):
            group = self._groups[key.removeprefix(_COMMON)]
            return {"detector": group.detector.dump(), "surplus": group.budget.surplus}
        name = key.partition(":")[2]
        series = self._groups[self._kind(name)].series[name]
        return series.dump() if key.startswith(_SERIES) else {"past": series.past.dump()}

    @staticmethod
    def _kind(name: str) -> str:
        return "sector" if name.startswith(SECTOR) else "entity"

    def _take(self, event: _Event, time: int) -> None:
        """Enter an observation into its bucket, or, where that is closed, into the decayed sums."""
        bucket, late = time // self._size, False
        if self._closed is not None and bucket <= self._closed:
            self.late += 1
            bucket, late = self._closed, True
        weight = event.weight * 2.0 ** ((time - (bucket + 1) * self._size) / self._half_life)
        self._put("entity", event.entity, event, weight, bucket, late=late)
        if event.sector:
            self._put("sector", SECTOR + event.sector, event, weight, bucket, late=late)

    def _put(self, kind: str, name: str, event: _Event, weight: float, bucket: int, *, late: bool) -> None:
        """`weight` is what is left of it at the end of the bucket; late: of the last closed one."""
        group = self._groups[kind]
        self._changed.add(_SERIES + name)
        series = group.series.get(name)
        if series is None:
            series = Series(bucket + late, Past(self.settings.window))
            group.put(name, series)
            self._changed.add(_PAST + name)
        if late:
            series.scored += weight * event.score
            series.weight += weight
            return
        series.first = min(series.first, bucket)
        sums = series.open.setdefault(bucket, [0.0, 0.0, 0.0])
        sums[0] += event.weight
        sums[1] += weight * event.score
        sums[2] += weight

    def _close_until(self, watermark: int, readings: list[SignalReading]) -> None:
        last = (watermark - self._lateness) // self._size - 1
        if self._closed is None:
            self._closed = last
        while self._closed < last:
            self._close(self._closed + 1, readings)
            self._closed += 1

    def _close(self, bucket: int, readings: list[SignalReading]) -> None:
        start, end = moment(bucket * self._size), moment((bucket + 1) * self._size)
        for kind, group in self._groups.items():
            if not group.series:
                continue
            learnt: list[tuple[Past, Measure]] = []
            accounts = []
            for name in group.ordered:
                series = group.series[name]
                if series.first > bucket:
                    continue
                change, volume = series.fold(bucket, self._fade, self.settings.prior)
                surprise, direction = 0.0, 0
                if volume:
                    measure = group.detector.measure(series.past, bucket, change, volume)
                    surprise, direction = measure.surprise, measure.direction
                    learnt.append((series.past, measure))
                    self._changed.add(_PAST + name)
                account = series.account
                threshold = group.budget.threshold(account)
                alarm = group.budget.judge(account, bucket, surprise, direction, threshold)
                accounts.append(account)
                self._changed.add(_SERIES + name)
                state = (series.index, change, volume, surprise, threshold, alarm, direction)
                readings.append(SignalReading(name, start, end, *state))
            group.detector.learn(bucket, learnt)
            group.budget.settle(accounts)
            self._changed.add(_COMMON + kind)
