"""The vectors of items that a sequence model looks for: all of them, some rows, or those that fit a guess best."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
BLOCK = 4096  # rows of an int8 table that are made float32 at a time
MANY = 20_000  # items, from which on a lone guess's best are found by codes
_ALSO = 400  # rows that codes find beyond twice as many as are wanted
_TRAINED = 2_000  # rows that tell which sixteen values a number is coded by


class Table:
    """Vectors of items: float32 [items, dim], or int8 with one float32 scale for each row."""

    def __init__(self, values: NDArray[np.float32] | NDArray[np.int8], scales: Floats | None = None) -> None:
        self.values, self.scales = values, scales
        self._codes: tuple[Any, Floats] | None = None  # made when they are first asked
        self._coding = threading.Lock()

    @classmethod
    def quantized(cls, vectors: Floats) -> Table:
        """Each row rounded to 255 steps of its own largest number."""
        scales = np.maximum(np.abs(vectors).max(axis=1, initial=0), 1e-12).astype(np.float32) / 127
        return cls(np.rint(vectors / scales[:, None]).astype(np.int8), scales)

    def __len__(self) -> int:
        return len(self.values)

    def rows(self, index: NDArray[np.int32]) -> Floats:
        """Float32 [..., dim]."""
        found: Floats = self.values[index].astype(np.float32, copy=False)
        return found if self.scales is None else found * self.scales[index][..., None]

    def products(self, guesses: Floats) -> Floats:
        """Float32 [guesses, items]: inner products of guesses [guesses, dim] with all rows but the last."""
        items = len(self.values) - 1
        if self.scales is None:
            found: Floats = guesses @ self.values[:items].T
            return found
        found = np.empty((len(guesses), items), dtype=np.float32)
        for start in range(0, items, BLOCK):
            part = slice(start, min(start + BLOCK, items))
            np.matmul(guesses, self.values[part].astype(np.float32).T, out=found[:, part])
        found *= self.scales[:items]
        return found

    def largest(self, guess: Floats, k: int) -> tuple[NDArray[np.int32], Floats]:
        """Rows among which the `k` with the largest products with float32 [dim] are, rising, and their products.

        All rows but the last; of an int8 table with `MANY` rows, those that codes of half the size find.
        """
        items = len(self.values) - 1
        if self.scales is None or items < MANY:
            return np.arange(items, dtype=np.int32), self.products(guess[None])[0]
        codes, turned = self._coded()
        found = codes.search((guess @ turned)[None], min(items, 2 * k + _ALSO))[1][0]
        rows = np.sort(found[found >= 0]).astype(np.int32)
        return rows, self.rows(rows) @ guess

    def _coded(self) -> tuple[Any, Floats]:
        """An index of four bits a number, and the turn [dim, dim] before it, which makes all numbers about as large.

        FAISS adds up what sixteen values of each number would give, which is far quicker than the products.
        """
        import faiss  # late: small tables do without

        with self._coding:
            if self._codes is None:
                items, dim = len(self.values) - 1, self.values.shape[1]
                rng = np.random.default_rng(0)
                turned = np.linalg.qr(rng.normal(size=(dim, dim)))[0].astype(np.float32)
                index = faiss.IndexPQFastScan(dim, dim, 4, faiss.METRIC_INNER_PRODUCT)
                index.train(self.rows(np.sort(rng.permutation(items)[:_TRAINED]).astype(np.int32)) @ turned)
                for start in range(0, items, BLOCK):
                    index.add(self.rows(np.arange(start, min(start + BLOCK, items), dtype=np.int32)) @ turned)
                self._codes = index, turned
            return self._codes
