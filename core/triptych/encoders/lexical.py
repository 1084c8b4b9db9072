"""A linear model on hashed n-grams that stands beside a text encoder: exact words help where meanings are close.

Sentence vectors see what a text means; "card delivery" and "card delivery estimate" mean nearly the same, and the
words tell them apart. `triptych.tuning.lexical` learns the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from triptych.encoders.base import Batch
from triptych.encoders.hashing import padded_grams

BUCKETS = 32_768


class LexicalTable(nn.Module):
    """TF-IDF weighted hashed n-grams times a table: float [batch, outputs]. Fixed in gradient training."""

    rarity: Tensor
    table: Tensor
    bias: Tensor

    def __init__(self, outputs: int, buckets: int = BUCKETS) -> None:
        super().__init__()
        self.outputs = outputs
        self.buckets = buckets
        self.register_buffer("rarity", torch.ones(buckets))
        self.register_buffer("table", torch.zeros(buckets, outputs))
        self.register_buffer("bias", torch.zeros(outputs))

    def prepare(self, values: Sequence[Any]) -> Batch:
        """`buckets` int64 and `counts` float32, [batch, most n-grams]."""
        buckets, counts = padded_grams(values, self.buckets)
        return {"buckets": torch.from_numpy(buckets), "counts": torch.from_numpy(counts)}

    def forward(self, batch: Batch) -> Tensor:
        """[batch, outputs]."""
        weights = F.normalize(batch["counts"] * self.rarity[batch["buckets"]], dim=-1)
        return F.embedding_bag(batch["buckets"], self.table, per_sample_weights=weights, mode="sum") + self.bias
