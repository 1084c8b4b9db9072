"""What each user did up to now: the bundle's events and the store's, as one history that models read."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select

from triptych_recommendation.catalogue import tables
from triptych_recommendation.catalogue.schema import EventRow
from triptych_recommendation.catalogue.store import Store
from triptych_recommendation.catalogue.transaction import Transaction
from triptych_recommendation.data.interactions import History, Interactions
from triptych_recommendation.serving.shelf import Shelf

REMEMBERED = 50_000
"""Users whose merged histories are kept in memory; others are read from the store when they come."""


@dataclass(frozen=True, slots=True, eq=False)
class UserState:
    """One user: `history` is what models learn from, `seen` int32 all rows he had to do with, disliked ones too."""

    history: History
    seen: NDArray[np.int32]
    kinds: tuple[str, ...]  # of each event of the history
    known: bool  # whether he ever did anything


NOBODY = UserState(History.of([]), np.empty(0, dtype=np.int32), (), known=False)


class Users:
    """The users by name. An event counts from the moment in which it is written; nothing is trained again.

    Events with items that are not on the shelf wait in the store until the item is added. Safe for threads.
    """

    def __init__(self, past: Interactions, store: Store, shelf: Shelf) -> None:
        self._past = past
        self._rows = {name: row for row, name in enumerate(past.users)}
        self._store = store
        self._shelf = shelf
        self._states: OrderedDict[str, UserState] = OrderedDict()
        self._changing = threading.Lock()
        with store.reading() as tx:
            self._stored = stored_users(tx)  # all others need not be looked for there
        self._changes = 0  # so that a state read before a change is not remembered after it

    def get(self, user: str | None) -> UserState:
        """The state of a user; of one who never did anything, or has no name, `NOBODY`."""
        if user is None:
            return NOBODY
        with self._changing:
            state, before = self._states.get(user), self._changes
            if state is not None:
                self._states.move_to_end(user)
                return state
        state = self._read(user)
        with self._changing:
            if before == self._changes:
                self._states[user] = state
                if len(self._states) > REMEMBERED:
                    self._states.popitem(last=False)
        return state

    def forget(self, users: Sequence[str] | None = None) -> None:
        """These users have new events in the store; or, with None, all are to be read anew when they come."""
        with self._changing:
            self._changes += 1
            self._stored.update(users or ())
            for user in self._states.copy() if users is None else users:
                self._states.pop(user, None)

    def _read(self, user: str) -> UserState:
        new: list[EventRow] = []
        if user in self._stored:
            with self._store.reading() as tx:
                new = tx.events(user=user)
        row = self._rows.get(user)
        if row is None:
            return NOBODY if not new else self._merged(History.of([]), [], new)
        part = slice(int(self._past.starts[row]), int(self._past.starts[row + 1]))
        kinds = [self._past.kinds[kind] for kind in self._past.kind[part].tolist()]
        return self._merged(self._past.history(row), kinds, new)

    def _merged(self, past: History, kinds: list[str], new: list[EventRow]) -> UserState:
        """The bundle's events and the store's in the order of time; an event that both have counts once."""
        rows = self._shelf.rows
        there = set(zip(past.items.tolist(), kinds, past.times.tolist(), strict=True)) if new else set()
        placed = [(rows[event.item], event) for event in new if event.item in rows]
        added = [(row, event) for row, event in placed if (row, event.kind, event.time) not in there]
        learnt = [(row, event) for row, event in added if event.weight > 0]
        items = np.concatenate([past.items, np.array([row for row, _ in learnt], dtype=np.int32)])
        times = np.concatenate([past.times, np.array([event.time for _, event in learnt], dtype=np.int64)])
        weights = np.concatenate([past.weights, np.array([event.weight for _, event in learnt], dtype=np.float32)])
        order = np.argsort(times, kind="stable")
        all_kinds = [*kinds, *(event.kind for _, event in learnt)]
        seen = np.unique(np.concatenate([past.items, np.array([row for row, _ in added], dtype=np.int32)]))
        history = History(items[order], times[order], weights[order])
        return UserState(history, seen, tuple(all_kinds[place] for place in order.tolist()), known=True)


def stored_users(tx: Transaction) -> set[str]:
    """Everybody who has an event in the store."""
    return set(tx.connection.scalars(select(tables.event.c.user).distinct()))
