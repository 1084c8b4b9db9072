"""What followed alarms, which is known only afterwards: hits and misses, lead time, recall, and their intervals.

An alarm hits where an event of its entity falls on one of the `horizon` trading days after the last close that was
known when it fired; the number of that day is its lead. An event counts as caught where such an alarm went before it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from triptych_finance.signal.settings import WEEK_HOURS
from triptych_finance.volatility.prices import MAX_GAP_DAYS, History, Prices

Array = npt.NDArray[np.float64]
Alarms = Mapping[str, Sequence[dt.datetime]]  # by entity, the moments at which they fired

DRAWS = 2_000  # of the bootstrap
BLOCK_WEEKS = 4  # that are drawn together: alarms, events and what links them reach over the end of a week
LEAST_BLOCKS = 3  # without which there is no interval
INTERVAL = (2.5, 97.5)  # percentiles
_HOUR = dt.timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Span:
    """The time in which an entity could raise alarms: all of them fire after `begin`, and none after `end`."""

    begin: dt.datetime
    end: dt.datetime

    @property
    def weeks(self) -> float:
        """Its length."""
        return (self.end - self.begin) / (WEEK_HOURS * _HOUR)

    def within(self, begin: dt.datetime, end: dt.datetime) -> float:
        """The weeks of it that lie between two moments."""
        return max(0.0, (min(self.end, end) - max(self.begin, begin)) / (WEEK_HOURS * _HOUR))


@dataclass(frozen=True, slots=True)
class Outcome:
    """An alarm and the event that followed it. Not `judged`: the prices do not reach far enough to know."""

    entity: str
    fired: dt.datetime
    judged: bool
    event: dt.date | None = None
    lead: int | None = None  # trading days


@dataclass(frozen=True, slots=True)
class Sums:
    """What is summed up over entities and blocks of time; each is [entities, blocks]."""

    alarms: Array
    judged: Array
    hits: Array
    lead: Array
    events: Array
    caught: Array
    weeks: Array

    def measures(self, by_entity: Array | None = None, by_block: Array | None = None) -> dict[str, Array]:
        """The measures, [draws], where entities count [draws, entities] and blocks [draws, blocks] times."""
        rows, columns = self.alarms.shape
        by_entity = np.ones((1, rows)) if by_entity is None else by_entity
        by_block = np.ones((1, columns)) if by_block is None else by_block

        def total(cells: Array) -> Array:
            summed: Array = ((by_entity @ cells) * by_block).sum(axis=1)
            return summed

        judged, hits, weeks = total(self.judged), total(self.hits), total(self.weeks)
        return {
            "precision": _ratio(hits, judged),
            "recall": _ratio(total(self.caught), total(self.events)),
            "lead": _ratio(total(self.lead), hits),
            "alarms_per_week": _ratio(total(self.alarms), weeks),
            "false_alarms_per_week": _ratio(judged - hits, weeks),
        }


class _Track:
    """The prices of one entity as far as alarms are concerned: its events, by position, and where it was watched."""

    def __init__(self, history: History, events: Sequence[dt.date], span: Span, horizon: int) -> None:
        self.history, self.span = history, span
        self.first, self.last = max(position(history, span.begin), 0), position(history, span.end)
        found = np.searchsorted(history.dates, np.array(events, dtype="datetime64[D]"))
        self.all_events: npt.NDArray[np.int64] = found.astype(np.int64)
        # only events before which an alarm could fire on each of the days that count
        watched = (found >= self.first + horizon) & (found <= self.last + 1)
        self.events = self.all_events[watched]

    def event_after(self, place: int, horizon: int) -> int | None:
        """The position of the first event on the `horizon` days after `place`."""
        number = int(np.searchsorted(self.all_events, place, side="right"))
        if number < len(self.all_events) and self.all_events[number] <= place + horizon:
            return int(self.all_events[number])
        return None

    def judgeable(self, place: int, fired: dt.datetime, horizon: int) -> bool:
        if place < 0 or place + horizon >= len(self.history):
            return False
        return (fired.date() - self.history.day(place)).days <= MAX_GAP_DAYS


class Hindsight:
    """Prices and spans of the entities that can be judged: those that have both.

    `window` and `z` say what an event is, as `Prices.volatility_events` has it.
    """

    def __init__(self, prices: Prices, spans: Mapping[str, Span], *, horizon: int, window: int, z: float) -> None:
        self.horizon = horizon
        tracks = {
            entity: _Track(
                prices.history(entity), prices.volatility_events(entity, window=window, z=z), spans[entity], horizon
            )
            for entity in sorted(spans)
            if entity in prices
        }
        self.tracks = {entity: track for entity, track in tracks.items() if track.last >= track.first}
        self._start = min((track.span.begin for track in self.tracks.values()), default=None)
        self._end = max((track.span.end for track in self.tracks.values()), default=None)

    @property
    def entities(self) -> list[str]:
        """The entities that are judged, sorted."""
        return list(self.tracks)

    @property
    def blocks(self) -> int:
        """How many blocks of time there are."""
        return 0 if self._end is None else self._block(self._end) + 1

    @property
    def middle(self) -> dt.datetime | None:
        """The moment between the halves; None where nothing is judged."""
        return None if self._start is None or self._end is None else self._start + (self._end - self._start) / 2

    def events(self, entity: str) -> list[dt.date]:
        """The events of an entity that an alarm could have gone before."""
        track = self.tracks[entity]
        return [track.history.day(int(place)) for place in track.events]

    def outcomes(self, alarms: Alarms) -> list[Outcome]:
        """Each alarm with what followed it, by time; those of entities that are not judged are left out."""
        found = []
        for entity, moments in alarms.items():
            track = self.tracks.get(entity)
            for fired in moments if track is not None else ():
                found.append(self._outcome(entity, track, fired))  # type: ignore[arg-type]
        return sorted(found, key=lambda outcome: (outcome.fired, outcome.entity))

    def sums(self, alarms: Alarms) -> Sums:
        """What alarms come to."""
        shape = (len(self.tracks), self.blocks)
        cells = {name: np.zeros(shape) for name in Sums.__dataclass_fields__}
        rows = {entity: row for row, entity in enumerate(self.tracks)}
        for outcome in self.outcomes(alarms):
            at = rows[outcome.entity], self._block(outcome.fired)
            cells["alarms"][at] += 1
            cells["judged"][at] += outcome.judged
            cells["hits"][at] += outcome.lead is not None
            cells["lead"][at] += outcome.lead or 0
        for entity, track in self.tracks.items():
            row = rows[entity]
            places = np.array([position(track.history, fired) for fired in alarms.get(entity, ())], dtype=np.int64)
            for event in track.events:
                at = row, self._block(_midnight(track.history.day(int(event))))
                cells["events"][at] += 1
                cells["caught"][at] += bool(np.any((places < event) & (places >= event - self.horizon)))
            for block in range(self.blocks):
                cells["weeks"][row, block] = track.span.within(*self._bounds(block))
        return Sums(**cells)

    def _outcome(self, entity: str, track: _Track, fired: dt.datetime) -> Outcome:
        place = position(track.history, fired)
        if not track.judgeable(place, fired, self.horizon):
            return Outcome(entity, fired, False)
        event = track.event_after(place, self.horizon)
        if event is None:
            return Outcome(entity, fired, True)
        return Outcome(entity, fired, True, track.history.day(event), event - place)

    def _block(self, moment: dt.datetime) -> int:
        assert self._start is not None
        assert self._end is not None
        held = min(max(moment, self._start), self._end)
        return int((held - self._start) / (BLOCK_WEEKS * WEEK_HOURS * _HOUR))

    def _bounds(self, block: int) -> tuple[dt.datetime, dt.datetime]:
        assert self._start is not None
        length = BLOCK_WEEKS * WEEK_HOURS * _HOUR
        return self._start + block * length, self._start + (block + 1) * length


class Bootstrap:
    """Draws of entities and of blocks of time, each on its own, with replacement.

    Counting every pair of a drawn entity and a drawn block makes intervals that hold where entities share good and bad
    weeks, and are rather too wide otherwise (Owen, "The pigeonhole bootstrap", 2007). The draws are the same for all
    alarms on one `Hindsight`, so that differences can be told more surely than the measures themselves.
    """

    def __init__(self, hindsight: Hindsight, *, draws: int = DRAWS, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        rows, columns = len(hindsight.tracks), hindsight.blocks
        self.enough = columns >= LEAST_BLOCKS and rows > 0
        if self.enough:
            self._by_entity = rng.multinomial(rows, np.full(rows, 1 / rows), draws).astype(float)
            self._by_block = rng.multinomial(columns, np.full(columns, 1 / columns), draws).astype(float)

    def measures(self, sums: Sums) -> dict[str, Array]:
        """The measures in each draw; empty where there is too little time for an interval."""
        if not self.enough:
            return {name: np.zeros(0) for name in sums.measures()}
        return sums.measures(self._by_entity, self._by_block)


def position(history: History, moment: dt.datetime) -> int:
    """The position of the last close that was known at a moment: that of a day that had ended, in UTC; -1: none."""
    day = np.datetime64(moment.astimezone(dt.UTC).date())
    return int(np.searchsorted(history.dates, day, side="left")) - 1


def interval(draws: Array) -> tuple[float, float] | None:
    """The middle 95 per cent of draws; None where hardly any of them says anything."""
    said = draws[np.isfinite(draws)]
    if len(said) == 0 or len(said) < 0.9 * len(draws):
        return None
    low, high = np.percentile(said, INTERVAL)
    return float(low), float(high)


def _ratio(above: Array, below: Array) -> Array:
    found: Array = np.divide(above, below, out=np.full(len(above), np.nan), where=below > 0)
    return found


def _midnight(day: dt.date) -> dt.datetime:
    return dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC)
