"""Pictures of things: parcels, goods, doorsteps, and everything that has nothing to do with a shop."""

from __future__ import annotations

import math
import random

from canvas import Colour, font, money, photographed, surface
from PIL import Image, ImageDraw

CARD: tuple[Colour, ...] = ((176, 132, 84), (190, 148, 100), (160, 118, 72))


def _ground(rng: random.Random) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = surface(rng, *rng.choice(((256, 224), (240, 240), (280, 220))))
    return image, ImageDraw.Draw(image)


def parcel(rng: random.Random, kind: str = "whole") -> Image.Image:
    """A parcel. kind: whole, torn, open (with a hole where something should be)."""
    image, draw = _ground(rng)
    x, y = rng.randint(24, 60), rng.randint(40, 70)
    w, h = rng.randint(130, 170), rng.randint(90, 130)
    card = rng.choice(CARD)
    shade = tuple(max(0, c - 40) for c in card)
    draw.rectangle((x, y, x + w, y + h), fill=card)
    if kind == "open":
        draw.rectangle((x + 8, y + 8, x + w - 8, y + h - 8), fill=(70, 52, 34))
        for flap in (
            (x, y, x - 20, y - 22, x + w + 20, y - 22, x + w, y),
            (x, y + h, x - 16, y + h + 20, x + w + 16, y + h + 20, x + w, y + h),
        ):
            draw.polygon(flap, fill=shade)  # type: ignore[arg-type]
        thing = tuple(rng.randint(120, 230) for _ in range(3))
        draw.rectangle((x + 16, y + 18, x + w // 2 - 8, y + h - 18), fill=thing)  # type: ignore[arg-type]
        draw.rectangle((x + w // 2 + 8, y + 18, x + w - 18, y + h - 18), outline=(200, 190, 170), width=2)
        return photographed(rng, image, tilt=8)
    draw.rectangle((x + w // 2 - 9, y, x + w // 2 + 9, y + h), fill=(214, 190, 150))
    draw.rectangle((x + 12, y + 14, x + 62, y + 48), fill=(245, 245, 240))
    draw.text((x + 15, y + 18), "MW", font=font(16, bold=True), fill=(20, 20, 20))
    if kind == "torn":
        cx, cy = x + w - rng.randint(10, 40), y + h - rng.randint(10, 40)
        points = [
            (
                cx + rng.randint(18, 46) * math.cos(a / 9 * math.tau),
                cy + rng.randint(14, 40) * math.sin(a / 9 * math.tau),
            )
            for a in range(9)
        ]
        draw.polygon(points, fill=(52, 38, 26))
        for _ in range(7):
            a, b = rng.choice(points), rng.choice(points)
            draw.line((*a, *b), fill=(230, 220, 200), width=2)
    return photographed(rng, image, tilt=8)


def doorstep(rng: random.Random) -> Image.Image:
    """A front door with an empty mat."""
    image, draw = _ground(rng)
    height = image.height
    door = tuple(rng.randint(30, 160) for _ in range(3))
    x = rng.randint(50, 90)
    draw.rectangle((x, 10, x + 110, height - 60), fill=door)  # type: ignore[arg-type]
    draw.ellipse((x + 92, height // 2 - 4, x + 102, height // 2 + 6), fill=(220, 200, 110))
    draw.rectangle((x + 14, 24, x + 96, 80), outline=tuple(max(0, c - 25) for c in door), width=3)
    draw.rectangle((x - 14, height - 54, x + 124, height - 20), fill=(96, 82, 64))
    if rng.random() < 0.5:
        draw.text((x + 14, height - 48), "WELCOME", font=font(16, bold=True), fill=(190, 180, 150))
    return photographed(rng, image, tilt=6)


def goods(rng: random.Random, kind: str = "whole", thing: str | None = None) -> Image.Image:
    """An article. kind: whole, broken (cracks and shards), smoking. thing: cup, plate, lamp, kettle, shirt."""
    image, draw = _ground(rng)
    width, height = image.size
    colour: Colour = (rng.randint(60, 235), rng.randint(60, 235), rng.randint(60, 235))
    dark: Colour = (max(0, colour[0] - 50), max(0, colour[1] - 50), max(0, colour[2] - 50))
    cx, cy = width // 2 + rng.randint(-20, 20), height // 2 + rng.randint(-8, 16)
    thing = thing or rng.choice(("cup", "plate", "lamp", "kettle"))
    if thing == "cup":
        draw.arc((cx + 26, cy - 26, cx + 74, cy + 24), 250, 110, fill=dark, width=10)
        draw.rounded_rectangle((cx - 46, cy - 46, cx + 42, cy + 50), radius=12, fill=colour)
        draw.ellipse((cx - 46, cy - 56, cx + 42, cy - 34), fill=dark)
    elif thing == "plate":
        draw.ellipse((cx - 76, cy - 60, cx + 76, cy + 60), fill=colour)
        draw.ellipse((cx - 48, cy - 38, cx + 48, cy + 38), outline=dark, width=4)
    elif thing == "lamp":
        draw.rectangle((cx - 5, cy - 20, cx + 5, cy + 66), fill=dark)
        draw.ellipse((cx - 38, cy + 56, cx + 38, cy + 76), fill=dark)
        draw.polygon((cx - 28, cy - 72, cx + 28, cy - 72, cx + 52, cy - 14, cx - 52, cy - 14), fill=colour)
    elif thing == "kettle":
        draw.polygon((cx - 40, cy - 40, cx + 40, cy - 40, cx + 54, cy + 56, cx - 54, cy + 56), fill=colour)
        draw.polygon((cx - 40, cy - 26, cx - 78, cy - 40, cx - 48, cy + 10), fill=colour)
        draw.arc((cx - 36, cy - 78, cx + 36, cy - 6), 180, 360, fill=dark, width=9)
    else:  # a shirt, with the label of its size
        right = [(44, -50), (88, -8), (62, 14), (44, -8), (44, 76)]
        outline = [(cx + x, cy + y) for x, y in right] + [(cx - x, cy + y) for x, y in reversed(right)]
        draw.polygon(outline, fill=colour)
        draw.rectangle((cx - 24, cy - 44, cx + 24, cy - 12), fill=(248, 248, 244))
        draw.text((cx - 18, cy - 40), rng.choice(("S", "XS", "M", "38")), font=font(22, bold=True), fill=(20, 20, 20))
    if kind == "broken":
        for _ in range(rng.randint(3, 5)):
            x, y = cx + rng.randint(-30, 30), cy - 40
            for _ in range(5):
                nx, ny = x + rng.randint(-22, 22), y + rng.randint(8, 26)
                draw.line((x, y, nx, ny), fill=(20, 20, 20), width=3)
                x, y = nx, ny
        for _ in range(rng.randint(5, 9)):
            x, y = rng.randint(10, width - 30), rng.randint(height - 50, height - 14)
            draw.polygon(
                (x, y, x + rng.randint(8, 24), y - rng.randint(4, 16), x + rng.randint(4, 18), y + 8),
                fill=colour,
                outline=(20, 20, 20),
            )
    elif kind == "smoking":
        for _ in range(rng.randint(8, 14)):
            x, y, r = cx + rng.randint(-40, 40), cy - 40 - rng.randint(0, 60), rng.randint(10, 22)
            grey = rng.randint(60, 120)
            draw.ellipse((x - r, y - r, x + r, y + r), fill=(grey, grey, grey))
        draw.polygon(
            (cx, cy, cx + 16, cy - 30, cx + 8, cy - 28, cx + 26, cy - 60, cx - 4, cy - 24, cx + 6, cy - 24),
            fill=(250, 210, 40),
        )
    return photographed(rng, image, tilt=8)


def pair(rng: random.Random) -> Image.Image:
    """Two pictures side by side: what was ordered and what came."""
    things = rng.sample(("cup", "plate", "lamp", "kettle", "shirt"), 2)
    left, right = (goods(rng, thing=t).resize((150, 140)) for t in things)
    image = Image.new("RGB", (310, 180), (250, 250, 250))
    image.paste(left, (2, 34))
    image.paste(right, (158, 34))
    draw = ImageDraw.Draw(image)
    words = rng.choice((("ORDERED", "RECEIVED"), ("I ordered", "I got"), ("should be", "came")))
    for x, word in zip((14, 170), words, strict=True):
        draw.text((x, 8), word, font=font(16, bold=True), fill=(20, 20, 20))
    return image


def slip(rng: random.Random) -> Image.Image:
    """A packing slip on which one line has no tick."""
    image = Image.new("RGB", (260, 250), (250, 248, 240))
    draw = ImageDraw.Draw(image)
    draw.text((16, 12), "PACKING SLIP", font=font(17, bold=True), fill=(20, 20, 20))
    rows = ("Bolts", "Lid", "Cushion", "Frame", "Cable", "Shelf", "Legs", "Cover")
    chosen = rng.sample(rows, 4)
    absent = rng.randrange(4)
    for number, row in enumerate(chosen):
        y = 50 + 44 * number
        draw.rectangle((18, y, 38, y + 20), outline=(30, 30, 30), width=2)
        if number != absent:
            draw.line((21, y + 10, 27, y + 17, 40, y - 3), fill=(20, 110, 50), width=4)
        draw.text((52, y + 1), f"{rng.randint(1, 4)} x {row}", font=font(15), fill=(30, 30, 30))
        if number == absent and rng.random() < 0.7:
            draw.text((160, y + 1), "missing", font=font(15, bold=True), fill=(200, 30, 30))
    return photographed(rng, image)


def warranty(rng: random.Random) -> Image.Image:
    """A guarantee card."""
    image = Image.new("RGB", (300, 190), rng.choice(((226, 232, 240), (236, 230, 214))))
    draw = ImageDraw.Draw(image)
    draw.rectangle((8, 8, 292, 182), outline=(70, 70, 110), width=3)
    draw.text((22, 20), rng.choice(("WARRANTY CARD", "GUARANTEE")), font=font(20, bold=True), fill=(40, 40, 90))
    draw.text(
        (22, 60),
        f"{rng.choice(('Blender', 'Toaster', 'Kettle', 'Fan', 'Heater'))} {rng.randint(100, 900)}",
        font=font(15),
        fill=(30, 30, 30),
    )
    draw.text((22, 90), f"Valid for {rng.choice((2, 3, 5))} years", font=font(15), fill=(30, 30, 30))
    draw.text((22, 120), f"Price {money(rng)}", font=font(15), fill=(30, 30, 30))
    return photographed(rng, image)


def elsewhere(rng: random.Random, kind: str) -> Image.Image:
    """Something that no shop is asked about; `kind` is one of `ELSEWHERE`."""
    image, draw = _ground(rng)
    ELSEWHERE[kind](rng, draw, *image.size)
    return photographed(rng, image, tilt=5)


def _landscape(rng: random.Random, draw: ImageDraw.ImageDraw, width: int, height: int) -> None:
    draw.rectangle((0, 0, width, height), fill=(150, 190, rng.randint(210, 250)))
    draw.ellipse((30, 20, 70, 60), fill=(250, 230, 120))
    for _ in range(4):
        x = rng.randint(-20, width)
        green = (60, rng.randint(90, 150), 80)
        draw.polygon((x - 80, height, x, rng.randint(60, 120), x + 90, height), fill=green)


def _map(rng: random.Random, draw: ImageDraw.ImageDraw, width: int, height: int) -> None:
    draw.rectangle((0, 0, width, height), fill=(226, 232, 214))
    for _ in range(9):
        across = (rng.randint(0, width), 0, rng.randint(0, width), height)
        draw.line(across, fill=(255, 255, 255), width=rng.randint(4, 10))
        along = (0, rng.randint(0, height), width, rng.randint(0, height))
        draw.line(along, fill=(250, 220, 150), width=rng.randint(3, 7))
    draw.ellipse((width // 2 - 8, height // 2 - 8, width // 2 + 8, height // 2 + 8), fill=(220, 40, 40))


def _cat(rng: random.Random, draw: ImageDraw.ImageDraw, width: int, height: int) -> None:
    fur: Colour = (rng.randint(60, 220), rng.randint(60, 160), rng.randint(40, 120))
    cx, cy = width // 2, height // 2 + 10
    draw.polygon((cx - 56, cy - 30, cx - 46, cy - 86, cx - 10, cy - 50), fill=fur)
    draw.polygon((cx + 56, cy - 30, cx + 46, cy - 86, cx + 10, cy - 50), fill=fur)
    draw.ellipse((cx - 62, cy - 62, cx + 62, cy + 58), fill=fur)
    for x in (cx - 24, cx + 24):
        draw.ellipse((x - 10, cy - 20, x + 10, cy + 4), fill=(200, 220, 90))
    draw.polygon((cx - 7, cy + 12, cx + 7, cy + 12, cx, cy + 22), fill=(220, 130, 140))


def _chart(rng: random.Random, draw: ImageDraw.ImageDraw, width: int, height: int) -> None:
    draw.rectangle((0, 0, width, height), fill=(16, 20, 30))
    y = height // 2
    for x in range(10, width - 14, 12):
        next_y = min(max(y + rng.randint(-26, 24), 16), height - 16)
        draw.line((x, y, x + 12, next_y), fill=(70, 220, 130), width=3)
        y = next_y


def _calendar(rng: random.Random, draw: ImageDraw.ImageDraw, width: int, height: int) -> None:
    draw.rectangle((0, 0, width, height), fill=(250, 250, 250))
    month = rng.choice(("MARCH", "JUNE", "AUGUST", "DECEMBER"))
    draw.text((14, 8), month, font=font(18, bold=True), fill=(170, 40, 60))
    for day in range(28):
        place = (16 + (day % 7) * 32, 44 + (day // 7) * 38)
        draw.text(place, str(day + 1), font=font(14), fill=(40, 40, 40))
    x, y = 8 + rng.randrange(7) * 32, 36 + rng.randrange(4) * 38
    draw.ellipse((x, y, x + 34, y + 32), outline=(200, 40, 40), width=3)


def _game(rng: random.Random, draw: ImageDraw.ImageDraw, width: int, height: int) -> None:
    for cell in range(64):
        x, y = (cell % 8) * width // 8, (cell // 8) * height // 8
        gem = rng.choice(((220, 60, 90), (70, 130, 230), (250, 200, 60), (90, 200, 120)))
        draw.rectangle((x, y, x + width // 8 - 2, y + height // 8 - 2), fill=gem)


def _flower(rng: random.Random, draw: ImageDraw.ImageDraw, width: int, height: int) -> None:
    draw.rectangle((0, 0, width, height), fill=(90, rng.randint(140, 180), 90))
    cx, cy = width // 2, height // 2
    petal: Colour = (rng.randint(180, 255), rng.randint(60, 160), rng.randint(120, 230))
    for a in range(7):
        x, y = cx + 46 * math.cos(a / 7 * math.tau), cy + 46 * math.sin(a / 7 * math.tau)
        draw.ellipse((x - 30, y - 30, x + 30, y + 30), fill=petal)
    draw.ellipse((cx - 24, cy - 24, cx + 24, cy + 24), fill=(250, 220, 80))


def _weather(rng: random.Random, draw: ImageDraw.ImageDraw, width: int, height: int) -> None:
    draw.rectangle((0, 0, width, height), fill=(70, 120, 190))
    draw.text((20, 18), rng.choice(("Sunday", "Tomorrow", "Friday")), font=font(18), fill=(255, 255, 255))
    draw.text((20, 50), f"{rng.randint(-4, 31)} C", font=font(44, bold=True), fill=(255, 255, 255))
    for x in (60, 96, 130):
        draw.ellipse((x, 122, x + 62, 170), fill=(235, 238, 245))
    outlook = rng.choice(("Rain later", "Sunny spells", "Cloudy"))
    draw.text((20, height - 40), outlook, font=font(16), fill=(255, 255, 255))


ELSEWHERE = {
    "landscape": _landscape, "map": _map, "cat": _cat, "chart": _chart,
    "calendar": _calendar, "game": _game, "flower": _flower, "weather": _weather,
}  # fmt: skip
