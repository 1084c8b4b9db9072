"""Feature vectors that were computed elsewhere, as published with many multimodal data sets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from triptych.encoders.base import Batch, Encoder, Exportable
from triptych.encoders.vectors import CLIP, stack_vectors
from triptych.errors import ConfigError


class FeatureEncoder(Encoder):
    """Vectors as they come, standardised with mean and deviation of the training values.

    The length is that of the first vector `fit` sees, or the option `dim`. A number that never changes in training is
    left as it is, less its mean.
    """

    centre: Tensor
    scale: Tensor

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__()
        self.name = f"features:{self.modality}"
        self._resize(int(settings["dim"]))

    @classmethod
    def create(cls, model: str = "", *, dim: int = 0) -> Self:  # type: ignore[override]  # options by name: a wrong one is refused
        """A fresh encoder; `dim` 0 takes the length from the training values."""
        if model not in ("", cls.modality):
            raise ConfigError(f"this encoder is called 'features:{cls.modality}', not 'features:{model}'")
        if dim < 0:
            raise ConfigError(f"dim must be the length of the vectors, or 0 to find it out (got {dim!r})")
        return cls({"dim": dim})

    @classmethod
    def restore(cls, settings: dict[str, Any], assets: Path) -> Self:
        """The same encoder without its mean and deviation; needs nothing from `assets`."""
        return cls(settings)

    @property
    def settings(self) -> dict[str, Any]:
        """The length of the vectors."""
        return {"dim": self.dim}

    def fit(self, values: Sequence[Any]) -> None:
        """Take length, mean and deviation from the training values."""
        if not values:
            return
        if not self.dim:
            self._resize(stack_vectors(values[:1], 0, self.modality).shape[1])
        vectors = self.prepare(values)["vectors"].double()
        deviation = vectors.std(dim=0, correction=0)
        self.centre.copy_(vectors.mean(dim=0))
        self.scale.copy_(torch.where(deviation > 1e-8, deviation, torch.ones_like(deviation)))

    def prepare(self, values: Sequence[Any]) -> Batch:
        """Vectors to {"vectors": float32 [batch, dim]}. Raises `DataError` for a wrong length or a missing number."""
        return {"vectors": torch.from_numpy(stack_vectors(values, self.dim, self.modality))}

    def forward(self, batch: Batch) -> Tensor:
        """Standardised vectors [batch, dim], no further than ten deviations from the mean."""
        return ((batch["vectors"] - self.centre) / self.scale).clamp(-CLIP, CLIP)

    def exportable(self) -> Exportable:
        """Mean and deviation are all there is: the runner "features" needs no graph."""
        module = _Graph(self.centre, self.scale)
        example = {"vectors": torch.zeros(2, self.dim)}
        return Exportable(module, example, {"vectors": {0: "batch"}}, "features", {"modality": self.modality})

    def _resize(self, dim: int) -> None:
        self.dim = dim
        self.register_buffer("centre", torch.zeros(dim))
        self.register_buffer("scale", torch.ones(dim))

    @property
    def device(self) -> torch.device:
        """Where mean and deviation are: there are no parameters."""
        return self.centre.device


class _Graph(nn.Module):
    """What `FeatureEncoder.forward` does, by position."""

    centre: Tensor
    scale: Tensor

    def __init__(self, centre: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.register_buffer("centre", centre)
        self.register_buffer("scale", scale)

    def forward(self, vectors: Tensor) -> Tensor:
        return ((vectors - self.centre) / self.scale).clamp(-CLIP, CLIP)


class TextFeatures(FeatureEncoder):
    """`features:text`."""

    modality = "text"


class ImageFeatures(FeatureEncoder):
    """`features:image`."""

    modality = "image"


class AudioFeatures(FeatureEncoder):
    """`features:audio`."""

    modality = "audio"
