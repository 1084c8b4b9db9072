"""Pictures to tensors: brought to one size, standardised, and varied in training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from triptych.encoders.framing import check_framing, frame_pictures

__all__ = ["Standardise", "check_framing", "prepare_pictures", "to_float", "vary"]


def prepare_pictures(
    values: Sequence[Any], image_size: int, *, framing: str, interpolation: str = "bilinear", crop: float = 1.0
) -> Tensor:
    """Raw pictures to uint8 [batch, image_size, image_size, 3] (a quarter of the memory of float32).

    `crop` is the share of the shorter side that "crop" keeps. Raises `DataError` naming the picture.
    """
    return torch.from_numpy(frame_pictures(values, image_size, framing=framing, interpolation=interpolation, crop=crop))


def to_float(pictures: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """uint8 [batch, height, width, 3] to standardised [batch, 3, height, width], channels last in memory.

    `mean` and `std` [3] are those of values between zero and one.
    """
    return ((pictures.to(mean.dtype) / 255 - mean) / std).permute(0, 3, 1, 2)


class Standardise(nn.Module):
    """`to_float` for exported graphs: one product and one sum, and the bytes are what is transposed."""

    scale: Tensor
    shift: Tensor

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.register_buffer("scale", (1 / (255 * std)).view(3, 1, 1))
        self.register_buffer("shift", (-mean / std).view(3, 1, 1))

    def forward(self, pictures: Tensor) -> Tensor:
        """uint8 [batch, height, width, 3] to float32 [batch, 3, height, width]."""
        return pictures.permute(0, 3, 1, 2).to(self.scale.dtype) * self.scale + self.shift


def vary(pictures: Tensor, strength: float, *, flip: bool) -> Tensor:
    """Random zoom, shift, brightness and contrast of float [batch, 3, height, width], for training.

    At `strength` 1 a picture keeps at least 0.7 of each side and its light changes by up to 20 %. Mirroring is left
    out unless `flip`: writing and digits do not survive it.
    """
    n, device = len(pictures), pictures.device

    def between(low: float, high: float) -> Tensor:
        return torch.empty(n, device=device).uniform_(low, high)

    zoom = between(1 - 0.3 * strength, 1.0)
    room = 1 - zoom
    affine = torch.zeros(n, 2, 3, device=device)
    mirror = torch.where(between(0, 1) < 0.5, -1.0, 1.0) if flip else torch.ones(n, device=device)
    affine[:, 0, 0], affine[:, 1, 1] = zoom * mirror, zoom
    affine[:, 0, 2], affine[:, 1, 2] = between(-1, 1) * room, between(-1, 1) * room
    grid = F.affine_grid(affine, list(pictures.shape), align_corners=False).to(pictures.dtype)
    moved = F.grid_sample(pictures, grid, padding_mode="border", align_corners=False)
    light = 0.2 * strength
    contrast = between(1 - light, 1 + light).view(n, 1, 1, 1)
    brightness = between(-light, light).view(n, 1, 1, 1)
    return (moved * contrast + brightness).to(pictures.dtype)
