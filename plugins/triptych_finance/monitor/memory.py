"""What a monitor remembers between two transactions; the store has all of it, so that it can be made anew."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from triptych_finance.alerts.desk import Desk
from triptych_finance.alerts.notices import STATE as DESK
from triptych_finance.alerts.settings import AlertSettings
from triptych_finance.language.entities import Gazetteer
from triptych_finance.signal.board import Board
from triptych_finance.signal.clock import micros, moment
from triptych_finance.signal.drift import DriftWatch
from triptych_finance.signal.duplicates import Duplicates
from triptych_finance.signal.settings import DuplicateSettings, SignalSettings
from triptych_finance.store.schema import ItemRow
from triptych_finance.store.transaction import Transaction
from triptych_finance.stream.settings import StreamSettings

BOARD, DRIFT, DRIFTS, COUNTERS, UNKNOWN, RECENT = "board", "drift", "drifts", "counters", "unknown", "recent"  # states
_NEWEST = "newest"
COUNTED = ("items", "duplicates", "known", "unknown", "problems")
COMPARED = 20_000  # characters of a text that are compared with others'
MOST_UNKNOWN = 200  # symbols that are named; more are only counted


class MonitorSettings(Protocol):
    """What a monitor is set by; `triptych_finance.settings.Settings` is."""

    @property
    def sentences(self) -> int:
        """Of one text, how many are read."""

    @property
    def signal(self) -> SignalSettings:
        """The index and its alarms."""

    @property
    def alerts(self) -> AlertSettings:
        """Alerts and their channels."""

    @property
    def stream(self) -> StreamSettings:
        """How items are taken and kept."""


class Counters:
    """Per source, how many items were new, copies, known already, and how many entries could not be read.

    "unknown" counts symbols that sources name and the gazetteer lacks; `symbols` has the first of them.
    """

    def __init__(self, by_source: Mapping[str, Mapping[str, int]], symbols: Mapping[str, int]) -> None:
        self.by_source = {source: dict(counts) for source, counts in by_source.items()}
        self.symbols = dict(symbols)
        self._sources: set[str] = set()
        self._symbols: set[str] = set()

    def add(self, source: str, counts: Mapping[str, int]) -> None:
        """Add what one poll brought."""
        if any(counts.values()):
            total = self.by_source.setdefault(source, dict.fromkeys(COUNTED, 0))
            for name, count in counts.items():
                total[name] = total.get(name, 0) + count
            self._sources.add(source)

    def unknown(self, symbol: str) -> None:
        """Note an unknown symbol, by its first 40 characters."""
        symbol = symbol[:40]
        if symbol in self.symbols or len(self.symbols) < MOST_UNKNOWN:
            self.symbols[symbol] = self.symbols.get(symbol, 0) + 1
            self._symbols.add(symbol)

    def save(self, tx: Transaction) -> None:
        """Store what has changed."""
        tx.put_states(COUNTERS, {source: self.by_source[source] for source in sorted(self._sources)})
        tx.put_states(UNKNOWN, {symbol: {"count": self.symbols[symbol]} for symbol in sorted(self._symbols)})
        self._sources.clear()
        self._symbols.clear()


class Memory:
    """Board, desk, watch for drift, recent texts and counters, as they were when the last transaction ended."""

    def __init__(
        self,
        board: Board,
        desk: Desk,
        watch: DriftWatch,
        duplicates: Duplicates,
        newest: datetime | None,
        counters: Counters,
    ) -> None:
        self.board, self.desk, self.watch = board, desk, watch
        self.duplicates, self.newest = duplicates, newest
        self.counters = counters

    @classmethod
    def load(cls, tx: Transaction, settings: MonitorSettings, gazetteer: Gazetteer) -> Self:
        """From the store. Raises `ConfigError` where what is stored was made with other buckets or windows."""
        signal = settings.signal
        board = Board.load(signal, tx.states(BOARD))
        lateness = timedelta(hours=signal.lateness_hours)
        desk = Desk.load(settings.alerts, tx.states(DESK), lateness=lateness, sector=gazetteer.sector)
        state = tx.get_state(RECENT, _NEWEST)
        newest = None if state is None else moment(state["time"])
        unknown = {symbol: int(state["count"]) for symbol, state in tx.states(UNKNOWN).items()}
        return cls(
            board,
            desk,
            DriftWatch.load(signal, tx.states(DRIFT)),
            Duplicates(signal.duplicates) if newest is None else _recent(tx, newest, signal.duplicates),
            newest,
            Counters(tx.states(COUNTERS), unknown),
        )

    def without_copies(self, rows: Sequence[ItemRow]) -> list[ItemRow]:
        """The rows, each with the key of the first item that says the same, where there is one."""
        found = self.duplicates.collapse(*_to_compare(rows), entities=_named(rows))
        self.newest = max([*map(_placed, rows), *([] if self.newest is None else [self.newest])], default=None)
        return [
            row if first is None else dataclasses.replace(row, duplicate_of=first)
            for row, first in zip(rows, found, strict=True)
        ]

    def save(self, tx: Transaction) -> None:
        """Store what has changed. The desk's state is stored with each of its steps."""
        tx.put_states(BOARD, self.board.dump())
        tx.put_states(DRIFT, self.watch.dump())
        self.counters.save(tx)
        if self.newest is not None:
            tx.put_states(RECENT, {_NEWEST: {"time": micros(self.newest)}})


def _recent(tx: Transaction, newest: datetime, settings: DuplicateSettings) -> Duplicates:
    """The texts of the window, as they were remembered when its newest item came."""
    duplicates = Duplicates(settings)
    since = newest - timedelta(hours=settings.window_hours)
    rows = [row for row in tx.items(since=since) if _placed(row) >= since]
    duplicates.restore(*_to_compare(rows), [row.duplicate_of for row in rows], entities=_named(rows))
    return duplicates


def _to_compare(rows: Sequence[ItemRow]) -> tuple[list[str], list[str], NDArray[np.float32], list[datetime]]:
    """Keys, texts, vectors [rows, dim] and times of items."""
    dim = max([1, *(len(row.vector) for row in rows if row.vector is not None)])
    none = np.zeros(dim, np.float32)
    vectors = np.stack([none, *(none if row.vector is None else row.vector for row in rows)])[1:]
    return [row.key for row in rows], [row.text[:COMPARED] for row in rows], vectors, [_placed(row) for row in rows]


def _named(rows: Sequence[ItemRow]) -> list[list[str]]:
    return [[one.entity for one in row.entities] for row in rows]


def _placed(row: ItemRow) -> datetime:
    """The event time that counts: nothing is published after it has arrived."""
    return min(row.published, row.arrived)
