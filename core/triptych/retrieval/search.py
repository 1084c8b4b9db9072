"""FAISS itself: building, searching and filtering over numbered rows. What the rows mean is `index.py`'s."""

from __future__ import annotations

import logging
import math
import threading
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]

# Measured at 384 and 1024 dimensions on one core: from four queries on, a matrix product is faster.
_PRODUCT_FROM_QUERIES = 4
_LIST_FACTOR = 2.0  # lists of an IVF index: factor times the root of the number of vectors
_TRAIN_PER_LIST = 64  # k-means gains next to nothing from more vectors for each list
_TRAIN_ROUNDS = 10
_RECALL = 0.99  # of the ten nearest, on stored vectors as queries; nprobe is the least power of two that reaches it
_RECALL_QUERIES = 128
_EXHAUSTIVE_BELOW = 20_000  # a filter that leaves fewer vectors than this is searched in all lists, so exactly
_GPU_FROM = 10_000  # below, the way to the GPU costs more than it saves
_GPU_LIMIT = 2048  # FAISS' largest k and nprobe there
_GPU_SCRATCH_BYTES = 256 << 20

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rows may be found: a FAISS selector and how many rows it lets through."""

    selector: Any
    count: int

    @classmethod
    def of(cls, mask: NDArray[np.bool_]) -> Selection:
        """Bool [rows] to a selection."""
        bitmap = np.packbits(mask, bitorder="little")
        return cls(faiss.IDSelectorBitmap(bitmap), int(mask.sum()))


class RowSearch:
    """Vectors by row number: exact below `flat_below` rows, in inverted lists from there on.

    `similarity` says whether larger inner products are nearer; otherwise smaller Euclidean distances are.
    Not thread-safe while rows are added.
    """

    def __init__(self, dim: int, *, similarity: bool, flat_below: int, index: Any = None) -> None:
        self.dim = dim
        self.flat_below = flat_below
        self._metric = faiss.METRIC_INNER_PRODUCT if similarity else faiss.METRIC_L2
        self._index = faiss.IndexFlat(dim, self._metric) if index is None else index
        self._trained_on = self._index.ntotal
        self._gpu: Any = None
        self._gpu_tried = False
        self._gpu_lock = threading.Lock()  # FAISS' GPU indexes serve one thread at a time

    @property
    def index(self) -> Any:
        """The FAISS index on the CPU."""
        return self._index

    @property
    def rows(self) -> int:
        """How many vectors there are."""
        return int(self._index.ntotal)

    @property
    def exact(self) -> bool:
        """Whether every search looks at every vector."""
        return not isinstance(self._index, faiss.IndexIVF)

    def add(self, vectors: Floats) -> None:
        """Append rows: float32 [rows, dim]."""
        rows = self.rows + len(vectors)
        grown = rows >= self.flat_below if self.exact else rows > 4 * self._trained_on
        if grown and rows:
            self.rebuild(np.concatenate([self.vectors(), vectors]))
        else:
            self._index.add(vectors)
            self._gpu, self._gpu_tried = None, False

    def rebuild(self, vectors: Floats) -> None:
        """Start anew with these rows: float32 [rows, dim]."""
        self._gpu, self._gpu_tried = None, False
        self._trained_on = len(vectors)
        if len(vectors) < max(self.flat_below, 1):
            self._index = faiss.IndexFlat(self.dim, self._metric)
            self._index.add(vectors)
        else:
            self._index = _inverted_lists(vectors, self._metric)

    def vectors(self) -> Floats:
        """All rows: a copy, float32 [rows, dim]."""
        found = np.empty((self.rows, self.dim), dtype=np.float32)
        if not self.rows:
            return found
        if self.exact:
            found[:] = faiss.rev_swig_ptr(self._index.get_xb(), found.size).reshape(found.shape)
            return found
        lists = self._index.invlists
        for number in range(lists.nlist):
            size = lists.list_size(number)
            if size:
                codes = faiss.rev_swig_ptr(lists.get_codes(number), size * self.dim * 4)
                rows = faiss.rev_swig_ptr(lists.get_ids(number), size)
                found[rows] = codes.view(np.float32).reshape(size, self.dim)
        return found

    def nearest(self, queries: Floats, k: int, selection: Selection | None) -> tuple[Floats, Rows]:
        """The `k` nearest rows: (scores, rows), both [queries, k], best first.

        `k` is at most the number of rows that may be found. Scores are inner products or squared distances.
        """
        # one setting for the whole process; an index of another size may change it between the lines, which costs
        # time and nothing else
        faiss.cvar.distance_compute_blas_threshold = _PRODUCT_FROM_QUERIES * self.dim
        found = self._nearest_on_gpu(queries, k) if selection is None else None
        scores, rows = found or self._index.search(queries, k, params=self._parameters(selection))
        if not self.exact:
            # the lists that were probed held too few rows: these queries look into all of them
            short = np.flatnonzero(rows[:, -1] < 0)
            if len(short):
                everything = self._parameters(selection, exhaustive=True)
                scores[short], rows[short] = self._index.search(queries[short], k, params=everything)
        return scores, rows

    def _parameters(self, selection: Selection | None, *, exhaustive: bool = False) -> Any:
        selector = None if selection is None else selection.selector
        if self.exact:
            return None if selector is None else faiss.SearchParameters(sel=selector)
        probes = self._index.nprobe
        if exhaustive or (selection is not None and selection.count < _EXHAUSTIVE_BELOW):
            probes = self._index.nlist
        elif selection is not None:  # the fewer vectors pass, the more lists are needed to meet as many
            probes = min(self._index.nlist, math.ceil(probes * self.rows / selection.count))
        return faiss.SearchParametersIVF(sel=selector, nprobe=probes)

    def _nearest_on_gpu(self, queries: Floats, k: int) -> tuple[Floats, Rows] | None:
        if self.rows < _GPU_FROM or k > _GPU_LIMIT or (self._gpu_tried and self._gpu is None):
            return None
        with self._gpu_lock:
            if not self._gpu_tried:
                self._gpu = gpu_copy(self._index)
                self._gpu_tried = True
            found: tuple[Floats, Rows] | None = None if self._gpu is None else self._gpu.search(queries, k)
        return found


def gpu_copy(index: Any) -> Any:
    """A copy of the index on the first GPU that FAISS sees, None where there is none or it has no room."""
    count = getattr(faiss, "get_num_gpus", None)
    if count is None or count() == 0 or getattr(index, "nprobe", 1) > _GPU_LIMIT:
        return None
    try:
        resources = faiss.StandardGpuResources()
        resources.setTempMemory(_GPU_SCRATCH_BYTES)
        return faiss.index_cpu_to_gpu(resources, 0, index)
    except RuntimeError as error:
        log.warning("the index of %d vectors stays on the CPU: %s", index.ntotal, error)
        return None


def _inverted_lists(vectors: Floats, metric: int) -> Any:
    """A trained and filled IVF index, its `nprobe` set by measurement. `vectors`: float32 [rows, dim]."""
    rows, dim = vectors.shape
    lists = max(1, round(_LIST_FACTOR * math.sqrt(rows)))
    index = faiss.IndexIVFFlat(faiss.IndexFlat(dim, metric), dim, lists, metric)
    index.cp.niter = _TRAIN_ROUNDS
    index.cp.max_points_per_centroid = _TRAIN_PER_LIST
    index.cp.min_points_per_centroid = 1  # no warning on standard error for small indexes
    index.train(vectors)
    index.add(vectors)
    index.nprobe = _choose_probes(index, vectors)
    return index


def _choose_probes(index: Any, vectors: Floats) -> int:
    """The least power of two (at most all lists) with which stored vectors find their ten nearest."""
    chosen = np.random.default_rng(0).choice(len(vectors), min(_RECALL_QUERIES, len(vectors)), replace=False)
    queries, k = vectors[chosen], min(10, len(vectors))
    _, exact = index.search(queries, k, params=faiss.SearchParametersIVF(nprobe=index.nlist))
    probes = 1
    while probes < index.nlist:
        _, found = index.search(queries, k, params=faiss.SearchParametersIVF(nprobe=probes))
        recall = np.mean([len(np.intersect1d(a, b)) / k for a, b in zip(exact, found, strict=True)])
        if recall >= _RECALL:
            return probes
        probes *= 2
    return int(index.nlist)
