"""What items say, show and sound like, as vectors by row, also of items that came a moment ago."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.retrieval.engines.base import Plan
from triptych.retrieval.gpu import GpuCopy, gpu_count, worthwhile
from triptych.retrieval.growing import Growing
from triptych_recommendation.codes import Codes
from triptych_recommendation.mapped import any_by_row, floats

Floats = NDArray[np.float32]
Halves = NDArray[np.float16]
Rows = NDArray[np.int64]
EXACT = 2_000
"""So few allowed rows are compared one by one."""
_STORED = -1  # in `_place`: the vector is among the stored ones


class LiveVectors:
    """Unit vectors by row. A row of zeros is an item without content.

    Memory holds the codes that candidates are found by (`Codes`), at 384 dimensions a twentieth of the vectors in
    float32; candidates are scored by the stored vectors, float16, which may be mapped from a file that the system keeps
    as much of in memory as there is room for. What was put since is in memory. Where FAISS sees a GPU, candidates among
    many stored vectors are found there.

    Any number of threads may read; one that puts must be alone.
    """

    def __init__(self, stored: Halves, codes: Codes | None = None, there: NDArray[np.bool_] | None = None) -> None:
        """`there` is bool [rows], which ones are not zeros; otherwise all are looked at."""
        self._stored = stored
        self._codes = codes  # None: rows are so few that all are compared
        self._place = Growing(np.int32, np.full(len(stored), _STORED))  # of each row in `_put`
        self._put = np.empty((0, stored.shape[1]), dtype=np.float16)
        self._used = 0  # rows of `_put`
        self._there = Growing(np.bool_, any_by_row(stored) if there is None else there)
        self.dim = stored.shape[1]
        self._gpu = _gpu_copy(stored) if worthwhile(len(stored)) else None
        self._gpu_lock = threading.Lock()  # FAISS' GPU indexes serve one thread at a time

    def __len__(self) -> int:
        return len(self._place)

    @property
    def there(self) -> NDArray[np.bool_]:
        """Bool [rows]: which items have content."""
        found: NDArray[np.bool_] = self._there.view
        return found

    @property
    def nbytes(self) -> dict[str, int]:
        """Bytes by what they are for: "memory" is held here, "mapped" may lie in a file."""
        codes = self._codes.nbytes if self._codes is not None else 0
        held = self._put.nbytes + self._place.view.nbytes + self._there.view.nbytes
        return {"memory": codes + held, "mapped": self._stored.nbytes}

    def get(self, rows: NDArray[Any]) -> Floats:
        """Float32 [rows, dim]."""
        if not self._used:
            return floats(self._stored[rows])
        place = self._place.view[rows]
        put = place != _STORED
        if not put.any():
            return floats(self._stored[rows])
        found = np.empty((len(rows), self.dim), dtype=np.float32)
        found[~put] = floats(self._stored[rows[~put]])
        found[put] = floats(self._put[place[put]])
        return found

    def put(self, rows: Sequence[int], vectors: Floats) -> None:
        """Set the vectors, float32 [rows, dim] of length 1 or 0, of rows that are there or come next."""
        new = max(rows, default=-1) + 1 - len(self)
        self._place.extend(np.full(max(new, 0), _STORED))
        self._there.extend(np.zeros(max(new, 0)))
        if self._used + len(rows) > len(self._put):
            larger = np.zeros((max(16, 2 * len(self._put), self._used + len(rows)), self.dim), dtype=np.float16)
            larger[: self._used] = self._put[: self._used]
            self._put = larger
        for row, vector in zip(rows, vectors, strict=True):
            if self._place.view[row] == _STORED:
                self._place.view[row] = self._used
                self._used += 1
            self._put[self._place.view[row]] = vector
        there = vectors.any(axis=1)
        self._there.view[list(rows)] = there
        if self._codes is not None:
            self._codes.add(np.array(rows, dtype=np.int64)[there], vectors[there])

    def nearest(self, query: Floats, k: int, allowed: NDArray[np.bool_]) -> tuple[NDArray[np.int32], Floats]:
        """At most `k` allowed rows with content by cosine to float32 [dim], best first: rows and cosines."""
        length = float(np.linalg.norm(query))
        if not length:
            return np.empty(0, dtype=np.int32), np.empty(0, dtype=np.float32)
        allowed = allowed & self.there
        unit = query / np.float32(length)
        few = np.count_nonzero(allowed) <= EXACT
        rows = None if few or self._gpu is None else self._candidates_on_gpu(self._gpu, unit, k, allowed)
        if rows is None:
            rows = np.flatnonzero(allowed) if few or self._codes is None else self._codes.candidates(unit, k, allowed)
        cosines = self.get(rows) @ unit
        order = np.argsort(-cosines, kind="stable")[:k]
        return rows[order].astype(np.int32), cosines[order]

    def _candidates_on_gpu(self, gpu: GpuCopy, unit: Floats, k: int, allowed: NDArray[np.bool_]) -> Rows | None:
        """Stored rows that the GPU finds, and all that were put since; None where that is for the CPU to say."""
        stored = allowed[: len(self._stored)]
        share = np.count_nonzero(stored) / max(len(stored), 1)
        with self._gpu_lock:
            found = gpu.search(unit[None], min(k, int(np.count_nonzero(stored))), stored, share)
        if found is None:
            return None
        put = np.flatnonzero(allowed & (self._place.view != _STORED))
        return np.union1d(found[1][0], put)


class _Stored:
    """Stored vectors, as `GpuCopy` reads them."""

    def __init__(self, stored: Halves) -> None:
        self._stored = stored
        self.rows = len(stored)

    def vectors(self, rows: Rows) -> Floats:
        """Float32 [rows, dim]."""
        return floats(self._stored[rows])


def _gpu_copy(stored: Halves) -> GpuCopy | None:
    return GpuCopy.of(_Stored(stored), Plan(stored.shape[1])) if gpu_count() else None
