"""A bundle and a store as one: the catalogue, the vectors, the users and the counts, kept in step with the store."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select

from triptych.errors import DataError
from triptych.retrieval.locks import ReadWriteLock
from triptych_recommendation.catalogue import tables
from triptych_recommendation.catalogue.schema import EventRow, ItemRow
from triptych_recommendation.catalogue.store import Store
from triptych_recommendation.content.profile import part_profiles, unit
from triptych_recommendation.content.settings import ContentSettings
from triptych_recommendation.data.interactions import History
from triptych_recommendation.serving.counts import Counts, Known, counts_of, stored_counts
from triptych_recommendation.serving.files import Files
from triptych_recommendation.serving.shelf import Shelf
from triptych_recommendation.serving.state import Users
from triptych_recommendation.serving.vectors import LiveVectors

Floats = NDArray[np.float32]


class Live:
    """All that a list is made from. Read it under `lock.reading()`; `refresh` takes the lock itself.

    Vectors in the store that another encoder made than the bundle's are not used.
    """

    def __init__(self, files: Files, store: Store, taste: ContentSettings) -> None:
        """`taste` says which events of a history make a profile."""
        self.files = files
        self._taste = taste
        self.model = files.model
        self.store = store
        self.lock = ReadWriteLock()
        self.shelf = Shelf(files.items)
        self.vectors = LiveVectors(files.vectors, files.codes, files.there)
        if files.codes is not None:
            self.model.share(files.vectors, files.codes)
        self.counts = Counts(files.past)
        self._known = Known(files.past)
        self._cold = np.zeros(0, dtype=np.bool_)
        self._item_number = 0
        with store.reading() as tx:
            self._version: int | None = None  # so that the first `refresh` reads the items
            self._event_number = int(tx.connection.scalar(select(func.max(tables.event.c.number))) or 0)
            self.counts.add(stored_counts(tx, self._known), self.shelf.rows)
        self.users = Users(files.past, store, self.shelf)  # looks later than the number, so that it misses nobody
        self.refresh()

    def refresh(self, *, written: bool = False) -> None:
        """Take over what was written to the store since, by whomever; where nothing was, next to nothing happens.

        `written` says that something was: a server's version may be a little old.
        """
        version = self.store.version()
        if version == self._version and not written:
            return
        with self.lock.writing():
            if version == self._version and not written:
                return
            with self.store.reading() as tx:
                items, events = tx.items(after=self._item_number), tx.events(after=self._event_number)
            self._take_items(items)
            self._take_events(events)
            self._version = version

    def unknown(self, rows: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Bool [rows]: whether the model was fitted without any event of an item."""
        within = rows < self.model.items
        return ~(within & self.counts.learnt[np.where(within, rows, 0)])

    def cold(self) -> NDArray[np.bool_]:
        """Bool [items]: `unknown` of all rows; do not change it."""
        found = self._cold
        if len(found) < len(self.shelf):
            found = np.ones(len(self.shelf), dtype=np.bool_)
            found[: self.model.items] = ~self.counts.learnt[: self.model.items]
            self._cold = found
        return found

    def profiles(self, history: History, kept: NDArray[np.bool_]) -> Floats:
        """Float32 [parts, dim], unit rows: what parts of a history are like in content; zeros where nothing has any.

        `kept` is bool [parts, events].
        """
        return unit(part_profiles(history, kept, self.vectors.get, self._taste))

    def row(self, item: str) -> int:
        """The row of an item that is there. Raises `DataError` for one that is unknown or was removed."""
        row = self.shelf.rows.get(item)
        if row is None:
            raise DataError(f"no item is called {item!r}{_hint(item, self.shelf.items_named(item[:2]))}")
        if not self.shelf.alive[row]:
            raise DataError(f"item {item!r} was removed; add it again to have it back")
        return row

    def _take_items(self, items: Sequence[ItemRow]) -> None:
        if not items:
            return
        self._item_number = items[-1].number
        put = [row for row in items if row.item is not None]
        before = len(self.shelf)
        rows = self.shelf.put([row.item for row in put if row.item is not None])
        self.counts.put([row.id for row in put], rows)
        if rows:
            self.vectors.put(rows, np.stack([self._vector(row) for row in put]))
        self.shelf.remove([row.id for row in items if row.removed is not None])
        if len(self.shelf) > before:  # events that waited for them count now
            self.users.forget()

    def _take_events(self, events: Sequence[EventRow]) -> None:
        if events:
            self._event_number = events[-1].number
            self.counts.add(counts_of(events, self._known), self.shelf.rows)
            self.users.forget(list({event.user for event in events}))

    def _vector(self, row: ItemRow) -> Floats:
        """The unit vector of an item in the store; zeros where it has none that can be used."""
        if row.vector is None or row.encoder != self.files.encoder or len(row.vector) != self.vectors.dim:
            return np.zeros(self.vectors.dim, dtype=np.float32)
        return unit(row.vector)


def _hint(name: str, names: Sequence[str]) -> str:
    import difflib

    near = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {near[0]!r}?" if near else "; `items add` adds one"
