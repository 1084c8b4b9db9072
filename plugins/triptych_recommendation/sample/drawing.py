"""Covers of the synthetic catalogue: the style of an item sets colours and shapes, and nothing else is told."""

from __future__ import annotations

import math
import random

from PIL import Image, ImageDraw

SIDE = 128  # pixels
_FINE = 3  # drawn so many times larger, for smooth edges
Colour = tuple[int, int, int]

STYLES = ("ember", "glacier", "meadow", "neon", "paper")
_COLOURS: dict[str, tuple[Colour, ...]] = {  # the ground first
    "ember": ((74, 18, 12), (214, 64, 28), (240, 138, 36), (250, 204, 96)),
    "glacier": ((222, 236, 246), (150, 194, 226), (76, 134, 190), (30, 70, 128)),
    "meadow": ((236, 240, 190), (142, 188, 84), (70, 134, 62), (232, 190, 66)),
    "neon": ((14, 10, 28), (236, 44, 176), (48, 226, 222), (158, 92, 255)),
    "paper": ((232, 222, 200), (44, 40, 38), (120, 108, 96), (176, 58, 46)),
}


def draw(style: str, rng: random.Random) -> Image.Image:
    """A square RGB picture of `SIDE` pixels in one of the `STYLES`."""
    side = SIDE * _FINE
    ground, *others = [_shade(colour, rng) for colour in _COLOURS[style]]
    image = Image.new("RGB", (side, side), ground)
    pen = ImageDraw.Draw(image)
    for _ in range(rng.randint(9, 14)):
        _SHAPES[style](pen, rng, side, rng.choice(others))
    return image.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def _shade(colour: Colour, rng: random.Random) -> Colour:
    """A colour a little lighter, darker or tinted otherwise."""
    light = rng.gauss(0, 10)
    red, green, blue = (round(min(255.0, max(0.0, part + light + rng.gauss(0, 7)))) for part in colour)
    return red, green, blue


def _triangle(pen: ImageDraw.ImageDraw, rng: random.Random, side: int, colour: Colour) -> None:
    x, y, size, turn = rng.random() * side, rng.random() * side, side * rng.uniform(0.12, 0.34), rng.random() * 6.28
    corners = [(x + size * math.cos(turn + k * 2.09), y + size * math.sin(turn + k * 2.09)) for k in range(3)]
    pen.polygon(corners, fill=colour)


def _band(pen: ImageDraw.ImageDraw, rng: random.Random, side: int, colour: Colour) -> None:
    y, height, lean = rng.random() * side, side * rng.uniform(0.02, 0.11), side * rng.uniform(-0.12, 0.12)
    pen.polygon([(0, y), (side, y + lean), (side, y + lean + height), (0, y + height)], fill=colour)


def _disc(pen: ImageDraw.ImageDraw, rng: random.Random, side: int, colour: Colour) -> None:
    x, y, size = rng.random() * side, rng.random() * side, side * rng.uniform(0.06, 0.2)
    pen.ellipse([x - size, y - size, x + size, y + size], fill=colour)


def _line(pen: ImageDraw.ImageDraw, rng: random.Random, side: int, colour: Colour) -> None:
    points = [(rng.random() * side, rng.random() * side) for _ in range(3)]
    pen.line(points, fill=colour, width=rng.randint(3, 8), joint="curve")


def _block(pen: ImageDraw.ImageDraw, rng: random.Random, side: int, colour: Colour) -> None:
    cell = side // 8
    x, y = rng.randrange(8) * cell, rng.randrange(8) * cell
    pen.rectangle([x, y, x + cell * rng.randint(1, 3), y + cell * rng.randint(1, 2)], fill=colour)


_SHAPES = {"ember": _triangle, "glacier": _band, "meadow": _disc, "neon": _line, "paper": _block}
