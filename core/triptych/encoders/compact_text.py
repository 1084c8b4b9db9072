"""Text from scratch, in any language: hashed n-grams through one embedding table (`compact:text`).

This is the bag of tricks of Joulin et al. 2017 ("Bag of Tricks for Efficient Text Classification") with TF-IDF
weights, on character n-grams as well as words.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from triptych.encoders.base import Batch, Encoder
from triptych.encoders.hashing import as_text, padded_grams, rarities
from triptych.encoders.options import refuse_unknown
from triptych.errors import ConfigError


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
        self.rarity.copy_(torch.from_numpy(rarities(values, self.buckets)))

    def prepare(self, values: Sequence[Any]) -> Batch:
        """Texts to `buckets` int64 [batch, most n-grams] and `counts` float32 of that shape, zero beyond the end."""
        buckets, counts = padded_grams(values, self.buckets)
        return {"buckets": torch.from_numpy(buckets), "counts": torch.from_numpy(counts)}

    def costs(self, values: Sequence[Any]) -> list[int]:
        """Characters in each text."""
        return [len(as_text(value)) for value in values]

    def forward(self, batch: Batch) -> Tensor:
        """[batch, dim]."""
        weights = F.normalize(batch["counts"] * self.rarity[batch["buckets"]], dim=-1)
        weights = F.dropout(weights, self.dropout, self.training)  # drops n-grams
        vectors = self.table(batch["buckets"], per_sample_weights=weights.to(self.table.weight.dtype))
        normed: Tensor = self.norm(vectors)
        return normed
