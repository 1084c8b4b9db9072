"""Each modality is answered on its own, and the answers are averaged."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from triptych.fusion.base import Fusion, hide_absent, masked_softmax, weighted_sum


class Late(Fusion):
    """A tower for each modality; the towers' outputs are averaged with one learned weight for each modality.

    Every head here is linear, so this average goes through it unchanged: the logits of the whole are the weighted
    average of the logits of each modality alone. Weights are the same for all samples that have the same parts.
    """

    name = "late"
    trust: nn.Parameter

    def __init__(self, modalities: int, dim: int, *, dropout: float = 0.1) -> None:
        super().__init__(modalities, dim)
        self.dropout = dropout
        self.towers = nn.ModuleList(
            nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.Dropout(dropout), nn.Linear(dim, dim))
            for _ in range(modalities)
        )
        self.trust = nn.Parameter(torch.zeros(modalities))

    @property
    def options(self) -> dict[str, Any]:
        """The dropout inside the towers."""
        return {"dropout": self.dropout}

    def forward(self, vectors: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """See `Fusion.forward`."""
        vectors = hide_absent(vectors, mask)
        # each tower adds to its input: a linear probe is where training starts from
        answers = torch.stack([vectors[:, i] + tower(vectors[:, i]) for i, tower in enumerate(self.towers)], dim=1)
        weights = masked_softmax(self.trust.expand(len(mask), -1), mask)
        return weighted_sum(answers, weights), weights
