"""A gate for each modality looks at its vector and says how much it should count."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from triptych.fusion.base import Fusion, hide_absent, masked_softmax, weighted_sum


class Gated(Fusion):
    """The gates' scores become weights by a softmax over what is present, and the vectors are mixed by them.

    In the manner of the gated multimodal unit (Arevalo et al. 2017), with a softmax over any number of modalities
    in place of one sigmoid between two. The gates start at zero, which is the mean.
    """

    name = "gated"
    trust: nn.Parameter

    def __init__(self, modalities: int, dim: int) -> None:
        super().__init__(modalities, dim)
        self.gates = nn.Parameter(torch.zeros(modalities, dim))
        self.trust = nn.Parameter(torch.zeros(modalities))

    def forward(self, vectors: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """See `Fusion.forward`."""
        vectors = hide_absent(vectors, mask)
        scores = (vectors * self.gates).sum(dim=-1) * self.dim**-0.5 + self.trust  # [batch, modalities]
        weights = masked_softmax(scores, mask)
        return weighted_sum(vectors, weights), weights
