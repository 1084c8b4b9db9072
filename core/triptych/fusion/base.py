"""What a fusion is: the vectors of the modalities that are present become one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn


class Fusion(nn.Module, ABC):
    """`forward` takes projected vectors [batch, modalities, dim] and a presence mask [batch, modalities].

    Subclasses set `name`, take `(modalities: int, dim: int, **options)` in their constructor and give back those
    options as JSON in `options`; the output has the same `dim`.
    """

    name: str = ""  # the part's name; `create_fusion` sets it to the name that was asked for
    # [modalities] where the fusion has a number for each modality that says how much it counts in every sample (added
    # to scores before a softmax): validation data may settle it after training, see `triptych.models.trust`
    trust: nn.Parameter | None

    def __init__(self, modalities: int, dim: int) -> None:
        super().__init__()
        self.modalities = modalities
        self.dim = dim
        self.register_parameter("trust", None)

    @property
    def options(self) -> dict[str, Any]:
        """JSON keyword arguments that, with `modalities` and `dim`, build the same fusion. None by default."""
        return {}

    @abstractmethod
    def forward(self, vectors: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """[batch, modalities, dim] and bool [batch, modalities] to ([batch, dim], weights [batch, modalities]).

        What stands in the place of an absent modality must not change the result. Weights are non-negative, zero
        where the mask is False, and sum to one in every row that has a modality; a row without any gives finite
        numbers and weights of zero.
        """


def hide_absent(vectors: Tensor, mask: Tensor) -> Tensor:
    """Zeros in the place of absent modalities, whatever stood there; shapes as in `Fusion.forward`."""
    # masked_fill and not a product: zero times infinity would let the placeholder through
    return vectors.masked_fill(~mask.unsqueeze(-1), 0.0)


def masked_softmax(scores: Tensor, mask: Tensor) -> Tensor:
    """Softmax over the last dimension among the places where the bool `mask` is True; zeros where none is."""
    lowest = scores.new_tensor(-1e4)  # finite in half precision too, and exp(-1e4) is zero beside any real score
    return scores.clamp_min(lowest / 2).masked_fill(~mask, float(lowest)).softmax(dim=-1) * mask


def weighted_sum(vectors: Tensor, weights: Tensor) -> Tensor:
    """[batch, modalities, dim] and [batch, modalities] to [batch, dim]."""
    return (vectors * weights.unsqueeze(-1)).sum(dim=1)
