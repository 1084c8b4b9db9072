"""Recommendations from a bundle's files and a store, for any number of threads.

`<bundle>/vertical/` has what `serving.files.write_files` leaves; whoever builds a bundle calls that function with the
items, all events that serving may use as histories, the fitted model and the items' vectors:

    recommendation.json     format, when it was built, kinds of events, fingerprint of the encoder, number of items
    items.jsonl             one item a line; its place is its row in everything below
    users.json              names of users, and
    history.safetensors     their events: starts [users + 1], item, time, weight, kind; rows of items with content
    model/                  what `UserModel.save` of the chosen model (a blend, or one of the rivals) writes
    vectors.safetensors     float16 [items, dim], unit rows; a row of zeros is an item without content
    codes.safetensors       what candidates are found by, where there are so many items that not all are compared

The store (SQLite file or PostgreSQL) has what came after the build: items with their vectors, removals, events,
exposures and outcomes. Where both know an item, the store's word holds.
"""

from __future__ import annotations

import logging
import random
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from triptych.data.tables import first_few
from triptych.errors import DataError, TriptychError
from triptych_recommendation.catalogue.schema import EventRow, ExposureRow, ItemRow
from triptych_recommendation.catalogue.store import Store
from triptych_recommendation.content.settings import ContentSettings
from triptych_recommendation.data.items import Item
from triptych_recommendation.serving.answers import Changed, Context, Recommendations
from triptych_recommendation.serving.encoding import (
    Encode,
    check_events,
    check_ids,
    check_items,
    notes_on,
    vectors_of,
)
from triptych_recommendation.serving.explanations import Explainer
from triptych_recommendation.serving.exposure import ExposureLog
from triptych_recommendation.serving.files import Files
from triptych_recommendation.serving.live import Live
from triptych_recommendation.serving.making import Made, Maker, Wanted
from triptych_recommendation.serving.settings import RuleSettings
from triptych_recommendation.serving.variants import Variants

_MOST = 1_000  # items of a list

log = logging.getLogger(__name__)


class Recommender:
    """An open recommender; `Recommender.open` makes one, `close` ends it. It may be shared by threads."""

    def __init__(
        self,
        files: Files,
        store: Store,
        rules: RuleSettings,
        encode: Encode | None = None,
        taste: ContentSettings | None = None,
    ) -> None:
        self._encode = encode
        self._store = store
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._live = Live(files, store, taste or ContentSettings())
        self._encode_anew()
        self._variants = Variants(store, rules, self._live.shelf)
        self._log = ExposureLog(store, rules)
        self._maker = Maker(self._live, self._log, Explainer(self._live))
        self._closed = False

    @classmethod
    def open(
        cls,
        files: Path,
        store: str | Path | None = None,
        rules: RuleSettings | None = None,
        *,
        encode: Encode | None = None,
        taste: ContentSettings | None = None,
    ) -> Self:
        """Open what `write_files` wrote, with a store, which is made where it is missing; None: one until `close`.

        `encode` gives the content vectors of items that are added: samples to float32 [samples, dim], as the encoder
        of the bundle does. `taste` says which events of a history make a profile, by which items are found that are
        like it. Raises `BundleError`, and what `Store.open` raises.
        """
        known = Files.open(files)
        temporary = tempfile.TemporaryDirectory(prefix="triptych-") if store is None else None
        where = store if temporary is None else Path(temporary.name) / "store.sqlite3"
        opened = Store.open(where if where is not None else "", writer=True)
        try:
            found = cls(known, opened, rules or RuleSettings(), encode, taste)
        except BaseException:
            opened.close()
            raise
        found._temporary = temporary
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def recommend(
        self,
        user: str | None = None,
        k: int = 10,
        *,
        where: Mapping[str, Any] | None = None,
        context: Context | None = None,
        explain: bool = True,
        record: bool = True,
    ) -> Recommendations:
        """A list of at most `k` items for a user, who may be unknown or None, and the moment's context.

        `where` is a filter of the suite (`triptych.retrieval.filters`) over metadata, id, category, price, stock and
        tags. A list that is put on record (`record`) is counted against showing the same again, and outcomes are found
        for it. Raises `DataError` for a filter or query that is not understood, and k outside of 1 to 1,000.
        """
        _check_k(k)
        self._check_open()
        self._live.refresh()
        now = now_us()
        assigned = self._variants.of(user)
        self._log.look_back(self._variants.longest_days)
        shown = uuid.uuid4().hex
        wanted = Wanted(user, k, where, context, explain, now, random.Random(shown))
        with self._live.lock.reading():
            made = self._maker.make(wanted, assigned, seed=f"{user}:{shown}")
            if record and made.items:
                self._live.counts.show([self._live.shelf.rows[one.item.id] for one in made.items])
        found = Recommendations(
            made.items, user, shown if record and made.items else "", made.policy, assigned.experiment,
            assigned.variant, made.why, made.notes,
        )  # fmt: skip
        if found.exposure:
            self._log.record(_exposure(found, made, now))
        return found

    def similar(
        self, item: str, k: int = 10, *, where: Mapping[str, Any] | None = None, explain: bool = True
    ) -> Recommendations:
        """The items most like one: half by content, half by who chooses them, as far as each is known.

        The rules hold, but nothing is pinned, explored or put on record. Raises `DataError` for an item that is
        unknown, with a guess at what was meant, or removed.
        """
        _check_k(k)
        self._check_open()
        self._live.refresh()
        assigned = self._variants.of(None)
        with self._live.lock.reading():
            made = self._maker.similar(self._live.row(item), k, where, assigned.rules, explain)
        return Recommendations(made.items, None, "", made.policy, why=made.why)

    def add_items(self, items: Sequence[Item], *, vectors: NDArray[np.float32] | None = None) -> Changed:
        """Add items, or put them in place of those with their ids; they can be recommended when this returns.

        All are written in one transaction. `vectors` float32 [items, dim] stand for what `encode` would give. Raises
        `DataError`, and adds nothing, for an id twice in one call, numbers that cannot be, and NaN in a vector.
        """
        self._check_open()
        check_items(items)
        if not items:
            return Changed(0)
        made = vectors_of(items, self._encode, vectors, self._live.vectors.dim)
        read = self._encode is not None or vectors is not None  # otherwise somebody who can encode them will
        now, encoder = now_us(), self._live.files.encoder if read else ""
        rows = [
            ItemRow(item.id, item, vector if vector.any() else None, encoder, now)
            for item, vector in zip(items, made, strict=True)
        ]
        with self._store.transaction() as tx:
            tx.put_items(rows)
        self._live.refresh(written=True)
        return Changed(len(items), tuple(item.id for item in items), tuple(notes_on(items, made, self._encode)))

    def remove_items(self, ids: Sequence[str]) -> Changed:
        """Remove items; they are in no list any more when this returns, nor after a crash.

        Raises `DataError`, and removes nothing, for an id that is unknown or was removed.
        """
        check_ids(ids)
        self._check_open()
        self._live.refresh()
        with self._live.lock.reading():
            for name in ids:
                self._live.row(name)
        with self._store.transaction() as tx:
            changed = tx.remove_items(ids, now_us())
        self._live.refresh(written=True)
        return Changed(len(changed), tuple(row.id for row in changed))

    def add_events(self, events: Sequence[EventRow]) -> Changed:
        """Add what people did. It is on the disk, and counts for its users, when this returns.

        An event that is there already is passed over; one with an unknown item waits for it; unknown users are
        welcome. An event with an item of a list that its user was shown is that list's outcome. Raises `DataError`,
        and adds nothing, for an event without a name, with an impossible weight, or more than a day in the future.
        """
        self._check_open()
        check_events(events, now_us())
        outcomes = self._log.outcomes(events)
        with self._store.transaction() as tx:
            new = tx.add_events(events)
            tx.add_outcomes(outcomes)
        self._live.refresh(written=True)
        unknown = sorted({event.item for event in new if event.item not in self._live.shelf.rows})
        notes = []
        if len(new) < len(events):
            notes.append(f"{len(events) - len(new):,} events were there already")
        if unknown:
            notes.append(f"{len(unknown):,} items are unknown, and their events wait for them: {first_few(unknown)}")
        return Changed(len(new), (), tuple(notes))

    def item(self, item: str) -> Item:
        """The item of an id. Raises `DataError` for one that is unknown or was removed."""
        self._check_open()
        self._live.refresh()
        with self._live.lock.reading():
            return self._live.shelf.items[self._live.row(item)]

    @property
    def live(self) -> Live:
        """What lists are made from, up to date; read it under its `lock.reading()`."""
        self._check_open()
        self._live.refresh()
        return self._live

    def titles(self, items: Sequence[str]) -> dict[str, str]:
        """The title of each id, as of the latest list; an item without a title, or that is not there, has its id."""
        shelf = self._live.shelf
        with self._live.lock.reading():
            rows = {name: shelf.rows[name] for name in items if name in shelf.rows}
            known = {name: shelf.items[row].title for name, row in rows.items() if shelf.alive[row]}
        return {name: known.get(name) or name for name in items}

    def flush(self) -> None:
        """Wait until all lists that were shown are on record."""
        self._log.flush()

    def close(self) -> None:
        """Write what waits and close the store; a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        try:
            self._log.close()
        finally:
            self._store.close()
            if self._temporary is not None:
                self._temporary.cleanup()

    def _encode_anew(self) -> None:
        """Give a vector of this bundle's encoder to items in the store that have one of another bundle's, or none.

        Where that fails, they are known by events alone, with one message in the log.
        """
        encoder = self._live.files.encoder
        if self._encode is None:
            return
        with self._store.reading() as tx:
            rows = [row for row in tx.items() if row.item is not None and row.removed is None]
        stale = (row.item for row in rows if row.encoder != encoder)
        items = {item.id: item for item in stale if item is not None and item.has_content}
        if not items:
            return
        try:
            made = vectors_of(list(items.values()), self._encode, None, self._live.vectors.dim)
        except TriptychError as error:
            log.warning("%d items of the store were not encoded anew: %s", len(items), error)
            return
        vectors = {name: vector if vector.any() else None for name, vector in zip(items, made, strict=True)}
        with self._store.transaction() as tx:
            tx.put_items(
                [replace(row, vector=vectors[row.id], encoder=encoder) for row in tx.items(ids=list(items))
                 if row.removed is None]
            )  # fmt: skip
        self._live.refresh(written=True)

    def _check_open(self) -> None:
        if self._closed:
            raise DataError("is closed", file=self._store.name)


def now_us() -> int:
    """Now, in microseconds since 1970."""
    return time.time_ns() // 1_000


def _check_k(k: int) -> None:
    if not 1 <= k <= _MOST:
        raise DataError(f"k is {k}; ask for 1 to {_MOST:,} items")


def _exposure(found: Recommendations, made: Made, now: int) -> ExposureRow:
    details: dict[str, Any] = {
        origin: places
        for origin in ("pinned", "exploration")
        if (places := [place for place, one in enumerate(found.items) if one.origin == origin])
    }
    if made.teams:
        details["teams"] = list(made.teams)
    return ExposureRow(
        found.exposure, now, found.user or "", found.ids, found.policy, found.experiment, found.variant, details
    )
