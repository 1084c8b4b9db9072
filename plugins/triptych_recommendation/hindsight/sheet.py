"""The picture sheet: what some users liked and what was recommended to them, drawn by Pillow."""

from __future__ import annotations

import colorsys
import hashlib
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from triptych.data.media import load_image
from triptych.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

USERS, LIKED, RECOMMENDED = 12, 5, 6
"""Rows of a sheet at most, and cards in one on either side of the line."""
_WIDTH, _HEIGHT, _CAPTION = 150, 180, 46  # pixels of a card's picture and of the title below it
_GAP, _MARGIN, _MIDDLE = 14, 28, 44  # between cards, around the sheet, between the two sides
_TOP, _NAME = 58, 30  # heights of the heading and of a user's name
_ROW = _NAME + _HEIGHT + _CAPTION + 20
_RADIUS = 8
Colour = tuple[int, int, int]
_PAGE, _TEXT, _DIM, _LINE, _CHOSEN = (250, 250, 251), (28, 30, 33), (92, 99, 112), (217, 220, 225), (0, 128, 92)


@dataclass(frozen=True, slots=True)
class Card:
    """An item in the picture sheet."""

    title: str
    image: Path | None = None  # without one, the title stands in a coloured box
    chosen: bool = False  # among the recommended ones: it is what the user went for in the held-out part


@dataclass(frozen=True, slots=True)
class Shown:
    """A row of the picture sheet."""

    user: str
    liked: Sequence[Card]  # the newest last
    recommended: Sequence[Card]  # the best first


def draw_sheet(path: Path, rows: Sequence[Shown]) -> list[Path]:
    """Draw the first `USERS` rows into a PNG file: the newest liked items, a line, the best recommended ones.

    What the user went for has a frame and a mark. Returns the pictures that could not be read, whose items stand in
    boxes as those without one do.
    """
    from PIL import Image, ImageDraw

    rows = rows[:USERS]
    line = _MARGIN + LIKED * (_WIDTH + _GAP) - _GAP + _MIDDLE // 2
    right = line + _MIDDLE // 2
    size = (right + RECOMMENDED * (_WIDTH + _GAP) - _GAP + _MARGIN, _TOP + _ROW * len(rows) + _MARGIN)
    sheet = Image.new("RGB", size, _PAGE)
    pen = ImageDraw.Draw(sheet)
    pen.text((_MARGIN, _TOP / 2), "Chosen before, the newest on the right", _DIM, _font(15), "lm")
    pen.text((right, _TOP / 2), "Recommended, the best on the left", _DIM, _font(15), "lm")
    pen.line([(line, _TOP), (line, size[1] - _MARGIN)], _LINE, 2)
    broken: list[Path] = []
    for number, row in enumerate(rows):
        top = _TOP + number * _ROW
        pen.text((_MARGIN, top + _NAME / 2), _fitted(row.user, _font(15, bold=True), line - 2 * _MARGIN), _TEXT,
                 _font(15, bold=True), "lm")  # fmt: skip
        top += _NAME
        liked = row.liked[-LIKED:]
        left = line - _MIDDLE // 2 - len(liked) * (_WIDTH + _GAP) + _GAP  # the newest beside the line
        for place, card in enumerate(liked):
            broken += _draw_card(sheet, pen, card, left + place * (_WIDTH + _GAP), top)
        for place, card in enumerate(row.recommended[:RECOMMENDED]):
            x = right + place * (_WIDTH + _GAP)
            broken += _draw_card(sheet, pen, card, x, top)
            _badge(pen, str(place + 1), x + 6, top + 6, (28, 30, 33))
            if card.chosen:
                _mark(pen, x, top)
        for side, x in ((row.liked, _MARGIN), (row.recommended, right)):
            if not side:
                pen.text((x, top + _HEIGHT / 2), "nothing", _DIM, _font(15), "lm")
    sheet.save(path)
    return broken


def _draw_card(sheet: Image, pen: ImageDraw, card: Card, x: int, y: int) -> list[Path]:
    """A card with its left upper corner there; its picture, where that cannot be read."""
    title = card.title or "(no title)"
    face = None if card.image is None else _picture(card.image)
    broken = [card.image] if card.image is not None and face is None else []
    if face is None:
        face = _box(title)
    else:
        for number, words in enumerate(_wrapped(title, _font(13), _WIDTH, 2)):
            pen.text((x, y + _HEIGHT + 6 + 18 * number), words, _TEXT, _font(13))
    sheet.paste(face, (x, y), _corners())
    return broken


@cache
def _corners() -> Image:
    """What of a card is left when its corners are rounded."""
    from PIL import Image, ImageDraw

    fine = Image.new("L", (4 * _WIDTH, 4 * _HEIGHT), 0)
    ImageDraw.Draw(fine).rounded_rectangle((0, 0, 4 * _WIDTH - 1, 4 * _HEIGHT - 1), 4 * _RADIUS, 255)
    return fine.resize((_WIDTH, _HEIGHT), Image.Resampling.LANCZOS)


def _picture(path: Path) -> Image | None:
    """The whole picture on a ground of its own colour, as large as a card; None where it cannot be read."""
    from PIL import Image, ImageOps

    try:
        image = load_image(path, at_least=2 * _HEIGHT)
    except (DataError, OSError):
        return None
    mean = image.resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))
    assert isinstance(mean, tuple)
    ground = (mean[0] // 2 + 110, mean[1] // 2 + 110, mean[2] // 2 + 110)
    return ImageOps.pad(image, (_WIDTH, _HEIGHT), Image.Resampling.LANCZOS, ground)


def _box(title: str) -> Image:
    """The title on a colour that is always the same for it."""
    from PIL import Image, ImageDraw

    hue = hashlib.sha256(title.encode("utf-8", "surrogatepass")).digest()[0] / 256
    red, green, blue = (round(255 * part) for part in colorsys.hls_to_rgb(hue, 0.36, 0.42))
    box = Image.new("RGB", (_WIDTH, _HEIGHT), (red, green, blue))
    pen = ImageDraw.Draw(box)
    lines = _wrapped(title, _font(15, bold=True), _WIDTH - 24, 6)
    top = (_HEIGHT - 21 * len(lines)) / 2
    for number, words in enumerate(lines):
        pen.text((_WIDTH / 2, top + 21 * number), words, (255, 255, 255), _font(15, bold=True), "ma")
    return box


def _badge(pen: ImageDraw, words: str, x: float, y: float, colour: Colour) -> float:
    """A word in a pill with its left upper corner there; returns its width."""
    font = _font(12, bold=True)
    width = max(22.0, font.getlength(words) + 14)
    pen.rounded_rectangle((x, y, x + width, y + 22), 11, colour, (255, 255, 255), 1)
    pen.text((x + width / 2, y + 11), words, (255, 255, 255), font, "mm")
    return width


def _mark(pen: ImageDraw, x: int, y: int) -> None:
    """That the user went for it: a frame, and a pill that says so."""
    pen.rounded_rectangle((x - 5, y - 5, x + _WIDTH + 4, y + _HEIGHT + 4), _RADIUS + 5, None, _CHOSEN, 4)
    words = "✓ chosen"
    width = _font(12, bold=True).getlength(words) + 14
    _badge(pen, words, x + _WIDTH - width - 6, y + 6, _CHOSEN)


def _wrapped(text: str, font: FreeTypeFont, width: float, most: int) -> list[str]:
    """A text in at most so many lines of so many pixels; a word that is too long is cut, as is the last line."""
    lines: list[str] = []
    words = _plain(text).split()
    while words and len(lines) < most:
        line = words.pop(0)
        while words and font.getlength(f"{line} {words[0]}") <= width:
            line = f"{line} {words.pop(0)}"
        last = len(lines) == most - 1
        lines.append(_fitted(" ".join([line, *words]) if last else line, font, width))
    return lines


def _fitted(text: str, font: FreeTypeFont, width: float) -> str:
    """A text that is no wider than so many pixels, cut where it must be."""
    text = _plain(text)[:400]
    if font.getlength(text) <= width:
        return text
    longest = bisect_right(range(len(text)), width, key=lambda length: font.getlength(f"{text[:length]}…")) - 1
    return f"{text[: max(0, longest)].rstrip()}…"


def _plain(text: str) -> str:
    """Without line breaks, control characters and halves of characters, none of which can be drawn."""
    whole = text.encode("utf-8", "replace").decode("utf-8")
    return "".join(char if char.isprintable() else " " for char in whole)


@cache
def _font(size: int, *, bold: bool = False) -> FreeTypeFont:
    """The font that comes with matplotlib, which knows Latin, Greek and Cyrillic."""
    from matplotlib import get_data_path
    from PIL import ImageFont

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(get_data_path()) / "fonts" / "ttf" / name, size)
