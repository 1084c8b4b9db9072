"""The trained transformer in NumPy: what serving runs, without torch."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych_recommendation.models.sequence_batches import read_tokens

Floats = NDArray[np.float32]
WIDTH = 4  # of a layer's inner part, in `dim`
BLOCK = 4096  # rows of an int8 table that are made float32 at a time
TOKENS = 4096  # tokens read at a time
MANY = 20_000  # items, from which on a lone guess's best are found by codes
_ALSO = 100  # rows that codes find beyond twice as many as are wanted


class Table:
    """Vectors of items: float32 [items, dim], or int8 with one float32 scale for each row."""

    def __init__(self, values: NDArray[np.float32] | NDArray[np.int8], scales: Floats | None = None) -> None:
        self.values, self.scales = values, scales
        self._codes: Any = None  # FAISS' index, made when it is first asked
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

        All rows but the last; of an int8 table with `MANY` rows, those that FAISS finds with one scale for all of them.
        """
        items = len(self.values) - 1
        if self.scales is None or items < MANY:
            return np.arange(items, dtype=np.int32), self.products(guess[None])[0]
        steps = np.rint(guess * (127 / max(float(np.abs(guess).max()), 1e-12)))  # FAISS makes eight bits of it as well
        found = self._coded().search(steps[None].astype(np.float32), min(items, 2 * k + _ALSO))[1][0]
        rows = np.sort(found).astype(np.int32)
        return rows, self.rows(rows) @ guess

    def _coded(self) -> Any:
        """An index of eight bits a number, another [items, dim] bytes."""
        import faiss  # late: small tables do without

        with self._coding:
            if self._codes is None:
                items, dim = len(self.values) - 1, self.values.shape[1]
                code = faiss.ScalarQuantizer.QT_8bit_direct_signed
                index = faiss.IndexScalarQuantizer(dim, code, faiss.METRIC_INNER_PRODUCT)
                assert self.scales is not None
                share = self.scales / self.scales.max()
                for start in range(0, items, BLOCK):
                    part = slice(start, min(start + BLOCK, items))
                    index.add(np.rint(self.values[part] * share[part, None]).astype(np.float32))
                self._codes = index
            return self._codes


class Reader:
    """Reads histories and guesses what comes next. Weights are named as in `sequence_network.Network`.

    Raises `ValueError` for a weight of a wrong shape, `KeyError` for one that is missing.
    """

    def __init__(self, table: Table, weights: dict[str, Floats], heads: int) -> None:
        self.table, self.weights, self.heads = table, weights, heads
        self.items = len(table) - 1
        self.length, self.dim = weights["place"].shape
        self.layers = sum(name.endswith("read.weight") for name in weights)
        self._check()

    def quantized(self) -> Reader:
        """The same with an int8 table, and weights rounded to float16."""
        rounded = {name: weight.astype(np.float16).astype(np.float32) for name, weight in self.weights.items()}
        every = np.arange(len(self.table), dtype=np.int32)
        return Reader(Table.quantized(self.table.rows(every)), rounded, self.heads)

    def _check(self) -> None:
        dim = self.dim
        if self.heads < 1 or dim % self.heads:
            raise ValueError(f"heads is {self.heads}, and dim is {dim}")
        if self.table.values.shape[1:] != (dim,):
            raise ValueError(f"table has shape {self.table.values.shape}, and dim is {dim}")
        if self.table.scales is not None and self.table.scales.shape != (len(self.table),):
            raise ValueError(f"scales has shape {self.table.scales.shape}, and the table {len(self.table)} rows")
        dense: dict[str, tuple[int, ...]] = {}
        dense |= {"read": (3 * dim, dim), "write": (dim, dim), "inner": (WIDTH * dim, dim), "outer": (dim, WIDTH * dim)}
        shapes: dict[str, tuple[int, ...]] = {"norm.weight": (dim,), "norm.bias": (dim,)}
        for layer in range(self.layers):
            for name in ("norm_attention", "norm_dense"):
                shapes |= {f"layers.{layer}.{name}.{part}": (dim,) for part in ("weight", "bias")}
            for name, shape in dense.items():
                shapes |= {f"layers.{layer}.{name}.weight": shape, f"layers.{layer}.{name}.bias": shape[:1]}
        for name, shape in shapes.items():
            if self.weights[name].shape != shape:
                raise ValueError(f"{name} has shape {self.weights[name].shape}, expected {shape}")

    def guesses(self, histories: Sequence[NDArray[np.int32]]) -> Floats:
        """Float32 [histories, dim]: what is looked for next after each history of item rows."""
        tokens = [read_tokens(history, self.items, self.length) for history in histories]
        found = np.empty((len(tokens), self.dim), dtype=np.float32)
        order = sorted(range(len(tokens)), key=lambda place: len(tokens[place]))
        start = 0
        while start < len(order):
            end = start + 1
            while end < len(order) and (end + 1 - start) * len(tokens[order[end]]) <= TOKENS:
                end += 1
            part = order[start:end]
            found[part] = self._read([tokens[place] for place in part])
            start = end
        return found

    def _read(self, tokens: list[NDArray[np.int32]]) -> Floats:
        """The guesses of token rows of about one length; what fills the shorter ones up stands behind their end."""
        last = np.array([len(row) for row in tokens]) - 1
        padded = np.full((len(tokens), int(last.max()) + 1), self.items, dtype=np.int32)
        for place, row in enumerate(tokens):
            padded[place, : len(row)] = row
        x = self.table.rows(padded) * np.float32(math.sqrt(self.dim)) + self.weights["place"][: padded.shape[1]]
        for layer in range(self.layers):
            x = self._layer(x, f"layers.{layer}.", last if layer == self.layers - 1 else None)
        return self._norm(x[:, 0], "norm")

    def _layer(self, x: Floats, name: str, last: NDArray[np.int64] | None) -> Floats:
        """One layer, [rows, length, dim]; the topmost only at the last place of each row, [rows, 1, dim]."""
        rows, length, dim = x.shape
        split = (rows, length, self.heads, dim // self.heads)
        parts = self._dense(self._norm(x, name + "norm_attention"), name + "read")
        query, key, value = (part.reshape(split).transpose(0, 2, 1, 3) for part in np.split(parts, 3, axis=2))
        reach = np.arange(length)[None, :]
        if last is not None:
            every = np.arange(rows)
            query, x, reach = query[every, :, last][:, :, None], x[every, last][:, None], last[:, None]
        hidden = np.arange(length) > reach[..., None]  # what comes after a place
        logits = query @ key.transpose(0, 1, 3, 2) / np.float32(math.sqrt(dim // self.heads))
        logits = np.where(hidden[:, None], np.float32(-np.inf), logits)
        logits = np.exp(logits - logits.max(axis=-1, keepdims=True))
        seen = (logits / logits.sum(axis=-1, keepdims=True)) @ value
        x = x + self._dense(seen.transpose(0, 2, 1, 3).reshape(x.shape), name + "write")
        inner = np.maximum(self._dense(self._norm(x, name + "norm_dense"), name + "inner"), 0)
        return x + self._dense(inner, name + "outer")

    def _dense(self, x: Floats, name: str) -> Floats:
        found: Floats = x @ self.weights[name + ".weight"].T + self.weights[name + ".bias"]
        return found

    def _norm(self, x: Floats, name: str) -> Floats:
        centred = x - x.mean(axis=-1, keepdims=True)
        spread = np.sqrt(np.square(centred).mean(axis=-1, keepdims=True) + np.float32(1e-5))
        found: Floats = centred / spread * self.weights[name + ".weight"] + self.weights[name + ".bias"]
        return found
