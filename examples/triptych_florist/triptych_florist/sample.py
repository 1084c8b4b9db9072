"""Synthetic sample data, written for this example: a catalogue, messages, and pictures drawn on the spot."""

from __future__ import annotations

import csv
from itertools import product
from pathlib import Path
from typing import NamedTuple

FLOWERS_WANTED = ("red roses", "white lilies", "sunflowers", "a bunch of tulips", "an orchid", "pink peonies")
OCCASIONS = ("for my mother's birthday", "for a wedding on Saturday", "for a funeral", "to say thank you")
ORDER = (
    "I would like to buy {flowers} {occasion}",
    "Do you sell {flowers} {occasion}?",
    "{flowers} {occasion}, please",
)
DELIVERY = (
    "Where are {flowers} that you promised?",
    "When will {flowers} arrive?",
    "The van never came with {flowers}",
    "Can you bring {flowers} before noon?",
)
CARE = (
    "How often do I water {flowers}?",
    "The leaves of {flowers} turn brown",
    "How long do {flowers} last in a vase?",
    "Do {flowers} like the sun?",
)
# the colour of what people photograph for each intent: petals, a parcel, a dying leaf
COLOURS = {"order": (214, 58, 122), "delivery": (196, 154, 108), "care": (104, 92, 34)}


class Flower(NamedTuple):
    """An entry of the catalogue; `price` in euros."""

    name: str
    price: float
    text: str


FLOWERS = (
    Flower("Dozen red roses", 48.0, "long-stemmed roses for somebody you love"),
    Flower("White lily bouquet", 55.0, "white flowers for weddings, church and festive tables"),
    Flower("Wreath of fir and carnations", 95.0, "for a funeral, with a ribbon and your words on it"),
    Flower("Bunch of tulips", 14.0, "spring colours, a small thank-you"),
    Flower("Sunflowers", 22.0, "five tall yellow flowers for a birthday in summer"),
    Flower("Orchid in a pot", 35.0, "a plant that flowers for months on a window sill"),
)


def write(directory: Path) -> Path:
    """Write `messages.csv` and its pictures; returns the path of the table."""
    from PIL import Image  # this module is also read by the command line, which stays light

    directory.mkdir(parents=True, exist_ok=True)
    for intent, colour in COLOURS.items():
        for shade in range(4):
            picture = Image.new("RGB", (64, 64), tuple(min(255, c + 9 * shade) for c in colour))
            picture.save(directory / f"{intent}{shade}.png")
    path = directory / "messages.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text", "image", "label"])
        for number, (intent, text) in enumerate(_messages()):
            # one in three has a picture, and one in nine nothing else
            image = f"{intent}{number % 4}.png" if number % 3 == 0 else ""
            writer.writerow([f"m{number}", "" if number % 9 == 0 else text, image, intent])
    return path


def _messages() -> list[tuple[str, str]]:
    orders = [
        ("order", template.format(flowers=flowers, occasion=occasion))
        for number, (template, flowers, occasion) in enumerate(product(ORDER, FLOWERS_WANTED, OCCASIONS))
        if number % 3 == 0
    ]
    others = [
        (intent, template.format(flowers=flowers))
        for intent, templates in (("delivery", DELIVERY), ("care", CARE))
        for template, flowers in product(templates, FLOWERS_WANTED)
    ]
    return orders + others
