"""What all pictures share: colours, type, noise, and saving small in one of three formats."""

from __future__ import annotations

import io
import random
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont

Colour = tuple[int, int, int]

ACCENTS: tuple[Colour, ...] = ((32, 96, 128), (120, 60, 110), (30, 120, 84), (170, 84, 30), (70, 70, 90), (150, 40, 60))
LIGHT: tuple[tuple[Colour, Colour], ...] = (
    ((250, 250, 248), (30, 30, 34)),
    ((255, 255, 255), (20, 24, 40)),
    ((244, 240, 230), (50, 40, 30)),
)
DARK: tuple[tuple[Colour, Colour], ...] = (((26, 28, 34), (236, 236, 240)), ((18, 30, 40), (224, 232, 236)))
RED: Colour = (200, 40, 44)
GREEN: Colour = (40, 150, 80)
GREY: Colour = (140, 144, 150)
ITEMS = (
    "Enamel pot", "Duvet cover", "Wool blanket", "Table lamp", "Bath towel", "Serving bowl", "Wall clock", "Oak stool",
    "Linen apron", "Tea kettle", "Cushion grey", "Glass vase", "Bread knife", "Door mat", "Candle set", "Shelf 60 cm",
)  # fmt: skip


def font(size: int, *, bold: bool = False, family: str = "Sans") -> ImageFont.FreeTypeFont:
    """A DejaVu face: `family` is Sans, Serif or SansMono."""
    return ImageFont.truetype(f"DejaVu{family}{'-Bold' if bold else ''}.ttf", size)


def money(rng: random.Random) -> str:
    """A price between 9.90 and 189.90."""
    return f"{rng.randint(9, 189)}.{rng.choice(('90', '95', '50', '00'))}"


def priced(rng: random.Random, most: int) -> tuple[list[tuple[str, str]], str]:
    """One to `most` articles with their prices, and the total."""
    rows = [(item, money(rng)) for item in rng.sample(ITEMS, rng.randint(1, most))]
    return rows, f"{sum(float(price) for _, price in rows):.2f}"


def order_number(rng: random.Random) -> str:
    """An order number of the shop."""
    return f"MW-{rng.randint(10000, 99999)}"


def date(rng: random.Random) -> str:
    """A day without a year, as shops print it."""
    return f"{rng.randint(1, 28)} {rng.choice(('Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Sep', 'Oct', 'Nov'))}"


class Screen:
    """A phone or browser screen that is filled from top to bottom."""

    def __init__(self, rng: random.Random, title: str) -> None:
        self.rng = rng
        self.width, self.height = rng.choice(((264, 348), (280, 340), (300, 330), (252, 372)))
        self.background, self.ink = rng.choice(LIGHT if rng.random() < 0.7 else DARK)
        self.accent = rng.choice(ACCENTS)
        self.image = Image.new("RGB", (self.width, self.height), self.background)
        self.draw = ImageDraw.Draw(self.image)
        self.family = rng.choice(("Sans", "Sans", "Sans", "Serif"))
        self.left = rng.randint(12, 20)
        bar = rng.randint(34, 46)
        self.draw.rectangle((0, 0, self.width, bar), fill=self.accent)
        self.draw.text(
            (self.left, bar // 2 - 9), title, font=font(15, bold=True, family=self.family), fill=(255, 255, 255)
        )
        self.y = bar + rng.randint(10, 22)

    def text(self, text: str, *, size: int = 14, bold: bool = False, fill: Colour | None = None, gap: int = 8) -> None:
        """One line of text at the current height."""
        self.draw.text((self.left, self.y), text, font=font(size, bold=bold, family=self.family), fill=fill or self.ink)
        self.y += size + gap

    def row(self, left: str, right: str, *, fill: Colour | None = None, bold: bool = False) -> None:
        """A line with something at each end, and a hairline below."""
        face = font(14, bold=bold, family=self.family)
        self.draw.text((self.left, self.y), left, font=face, fill=fill or self.ink)
        right_width = self.draw.textlength(right, font=face)
        self.draw.text((self.width - self.left - right_width, self.y), right, font=face, fill=fill or self.ink)
        self.y += 24
        self.draw.line((self.left, self.y - 4, self.width - self.left, self.y - 4), fill=GREY)
        self.y += self.rng.randint(0, 6)

    def button(self, text: str, *, fill: Colour | None = None, outline: bool = False) -> None:
        """A button over the width."""
        box = (self.left, self.y, self.width - self.left, self.y + 32)
        colour = fill or self.accent
        self.draw.rounded_rectangle(
            box, radius=self.rng.choice((3, 8, 15)), fill=None if outline else colour, outline=colour, width=2
        )
        face = font(14, bold=True, family=self.family)
        start = (self.width - self.draw.textlength(text, font=face)) / 2
        self.draw.text((start, self.y + 7), text, font=face, fill=colour if outline else (255, 255, 255))
        self.y += 42

    def field(self, label: str, value: str, *, wrong: bool = False) -> None:
        """A form field; a wrong one is framed in red."""
        self.text(label, size=12, gap=3)
        box = (self.left, self.y, self.width - self.left, self.y + 28)
        self.draw.rectangle(box, outline=RED if wrong else GREY, width=3 if wrong else 1)
        self.draw.text((self.left + 6, self.y + 5), value, font=font(14, family=self.family), fill=self.ink)
        self.y += 36

    def banner(self, lines: Sequence[str], colour: Colour) -> None:
        """A coloured box with white writing."""
        box = (self.left - 4, self.y, self.width - self.left + 4, self.y + 12 + 19 * len(lines))
        self.draw.rounded_rectangle(box, radius=6, fill=colour)
        for number, line in enumerate(lines):
            self.draw.text(
                (self.left + 5, self.y + 6 + 19 * number), line, font=font(14, bold=number == 0), fill=(255, 255, 255)
            )
        self.y = int(box[3]) + 12

    def space(self) -> None:
        """A gap of varying height."""
        self.y += self.rng.randint(4, 20)

    def picture(self, x: int, y: int, size: int, rng: random.Random) -> None:
        """A small product picture: a plain shape on a tile."""
        tile = tuple(rng.randint(190, 230) for _ in range(3))
        shape = tuple(rng.randint(40, 180) for _ in range(3))
        self.draw.rectangle((x, y, x + size, y + size), fill=tile)  # type: ignore[arg-type]
        box = (x + size // 5, y + size // 5, x + size * 4 // 5, y + size * 4 // 5)
        (self.draw.ellipse if rng.random() < 0.5 else self.draw.rectangle)(box, fill=shape)  # type: ignore[operator]


def surface(rng: random.Random, width: int, height: int) -> Image.Image:
    """A table, floor or cloth to photograph things on: a gradient with a weak grain."""
    base = np.array([rng.randint(110, 215), rng.randint(100, 200), rng.randint(90, 190)], dtype=np.float32)
    ramp = np.linspace(-rng.uniform(10, 30), rng.uniform(10, 30), height, dtype=np.float32)[:, None, None]
    grain = (
        np.random.default_rng(rng.randrange(2**32)).normal(0, 5, (height // 4 + 1, width // 4 + 1)).astype(np.float32)
    )
    grain = np.kron(grain, np.ones((4, 4), dtype=np.float32))[:height, :width, None]
    return Image.fromarray(np.clip(base + ramp + grain, 0, 255).astype(np.uint8))


def photographed(rng: random.Random, image: Image.Image, *, tilt: float = 4.0) -> Image.Image:
    """The picture as a hand-held phone would take it: tilted, a little soft, brighter or darker."""
    fill = tuple(rng.randint(60, 140) for _ in range(3))
    image = image.rotate(rng.uniform(-tilt, tilt), resample=Image.Resampling.BICUBIC, expand=True, fillcolor=fill)  # type: ignore[arg-type]
    image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.0, 0.5)))
    return ImageEnhance.Brightness(image).enhance(rng.uniform(0.85, 1.12))


def encode(rng: random.Random, image: Image.Image, *, photo: bool) -> tuple[bytes, str]:
    """The file's bytes and suffix: screens become PNG or WebP, photographs JPEG or WebP."""
    kind = rng.choice(("webp", "jpg") if photo else ("webp", "webp", "png"))
    buffer = io.BytesIO()
    if kind == "png":
        image.quantize(16, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    elif kind == "jpg":
        image.save(buffer, "JPEG", quality=rng.randint(48, 60), optimize=True)
    else:
        image.save(buffer, "WEBP", quality=rng.randint(50, 65), method=6)
    return buffer.getvalue(), kind
