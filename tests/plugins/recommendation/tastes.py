"""A shop whose taste is plain to see: some people like what is red and warm, the others what is blue and cool."""

from __future__ import annotations

import csv
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from PIL import Image

WORDS = {"red": "ripe tomato fire sunset ember", "blue": "clear sky ocean ice glacier"}
CATEGORIES = {"red": "warm", "blue": "cool"}
COLOURS = {"red": (215, 35, 30), "blue": (30, 60, 215)}
PER_TASTE = 14
USERS = 60
FIRST = datetime(2025, 1, 1, tzinfo=UTC)
HEADER = ["id", "title", "description", "image", "category", "price", "stock", "tags"]


def user(number: int) -> tuple[str, str]:
    """The name and the taste of a user."""
    return f"user-{number}", ("red", "blue")[number % 2]


def write_shop(folder: Path) -> Path:
    """28 items with words, half of them with a picture, one of them sold out; one with a picture alone; one of each
    colour that nobody has seen; one without content, and one that only the events know; 60 users with 6 events each."""
    generator = np.random.default_rng(0)
    (folder / "pictures").mkdir(parents=True)
    rows: list[list[object]] = []
    for colour, words in WORDS.items():
        for number in range(PER_TASTE):
            name, picture = f"{colour}-{number}", ""
            if number % 2 == 0:
                picture = f"pictures/{name}.png"
                save_picture(folder / picture, colour, generator)
            said = " ".join(generator.permutation(words.split())[:4])
            text = ("", "") if number == 12 else (f"{said.split()[0].capitalize()} number {number}", said)
            stock = 0 if number == 3 else 5 + number
            rows.append([name, *text, picture, CATEGORIES[colour], 10 + number, stock, colour])
        rows.append([f"{colour}-new", f"New {words.split()[0]}", words, "", CATEGORIES[colour], 50, 1, colour])
    rows.append(["plain", "", "", "", "", "", "", ""])
    write_rows(folder / "items.csv", HEADER, rows)
    events: list[list[object]] = []
    for number in range(USERS):
        name, colour = user(number)
        chosen = [f"{colour}-{row}" for row in generator.permutation(PER_TASTE)[:6]]
        if number % 10 < 2:
            chosen[0] = "plain"
        if number % 10 in (2, 3):
            chosen[0] = "ghost"
        for place, item in enumerate(chosen):
            time = FIRST + timedelta(days=place, minutes=number)
            events.append([name, item, "purchase" if place % 3 == 0 else "view", time.isoformat()])
    write_rows(folder / "events.csv", ["user", "item", "type", "time"], events)
    return folder


def save_picture(path: Path, colour: str, generator: np.random.Generator | None = None) -> Path:
    """A picture of a colour with some noise."""
    noise = (generator or np.random.default_rng(1)).integers(-25, 25, size=(32, 32, 3))
    pixels = np.clip(np.array(COLOURS[colour]) + noise, 0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def write_rows(path: Path, header: list[str], rows: list[list[object]]) -> Path:
    """A CSV file."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
    return path


def taste(item: str) -> str:
    """The colour of an item by its id."""
    return item.partition("-")[0]
