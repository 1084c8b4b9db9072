"""The mean of what is present: nothing to learn, hard to beat on small data."""

from __future__ import annotations

from torch import Tensor

from triptych.fusion.base import Fusion, hide_absent, weighted_sum


class Mean(Fusion):
    """Every modality that is present weighs the same."""

    name = "mean"

    def forward(self, vectors: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """See `Fusion.forward`."""
        weights = mask.to(vectors.dtype)
        weights = weights / weights.sum(dim=1, keepdim=True).clamp_min(1)
        return weighted_sum(hide_absent(vectors, mask), weights), weights
