"""An index in memory: a table of items and the search of each vector field, changed and searched under one lock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from triptych.errors import DataError
from triptych.retrieval.base import VectorField
from triptych.retrieval.checks import Batch, check_k, check_vectors
from triptych.retrieval.engines.base import Floats, Kind, Plan
from triptych.retrieval.engines.lists import possible
from triptych.retrieval.field import FieldSearch
from triptych.retrieval.filters import parse
from triptych.retrieval.locks import ReadWriteLock
from triptych.retrieval.results import Results
from triptych.retrieval.search import RowSearch
from triptych.retrieval.table import Table


def plan_of(field: VectorField, *, kind: Kind, recall: float, flat_below: int) -> Plan:
    """How the vectors of a field are to be held."""
    return Plan(field.dim, similarity=field.metric != "l2", kind=kind, recall=recall, flat_below=flat_below)


def check_kind(kind: Kind, fields: Iterable[VectorField]) -> None:
    """Raise `DataError` for a field whose vectors cannot be held in a kind of index."""
    for field in fields:
        if not possible(kind, field.dim):
            raise DataError(
                f"field {field.name!r} has {field.dim} dimensions, and {kind!r} needs a multiple of four; take 'auto'"
            )


class State:
    """Items by rising keys. Any number of threads may search; one that changes something waits and is alone."""

    def __init__(self, table: Table, searches: Mapping[str, FieldSearch], lock: ReadWriteLock) -> None:
        self.table = table
        self.searches = dict(searches)
        self.lock = lock

    @classmethod
    def empty(cls, fields: Iterable[VectorField], plans: Mapping[str, Plan]) -> State:
        """Without any item; `plans` by the fields' names."""
        table, lock = Table(), ReadWriteLock()
        searches = {f.name: FieldSearch(f, table, RowSearch(plans[f.name], lock=lock)) for f in fields}
        return cls(table, searches, lock)

    @property
    def fields(self) -> dict[str, VectorField]:
        """The vector fields by name."""
        return {name: search.field for name, search in self.searches.items()}

    def apply(self, keys: Sequence[int], batch: Batch, gone: Iterable[int] = ()) -> None:
        """Add checked items under new keys, and bury those with the keys `gone`, in one step."""
        with self.lock.writing():
            self.bury(gone)
            self.extend(keys, batch)

    def extend(self, keys: Sequence[int], batch: Batch) -> None:
        """Add checked items under new keys, for a caller that is alone already."""
        first = len(self.table)
        self.table.extend(keys, batch.ids, batch.metadata)
        for name, present in batch.vectors.items():
            self.searches[name].add(present.rows.astype(np.int64) + first, present.vectors)

    def remove(self, gone: Iterable[int]) -> None:
        """Bury items by key; unknown keys are passed over."""
        with self.lock.writing():
            self.bury(gone)

    def bury(self, gone: Iterable[int]) -> None:
        """As `remove`, for a caller that is alone already."""
        positions = np.unique(self.table.find(gone))
        if len(self.table.deaths):
            positions = positions[~np.isin(positions, self.table.deaths.view)]
        self.table.bury(positions)

    def search(self, field: str, queries: Any, k: int, where: Mapping[str, Any] | None) -> Results:
        """The `k` nearest in one field to each query [queries, dim]. Raises `DataError` for bad queries."""
        check_k(k)
        search = self.searches[field]
        checked: Floats = check_vectors(queries, dim=search.field.dim, metric=search.field.metric, what="query")
        with self.lock.reading():
            scores, positions = search.search(checked, k, where)
        return Results(self.table, scores, positions)

    def passing(self, keys: Sequence[int], where: Mapping[str, Any] | None) -> list[int]:
        """The positions of those keys that are there and let through, in the order given."""
        with self.lock.reading():
            positions = self.table.find(keys)
            if not len(positions):
                return []
            mask = self.table.alive_mask()
            if where:
                mask &= self.table.columns.select(parse(where))
            found: list[int] = positions[mask[positions]].tolist()
            return found

    def settle(self) -> None:
        """Wait until the indexes of filters that are being made are there."""
        for search in self.searches.values():
            search.rows.settle()

    def close(self, *, wait: bool = True) -> None:
        """End what goes on in the background, and wait for it."""
        for search in self.searches.values():
            search.rows.close(wait=wait)
