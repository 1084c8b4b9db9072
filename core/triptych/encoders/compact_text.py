"""Text from scratch, in any language: hashed n-grams through one embedding table (`compact:text`).

No vocabulary and no word boundaries are needed: character n-grams carry Chinese as well as English, whole words and
pairs of words add order. This is the bag of tricks of Joulin et al. 2017 ("Bag of Tricks for Efficient Text
Classification") with TF-IDF weights. Hashing is plain integer arithmetic on code points, the same on every machine.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from triptych.encoders.base import Batch, Encoder
from triptych.encoders.options import refuse_unknown
from triptych.errors import ConfigError, DataError

Codes = NDArray[np.uint64]

LONGEST = 4_000
"""Characters kept of a text."""
LONGEST_GRAM = 4
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio, odd: spreads neighbouring sums far apart
WORD, PAIR = np.uint64(101), np.uint64(102)  # seeds that keep words and pairs apart from n-grams


class CompactTextEncoder(Encoder):
    """TF-IDF weighted hashed n-grams, summed through a table of `buckets` x `dim`, normalised by layer norm.

    `fit` learns how rare each bucket is; the table is learnt in training.
    """

    modality = "text"
    rarity: Tensor

    def __init__(self, dim: int, buckets: int, dropout: float) -> None:
        super().__init__()
        self.name = "compact:text"
        self.dim = dim
        self.buckets = buckets
        self.dropout = dropout
        self.table = nn.EmbeddingBag(buckets, dim, mode="sum")
        nn.init.normal_(self.table.weight, std=0.1)
        self.norm = nn.LayerNorm(dim)
        # inverse document frequency of each bucket; equal until `fit`
        self.register_buffer("rarity", torch.ones(buckets))

    @classmethod
    def create(
        cls, model: str = "", *, dim: int = 256, buckets: int = 32_768, dropout: float = 0.2, **unknown: Any
    ) -> Self:
        """A new encoder. Raises `ConfigError` for sizes that make no table and options that do not exist."""
        refuse_unknown("compact:text", unknown, ("dim", "buckets", "dropout"))
        if dim < 1 or buckets < 2 or not 0 <= dropout < 1:
            raise ConfigError("[encoders.text] compact:text needs dim >= 1, buckets >= 2 and 0 <= dropout < 1")
        return cls(dim, buckets, dropout)

    @classmethod
    def restore(cls, settings: dict[str, Any], assets: Path) -> Self:
        """From `settings` alone."""
        return cls(**settings)

    @property
    def settings(self) -> dict[str, Any]:
        """`dim`, `buckets` and `dropout`."""
        return {"dim": self.dim, "buckets": self.buckets, "dropout": self.dropout}

    def fit(self, values: Sequence[Any]) -> None:
        """Take the document frequency of every bucket from the training texts."""
        counts = np.zeros(self.buckets)
        for text in values:
            counts[np.unique(self._grams(text))] += 1
        rarity = np.log((1 + len(values)) / (1 + counts)) + 1
        self.rarity.copy_(torch.from_numpy(rarity))

    def prepare(self, values: Sequence[Any]) -> Batch:
        """Texts to `buckets` int64 [batch, most n-grams] and `counts` float32 of that shape, zero beyond the end."""
        grams = [np.unique(self._grams(text), return_counts=True) for text in values]
        width = max((len(g) for g, _ in grams), default=1)
        buckets = np.zeros((len(grams), width), dtype=np.int64)
        counts = np.zeros((len(grams), width), dtype=np.float32)
        for row, (gram, count) in enumerate(grams):
            buckets[row, : len(gram)] = gram
            counts[row, : len(gram)] = 1 + np.log(count)  # a word said ten times is not ten times as telling
        return {"buckets": torch.from_numpy(buckets), "counts": torch.from_numpy(counts)}

    def costs(self, values: Sequence[Any]) -> list[int]:
        """Characters in each text."""
        return [len(_text(value)) for value in values]

    def forward(self, batch: Batch) -> Tensor:
        """[batch, dim]."""
        weights = F.normalize(batch["counts"] * self.rarity[batch["buckets"]], dim=-1)
        weights = F.dropout(weights, self.dropout, self.training)  # drops n-grams
        vectors = self.table(batch["buckets"], per_sample_weights=weights.to(self.table.weight.dtype))
        normed: Tensor = self.norm(vectors)
        return normed

    def _grams(self, value: Any) -> NDArray[np.int64]:
        return (_hashes(_text(value)[:LONGEST]) % np.uint64(self.buckets)).astype(np.int64)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise DataError(f"a text is wanted, not {type(value).__name__}: {str(value)[:60]!r}")
    return value


def _hashes(text: str) -> Codes:
    """Hashes of all character 1- to 4-grams, words and pairs of words; blanks stand at both ends."""
    text = f" {' '.join(unicodedata.normalize('NFKC', text).casefold().split())} "
    codes = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32).astype(np.uint64)
    found: list[Codes] = []
    rolling = np.zeros(len(codes), dtype=np.uint64)
    for length in range(1, LONGEST_GRAM + 1):
        if len(codes) < length:
            break
        rolling = rolling[: len(codes) - length + 1] * MULTIPLIER + codes[length - 1 :]
        found.append(_mix(rolling + np.uint64(length)))
    words = _words(codes)
    found.append(_mix(words + WORD))
    found.append(_mix(words[:-1] * MULTIPLIER + words[1:] + PAIR))
    return np.concatenate(found)


def _words(codes: Codes) -> Codes:
    """One hash for each run of characters between blanks: a polynomial of its code points."""
    blanks = np.flatnonzero(codes == ord(" "))
    hashes = []
    for start, stop in zip(blanks[:-1] + 1, blanks[1:], strict=True):
        powers = np.cumprod(np.full(stop - start, MULTIPLIER))
        hashes.append((codes[start:stop] * powers).sum(dtype=np.uint64))
    return np.array(hashes, dtype=np.uint64)


def _mix(values: Codes) -> Codes:
    """Spread every bit over all (a multiply and two shifted exclusive ors): the low bits choose the bucket."""
    values = (values ^ (values >> np.uint64(31))) * MULTIPLIER
    return values ^ (values >> np.uint64(29))
