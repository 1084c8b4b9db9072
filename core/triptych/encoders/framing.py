"""Pictures of any shape to arrays of one size, decoded no larger than needed. Without torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
from PIL import Image

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


def frame_pictures(
    values: Sequence[Any], image_size: int, *, framing: str, interpolation: str = "bilinear", crop: float = 1.0
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Raw pictures to uint8 [batch, image_size, image_size, 3] (a quarter of the memory of float32).

    `crop` is the share of the shorter side that "crop" keeps. Raises `DataError` naming the picture.
    """
    batch = np.empty((len(values), image_size, image_size, 3), dtype=np.uint8)
    # the decoder may shrink by powers of two on the way (JPEG); twice the size leaves the resampling filter its work
    needed = round(2 * image_size / (crop if framing == "crop" else 1.0))
    for row, value in enumerate(values):
        batch[row] = np.asarray(_frame(load_image(value, at_least=needed), image_size, framing, interpolation, crop))
    return batch


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
