"""The trained transformer in NumPy: what serving runs, without torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from triptych_recommendation.models.sequence_batches import read_tokens, tokens_of_parts
from triptych_recommendation.models.sequence_table import Table

Floats = NDArray[np.float32]
WIDTH = 4  # of a layer's inner part, in `dim`
TOKENS = 4096  # tokens read at a time


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
            counts = np.array([len(tokens[place]) for place in part])
            spans = _Spans.of(np.repeat(np.arange(len(part)), counts), np.zeros_like(counts), counts)
            found[part] = self._read(np.concatenate([tokens[place] for place in part]), spans)[0]
            start = end
        return found

    def read(self, history: NDArray[np.int32]) -> Reading:
        """One history of item rows, read so that its parts need not be read from their beginnings."""
        tokens, there = tokens_of_parts(history, np.ones((1, len(history)), np.bool_), self.items, self.length)
        read = tokens[there[0]]
        spans = _Spans.of(np.zeros(len(read), dtype=np.int64), np.zeros(1, np.int64), np.array([len(read)]))
        guess, memories = self._read(read, spans)
        return Reading(history, there[0], guess[0], [memory[0] for memory in memories])

    def parts(self, reading: Reading, kept: NDArray[np.bool_]) -> Floats:
        """Float32 [parts, dim]: guesses after parts of a history; bool [parts, events] says what each has.

        A part is read from where it leaves the whole: what stands before is the same, for a token sees no later one.
        """
        found = np.empty((len(kept), self.dim), dtype=np.float32)
        most = max(1, TOKENS // int(np.count_nonzero(reading.there)))
        for start in range(0, len(kept), most):
            tokens, there = tokens_of_parts(reading.history, kept[start : start + most], self.items, self.length)
            left = there != reading.there
            left[:, -1] |= ~left.any(axis=1)  # the last token is read anew in any case
            places = np.cumsum(there, axis=1)
            lengths = places[:, -1]
            firsts = np.minimum((places - there)[np.arange(len(there)), left.argmax(axis=1)], lengths - 1)
            row, column = np.nonzero(there & (places > firsts[:, None]))
            spans = _Spans.of(row, firsts, lengths - firsts)
            found[start : start + most] = self._read(tokens[column], spans, reading)[0]
        return found

    def _read(
        self, tokens: NDArray[np.int32], spans: _Spans, whole: Reading | None = None
    ) -> tuple[Floats, list[Floats]]:
        """The guesses of rows of tokens, and by layer what later tokens see of each, [rows, longest, numbers].

        Those are keys and values, one behind the other; in the topmost layer, of which only the last place counts, they
        are what keys and values are made of, for it is less work to turn the queries.
        """
        x = self.table.rows(tokens) * np.float32(math.sqrt(self.dim)) + self.weights["place"][spans.place]
        memories = []
        for layer in range(self.layers):
            name = f"layers.{layer}."
            seen = self._norm(x, name + "norm_attention")
            held = None if whole is None else whole.memories[layer]
            if layer < self.layers - 1:
                parts = self._dense(seen, name + "read")
                memory = spans.memory(parts[:, self.dim :], held)
                seen = self._attended(parts[:, : self.dim], memory, spans)
            else:
                memory = spans.memory(seen, held)
                last = np.cumsum(spans.counts) - 1
                lengths = spans.firsts + spans.counts
                x, seen = x[last], self._attended_at_last(seen[last], memory, lengths, name + "read")
            memories.append(memory)
            x = x + self._dense(seen, name + "write")
            inner = self._dense(self._norm(x, name + "norm_dense"), name + "inner")
            x = x + self._dense(np.maximum(inner, 0, out=inner), name + "outer")
        return self._norm(x, "norm"), memories

    def _attended(self, queries: Floats, memory: Floats, spans: _Spans) -> Floats:
        """Float32 [tokens, dim]: what each token takes from itself and those before it."""
        rows, length = memory.shape[:2]
        width, most = self.dim // self.heads, int(spans.counts.max())
        padded = np.zeros((rows, most, self.dim), dtype=np.float32)
        padded[spans.row, spans.inside] = queries
        query = padded.reshape(rows, most, self.heads, width).transpose(0, 2, 1, 3)
        key, value = memory.reshape(rows, length, 2, self.heads, width).transpose(2, 0, 3, 1, 4)
        later = np.arange(length) > (spans.firsts[:, None] + np.arange(most))[:, None, :, None]
        found = _softmax(query @ key.transpose(0, 1, 3, 2) / np.float32(math.sqrt(width)), later) @ value
        taken: Floats = found.transpose(0, 2, 1, 3)[spans.row, spans.inside].reshape(len(queries), self.dim)
        return taken

    def _attended_at_last(self, last: Floats, memory: Floats, lengths: NDArray[np.int64], name: str) -> Floats:
        """Float32 [rows, dim]: the same for the last token of each row, over what keys and values are made of.

        The inner product of a query with W m + b is that of the query's W' with m, and the same more for each token,
        which a softmax does not see; and a mean of values W m + b is W times the mean of m, and b.
        """
        dim, heads = self.dim, self.heads
        weight, bias = self.weights[name + ".weight"], self.weights[name + ".bias"]
        query, key, value = weight.reshape(3, heads, dim // heads, dim)
        asked = np.matmul(last, query.transpose(0, 2, 1)) + bias[:dim].reshape(heads, 1, -1)  # [heads, rows, width]
        turned = np.matmul(asked, key).transpose(1, 0, 2) / np.float32(math.sqrt(dim // heads))  # [rows, heads, dim]
        later = np.arange(memory.shape[1]) >= lengths[:, None, None]
        mixed = _softmax(turned @ memory.transpose(0, 2, 1), later) @ memory  # [rows, heads, dim]
        found = np.matmul(mixed.transpose(1, 0, 2), value.transpose(0, 2, 1)).transpose(1, 0, 2)
        taken: Floats = found.reshape(len(last), dim) + bias[2 * dim :]
        return taken

    def _dense(self, x: Floats, name: str) -> Floats:
        found: Floats = x @ self.weights[name + ".weight"].T
        found += self.weights[name + ".bias"]
        return found

    def _norm(self, x: Floats, name: str) -> Floats:
        """Each row of [tokens, dim] with mean 0 and variance 1, turned by weight and bias."""
        dim = np.float32(self.dim)
        found: Floats = np.subtract(x, np.add.reduce(x, axis=1, keepdims=True) / dim)
        found /= np.sqrt(np.einsum("td,td->t", found, found) / dim + np.float32(1e-5))[:, None]
        found *= self.weights[name + ".weight"]
        found += self.weights[name + ".bias"]
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """A history that was read, and what a longer or another one with the same beginning would see of its tokens."""

    history: NDArray[np.int32]
    there: NDArray[np.bool_]  # [1 + events], which of the start and the events were tokens
    guess: Floats  # [dim]
    memories: list[Floats]  # by layer, [tokens, numbers]


@dataclass(frozen=True, slots=True, eq=False)
class _Spans:
    """Tokens one after the other that end rows of them, each from a first place on."""

    row: NDArray[np.int64]  # [tokens]
    inside: NDArray[np.int64]  # [tokens], how many of the row's are before it
    place: NDArray[np.int64]  # [tokens], in its row
    firsts: NDArray[np.int64]  # [rows]
    counts: NDArray[np.int64]  # [rows], 1 or more

    @classmethod
    def of(cls, row: NDArray[np.int64], firsts: NDArray[np.int64], counts: NDArray[np.int64]) -> Self:
        """Tokens of rising rows."""
        inside = np.arange(len(row)) - (np.cumsum(counts) - counts)[row]
        return cls(row, inside, inside + firsts[row], firsts, counts)

    def memory(self, own: Floats, held: Floats | None) -> Floats:
        """Float32 [rows, longest, numbers]: of each token its own [tokens, numbers], before the first what is held."""
        longest = int((self.firsts + self.counts).max())
        found = np.zeros((len(self.firsts), longest, own.shape[1]), dtype=np.float32)
        if held is not None:
            found[:, : len(held)] = held[:longest]
        found[self.row, self.place] = own
        return found


def _softmax(logits: Floats, hidden: NDArray[np.bool_]) -> Floats:
    """Shares that add up to 1 along the last axis, 0 for what is hidden."""
    logits = np.where(hidden, np.float32(-np.inf), logits)
    logits -= logits.max(axis=-1, keepdims=True)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=-1, keepdims=True)
    return logits
