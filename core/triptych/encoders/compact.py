"""What the compact image and audio encoders share: descriptors, and beside them a small network that starts silent.

A small random network is a poor encoder as long as nobody trains it, and a few hundred examples are too few to train
it well. So a compact encoder's vector is classical descriptors, standardised by `fit`: nothing in it needs training.
The option `learned` sets a small convolutional network beside them, behind a gain that starts at zero (as in ReZero,
Bachlechner et al. 2020), so that training lets in what it has learnt. While the gain is zero the network is not
computed at inference.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from triptych.encoders.base import Batch, Encoder

FIT_VALUES = 512  # of the training values are enough for a mean and a deviation
CLIP = 6.0  # standard deviations beyond which a descriptor says no more


class CompactEncoder(Encoder):
    """Standardised statistics [batch, known] and learned features [batch, learned], side by side.

    Subclasses set `network`, call `set_sizes` at the end of their constructor and write `describe` and `learn`.
    """

    centre: Tensor
    scale: Tensor

    def set_sizes(self, known: int, learned: int) -> None:
        """Make room for `known` statistics and `learned` features (0: no network is used)."""
        self.known, self.learned = known, learned
        self.dim = known + learned
        self.register_buffer("centre", torch.zeros(known))
        self.register_buffer("scale", torch.ones(known))
        if learned:
            self.gain = nn.Parameter(torch.zeros(learned))

    @abstractmethod
    def describe(self, batch: Batch) -> Tensor:
        """Statistics [batch, known] of a prepared batch, not standardised."""

    @abstractmethod
    def learn(self, batch: Batch) -> Tensor:
        """The network's features [batch, learned]."""

    def vary(self, batch: Batch) -> Batch:
        """The batch as training sees it; unchanged by default."""
        return batch

    @classmethod
    def restore(cls, settings: dict[str, Any], assets: Path) -> Self:
        """The architecture with random weights; needs nothing from `assets`."""
        return cls(settings)

    @property
    def device(self) -> torch.device:
        """Where the statistics are computed: without a network there are no parameters."""
        return self.centre.device

    @torch.inference_mode()
    def fit(self, values: Sequence[Any]) -> None:
        """Take mean and deviation of the statistics from (at most 512 of) the training values."""
        step = -(-len(values) // FIT_VALUES)
        chosen = list(values[::step]) if step else []
        if not chosen:
            return
        rows = []
        for start in range(0, len(chosen), 32):
            batch = self.prepare(chosen[start : start + 32])
            rows.append(self.describe({k: v.to(self.device) for k, v in batch.items()}))
        statistics = torch.cat(rows)
        deviation = statistics.std(dim=0, correction=0)
        self.centre.copy_(statistics.mean(dim=0))
        # what never changed in training says nothing; dividing by almost zero would make it shout
        self.scale.copy_(torch.where(deviation > 1e-5, deviation, torch.ones_like(deviation)))

    def forward(self, batch: Batch) -> Tensor:
        """A prepared batch to [batch, known + learned]."""
        if self.training:
            batch = self.vary(batch)
        with torch.no_grad():
            statistics = self.describe(batch)
        silent = not self.learned or (not self.training and self.silent)
        return self.assemble(statistics, None if silent else self.learn(batch))

    @property
    def silent(self) -> bool:
        """Whether the network's part is zero whatever the network says, so that it need not be computed."""
        return not self.learned or not bool(self.gain.any())

    def assemble(self, statistics: Tensor, learned: Tensor | None) -> Tensor:
        """Raw statistics [batch, known] and features [batch, learned] (None: silent) to [batch, dim]."""
        known = ((statistics - self.centre) / self.scale).clamp(-CLIP, CLIP)
        if not self.learned:
            return known
        if learned is None:
            return F.pad(known, (0, self.learned))
        return torch.cat([known, F.layer_norm(learned, (self.learned,)) * self.gain], dim=1)


class Block(nn.Module):
    """3 x 3 convolution for each channel, 1 x 1 over channels, normalisation over channels, GELU.

    Every position is normalised on its own, so that neither padding nor the rest of the batch has a say. `mask`
    [batch, 1, height, 1] silences positions behind the end of a sound.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(inputs, inputs, 3, stride, padding=1, groups=inputs, bias=False)
        self.pointwise = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.norm = nn.LayerNorm(outputs)
        self.residual = inputs == outputs and stride == 1

    def forward(self, maps: Tensor, mask: Tensor | None = None) -> Tensor:
        """[batch, inputs, height, width] to [batch, outputs, height / stride, width / stride]."""
        new: Tensor = self.pointwise(self.depthwise(maps))
        new = F.gelu(self.norm(new.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))
        if self.residual:
            new = new + maps
        return new if mask is None else new * mask
