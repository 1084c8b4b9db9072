"""Vectors as one bit a dimension, in inverted lists: small enough for memory, and good enough to find candidates."""

from __future__ import annotations

import math
from typing import Any, Self

import faiss
import numpy as np
from numpy.typing import NDArray

from triptych.errors import BundleError
from triptych_recommendation.models.base import distinct

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]

_TRAINED_PER_LIST = 50  # vectors for each cell of k-means
_TRAINED = 1_000  # vectors at least, whose mean the codes are relative to
_ROUNDS = 8
_TRIALS = 200  # stored vectors that the number of lists looked into is chosen with
_NEAREST = 10  # neighbours that must be among the candidates
_RECALL = 0.99  # share of them
FACTOR = 2  # candidates for each neighbour that is wanted, and
_LEAST = 200  # so many more


class Codes:
    """Signs of the dimensions of unit vectors, turned at random, in FAISS' inverted lists under their rows.

    This is RaBitQ (Gao and Long, SIGMOD 2024). Unlike the index "ivf-rabitq" of `triptych.retrieval`, it holds no copy
    in eight bits beside the signs: candidates are scored by vectors that lie in a file. A row that is added again has
    its old code too; whoever scores the candidates anew finds out. Any number of threads may search; one that adds must
    be alone.
    """

    def __init__(self, index: Any, probes: int) -> None:
        self._index = index
        self.probes = probes  # lists that a search looks into

    @classmethod
    def build(cls, vectors: NDArray[np.float16], rows: Rows, *, lists: int | None = None, seed: int = 0) -> Self:
        """Codes of some rows of float16 [items, dim]. So many lists are looked into that the nearest are found.

        That is measured with stored vectors: of their ten nearest .99 must be among the candidates. There are as many
        lists as the root of the rows, or `lists`; with one, which takes no time to train, a search looks at all codes.
        """
        lists = lists or max(1, round(math.sqrt(len(rows))))
        generator = np.random.default_rng(seed)
        chosen = np.sort(generator.permutation(rows)[: max(lists * _TRAINED_PER_LIST, _TRAINED)])
        training = vectors[chosen].astype(np.float32)
        dim = vectors.shape[1]
        means = faiss.Kmeans(dim, lists, niter=_ROUNDS, seed=seed + 1, spherical=True, verbose=False)
        means.train(training)
        quantizer = faiss.IndexFlatIP(dim)
        quantizer.add(means.centroids)
        index = faiss.IndexIVFRaBitQFastScan(quantizer, dim, lists, faiss.METRIC_INNER_PRODUCT)
        index.train(training)
        found = cls(index, probes=1)
        for start in range(0, len(rows), 10_000):
            part = rows[start : start + 10_000]
            found.add(part, vectors[part].astype(np.float32))
        if lists > 1:
            found._choose_probes(vectors, rows, generator)
        return found

    @classmethod
    def of(cls, tensors: dict[str, NDArray[Any]]) -> Self:
        """What `tensors` gave. Raises `BundleError` where FAISS cannot read it."""
        try:
            index = faiss.deserialize_index(np.ascontiguousarray(tensors["index"], dtype=np.uint8))
            return cls(index, int(tensors["probes"][0]))
        except (KeyError, IndexError, RuntimeError) as error:
            raise BundleError(f"the index of the items' vectors is damaged ({error}); build the bundle again") from None

    def tensors(self) -> dict[str, NDArray[Any]]:
        """All that there is to it, for a file."""
        return {"index": faiss.serialize_index(self._index), "probes": np.array([self.probes], dtype=np.int64)}

    @property
    def nbytes(self) -> int:
        """Bytes of codes, rows and cells, as FAISS writes them."""
        return int(faiss.serialize_index(self._index).nbytes)

    def add(self, rows: Rows, vectors: Floats) -> None:
        """Add unit vectors, float32 [rows, dim], under their rows."""
        if len(rows):
            self._index.add_with_ids(np.ascontiguousarray(vectors), np.ascontiguousarray(rows, dtype=np.int64))

    def candidates(self, query: Floats, k: int, allowed: NDArray[np.bool_] | None = None) -> Rows:
        """Rows among which the `k` nearest to float32 [dim] are, as far as the codes tell; each once, in any order.

        Only rows that bool [items] `allowed` marks. The fewer these are, the more lists are looked into.
        """
        probes, selector, bits = self.probes, None, None
        if allowed is not None:
            bits = np.packbits(allowed, bitorder="little")
            selector = faiss.IDSelectorBitmap(len(bits), faiss.swig_ptr(bits))
            share = max(float(np.count_nonzero(allowed)), 1.0) / max(len(allowed), 1)
            probes = min(self._index.nlist, math.ceil(probes / math.sqrt(share)))
        parameters = faiss.IVFSearchParameters(nprobe=probes, sel=selector)
        found = self._index.search(query[None], _LEAST + FACTOR * k, params=parameters)[1][0]
        rows: Rows = distinct(found[found >= 0])
        return rows

    def _choose_probes(self, vectors: NDArray[np.float16], rows: Rows, generator: np.random.Generator) -> None:
        chosen = generator.permutation(rows)[:_TRIALS]
        queries = vectors[chosen].astype(np.float32)
        nearest = nearest_exactly(vectors, rows, queries, min(_NEAREST, len(rows)))
        while True:
            met = [
                np.isin(true, self.candidates(query, _NEAREST)) for true, query in zip(nearest, queries, strict=True)
            ]
            if np.mean(met) >= _RECALL or self.probes >= self._index.nlist:
                return
            self.probes = min(self._index.nlist, self.probes * 2)


def nearest_exactly(vectors: NDArray[np.float16], rows: Rows, queries: Floats, k: int) -> Rows:
    """The `k` of some rows of float16 [items, dim] nearest to each query by inner product, int64 [queries, k]."""
    scores = np.empty((len(queries), 0), dtype=np.float32)
    best = np.empty((len(queries), 0), dtype=np.int64)
    for start in range(0, len(rows), 10_000):
        part = rows[start : start + 10_000]
        scores = np.concatenate([scores, queries @ vectors[part].astype(np.float32).T], axis=1)
        best = np.concatenate([best, np.broadcast_to(part, (len(queries), len(part)))], axis=1)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        scores, best = np.take_along_axis(scores, order, 1), np.take_along_axis(best, order, 1)
    return best
