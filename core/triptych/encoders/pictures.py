"""Pictures to tensors: decoded no larger than needed, brought to one size, and varied in training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from triptych.data.media import load_image
from triptych.errors import ConfigError

Framing = Literal["squash", "crop", "pad"]
"""How a picture of any shape becomes a square.

"squash" keeps all of it and changes its proportions, "crop" keeps the proportions and loses the borders, "pad" keeps
both and fills the rest with grey.
"""

RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
GREY = (128, 128, 128)


def check_framing(framing: str, interpolation: str, image_size: int) -> None:
    """Raises `ConfigError` for settings that no picture could be prepared with."""
    problems = []
    if framing not in get_args(Framing):
        problems.append(f"framing {framing!r} is unknown; use {', '.join(get_args(Framing))}")
    if interpolation not in RESAMPLING:
        problems.append(f"interpolation {interpolation!r} is unknown; use {', '.join(RESAMPLING)}")
    if image_size < 16:
        problems.append(f"image_size {image_size!r} is too small; use 16 pixels or more")
    if problems:
        raise ConfigError(problems)


def prepare_pictures(
    values: Sequence[Any], image_size: int, *, framing: str, interpolation: str = "bilinear", crop: float = 1.0
) -> Tensor:
    """Raw pictures to uint8 [batch, image_size, image_size, 3] (a quarter of the memory of float32).

    `crop` is the share of the shorter side that "crop" keeps. Raises `DataError` naming the picture.
    """
    batch = np.empty((len(values), image_size, image_size, 3), dtype=np.uint8)
    # the decoder may shrink by powers of two on the way (JPEG); twice the size leaves the resampling filter its work
    needed = round(2 * image_size / (crop if framing == "crop" else 1.0))
    for row, value in enumerate(values):
        batch[row] = np.asarray(_frame(load_image(value, at_least=needed), image_size, framing, interpolation, crop))
    return torch.from_numpy(batch)


def to_float(pictures: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """uint8 [batch, height, width, 3] to standardised [batch, 3, height, width], channels last in memory.

    `mean` and `std` [3] are those of values between zero and one.
    """
    return ((pictures.to(mean.dtype) / 255 - mean) / std).permute(0, 3, 1, 2)


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


def _frame(picture: Image.Image, size: int, framing: str, interpolation: str, crop: float) -> Image.Image:
    resample = RESAMPLING[interpolation]
    if framing == "squash":
        return picture.resize((size, size), resample)
    width, height = picture.size
    if framing == "crop":
        side = min(width, height) * crop
        left, top = (width - side) / 2, (height - side) / 2
        return picture.resize((size, size), resample, box=(left, top, left + side, top + side))
    scale = size / max(width, height)
    inner = picture.resize((max(1, round(width * scale)), max(1, round(height * scale))), resample)
    canvas = Image.new("RGB", (size, size), GREY)
    canvas.paste(inner, ((size - inner.width) // 2, (size - inner.height) // 2))
    return canvas
