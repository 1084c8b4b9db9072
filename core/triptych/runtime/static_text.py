"""Text by tables in NumPy: the static encoder and the one of hashed n-grams, without torch and without a tokenizer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Self

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from triptych.encoders.hashing import AT_ONCE, grams_of
from triptych.encoders.units import Vocabulary
from triptych.errors import BundleError
from triptych.runtime.base import Array

TABLE, WORDS = "table.safetensors", "words.json"
SCALE = ".scale"  # behind the name of an int8 tensor: one float for each of its rows
CHUNK = 64
"""Texts whose rows are gathered at a time: what is gathered stays in the cache."""


class StaticText:
    """What `triptych.encoders.static_text` computes, from `table.safetensors` and `words.json`."""

    def __init__(self, vocabulary: Vocabulary, tensors: Mapping[str, Array], *, normalize: bool) -> None:
        self.vocabulary = vocabulary
        self.normalize = normalize
        self.table = tensors["table"]
        self.norm = tensors["norm.weight"], tensors["norm.bias"]
        self.hidden = np.ascontiguousarray(tensors["hidden.weight"].T), tensors["hidden.bias"]
        self.output = np.ascontiguousarray(tensors["output.weight"].T), tensors["output.bias"]
        self.dim = len(tensors["output.bias"])

    @classmethod
    def load(cls, directory: Path, settings: Mapping[str, Any], *, threads: int = 0) -> Self:
        """From the exported files; `settings` has `buckets` and `normalize`. Raises `BundleError`.

        `threads` changes nothing: the work is too small to be shared.
        """
        tensors = read_tensors(directory / TABLE)
        try:
            words = json.loads((directory / WORDS).read_text(encoding="utf-8"))
            vocabulary = Vocabulary(words, tensors["pairs"].astype(np.int64).tolist(), settings["buckets"])
            runner = cls(vocabulary, tensors, normalize=settings["normalize"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BundleError(f"the static table in {directory} cannot be read: {error!r}") from error
        if len(runner.table) != vocabulary.rows:
            raise BundleError(f"{directory / TABLE} has {len(runner.table)} rows, its words need {vocabulary.rows}")
        return runner

    def encode(self, values: Sequence[Any]) -> Array:
        """Texts to float32 [len(values), dim]. Raises `DataError` for what is not a text."""
        found = np.empty((len(values), self.dim), dtype=np.float32)
        for start in range(0, len(values), CHUNK):
            found[start : start + CHUNK] = self._layers(self._sums(values[start : start + CHUNK]))
        return found

    def _sums(self, values: Sequence[Any]) -> Array:
        """The sum of each text's rows, float32 [texts, table]."""
        rows = list(map(self.vocabulary.look_up, values))
        if len(rows) == 1:
            summed: Array = self.table[rows[0]].sum(axis=0, keepdims=True)
            return summed
        lengths = np.fromiter(map(len, rows), dtype=np.intp, count=len(rows))
        units = np.fromiter(chain.from_iterable(rows), dtype=np.intp, count=int(lengths.sum()))
        starts = np.cumsum(lengths) - lengths
        added: Array = np.add.reduceat(self.table[units], starts, axis=0)
        return added

    def _layers(self, sums: Array) -> Array:
        """[texts, table] to [texts, dim]."""
        inner = gelu(layer_norm(sums, *self.norm) @ self.hidden[0] + self.hidden[1])
        vectors: Array = inner @ self.output[0] + self.output[1]
        if self.normalize:
            vectors /= np.maximum(np.sqrt(np.einsum("ij,ij->i", vectors, vectors)), 1e-12)[:, None]
        return vectors


class HashedText:
    """What `triptych.encoders.compact_text` computes, from `table.safetensors`."""

    def __init__(self, tensors: Mapping[str, Array]) -> None:
        self.table = tensors["table"]
        self.rarity = tensors["rarity"]
        self.norm = tensors["norm.weight"], tensors["norm.bias"]
        self.dim = self.table.shape[1]

    @classmethod
    def load(cls, directory: Path, settings: Mapping[str, Any], *, threads: int = 0) -> Self:
        """From the exported file. Raises `BundleError`."""
        try:
            return cls(read_tensors(directory / TABLE))
        except (KeyError, IndexError) as error:
            raise BundleError(f"{directory / TABLE} is no table of hashed n-grams: {error!r}") from error

    def encode(self, values: Sequence[Any]) -> Array:
        """Texts to float32 [len(values), dim]. Raises `DataError` for what is not a text."""
        sums = np.empty((len(values), self.dim), dtype=np.float32)
        for start in range(0, len(values), AT_ONCE):
            grams = grams_of(values[start : start + AT_ONCE], len(self.table))
            weights = grams.weights(self.rarity)
            ends = grams.ends.tolist()
            for row, (begin, end) in enumerate(zip([0, *ends], ends, strict=False), start=start):
                sums[row] = weights[begin:end] @ self.table[grams.buckets[begin:end]]
        return layer_norm(sums, *self.norm)


def read_tensors(path: Path) -> dict[str, Array]:
    """All tensors as float32 (integers other than int8 as they are), int8 ones times the scales of their rows.

    Raises `BundleError`. A table in memory is of floats: a look-up then costs no arithmetic.
    """
    try:
        stored = load_file(path)
    except (OSError, SafetensorError) as error:
        raise BundleError(f"{path} cannot be read: {error}") from error
    tensors: dict[str, Array] = {}
    for name, tensor in stored.items():
        if tensor.dtype == np.int8 and name + SCALE in stored:
            tensors[name] = tensor.astype(np.float32) * stored[name + SCALE][:, None]
        elif not name.endswith(SCALE):
            tensors[name] = tensor.astype(np.float32) if tensor.dtype.kind == "f" else tensor
    return tensors


def layer_norm(values: Array, weight: Array, bias: Array) -> Array:
    """Float32 [rows, dim], each row to mean 0 and variance 1, then scaled and moved."""
    centred = values - values.mean(axis=1, keepdims=True)
    variance = np.einsum("ij,ij->i", centred, centred)[:, None] / np.float32(values.shape[1])
    normed: Array = centred / np.sqrt(variance + np.float32(1e-5)) * weight + bias
    return normed


def gelu(values: Array) -> Array:
    """The tanh form of the Gaussian error linear unit (Hendrycks & Gimpel 2016)."""
    inner = np.tanh(np.float32(0.7978845608) * (values + np.float32(0.044715) * values * values * values))
    result: Array = np.float32(0.5) * values * (1 + inner)
    return result
