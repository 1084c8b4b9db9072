"""Raw FAISS, tuned by hand: what `retrieval.py` compares with. Part of it; no command of its own."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import faiss
import numpy as np

from retrieval_data import DIM

K = 10
RECALL = 0.95
THRESHOLD = 4 * DIM  # for matrix products; the wheel's default of 128,000 begins at 334 queries
BLOCK = 50_000
_LADDER = sorted({round(1.15**i) for i in range(60)})
_ROUND_SECONDS = 2.0
_FACTORS = (4, 6, 8, 10, 12, 16, 20, 24, 32)

Array = np.ndarray[Any, Any]
Search = Callable[[Array], Array]


def recall(rows: Array, truth: Array) -> float:
    """The mean share of true neighbours, both int64 [queries, k]."""
    return float(np.mean([len(np.intersect1d(a, b)) / len(b) for a, b in zip(rows, truth, strict=True)]))


def speed(
    search: Callable[[Array], Any], queries: Array, batch: int, *, rounds: int = 3, seconds: float = 2.0
) -> float:
    """Queries per second, the best of some rounds after one batch that warms up."""
    search(queries[:batch])
    best = 0.0
    for _ in range(rounds):
        done, started = 0, time.perf_counter()
        while (taken := time.perf_counter() - started) < seconds:
            first = done % (len(queries) - batch + 1)
            search(queries[first : first + batch])
            done += batch
        best = max(best, done / taken)
    return best


def side_by_side(one: Callable[[Array], Any], other: Callable[[Array], Any], queries: Array, batch: int) -> float:
    """How much longer `one` takes than `other`, as a share: the median over rounds that take turns."""
    ratios = []
    for search in (one, other):
        search(queries[:batch])
    for _ in range(15):
        taken = []
        for search in (one, other):
            started = time.perf_counter()
            for first in range(0, max(len(queries) // 2, batch), batch):
                search(queries[first : first + batch])
            taken.append(time.perf_counter() - started)
        ratios.append(taken[0] / taken[1])
    return float(np.median(ratios)) - 1


def configurations(vectors: Array, only: list[str] | None = None) -> Iterator[tuple[str, Any, float]]:
    """Name, filled index and seconds of building, one after the other."""
    metric = faiss.METRIC_INNER_PRODUCT
    faiss.cvar.distance_compute_blas_threshold = THRESHOLD
    sample = vectors[np.sort(np.random.default_rng(0).permutation(len(vectors))[:200_000])]
    root = math.sqrt(len(vectors))

    def filled(index: Any) -> Any:
        index.train(sample)
        for start in range(0, len(vectors), BLOCK):
            index.add(np.ascontiguousarray(vectors[start : start + BLOCK]))
        return index

    def refined(ivf: Any) -> Any:
        return filled(faiss.IndexRefine(ivf, faiss.IndexScalarQuantizer(DIM, faiss.ScalarQuantizer.QT_8bit, metric)))

    def lists(factor: float) -> int:
        return round(factor * root)

    makers: dict[str, Callable[[], Any]] = {}
    for factor in (2,):
        count = lists(factor)
        makers[f"IVF{count},SQ8"] = lambda c=count: filled(faiss.index_factory(DIM, f"IVF{c},SQ8", metric))  # type: ignore[misc]
        makers[f"IVF{count},PQ96x4fs + SQ8"] = lambda c=count: refined(  # type: ignore[misc]
            faiss.index_factory(DIM, f"IVF{c},PQ96x4fs", metric)
        )
    for factor in (1, 2):
        count = lists(factor)
        makers[f"IVF{count},RaBitQ fast-scan + SQ8"] = lambda c=count: refined(  # type: ignore[misc]
            faiss.IndexIVFRaBitQFastScan(faiss.IndexFlat(DIM, metric), DIM, c, metric)
        )

    def graph() -> Any:
        index = faiss.index_factory(DIM, "HNSW16_SQ8", metric)
        index.hnsw.efConstruction = 120
        return filled(index)

    makers["HNSW16,SQ8"] = graph
    for name, make in makers.items():
        if only is None or name in only:
            started = time.perf_counter()
            index = make()
            yield name, index, time.perf_counter() - started


def tuned(index: Any, queries: Array, truth: Array) -> tuple[str, Search] | None:
    """The fastest setting that reaches the recall on these queries, and the search with it."""
    best: tuple[float, str, Search] | None = None
    for name, search in _settings(index, queries, truth):
        started = time.perf_counter()
        search(queries)
        taken = time.perf_counter() - started
        if best is None or taken < best[0]:
            best = (taken, name, search)
    return None if best is None else best[1:]


def _settings(index: Any, queries: Array, truth: Array) -> Iterator[tuple[str, Search]]:
    """Of each ladder of settings the first that reaches the recall."""

    def searching(parameters: Any) -> Search:
        return lambda some: index.search(some, K, params=parameters)[1]

    def first(options: list[tuple[str, Any]]) -> tuple[str, Search] | None:
        low, high = 0, len(options)
        while low < high:  # recall rises along a ladder
            middle = (low + high) // 2
            if recall(searching(options[middle][1])(queries), truth) >= RECALL:
                high = middle
            else:
                low = middle + 1
        return None if low == len(options) else (options[low][0], searching(options[low][1]))

    ladders: list[list[tuple[str, Any]]] = []
    if isinstance(index, faiss.IndexHNSW):
        ladders = [[(f"ef {n}", faiss.SearchParametersHNSW(efSearch=n)) for n in _LADDER if n >= K]]
    elif isinstance(index, faiss.IndexRefine):
        lists = faiss.downcast_index(index.base_index).nlist
        for factor in _FACTORS:
            ladders.append(
                [
                    (
                        f"nprobe {n}, k_factor {factor}",
                        faiss.IndexRefineSearchParameters(
                            k_factor=factor, base_index_params=faiss.IVFSearchParameters(nprobe=n)
                        ),
                    )
                    for n in _LADDER
                    if n <= min(lists, 300)
                ]
            )
    else:
        ladders = [[(f"nprobe {n}", faiss.IVFSearchParameters(nprobe=n)) for n in _LADDER if n <= index.nlist]]
    for ladder in ladders:
        found = first(ladder)
        if found is not None:
            yield found
