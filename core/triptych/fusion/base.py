"""What a fusion is: the vectors of the modalities that are present become one."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Fusion(nn.Module, ABC):
    """`forward` takes projected vectors [batch, modalities, dim] and a presence mask [batch, modalities].

    Subclasses take `(modalities: int, dim: int, **options)` in their constructor; the output has the same `dim`.
    """

    def __init__(self, modalities: int, dim: int) -> None:
        super().__init__()
        self.modalities = modalities
        self.dim = dim

    @abstractmethod
    def forward(self, vectors: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """[batch, modalities, dim] and bool [batch, modalities] to ([batch, dim], weights [batch, modalities]).

        What stands in the place of an absent modality must not change the result. Weights are non-negative, zero
        where the mask is False, and sum to one in every row that has a modality.
        """
