"""Feature vectors that were computed elsewhere, as published with many multimodal data sets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from triptych.encoders.base import Batch, Encoder
from triptych.errors import ConfigError, DataError

CLIP = 10.0  # standard deviations; published features hold wild values


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
            self._resize(len(_vector(values[0], 0)))
        vectors = self.prepare(values)["vectors"].double()
        deviation = vectors.std(dim=0, correction=0)
        self.centre.copy_(vectors.mean(dim=0))
        self.scale.copy_(torch.where(deviation > 1e-8, deviation, torch.ones_like(deviation)))

    def prepare(self, values: Sequence[Any]) -> Batch:
        """Vectors to {"vectors": float32 [batch, dim]}. Raises `DataError` for a wrong length or a missing number."""
        vectors = [_vector(value, place) for place, value in enumerate(values)]
        dim = self.dim or (len(vectors[0]) if vectors else 0)
        for place, vector in enumerate(vectors):
            if len(vector) != dim:
                raise DataError(
                    f"{self.modality} feature vector {place} has {len(vector)} numbers, the others have {dim}"
                )
        stacked = np.stack(vectors) if vectors else np.zeros((0, dim), dtype=np.float32)
        return {"vectors": torch.from_numpy(stacked)}

    def forward(self, batch: Batch) -> Tensor:
        """Standardised vectors [batch, dim], no further than ten deviations from the mean."""
        return ((batch["vectors"] - self.centre) / self.scale).clamp(-CLIP, CLIP)

    def _resize(self, dim: int) -> None:
        self.dim = dim
        self.register_buffer("centre", torch.zeros(dim))
        self.register_buffer("scale", torch.ones(dim))

    @property
    def device(self) -> torch.device:
        """Where mean and deviation are: there are no parameters."""
        return self.centre.device


class TextFeatures(FeatureEncoder):
    """`features:text`."""

    modality = "text"


class ImageFeatures(FeatureEncoder):
    """`features:image`."""

    modality = "image"


class AudioFeatures(FeatureEncoder):
    """`features:audio`."""

    modality = "audio"


def _vector(value: Any, place: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """One value as float32 [features]; `place` names it in errors."""
    try:
        vector = np.asarray(value, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise DataError(f"feature vector {place} is not made of numbers (got {type(value).__name__})") from error
    if vector.ndim != 1 or not len(vector):
        raise DataError(f"feature vector {place} must be one row of numbers (got shape {list(vector.shape)})")
    bad = np.flatnonzero(~np.isfinite(vector))
    if len(bad):
        raise DataError(f"feature vector {place} has no finite number in column {int(bad[0])} ({len(bad)} in all)")
    return vector
