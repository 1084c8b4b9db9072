"""Encoders for indexes that need no weights: hashed n-grams of a text, mean colours of a picture, and a plugin."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from triptych.data.media import load_image
from triptych.encoders.base import Batch, Encoder
from triptych.encoders.hashing import hashed_grams
from triptych.errors import ConfigError, DataError
from triptych.hookspecs import hookimpl
from triptych.types import Part

WORST = "unspeakable"  # a text that no encoder here can read


class Letters(Encoder):
    """`letters:64`: 64 numbers of a text's n-grams."""

    modality = "text"
    encoded: ClassVar[list[str]] = []  # every text that any of them saw, for tests

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.name = f"letters:{dim}"

    @classmethod
    def create(cls, model: str = "", **options: Any) -> Self:
        if not (model or "64").isdigit():
            raise ConfigError(f"letters:{model}: how many numbers?")
        return cls(int(model or "64"))

    @classmethod
    def restore(cls, settings: dict[str, Any], assets: Path) -> Self:
        return cls(**settings)

    @property
    def settings(self) -> dict[str, Any]:
        return {"dim": self.dim}

    def prepare(self, values: Sequence[Any]) -> Batch:
        rows = np.zeros((len(values), self.dim), dtype=np.float32)
        for row, value in enumerate(values):
            if value == WORST:
                raise DataError("words fail me")
            found, counts = hashed_grams(value, self.dim)
            rows[row, found] = counts
        self.encoded.extend(values)
        return {"grams": torch.from_numpy(rows)}

    def forward(self, batch: Batch) -> Tensor:
        return batch["grams"]


class Colours(Encoder):
    """`colours`: mean red, green and blue of a picture."""

    modality = "image"
    name = "colours"
    dim = 3
    settings: ClassVar[dict[str, Any]] = {}  # type: ignore[assignment]

    @classmethod
    def create(cls, model: str = "", **options: Any) -> Self:
        return cls()

    @classmethod
    def restore(cls, settings: dict[str, Any], assets: Path) -> Self:
        return cls()

    def prepare(self, values: Sequence[Any]) -> Batch:
        means = [np.asarray(load_image(value), dtype=np.float32).mean(axis=(0, 1)) / 255 for value in values]
        return {"means": torch.from_numpy(np.stack(means))}

    def forward(self, batch: Batch) -> Tensor:
        return batch["means"]


class LettersPlugin:
    """The plugin that offers both."""

    @hookimpl
    def triptych_parts(self) -> list[Part]:
        return [
            Part("encoder", "letters", f"{__name__}:Letters", "N-grams."),
            Part("encoder", "colours", f"{__name__}:Colours", "Mean colours."),
        ]
