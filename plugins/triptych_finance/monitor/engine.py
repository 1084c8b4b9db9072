"""The engine: what a source has given becomes items, index, alerts and notices, in one transaction.

Each item has one effect, whatever happens. The items of a poll, all that follows from them and the source's cursor
stand in the store together or not at all; an item whose key is stored is passed over; and after a transaction that
failed, what was in memory is thrown away and loaded anew.

How a stream is cut into polls changes nothing: each item is observed, and the clocks are set to its arrival, before
the next one is looked at.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from triptych.errors import ConfigError
from triptych_finance.alerts.evidence import PastPrices, evidence
from triptych_finance.alerts.notices import record
from triptych_finance.alerts.verdicts import SETTLED, STATE, settle
from triptych_finance.language.entities import Gazetteer
from triptych_finance.language.reading import Reading, read_documents
from triptych_finance.monitor.memory import COUNTED, DRIFTS, Memory, MonitorSettings
from triptych_finance.scoring import DIGITS, LABELS, Scorer
from triptych_finance.signal.board import Observation, SignalReading
from triptych_finance.signal.clock import EPOCH, moment
from triptych_finance.signal.drift import DriftInput, DriftReading
from triptych_finance.signal.settings import WEEK_HOURS
from triptych_finance.store.outlines import Outlines
from triptych_finance.store.schema import EntityRow, ItemRow, NoticeRow, ReadingRow
from triptych_finance.store.store import Store
from triptych_finance.store.transaction import Transaction
from triptych_finance.stream.item import Item, key
from triptych_finance.stream.source import Poll

log = logging.getLogger(__name__)

_HOUR, _WEEK = timedelta(hours=1), timedelta(hours=WEEK_HOURS)


@dataclass(frozen=True, slots=True)
class Processed:
    """What one poll has come to, all of it committed.

    `counts` has "items" (new ones, copies among them), "duplicates" (copies of earlier news), "known" (given again),
    "unknown" (symbols that the gazetteer lacks) and "problems" (entries that could not be read).
    """

    counts: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTED, 0))
    readings: int = 0
    notices: Sequence[NoticeRow] = ()
    drifts: Sequence[DriftReading] = ()  # those that report a drift
    verdicts: int = 0

    @property
    def idle(self) -> bool:
        """Whether, without items, nothing has come of it."""
        return not (self.verdicts or self.readings or self.notices)


class Monitor:
    """Takes polls and writes what follows from them into a store that it alone writes. For one thread at a time.

    Raises `ConfigError` where copies are looked for further back than items are kept.
    """

    def __init__(
        self,
        store: Store,
        scorer: Scorer,
        gazetteer: Gazetteer,
        settings: MonitorSettings,
        prices: PastPrices | None = None,
    ) -> None:
        if settings.stream.keep_days * 24 < settings.signal.duplicates.window_hours:
            raise ConfigError(
                f"stream.keep_days is {settings.stream.keep_days}, less than signal.duplicates.window_hours "
                f"({settings.signal.duplicates.window_hours} hours); copies can be told only from what is kept"
            )
        self.store, self.scorer, self.gazetteer, self.settings = store, scorer, gazetteer, settings
        self.prices = prices
        self.lateness = timedelta(hours=settings.signal.lateness_hours)
        self._memory: Memory | None = None  # None: to be loaded from the store
        self._pruned: datetime | None = None
        self._tried: tuple[str, str] | None = None  # source and cursor of the transaction that is under way, or failed
        self._now = EPOCH

    def now(self) -> datetime:
        """The clock of the stream: the latest arrival that is committed. Any thread may ask."""
        return self._now

    def cursor(self, source: str) -> str | None:
        """How far a source is read."""
        with self.store.reading() as tx:
            return tx.cursor(source)

    def process(self, source: str, poll: Poll) -> Processed:
        """All effects of a poll of the source of this name, in one transaction.

        Raises what scorer and store raise; nothing of the poll is written then, and it can be given again.
        """
        memory = self._remembered()
        if self._is_done(source, poll):
            return Processed()
        self._retain(memory)
        fresh = self._fresh(poll.items)
        found = read_documents(
            [(item.text, item.entities) for item in fresh], self.gazetteer, self.scorer, most=self.settings.sentences
        )
        self._memory, self._tried = None, (source, poll.cursor)  # memory is ahead of the store until it has committed
        rows = memory.without_copies(_rows(fresh, found, _clock_of(memory)))
        with self.store.transaction() as tx:
            done = _Step(self, memory, tx).take(source, poll, fresh, rows, found)
        self._memory, self._tried = memory, None
        self._now = _clock_of(memory)
        return done

    def attend(self) -> Processed:
        """Take up verdicts that analysts have given while no items came."""
        with self.store.reading() as tx:
            state = tx.get_state(STATE, SETTLED)
            waiting = tx.verdicts(after=int(state["number"]) if state else 0)
        if not waiting:
            return Processed()
        memory = self._remembered()
        self._memory = None
        with self.store.transaction() as tx:
            verdicts = settle(tx, memory.board.feedback)
            memory.save(tx)
        self._memory = memory
        return Processed(verdicts=len(verdicts))

    def beat(self, now: datetime) -> Processed:
        """Let event time go on to the last full hour of the clock, in one transaction: while a live stream is silent.

        What comes of it depends on the hour alone: a monitor that was killed and looks again comes to the same store,
        with however many looks in between. Before the first item nothing happens.
        """
        memory = self._remembered()
        watermark = memory.board.clock.watermark
        hour = EPOCH + (now - EPOCH) // _HOUR * _HOUR
        if watermark is None or hour <= moment(watermark):
            return Processed()
        self._memory = None
        with self.store.transaction() as tx:
            done = _Step(self, memory, tx).pass_time(hour)
        self._memory = memory
        self._now = _clock_of(memory)
        return done

    def _remembered(self) -> Memory:
        if self._memory is None:
            with self.store.reading() as tx:
                self._memory = Memory.load(tx, self.settings, self.gazetteer)
            self._now = _clock_of(self._memory)
        return self._memory

    def _is_done(self, source: str, poll: Poll) -> bool:
        """Whether this poll was committed after all, though the database's answer was lost."""
        return self._tried == (source, poll.cursor) and self.cursor(source) == poll.cursor

    def _fresh(self, items: Sequence[Item]) -> list[Item]:
        """Items whose keys are neither stored nor among the earlier ones."""
        by_key: dict[str, Item] = {}
        for item in items:
            by_key.setdefault(key(item), item)
        with self.store.reading() as tx:
            known = tx.known(list(by_key))
        return [item for name, item in by_key.items() if name not in known]

    def _retain(self, memory: Memory) -> None:
        """Remove what is too old. Whole weeks at a time: after a restart it is done once more, to the same effect."""
        whole = EPOCH + (_clock_of(memory) - EPOCH) // _WEEK * _WEEK
        keep = timedelta(days=self.settings.stream.keep_days)
        if whole - EPOCH <= keep or whole - keep == self._pruned:
            return
        pruned = self.store.prune(whole - keep)
        self._pruned = whole - keep
        if pruned.items:
            log.info("%d items older than %s are removed", pruned.items, f"{self._pruned:%Y-%m-%d}")


class _Step:
    """One transaction at work."""

    def __init__(self, monitor: Monitor, memory: Memory, tx: Transaction) -> None:
        self.monitor, self.memory, self.tx = monitor, memory, tx
        self.readings: list[SignalReading] = []
        self.notices: list[NoticeRow] = []
        self.drifts: list[DriftReading] = []
        self._outlines = Outlines(tx)

    def take(
        self, source: str, poll: Poll, fresh: Sequence[Item], rows: Sequence[ItemRow], found: Sequence[Reading]
    ) -> Processed:
        memory, tx = self.memory, self.tx
        verdicts = settle(tx, memory.board.feedback)
        tx.add_items(rows)
        for item, row, read in zip(fresh, rows, found, strict=True):
            self._observe(row, read, item.arrived)
            for symbol in read.unknown:
                memory.counters.unknown(symbol)
        self._conclude()
        counts = {
            "items": len(rows),
            "duplicates": sum(row.duplicate_of is not None for row in rows),
            "known": len(poll.items) - len(rows),
            "unknown": sum(len(read.unknown) for read in found),
            "problems": len(poll.problems),
        }
        memory.counters.add(source, counts)
        memory.save(tx)
        tx.put_states(DRIFTS, {f"{d.source}:{d.feature}:{d.start.isoformat()}": _as_json(d) for d in self.drifts})
        tx.set_cursor(source, poll.cursor)
        return Processed(counts, len(self.readings), self.notices, self.drifts, len(verdicts))

    def pass_time(self, now: datetime) -> Processed:
        verdicts = settle(self.tx, self.memory.board.feedback)
        self.readings += self.memory.board.pass_time(now)
        self._conclude()
        self.memory.save(self.tx)
        return Processed(readings=len(self.readings), notices=self.notices, verdicts=len(verdicts))

    def _observe(self, row: ItemRow, read: Reading, arrived: datetime) -> None:
        """Let one item have its effect before the next is looked at."""
        memory = self.memory
        if row.duplicate_of is None:
            sector = self.monitor.gazetteer.sector
            memory.board.observe(
                [Observation(e.entity, sector(e.entity), row.published, e.score, e.weight) for e in row.entities]
            )
            neutral = LABELS[int(np.argmax(read.probabilities))] == "neutral"
            memory.watch.observe([DriftInput(row.source, row.published, read.score, neutral, row.vector)])
        self.readings += memory.board.advance(arrived)
        self.drifts += [reading for reading in memory.watch.advance(arrived) if reading.drift]

    def _conclude(self) -> None:
        """Store the readings, and let the desk go on to the watermark of event time.

        One step for all buckets: what is due between two of them, the desk does at its moment.
        """
        self.tx.add_readings([_reading_row(reading) for reading in self.readings])
        watermark = self.memory.board.clock.watermark
        if watermark is not None:
            desk = self.memory.desk
            self.notices = record(self.tx, desk, self.readings, moment(watermark), self._explain)

    def _explain(self, reading: SignalReading) -> dict[str, Any]:
        """The evidence of an alert that fires with this reading."""
        one = self.monitor
        return evidence(self._outlines, reading, one.gazetteer, one.prices, lateness=one.lateness)


def _rows(fresh: Sequence[Item], found: Sequence[Reading], now: datetime) -> list[ItemRow]:
    """The items as they are kept. `now` is the latest arrival so far; a clock that goes back is passed over."""
    rows = []
    for item, read in zip(fresh, found, strict=True):
        now = max(now, item.arrived)
        vector = read.vector.astype(np.float16).astype(np.float32) if len(read.vector) else None  # as it is kept
        rows.append(
            ItemRow(
                key=key(item), source=item.source, id=item.id, published=item.published, arrived=now,
                title=item.title, text=item.text, url=item.url, metadata=item.metadata, score=read.score,
                probabilities=tuple(round(p, DIGITS) for p in read.probabilities), vector=vector,
                entities=tuple(EntityRow(e.symbol, e.score, e.weight, e.sentence) for e in read.entities),
            )
        )  # fmt: skip
    return rows


def _clock_of(memory: Memory) -> datetime:
    """The latest arrival so far."""
    now = memory.board.clock.now
    return EPOCH if now is None else moment(now)


def _reading_row(reading: SignalReading) -> ReadingRow:
    r = reading
    return ReadingRow(
        r.entity, r.start, r.end, r.index, r.change, r.volume, r.statistic, r.threshold, r.alarm, r.direction
    )  # fmt: skip


def _as_json(drift: DriftReading) -> dict[str, Any]:
    values = {name: getattr(drift, name) for name in drift.__dataclass_fields__}
    return {name: v.isoformat() if isinstance(v, datetime) else v for name, v in values.items()}
