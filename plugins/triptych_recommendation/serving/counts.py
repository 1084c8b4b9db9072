"""How often items were chosen and shown: what is popular, and what nobody has had a chance to see."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select

from triptych.retrieval.growing import Growing
from triptych_recommendation.catalogue import tables
from triptych_recommendation.catalogue.schema import EventRow
from triptych_recommendation.catalogue.transaction import Transaction
from triptych_recommendation.data.interactions import Interactions


class Counts:
    """Events by item, those of the bundle and of the store; and showings, which are counted from the opening on.

    Events with items that have no row wait for it. Any number of threads may read and count showings; one that adds
    events or rows must be alone.
    """

    def __init__(self, past: Interactions) -> None:
        self.learnt = np.bincount(past.item, minlength=len(past.items)) > 0
        """Bool [items of the bundle]: those that a model can know from events."""
        self._events = Growing(np.int64, np.bincount(past.item, minlength=len(past.items)))
        self._shown = Growing(np.int64, np.zeros(len(past.items)))
        self._waiting: dict[str, int] = {}
        self._order: NDArray[np.int64] | None = None
        self._showing = threading.Lock()

    @property
    def events(self) -> NDArray[np.int64]:
        """Int64 [items]."""
        return self._events.view

    def popular(self) -> NDArray[np.int64]:
        """All rows, those with most events first, of equals the lower row first."""
        order = self._order
        if order is None or len(order) < len(self._events):
            order = self._order = np.argsort(-self.events, kind="stable")
        return order

    def little_seen(self, most: int, rows: Any = slice(None)) -> NDArray[np.bool_]:
        """Bool [rows], of all by default: those with at most so many events and showings together."""
        found: NDArray[np.bool_] = self.events[rows] + self._shown.view[rows] <= most
        return found

    def show(self, rows: Iterable[int]) -> None:
        """These were shown once more."""
        with self._showing:
            self._shown.view[list(rows)] += 1

    def put(self, ids: Iterable[str], rows: Iterable[int]) -> None:
        """There are rows for these ids now."""
        for name, row in zip(ids, rows, strict=True):
            new = max(row + 1 - len(self._events), 0)
            self._events.extend(np.zeros(new))
            self._shown.extend(np.zeros(new))
            self._events.view[row] += self._waiting.pop(name, 0)
        self._order = None

    def add(self, counts: Iterable[tuple[str, int]], rows: dict[str, int]) -> None:
        """So many more events by item."""
        for name, count in counts:
            if name in rows:
                self._events.view[rows[name]] += count
            else:
                self._waiting[name] = self._waiting.get(name, 0) + count
        self._order = None


class Known:
    """Which events the bundle has: people hand in the events of the store again when a bundle is built."""

    def __init__(self, past: Interactions) -> None:
        self.newest = int(past.time.max()) if len(past) else np.iinfo(np.int64).min
        """No event later than this is in the bundle."""
        self._past = past
        self._users = {name: row for row, name in enumerate(past.users)}
        self._items = {name: row for row, name in enumerate(past.items)}
        self._kinds = {name: place for place, name in enumerate(past.kinds)}

    def has(self, event: EventRow) -> bool:
        """Whether an event with the same user, item, type and time is there."""
        user, item, kind = self._users.get(event.user), self._items.get(event.item), self._kinds.get(event.kind)
        if event.time > self.newest or user is None or item is None or kind is None:
            return False
        part = slice(int(self._past.starts[user]), int(self._past.starts[user + 1]))
        there = (self._past.time[part] == event.time) & (self._past.item[part] == item)
        return bool((there & (self._past.kind[part] == kind)).any())


def stored_counts(tx: Transaction, known: Known) -> list[tuple[str, int]]:
    """How many events the store has of each item that the bundle does not have; dislikes are none."""
    table = tables.event
    later: Any = select(table.c.item, func.count()).where(table.c.weight > 0, table.c.time > known.newest)
    found = [(str(item), int(count)) for item, count in tx.connection.execute(later.group_by(table.c.item))]
    return found + counts_of(tx.events(until=known.newest), known)


def counts_of(events: Iterable[EventRow], known: Known) -> list[tuple[str, int]]:
    """As `stored_counts`, of these events."""
    return [(event.item, 1) for event in events if event.weight > 0 and not known.has(event)]
