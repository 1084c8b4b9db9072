"""Inverted lists: k-means cells, of which a search looks into the nearest.

In "ivf-pq" and "ivf-rabitq" a list holds one bit a dimension in FAISS' fast-scan layout, and the best candidates are
scored again from copies in eight bits. The bits are those of product quantization (four for every four dimensions:
Jegou, Douze and Schmid, TPAMI 2011; scanned as by Andre, Kermarrec and Le Scouarnec, VLDB 2015), whose table is made
once for a query, or of RaBitQ (Gao and Long, SIGMOD 2024), whose table is made anew for every list. "ivf-sq8" holds
the eight bits in the lists, and "ivf-flat" the vectors themselves.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import faiss
import numpy as np

from triptych.retrieval.engines.base import BLOCK, Engine, Floats, Kind, Plan, Rows, Source, prepare_products

_LIST_FACTOR = 1.0  # lists: factor times the root of the number of vectors; measured, .5 to 2 differ little
_PQ_LIST_FACTOR = 2.0  # where a list costs next to nothing but its codes
_TRAIN_PER_LIST = 50  # k-means gains next to nothing from more vectors for each list
_TRAIN_LEAST = 100_000  # the ranges of the eight bits come from as many vectors
_TRAIN_ROUNDS = 8
RANGE_SLACK = 0.02  # how far beyond the range seen in training the eight bits reach, for vectors still to come
_SINGLE_FROM_LISTS = 400  # below, looking at every centroid takes less time than a graph over them
_SINGLE_UP_TO = 3  # queries at once; for more, a matrix product over the centroids is faster than the graph
_GRAPH_LINKS = 16
_COARSE_FROM_DIM = 64  # with fewer dimensions one bit for each says too little
RESCORED = ("ivf-pq", "ivf-rabitq")  # kinds whose lists hold coarse codes, with a store of finer ones beside
_PQ_DIMS, _PQ_BITS = 4, 4  # a codebook of sixteen for every four dimensions
_KEPT = 16
_LEAST_K = 10  # what the number of candidates was tuned for: with fewer hits asked for, as many are scored again

log = logging.getLogger(__name__)


def lists_for(kind: Kind, rows: int) -> int:
    """How many lists suit so many rows."""
    factor = _PQ_LIST_FACTOR if kind == "ivf-pq" else _LIST_FACTOR
    return max(1, min(round(factor * math.sqrt(rows)), rows))


def possible(kind: Kind, dim: int) -> bool:
    """Whether FAISS can hold vectors of so many dimensions that way."""
    return kind != "ivf-pq" or dim % _PQ_DIMS == 0


def suits(kind: Kind, dim: int) -> bool:
    """Whether vectors of so many dimensions can be held that way with something to gain."""
    return possible(kind, dim) and (kind not in RESCORED or dim >= _COARSE_FROM_DIM)


class ListsEngine(Engine):
    """An IVF index of FAISS, with a store to score candidates again where its codes are coarse."""

    def __init__(self, plan: Plan, kind: Kind, index: Any, *, probes: int, factor: int = 1, breadth: int = 0) -> None:
        self.plan = plan
        self.kind = kind
        self.index = index
        self.probes = probes  # lists looked into
        self.factor = factor  # candidates scored again for each hit asked for
        self.breadth = breadth  # efSearch of the graph over the centroids; 0 where there is none
        self.ivf = faiss.downcast_index(index.base_index) if kind in RESCORED else index
        self.trained_on = index.ntotal
        self._single: Any = None
        self._single_parts: tuple[Any, ...] = ()
        self._known: dict[tuple[int, int, int], Any] = {}
        self.stored_recall = 0.0  # of vectors that are stored, where the tuning was on others
        self.kept: Any = None  # whoever owns what the index points into
        self.guard: Callable[[], AbstractContextManager[None]] = nullcontext  # around each search

    @property
    def rows(self) -> int:
        """How many vectors the lists have."""
        return int(self.ivf.ntotal)

    @property
    def lists(self) -> int:
        """How many lists there are."""
        return int(self.ivf.nlist)

    @property
    def store(self) -> Any:
        """The index that candidates are scored again by; None where the lists hold what is returned."""
        return faiss.downcast_index(self.index.refine_index) if self.kind in RESCORED else None

    @property
    def parameters(self) -> dict[str, Any]:
        """Lists looked into, candidates for each hit, breadth of the search among centroids."""
        return {"probes": self.probes, "factor": self.factor, "breadth": self.breadth} | {
            "trained_on": self.trained_on,
            "stored_recall": self.stored_recall,
        }

    @classmethod
    def build(cls, source: Source, plan: Plan, kind: Kind, *, lists: int | None = None) -> ListsEngine:
        """Train on a sample and add everything; `probes` and `factor` are still to be tuned."""
        count = min(lists or lists_for(kind, source.rows), max(1, source.rows))
        training = source.sample(max(count * _TRAIN_PER_LIST, _TRAIN_LEAST), seed=0)
        index = new_index(plan, kind, centroids(training, plan, count), training)
        engine = cls(plan, kind, index, probes=min(16, count), factor=8 if kind in RESCORED else 1)
        for block in source.blocks():
            engine.add(block)
        engine.trained_on = engine.rows
        return engine

    def add(self, vectors: Floats) -> None:
        """Append rows: float32 [rows, dim]."""
        prepare_products(self.plan.dim)
        for start in range(0, len(vectors), BLOCK):
            self.index.add(vectors[start : start + BLOCK])
        if self._single is not None:
            self._single.ntotal = self._single_parts[0].ntotal = self.rows

    def search(self, queries: Floats, k: int, selector: Any = None, *, share: float = 1.0) -> tuple[Floats, Rows]:
        """The nearest rows of the lists that lie nearest."""
        if self.kind in RESCORED and k < _LEAST_K:
            scores, rows = self.search(queries, _LEAST_K, selector, share=share)
            return np.ascontiguousarray(scores[:, :k]), np.ascontiguousarray(rows[:, :k])
        probes = self.probes if share >= 1 else min(self.lists, math.ceil(self.probes / math.sqrt(max(share, 1e-6))))
        if self._single is not None and len(queries) <= _SINGLE_UP_TO:
            return self._search(self._single, queries, k, selector, probes, max(self.breadth, probes))
        return self._search(self.index, queries, k, selector, probes)

    def candidates(self, queries: Floats, k: int) -> Rows:
        """The `k` best rows by the coarse codes alone, int64 [queries, k]."""
        prepare_products(self.plan.dim)
        with self.guard():
            found: Rows = self.ivf.search(queries, k, params=faiss.IVFSearchParameters(nprobe=self.probes))[1]
        return found

    def search_all(self, queries: Floats, k: int, selector: Any = None) -> tuple[Floats, Rows]:
        """Every list is looked into, and with coarse codes every candidate is scored again."""
        if self.kind not in RESCORED:
            return self._search(self.index, queries, k, selector, self.lists)
        parameters = None if selector is None else faiss.SearchParameters(sel=selector)
        found: tuple[Floats, Rows] = self.store.search(queries, k, params=parameters)
        return found

    def _search(
        self, index: Any, queries: Floats, k: int, selector: Any, probes: int, breadth: int = 0
    ) -> tuple[Floats, Rows]:
        prepare_products(self.plan.dim)
        parameters = self._parameters(probes, breadth, selector)
        with self.guard():
            found: tuple[Floats, Rows] = index.search(queries, k, params=parameters)
        return found

    def _parameters(self, probes: int, breadth: int, selector: Any) -> Any:
        """FAISS' record of how to search; those without a selector are kept, for making one takes time."""
        known = (probes, breadth, self.factor)
        if selector is None and known in self._known:
            return self._known[known]
        quantizer = faiss.SearchParametersHNSW(efSearch=breadth) if breadth else None
        parameters = faiss.IVFSearchParameters(nprobe=probes, sel=selector, quantizer_params=quantizer)
        if self.kind in RESCORED:
            parameters = faiss.IndexRefineSearchParameters(k_factor=self.factor, base_index_params=parameters)
        if selector is None:
            self._known = {**self._known, known: parameters} if len(self._known) < _KEPT else {known: parameters}
        return parameters

    def make_single(self, breadth: int) -> None:
        """Serve a few queries at a time through a graph (HNSW) over the centroids, which shares the lists.

        Looking at every centroid is the larger part of a lone query.
        """
        self.breadth = breadth
        if breadth <= 0 or self.lists < _SINGLE_FROM_LISTS or self.kind not in RESCORED:
            self.breadth = 0
            return
        if self._single is not None:
            return
        graph = faiss.IndexHNSWFlat(self.plan.dim, _GRAPH_LINKS, self.plan.metric)
        graph.hnsw.efConstruction = 200
        graph.add(self.ivf.quantizer.reconstruct_n(0, self.lists))
        view = self._view(graph)
        view.replace_invlists(self.ivf.invlists, False)
        view.ntotal = self.store.ntotal  # FAISS wants them equal, and an index of some rows only has fewer
        self._single = faiss.IndexRefine(view, self.store)
        self._single_parts = (view, graph)

    def _view(self, graph: Any) -> Any:
        """Another index with the same codebooks and a graph over the centroids; its lists are still to be put in.

        Made by hand: FAISS' own copy would copy the lists, and its quantizer cannot be exchanged without a leak.
        """
        if self.kind == "ivf-pq":
            pq = self.ivf.pq
            view = faiss.IndexIVFPQFastScan(graph, self.plan.dim, self.lists, pq.M, pq.nbits, self.plan.metric)
            view.pq = pq
        else:
            view = faiss.IndexIVFRaBitQFastScan(graph, self.plan.dim, self.lists, self.plan.metric)
            view.rabitq, view.qb, view.centered = self.ivf.rabitq, self.ivf.qb, self.ivf.centered
        view.by_residual, view.is_trained = self.ivf.by_residual, True
        return view


def centroids(training: Floats, plan: Plan, lists: int) -> Floats:
    """K-means cells of float32 [rows, dim], on the GPU where FAISS sees one: float32 [lists, dim]."""
    from triptych.retrieval.gpu import gpu_count

    prepare_products(plan.dim)
    if gpu_count():
        try:
            return _cells(training, plan, lists, gpu=True)
        except RuntimeError as error:
            log.warning("the cells of the index are computed on the CPU: %s", error)
    return _cells(training, plan, lists, gpu=False)


def _cells(training: Floats, plan: Plan, lists: int, *, gpu: bool) -> Floats:
    means = faiss.Kmeans(
        plan.dim,
        lists,
        niter=_TRAIN_ROUNDS,
        seed=1234,
        spherical=plan.similarity,
        max_points_per_centroid=_TRAIN_PER_LIST,
        min_points_per_centroid=1,  # no warning on standard error for small indexes
        gpu=gpu,
    )
    means.train(training)
    found: Floats = means.centroids
    return found


def new_index(
    plan: Plan, kind: Kind, cells: Floats, training: Floats, *, store: Any = None, numbered: bool = False
) -> Any:
    """An empty trained index of FAISS over cells float32 [lists, dim].

    `store` is one that scores candidates already, for an index of some of its rows; `numbered` says that rows will
    come with numbers of their own.
    """
    quantizer = faiss.IndexFlat(plan.dim, plan.metric)
    quantizer.add(cells)
    lists = len(cells)
    if kind in RESCORED:
        if kind == "ivf-pq":
            ivf = faiss.IndexIVFPQFastScan(quantizer, plan.dim, lists, plan.dim // _PQ_DIMS, _PQ_BITS, plan.metric)
            ivf.by_residual = False
        else:
            ivf = faiss.IndexIVFRaBitQFastScan(quantizer, plan.dim, lists, plan.metric)
        ivf.train(training)
        index = faiss.IndexRefine(ivf, eight_bits(plan, training))
        if store is not None:
            index.refine_index = store
        return index
    if kind == "ivf-sq8":
        ivf = faiss.IndexIVFScalarQuantizer(
            quantizer, plan.dim, lists, faiss.ScalarQuantizer.QT_8bit, plan.metric, False
        )
        ivf.sq.rangestat_arg = RANGE_SLACK
    else:
        ivf = faiss.IndexIVFFlat(quantizer, plan.dim, lists, plan.metric)
    ivf.train(training)
    if not numbered:
        ivf.make_direct_map()
    return ivf


def eight_bits(plan: Plan, training: Floats) -> Any:
    """An empty store of eight bits a dimension, its ranges taken from float32 [rows, dim]."""
    store = faiss.IndexScalarQuantizer(plan.dim, faiss.ScalarQuantizer.QT_8bit, plan.metric)
    store.sq.rangestat_arg = RANGE_SLACK
    store.train(training)
    return store
