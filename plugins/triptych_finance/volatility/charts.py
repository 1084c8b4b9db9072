"""Charts for models and alerts: daily candles and volume, drawn the same way each time, without axes or words."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from triptych_finance.volatility.prices import History

Picture = npt.NDArray[np.uint8]

SIZE = (224, 224)  # height, width
THUMBNAIL = (12, 24)
VOLUME_SHARE = 0.2  # of the height, at the foot of the picture
BODY_SHARE = 0.6  # of a day's width
PAPER, RISE, FALL, VOLUME = (255, 255, 255), (22, 128, 60), (190, 30, 45), (150, 155, 165)


def render(history: History, size: tuple[int, int] = SIZE, *, span: float | None = None) -> Picture:
    """Candles (open, high, low, close) on a logarithmic scale above bars of volume, uint8 [height, width, 3].

    The scale fits the prices, so that calm and wild stocks fill the picture alike. With `span` it is fixed: the last
    close stands in the middle and the edges at (1 + span) times and 1 / (1 + span) of it, so that a wild stock looks
    wild; what lies beyond is cut off. Raises `ValueError` for no days or an impossible size or span.
    """
    height, width = size
    if not len(history):
        raise ValueError("a chart needs at least one day")
    if height < 16 or width < 16 or (span is not None and span <= 0):
        raise ValueError(f"a chart needs 16 x 16 pixels or more and a positive span, got {size} and {span}")
    picture = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(picture)
    volume_height = round(height * VOLUME_SHARE)
    rows = _rows(history, height - volume_height, span)
    edges = np.linspace(0, width, len(history) + 1)
    centres = (edges[:-1] + edges[1:]) / 2
    half = (edges[1] - edges[0]) * BODY_SHARE / 2
    bars = np.round(history.volume / max(1.0, float(history.volume.max())) * (volume_height - 2)).astype(int)
    for day, centre in enumerate(centres):
        left, right, middle = round(centre - half), max(round(centre - half), round(centre + half) - 1), int(centre)
        colour = RISE if history.close[day] >= history.open[day] else FALL
        opened, high, low, close = (int(row) for row in rows[:, day])
        draw.line((middle, high, middle, low), fill=colour)
        draw.rectangle((left, min(opened, close), right, max(opened, close)), fill=colour)
        if bars[day]:
            draw.rectangle((left, height - int(bars[day]), right, height - 1), fill=VOLUME)
    return np.asarray(picture, dtype=np.uint8).copy()


def is_drawn(picture: Picture) -> bool:
    """Whether a picture [height, width, 3] may be one of `render`: it has no other colours."""
    codes = picture.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], dtype=np.int32)
    known = [(red << 16) + (green << 8) + blue for red, green, blue in (PAPER, RISE, FALL, VOLUME)]
    return bool(np.isin(codes, known).all())


def thumbnail(picture: Picture, size: tuple[int, int] = THUMBNAIL) -> npt.NDArray[np.float32]:
    """How much ink lies in each cell of a grid over a picture [height, width, 3], float32 [rows * columns] in [0, 1].

    The cheapest vector of a chart: nothing is learnt.
    """
    rows, columns = size
    grey: Any = Image.fromarray(picture).convert("L").resize((columns, rows), Image.Resampling.BOX)
    return (1 - np.asarray(grey, dtype=np.float32) / 255).reshape(-1).astype(np.float32)


def _rows(history: History, height: int, span: float | None) -> npt.NDArray[np.int64]:
    """The pixel row of open, high, low and close of each day, [4, days]."""
    prices = np.log(np.stack([history.open, history.high, history.low, history.close]))
    if span is None:
        top, bottom = float(prices.max()), float(prices.min())
    else:
        top, bottom = (float(prices[3, -1] + side * np.log1p(span)) for side in (1, -1))
    share = (top - prices) / (top - bottom) if top > bottom else np.full(prices.shape, 0.5)
    return np.round(np.clip(share, 0, 1) * (height - 2)).astype(np.int64)
