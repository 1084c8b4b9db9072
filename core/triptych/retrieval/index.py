"""The index in memory: vectors with ids and metadata, searched by FAISS, saved and loaded whole.

It lies in bundles, which never change. What must survive while it is written to is a `collection.Collection`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from triptych.errors import ConfigError
from triptych.retrieval import storage
from triptych.retrieval.base import METRICS, Hit, VectorField
from triptych.retrieval.checks import check_batch, check_utf8
from triptych.retrieval.engines.base import ArraySource, Engine
from triptych.retrieval.engines.choose import build_engine, restore_engine
from triptych.retrieval.field import FieldSearch
from triptych.retrieval.ids import Ids
from triptych.retrieval.locks import ReadWriteLock
from triptych.retrieval.results import Results
from triptych.retrieval.search import RowSearch
from triptych.retrieval.state import State, plan_of
from triptych.retrieval.table import Table

__all__ = ["Hit", "VectorIndex"]

_FIELD = "vector"
_RECALL = 0.99
_DEAD_SHARE = 0.1  # deleted rows are skipped until they are more than this share, then removed


class VectorIndex:
    """Vectors of `dim` numbers under string ids, with JSON metadata.

    `metric` is "cosine" (vectors are normalised inside), "dot" or "l2". Below `flat_below` vectors search is exact;
    from there on it is by inverted lists whose recall of the ten nearest was measured to be at least .99 on the
    vectors stored. Where FAISS sees a GPU, it searches there.

    Any number of threads may search; one that adds or deletes waits for them and is alone.
    """

    def __init__(self, dim: int, *, metric: str = "cosine", flat_below: int = 100_000) -> None:
        if metric not in METRICS:
            raise ConfigError(f"metric {metric!r} is unknown; use one of {', '.join(METRICS)}")
        if dim < 1:
            raise ConfigError(f"an index needs at least one dimension, not {dim}")
        self.dim = dim
        self.metric = metric
        self.flat_below = flat_below
        self._field = VectorField(name=_FIELD, dim=dim, metric=self.metric)
        self._plan = plan_of(self._field, kind="ivf-flat", recall=_RECALL, flat_below=flat_below)
        self._keys: dict[str, int] = {}  # of each id that is not deleted
        self._next = 0
        self._state = State.empty([self._field], {_FIELD: self._plan})
        self._writing = threading.Lock()

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    @property
    def ids(self) -> list[str]:
        """All ids, in the order in which they were added."""
        with self._writing:
            return sorted(self._keys, key=self._keys.__getitem__)

    @property
    def exact(self) -> bool:
        """Whether a search without a filter looks at every vector."""
        return self._rows.exact

    @property
    def _rows(self) -> RowSearch:
        return self._state.searches[_FIELD].rows

    def add(self, ids: Sequence[str], vectors: ArrayLike, metadata: Sequence[Mapping[str, Any]] | None = None) -> None:
        """Add float [ids, dim]; an id that is already there is replaced, vector and metadata both.

        Raises `DataError`, and adds nothing, for a wrong shape, NaN or infinity, an id twice in one call, metadata
        that is not JSON, or, under cosine, a zero vector (it has no direction).
        """
        batch = check_batch({_FIELD: self._field}, ids, vectors, metadata)
        check_utf8(batch.ids)
        if not batch.ids:
            return
        with self._writing:
            gone = [self._keys[key] for key in batch.ids if key in self._keys]
            keys = range(self._next, self._next + len(batch.ids))
            self._next = keys.stop
            self._state.apply(keys, batch, gone)
            self._keys.update(zip(batch.ids, keys, strict=True))
            self._tidy()

    def delete(self, ids: Iterable[str]) -> int:
        """Delete by id and say how many were there; unknown ids are passed over."""
        with self._writing:
            gone = [self._keys.pop(key) for key in dict.fromkeys(ids) if key in self._keys]
            self._state.remove(gone)
            self._tidy()
        return len(gone)

    def search(self, queries: ArrayLike, k: int, *, where: Mapping[str, Any] | None = None) -> Results:
        """The `k` nearest to each query, best first: float [queries, dim] to one list of hits for each.

        `where` keeps what meets every condition (see `triptych.retrieval.filters`); it is applied inside the search,
        so that `k` hits come back whenever that many exist; fewer do otherwise. Equal scores come in any order.
        Raises `DataError` for a wrong shape, NaN or infinity, a zero query under cosine, or k below one.
        """
        return self._state.search(_FIELD, queries, k, where)

    def save(self, directory: str | Path) -> None:
        """Write the index into a directory, which is made where it is missing. Raises `OSError`."""
        with self._writing:
            if len(self._state.table.deaths):
                self._rebuild()
            table = self._state.table
            settings = storage.Settings(dim=self.dim, metric=self.metric, flat_below=self.flat_below, rows=len(self))
            ids = table.ids_at(np.arange(len(table)))
            storage.write(Path(directory), settings, self._rows.engine, ids, table.columns)

    @classmethod
    def load(cls, directory: str | Path) -> Self:
        """The index that `save` wrote. Raises `DataError` naming the file that is missing or damaged.

        FAISS trusts the file of vectors: load it from a bundle, which checks its hash, or from your own disk.
        """
        settings, index, ids, columns = storage.read(Path(directory))
        loaded = cls(settings.dim, metric=settings.metric, flat_below=settings.flat_below)
        kind, parameters = storage.describe(index)
        engine = restore_engine(index, loaded._plan, kind, parameters)
        loaded._install(Table.of(np.arange(len(ids)), Ids(ids), columns), engine, recall=_RECALL)
        loaded._keys = {key: row for row, key in enumerate(ids)}
        loaded._next = len(ids)
        return loaded

    def _tidy(self) -> None:
        table = self._state.table
        if len(table.deaths) > _DEAD_SHARE * len(table) or self._rows.outgrown:
            self._rebuild()

    def _rebuild(self) -> None:
        """Number the rows anew without the deleted ones, in the kind of index that suits how many there are."""
        table = self._state.table
        alive = table.alive_mask()
        vectors = self._rows.vectors(np.flatnonzero(alive))  # every item has one, so rows are positions
        engine, recall = build_engine(ArraySource(vectors), self._plan)
        self._install(table.take(alive), engine, recall)

    def _install(self, table: Table, engine: Engine, recall: float) -> None:
        lock = ReadWriteLock()
        rows = RowSearch(self._plan, engine, recall=recall, lock=lock)
        search = FieldSearch(self._field, table, rows, np.arange(len(table)))
        self._state.close()
        self._state = State(table, {_FIELD: search}, lock)
