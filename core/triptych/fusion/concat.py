"""Side by side through a layer: every modality has inputs of its own, and bits say which are there."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from triptych.fusion.base import Fusion, hide_absent


class Concatenation(Fusion):
    """Zeros stand for what is absent and presence bits tell them from real zeros; then two layers.

    The weights are each modality's share in the first layer: the norm of what it adds there. They say how loud a
    modality is, which is less than how much it decides; `evaluation.attribution` measures the latter.
    """

    name = "concat"

    def __init__(self, modalities: int, dim: int, *, dropout: float = 0.1) -> None:
        super().__init__(modalities, dim)
        # one matrix for each modality: the same as one wide layer over the concatenation, with the parts visible
        self.inputs = nn.ModuleList(nn.Linear(dim, dim, bias=False) for _ in range(modalities))
        self.presence = nn.Linear(modalities, dim)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(dim, dim)

    @property
    def options(self) -> dict[str, Any]:
        """The dropout of the hidden layer."""
        return {"dropout": self.dropout.p}

    def forward(self, vectors: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """See `Fusion.forward`."""
        vectors = hide_absent(vectors, mask)
        shares = torch.stack([layer(vectors[:, i]) for i, layer in enumerate(self.inputs)], dim=1)  # [batch, m, dim]
        hidden = nn.functional.gelu(shares.sum(dim=1) + self.presence(mask.to(vectors.dtype)))
        # a present vector of zeros still has a share, so that the weights always sum to one
        loudness = (shares.norm(dim=-1) + 1e-6) * mask
        weights = loudness / loudness.sum(dim=1, keepdim=True).clamp_min(1e-6)
        return self.output(self.dropout(hidden)), weights
