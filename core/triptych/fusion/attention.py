"""A small transformer in which the modalities look at each other before they are mixed."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from triptych.fusion.base import Fusion, hide_absent, masked_softmax, weighted_sum


class Attention(Fusion):
    """Modality tokens and a query token go through `layers` blocks; the query then weighs the tokens.

    The weights are the very numbers that the tokens are mixed by (the mean over the heads), but a token has seen
    the other modalities by then. A mark of its modality is added to each token (Vaswani et al. 2017 for the block,
    with the normalisation first as in Xiong et al. 2020).
    """

    name = "attention"
    trust: nn.Parameter

    def __init__(self, modalities: int, dim: int, *, layers: int = 1, heads: int = 4, dropout: float = 0.1) -> None:
        super().__init__(modalities, dim)
        if dim % heads:
            raise ValueError(f"the size of the vectors ({dim}) must be a multiple of the number of heads ({heads})")
        self.heads = heads
        self.dropout = dropout
        self.query = nn.Parameter(torch.randn(dim) * 0.02)
        self.marks = nn.Parameter(torch.randn(modalities, dim) * 0.02)
        self.blocks = nn.ModuleList(_Block(dim, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(dim)
        self.ask = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim)
        self.trust = nn.Parameter(torch.zeros(modalities))

    @property
    def options(self) -> dict[str, Any]:
        """Depth, heads and dropout of the transformer."""
        return {"layers": len(self.blocks), "heads": self.heads, "dropout": self.dropout}

    def forward(self, vectors: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """See `Fusion.forward`."""
        batch = len(vectors)
        tokens = torch.cat([self.query.expand(batch, 1, -1), hide_absent(vectors, mask) + self.marks], dim=1)
        # the query is always there, so a row without any modality stays finite
        visible = torch.cat([mask.new_ones(batch, 1), mask], dim=1)
        for block in self.blocks:
            tokens = block(tokens, visible)
        tokens = self.norm(tokens)
        asked = self.ask(tokens[:, :1]).reshape(batch, 1, self.heads, -1)
        keys = self.key(tokens[:, 1:]).reshape(batch, self.modalities, self.heads, -1)
        scores = (asked * keys).sum(dim=-1) * keys.shape[-1] ** -0.5  # [batch, modalities, heads]
        weights = masked_softmax(scores.transpose(1, 2) + self.trust, mask.unsqueeze(1)).mean(dim=1)
        return weighted_sum(tokens[:, 1:], weights), weights


class _Block(nn.Module):
    """Self-attention among the visible tokens and a feed-forward layer, each added to its input."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.output = nn.Linear(dim, dim)
        self.feed = nn.Sequential(
            nn.LayerNorm(dim), nn.Linear(dim, 2 * dim), nn.GELU(), nn.Dropout(dropout), nn.Linear(2 * dim, dim)
        )
        self.drop = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, visible: Tensor) -> Tensor:
        """[batch, tokens, dim] and bool [batch, tokens] to [batch, tokens, dim]."""
        b, t, d = tokens.shape
        q, k, v = self.qkv(self.norm(tokens)).reshape(b, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=visible[:, None, None, :])  # [b, heads, t, d / heads]
        tokens = tokens + self.drop(self.output(mixed.transpose(1, 2).reshape(b, t, d)))
        fed: Tensor = tokens + self.drop(self.feed(tokens))
        return fed
