"""Pictures by their colours: a histogram needs no training and tells a bouquet from a dead leaf."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from triptych.data.media import load_image
from triptych.encoders.base import Batch, Encoder
from triptych.errors import ConfigError


class Palette(Encoder):
    """The share of `bins` levels of red, green and blue each: float [batch, 3 * bins]."""

    modality = "image"

    def __init__(self, bins: int = 8) -> None:
        super().__init__()
        if not 2 <= bins <= 256:
            raise ConfigError(f"palette: bins must be between 2 and 256, got {bins}")
        self.bins = bins
        self.dim = 3 * bins

    @classmethod
    def create(cls, model: str = "", *, bins: int = 8) -> Self:  # type: ignore[override]  # options by name
        """`palette` has no models to choose from: nothing stands behind the colon."""
        if model:
            raise ConfigError(f"palette: there is no model {model!r}; the name is just 'palette'")
        return cls(bins)

    @classmethod
    def restore(cls, settings: dict[str, Any], assets: Path) -> Self:
        """From `settings` alone."""
        return cls(**settings)

    @property
    def settings(self) -> dict[str, Any]:
        """What `restore` needs."""
        return {"bins": self.bins}

    def prepare(self, values: Sequence[Any]) -> Batch:
        """Pictures to their histograms, float32 [batch, 3 * bins]. Raises `DataError` naming the picture."""
        return {"histograms": torch.from_numpy(np.stack([self._histogram(value) for value in values]))}

    def forward(self, batch: Batch) -> Tensor:
        """All the work was done in `prepare`."""
        return batch["histograms"]

    def _histogram(self, value: Any) -> np.ndarray[Any, Any]:
        pixels = np.asarray(load_image(value).resize((64, 64)))  # [64, 64, 3]
        levels = pixels.reshape(-1, 3).astype(np.int64) * self.bins // 256
        shares = [np.bincount(levels[:, channel], minlength=self.bins) for channel in range(3)]
        return (np.concatenate(shares) / len(levels)).astype(np.float32)
