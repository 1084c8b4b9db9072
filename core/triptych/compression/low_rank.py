"""Thin pairs in the place of the wide matrices of a text transformer: "low-rank:0.5" makes half their multiplications.

Each pair comes from a singular value decomposition weighted by the inputs that the matrix really gets (Chen et al.
2021, "DRONE: Data-aware Low-rank Compression for Large NLP Models"): what the texts never ask for is lost first.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from triptych.compression.activations import Moments, input_moments
from triptych.compression.base import CompressionContext, Compressor
from triptych.compression.distil import distil
from triptych.compression.neurons import linear
from triptych.compression.text import copied, share_of, text_encoder, text_obstacle
from triptych.encoders.slim import THIN, linear_of, thin_rank
from triptych.models.multimodal import MultimodalModel


class LowRank(Compressor):
    """Factorise the dense maps of the feed-forward network and the output of attention."""

    name = "low-rank"

    def __init__(self, argument: str = "0.5") -> None:
        super().__init__(argument or "0.5")
        self.share = share_of(self.name, self.argument, 0.5)

    def obstacle(self, model: MultimodalModel) -> str | None:
        """See the base."""
        if reason := text_obstacle(model, stack=True):
            return reason
        if "thin" in text_encoder(model).settings:
            return "the text encoder has low-rank matrices already"
        return None

    def convert(self, model: MultimodalModel, context: CompressionContext) -> MultimodalModel:
        """See the base."""
        student, encoder = copied(model)
        places = [(layer, name) for layer in encoder.stack for name in THIN]
        matrices = [linear(layer, name) for layer, name in places]
        found = input_moments(encoder, matrices, context.train, context.seed)
        for (layer, name), matrix, moments in zip(places, matrices, found, strict=True):
            rank = thin_rank(matrix.in_features, matrix.out_features, self.share)
            layer.set_submodule(name, thin_pair(matrix, moments, rank))
        encoder.amend(thin=self.share)
        return student

    def recover(self, model: MultimodalModel, context: CompressionContext) -> list[str]:
        """See the base."""
        return distil(model, context, modalities=["text"], step="low-rank")


@torch.no_grad()
def thin_pair(matrix: nn.Linear, moments: Moments, rank: int) -> nn.Sequential:
    """The pair [inputs, rank], [rank, outputs] with the least squared error on inputs with these moments.

    The bias is exact for the mean input.
    """
    root = torch.linalg.cholesky(moments.damped())  # covariance = root @ root.T
    weight = matrix.weight.float()
    left, values, right = torch.linalg.svd(weight @ root, full_matrices=False)
    up = left[:, :rank] * values[:rank].sqrt()
    down = torch.linalg.solve_triangular(
        root, (values[:rank].sqrt().unsqueeze(1) * right[:rank]), upper=False, left=False
    )
    lost: Tensor = (weight - up @ down) @ moments.mean
    bias = lost if matrix.bias is None else matrix.bias + lost
    return nn.Sequential(linear_of(down, None), linear_of(up, bias))
