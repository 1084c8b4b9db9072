"""The index: vectors with ids and metadata, searched by FAISS."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from triptych.errors import ConfigError, DataError
from triptych.retrieval import storage
from triptych.retrieval.columns import Columns, check_metadata
from triptych.retrieval.locks import ReadWriteLock
from triptych.retrieval.search import Floats, RowSearch, Selection

METRICS = ("cosine", "dot", "l2")
_FILTERS_KEPT = 64
_DEAD_SHARE = 0.1  # deleted rows are skipped until they are more than this share, then removed


class Hit(NamedTuple):
    """One neighbour. `score`: cosine in [-1, 1], inner product, or minus the Euclidean distance: higher is nearer."""

    id: str
    score: float
    metadata: dict[str, Any]


class VectorIndex:
    """Vectors of `dim` numbers under string ids, with JSON metadata.

    `metric` is "cosine" (vectors are normalised inside), "dot" or "l2". Below `flat_below` vectors search is exact;
    from there on it is by inverted lists whose recall of the ten nearest was measured to be at least .99 on the
    vectors stored. Where FAISS sees a GPU, searches without a filter run on it.

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
        self._search = RowSearch(dim, similarity=metric != "l2", flat_below=flat_below)
        self._ids: list[str] = []  # of each row, deleted ones included
        self._rows: dict[str, int] = {}  # the row of each id that is not deleted
        self._columns = Columns()
        self._dead: set[int] = set()
        self._filters: OrderedDict[str, Selection] = OrderedDict()
        self._filters_lock = threading.Lock()
        self._lock = ReadWriteLock()

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, key: object) -> bool:
        return key in self._rows

    @property
    def ids(self) -> list[str]:
        """All ids, in the order in which they were added."""
        with self._lock.reading():
            return sorted(self._rows, key=self._rows.__getitem__)

    @property
    def exact(self) -> bool:
        """Whether a search without a filter looks at every vector."""
        return self._search.exact

    def add(self, ids: Sequence[str], vectors: ArrayLike, metadata: Sequence[Mapping[str, Any]] | None = None) -> None:
        """Add float [ids, dim]; an id that is already there is replaced, vector and metadata both.

        Raises `DataError`, and adds nothing, for a wrong shape, NaN or infinity, an id twice in one call, metadata
        that is not JSON, or, under cosine, a zero vector (it has no direction).
        """
        ids = list(ids)
        rows: list[Mapping[str, Any]] = [{} for _ in ids] if metadata is None else list(metadata)
        if len(rows) != len(ids):
            raise DataError(f"{len(ids)} ids came with {len(rows)} metadata objects; give one for each")
        seen: set[str] = set()
        for key, row in zip(ids, rows, strict=True):
            if not isinstance(key, str):
                raise DataError(f"id {key!r} is {type(key).__name__}; ids are strings")
            if key in seen:
                raise DataError(f"id {key!r} comes twice in one call; keep one of them")
            seen.add(key)
            check_metadata(row, owner=key)
        checked = self._check(vectors, "vector", ids)
        if len(checked) != len(ids):
            raise DataError(f"{len(ids)} ids came with {len(checked)} vectors; give one for each")
        if not ids:
            return
        with self._lock.writing():
            self._search.add(checked)
            self._dead.update(self._rows[key] for key in ids if key in self._rows)
            first = len(self._ids)
            self._rows.update({key: first + number for number, key in enumerate(ids)})
            self._ids += ids
            self._columns.extend(rows)
            self._after_change()

    def delete(self, ids: Iterable[str]) -> int:
        """Delete by id and say how many were there; unknown ids are passed over."""
        with self._lock.writing():
            gone = [self._rows.pop(key) for key in ids if key in self._rows]
            self._dead.update(gone)
            self._after_change()
        return len(gone)

    def search(self, queries: ArrayLike, k: int, *, where: Mapping[str, Any] | None = None) -> list[list[Hit]]:
        """The `k` nearest to each query, best first: float [queries, dim] to one list of hits for each.

        `where` keeps what meets every condition: {"field": value}, {"field": {"in": [values]}} or
        {"field": {"min": low, "max": high}}; a field that a vector lacks is never met. It is applied inside the
        search, so that `k` hits come back whenever that many exist; fewer do otherwise. Equal scores come in any
        order. Raises `DataError` for a wrong shape, NaN or infinity, a zero query under cosine, or k below one.
        """
        if k < 1:
            raise DataError(f"k is {k}; ask for at least one neighbour")
        checked = self._check(queries, "query")
        with self._lock.reading():
            selection = self._selection(where)
            count = len(self) if selection is None else selection.count
            if not count or not len(checked):
                return [[] for _ in checked]
            scores, rows = self._search.nearest(checked, min(k, count), selection)
            return [
                [Hit(self._ids[row], score, self._columns.row(row)) for score, row in zip(*pair, strict=True)]
                for pair in zip(self._scores(scores), rows.tolist(), strict=True)
            ]

    def save(self, directory: str | Path) -> None:
        """Write the index into a directory, which is made where it is missing. Raises `OSError`."""
        with self._lock.writing():
            self._remove_dead()
            settings = storage.Settings(dim=self.dim, metric=self.metric, flat_below=self.flat_below, rows=len(self))
            storage.write(Path(directory), settings, self._search.index, self._ids, self._columns)

    @classmethod
    def load(cls, directory: str | Path) -> Self:
        """The index that `save` wrote. Raises `DataError` naming the file that is missing or damaged.

        FAISS trusts the file of vectors: load it from a bundle, which checks its hash, or from your own disk.
        """
        settings, index, ids, columns = storage.read(Path(directory))
        loaded = cls(settings.dim, metric=settings.metric, flat_below=settings.flat_below)
        similarity = settings.metric != "l2"
        loaded._search = RowSearch(settings.dim, similarity=similarity, flat_below=settings.flat_below, index=index)
        loaded._ids = ids
        loaded._rows = {key: row for row, key in enumerate(ids)}
        loaded._columns = columns
        return loaded

    def _check(self, vectors: ArrayLike, what: str, ids: Sequence[str] = ()) -> Floats:
        """Float32 [rows, dim], C-contiguous, normalised under cosine. Raises `DataError` naming the row."""
        try:
            with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinity, refused below
                checked = np.array(vectors, dtype=np.float32, order="C")
        except (TypeError, ValueError) as error:
            raise DataError(f"what should be {what} rows of {self.dim} numbers is not: {error}") from error
        if checked.size == 0 and checked.ndim <= 2:
            return np.empty((0, self.dim), dtype=np.float32)
        if checked.ndim != 2 or checked.shape[1] != self.dim:
            raise DataError(f"expected {what} rows of shape [rows, {self.dim}], got {list(checked.shape)}")

        def name(row: int) -> str:
            return f"{what} {row}" + (f" (id {ids[row]!r})" if row < len(ids) else "")

        bad = np.flatnonzero(~np.isfinite(checked).all(axis=1))
        if len(bad):
            raise DataError(f"{name(int(bad[0]))} holds NaN or infinity; check what computed it")
        if self.metric == "cosine":
            lengths = np.linalg.norm(checked.astype(np.float64), axis=1, keepdims=True)
            zero = np.flatnonzero(lengths == 0)
            if len(zero):
                raise DataError(f"{name(int(zero[0]))} is all zeros, which has no cosine with anything; leave it out")
            checked = (checked / lengths).astype(np.float32)
        return checked

    def _scores(self, scores: Floats) -> list[list[float]]:
        """FAISS' numbers as hits carry them."""
        if self.metric == "cosine":
            scores = np.clip(scores, -1.0, 1.0)  # rounding goes beyond by 1e-7
        elif self.metric == "l2":
            scores = np.float32(0.0) - np.sqrt(np.maximum(scores, np.float32(0.0)))  # not -0.0
        found: list[list[float]] = scores.tolist()
        return found

    def _selection(self, where: Mapping[str, Any] | None) -> Selection | None:
        """What a search may find, None for everything. Kept until the index changes: making one takes time."""
        if not where and not self._dead:
            return None
        try:
            key = json.dumps(where or {}, sort_keys=True, default=_plain)
        except TypeError as error:
            raise DataError(f"the filter {where!r} is not JSON: {error}") from error
        with self._filters_lock:
            if key in self._filters:
                self._filters.move_to_end(key)
            else:
                mask = self._columns.select(where or {}) & self._alive()
                self._filters[key] = Selection.of(mask)
                if len(self._filters) > _FILTERS_KEPT:
                    self._filters.popitem(last=False)
            return self._filters[key]

    def _alive(self) -> NDArray[np.bool_]:
        alive = np.ones(len(self._ids), dtype=np.bool_)
        alive[list(self._dead)] = False
        return alive

    def _after_change(self) -> None:
        self._filters.clear()
        if len(self._dead) > _DEAD_SHARE * len(self._ids):
            self._remove_dead()

    def _remove_dead(self) -> None:
        """Number the rows anew without the deleted ones; the caller is alone."""
        if not self._dead:
            return
        alive = self._alive()
        self._search.rebuild(self._search.vectors()[alive])
        self._ids = [self._ids[row] for row in np.flatnonzero(alive)]
        self._rows = {key: row for row, key in enumerate(self._ids)}
        self._columns = self._columns.take(alive)
        self._dead.clear()
        self._filters.clear()


def _plain(value: Any) -> Any:
    """NumPy numbers and sets in a filter, for its key."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, set | frozenset):
        return sorted(value, key=repr)
    raise TypeError(f"{value!r} is {type(value).__name__}")
