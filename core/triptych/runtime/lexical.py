"""A linear model on hashed n-grams, beside a text encoder (`triptych.encoders.lexical`), without torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from safetensors.numpy import load_file

from triptych.encoders.hashing import AT_ONCE, Grams, grams_of
from triptych.runtime.base import Array

LEXICAL = "lexical.safetensors"


class Lexical:
    """TF-IDF weighted n-grams times a table, whose rows may be int8 with a scale each."""

    def __init__(self, rarity: Array, table: Array, scale: Array | None, bias: Array) -> None:
        self.rarity, self.table, self.scale, self.bias = rarity, table, scale, bias

    @classmethod
    def load(cls, directory: Path) -> Self:
        """From `lexical.safetensors`: `rarity` [buckets], `table` [buckets, outputs], `bias`, and `scale` for int8."""
        tensors = load_file(directory / LEXICAL)
        table = tensors["table"]
        table = table if table.dtype == np.int8 else table.astype(np.float32)
        return cls(tensors["rarity"].astype(np.float32), table, tensors.get("scale"), tensors["bias"])

    def encode(self, values: Sequence[Any]) -> Array:
        """Float32 [texts, outputs]."""
        found = np.empty((len(values), len(self.bias)), dtype=np.float32)
        for start in range(0, len(values), AT_ONCE):
            found[start : start + AT_ONCE] = self._sums(grams_of(values[start : start + AT_ONCE], len(self.table)))
        return found + self.bias

    def _sums(self, grams: Grams) -> Array:
        """The weighted rows of each text added up, float32 [texts, outputs]."""
        weights = grams.weights(self.rarity)
        if self.scale is not None:
            weights *= self.scale[grams.buckets]
        sums: Array = np.add.reduceat(weights[:, None] * self.table[grams.buckets], grams.starts, axis=0)
        return sums
