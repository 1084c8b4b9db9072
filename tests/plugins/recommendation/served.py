"""A shop of four tastes, made up of chance, with a fitted item-kNN and content vectors, written as a bundle's files."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from triptych.types import Sample
from triptych_recommendation.data.interactions import Interactions
from triptych_recommendation.data.items import Item
from triptych_recommendation.models.neighbours import Neighbours
from triptych_recommendation.models.settings import NeighbourSettings
from triptych_recommendation.serving.files import write_files

TASTES = ("horror", "racing", "puzzle", "farming")
OF_TASTE = 15  # items
DIM = 16
BUILT = datetime(2026, 3, 1, tzinfo=UTC)
_KINDS = ("view", "purchase", "rating")


def catalogue(seed: int = 0) -> list[Item]:
    """Sixty items, the first fifteen of the first taste; the last of each taste has no content."""
    generator = np.random.default_rng(seed)
    items = []
    for place, taste in enumerate(TASTES):
        for number in range(OF_TASTE):
            name = f"{taste}{number:02}"
            if number == OF_TASTE - 1:
                items.append(Item(name, price=5.0))
                continue
            items.append(
                Item(
                    name,
                    f"{taste.capitalize()} Tale {number}",
                    f"A {taste} game.",
                    category=taste,
                    price=float(generator.integers(1, 60)),
                    stock=int(generator.integers(1, 9)),
                    tags=(taste, "solo" if number % 2 else "shared"),
                    metadata={"shelf": place},
                )
            )
    return items


def encode(samples: Sequence[Sample]) -> NDArray[np.float32]:
    """Float32 [samples, DIM]: the taste whose word is in the text, and a little of its own."""
    found = np.zeros((len(samples), DIM), dtype=np.float32)
    for row, sample in enumerate(samples):
        words = str(sample.text).casefold()
        for place, taste in enumerate(TASTES):
            found[row, place] = words.count(taste)
        own = np.random.default_rng(len(words) + sum(map(ord, words)))
        found[row, len(TASTES) :] = own.normal(0, 0.15, DIM - len(TASTES))
    return found


def vectors(items: Sequence[Item]) -> NDArray[np.float32]:
    """Float32 [items, DIM]: unit rows, or zeros."""
    found = np.zeros((len(items), DIM), dtype=np.float32)
    there = [row for row, item in enumerate(items) if item.has_content]
    found[there] = encode([Sample(items[row].id, text=items[row].text) for row in there])
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    return np.divide(found, lengths, out=np.zeros_like(found), where=lengths > 0)


def events(items: Sequence[Item], users: int = 120, seed: int = 1) -> Interactions:
    """Each user chooses six items, most of them of his taste: user 0 of the first, user 1 of the second, ..."""
    generator = np.random.default_rng(seed)
    who, what, when, kinds = [], [], [], []
    for user in range(users):
        own = np.array([item.id.startswith(TASTES[user % len(TASTES)]) for item in items])
        chances = np.where(own, 1.0, 0.02)
        for step, row in enumerate(generator.choice(len(items), 6, replace=False, p=chances / chances.sum())):
            who.append(f"u{user}")
            what.append(items[row].id)
            when.append(1_000_000 * (user + 1_000 * step))
            kinds.append(_KINDS[int(generator.integers(len(_KINDS)))])
    return Interactions.of(who, what, when, kinds=kinds).with_items([item.id for item in items])


def write_shop(directory: Path, *, users: int = 120, encoder: str = "words") -> Path:
    """Write the shop's files, and return where."""
    items = catalogue()
    past = events(items, users)
    by_id = {item.id: item for item in items}
    ordered = [by_id[name] for name in past.items]
    made = vectors(ordered)
    model = Neighbours.fit(past, NeighbourSettings(shrinkage=1.0), seed=0)
    write_files(directory, items=ordered, past=past, model=model, vectors=made, encoder=encoder, built=BUILT)
    return directory
