"""What goes into the linear maps of a text encoder on real texts, and which of their inputs can be spared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from triptych.encoders.transformer import TransformerTextEncoder
from triptych.errors import DataError
from triptych.types import Sample

TEXTS = 512
"""Texts that are looked at."""
DAMPING = 0.01
"""Added to the variances, as a share of their mean: few tokens do not determine many inputs."""
ROUNDS = 8
"""Steps in which inputs are removed; between two, what the remaining ones can stand in for is computed anew."""


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """`mean` [inputs] and `covariance` [inputs, inputs] of what goes into a linear map, over tokens."""

    mean: Tensor
    covariance: Tensor

    def damped(self) -> Tensor:
        """The covariance, made invertible."""
        size = len(self.mean)
        return self.covariance + self.covariance.diagonal().mean().clamp_min(1e-8) * DAMPING * torch.eye(size)


@torch.no_grad()
def input_moments(
    encoder: TransformerTextEncoder, modules: Sequence[nn.Module], samples: Sequence[Sample], seed: int
) -> list[Moments]:
    """Of each module, over the tokens of at most `TEXTS` of the samples' texts, without padding.

    Raises `DataError` where no sample has a text.
    """
    texts = [s.text for s in samples if s.text is not None]
    if not texts:
        raise DataError("no training sample has a text: there is nothing to see how the text encoder is used")
    order = torch.randperm(len(texts), generator=torch.Generator().manual_seed(seed))[:TEXTS].tolist()
    texts = [texts[i] for i in order]
    sums = [torch.zeros(0)] * len(modules)
    squares = [torch.zeros(0)] * len(modules)
    tokens = 0
    present = torch.zeros(0, dtype=torch.bool)

    def look(place: int) -> Any:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            rows = inputs[0][present].float()  # [tokens, inputs]
            total, square = rows.sum(dim=0), rows.T @ rows
            sums[place] = sums[place] + total if len(sums[place]) else total
            squares[place] = squares[place] + square if len(squares[place]) else square

        return hook

    hooks = [module.register_forward_pre_hook(look(i)) for i, module in enumerate(modules)]
    try:
        texts.sort(key=len)
        for start in range(0, len(texts), 32):
            batch = encoder.prepare(texts[start : start + 32])
            present = batch["attention_mask"].bool()
            tokens += int(present.sum())
            encoder(batch)
    finally:
        for handle in hooks:
            handle.remove()
    found = []
    for total, square in zip(sums, squares, strict=True):
        mean = total / tokens
        found.append(Moments(mean, square / tokens - mean.outer(mean)))
    return found


@torch.no_grad()
def spare_inputs(linear: nn.Linear, moments: Moments, keep: int, group: int = 1) -> tuple[list[int], Tensor, Tensor]:
    """The `keep` groups of neighbouring inputs that a linear map needs most, ascending; its weight and bias for them.

    A group costs the squared error of the outputs after the others have been fitted to stand in for it (Hassibi &
    Stork 1993, "Second order derivatives for network pruning: Optimal Brain Surgeon"; for groups Kurtic et al. 2023,
    "ZipLM"). The weight returned, [outputs, keep * group], is that fit; the bias takes over the means.
    """
    matrix = moments.damped()
    wanted = linear.weight.float() @ moments.covariance  # [outputs, inputs]: outputs against inputs
    alive = torch.arange(linear.in_features // group)
    surplus = len(alive) - keep
    rounds = min(ROUNDS, surplus)
    for number in range(rounds):
        places = _places(alive, group)
        inverse = _inverse(matrix[places][:, places])
        weight = wanted[:, places] @ inverse
        blocks = inverse.reshape(len(alive), group, len(alive), group)
        own = blocks[torch.arange(len(alive)), :, torch.arange(len(alive))]  # [groups, group, group]
        parts = weight.reshape(len(weight), len(alive), group).permute(1, 2, 0)  # [groups, group, outputs]
        cost = (parts * torch.linalg.solve(own, parts)).sum(dim=(1, 2))
        removed = (surplus * (number + 1)) // rounds - (surplus * number) // rounds
        alive = alive[cost.argsort(descending=True)[: len(alive) - removed].sort().values]
    places = _places(alive, group)
    weight = wanted[:, places] @ _inverse(matrix[places][:, places])
    shift = linear.weight.float() @ moments.mean - weight @ moments.mean[places]
    bias = shift if linear.bias is None else linear.bias + shift
    return alive.tolist(), weight.clone(), bias.clone()


def _places(groups: Tensor, size: int) -> Tensor:
    return (groups.unsqueeze(1) * size + torch.arange(size)).flatten()


def _inverse(matrix: Tensor) -> Tensor:
    return torch.cholesky_inverse(torch.linalg.cholesky(matrix))
