"""Copies are found, stories that differ in a fact are not, and a restart changes nothing."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.errors import DataError
from triptych_finance.signal.duplicates import Duplicates
from triptych_finance.signal.facts import read
from triptych_finance.signal.settings import DuplicateSettings

START = datetime(2025, 3, 1, tzinfo=UTC)
DIM = 160
SETTING = DuplicateSettings(threshold=0.95, window_hours=48)


def at(hours: float) -> datetime:
    return START + timedelta(hours=hours)


def vector(seed: int, noise: float = 0.0, variant: int = 0) -> np.ndarray:
    """A unit vector of its own for each seed; with noise .2 a variant's cosine is about .98, with .5 about .89."""
    found = np.random.default_rng(seed).normal(size=DIM) / DIM**0.5
    found = found + noise * np.random.default_rng(10_000 + variant).normal(size=DIM) / DIM**0.5
    return (found / np.linalg.norm(found)).astype(np.float32)


def collapse(
    texts: Sequence[str], vectors: Sequence[np.ndarray], hours: Sequence[float] | None = None
) -> list[str | None]:
    keys = [f"k{number}" for number in range(len(texts))]
    times = [at(hour) for hour in hours or range(len(texts))]
    return Duplicates(SETTING).collapse(keys, texts, np.stack(vectors), times)


def test_equal_words_are_one_whatever_their_dress():
    texts = [
        "Acme's profit rose 5% - https://t.example/a1",
        "RT @wire: ACME’s profit rose 5%!",
        "acme's profit rose 5 %",
        "Acme's profit rose",
    ]
    assert [read(text)[0] for text in texts[:2]] == ["acme's profit rose 5%"] * 2
    assert collapse(texts[:2] + texts[3:], [vector(n) for n in range(3)]) == [None, "k0", None]


def test_near_vectors_are_one_and_far_ones_are_not():
    texts = ["Acme opens a plant in Norland", "Acme is opening a Norland plant", "Acme wants a plant somewhere"]
    assert collapse(texts, [vector(1), vector(1, 0.2, 1), vector(1, 0.5, 2)]) == [None, "k0", None]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Acme profit rose 5 %", "Acme profit rose 7 %", False),
        ("Acme sales rose 5 %", "Acme sales fell 5 %", False),
        ("Acme confirms talks with Bolt", "Acme denies talks with Bolt", False),
        ("Watch $ACME today", "Watch $BOLT today", False),
        ("Bolt (NYSE: BLT) opens a plant", "Bolt (NYSE: BLX) opens a plant", False),
        ("Acme earns 5 million", "Acme earns 5 billion", False),
        ("Acme at -3 today", "Acme at 3 today", False),
        ("Acme sales rose 5 percent to 1,200 euros", "Acme: sales rise 5.0% to 1200 euros", True),
        ("Acme earns 5m", "Acme's earnings are 5 million", True),
        ("1 2 3 4 5 quarters of Acme", "Acme's quarters 1 2 3 4", True),
        ("1 2 3 4 quarters of Acme", "Acme's quarters 1 2 3", False),
    ],
)
def test_facts_decide_where_vectors_are_near(one: str, other: str, same: bool):
    assert collapse([one, other], [vector(1), vector(1, 0.1, 1)]) == [None, "k0" if same else None]


def test_other_entities_are_another_story():
    duplicates = Duplicates(SETTING)
    texts, vectors = ["shares open a new chapter"] * 3, np.stack([vector(1)] * 3)
    found = duplicates.collapse(["a", "b", "c"], texts, vectors, [START] * 3, [["ACME"], ["BOLT"], ["ACME"]])
    assert found == [None, None, "a"]


def test_a_copy_of_a_copy_is_one_of_the_first():
    chain = [vector(1)]
    step = vector(2)
    for _ in range(4):
        chain.append((chain[-1] + 0.25 * step) / np.linalg.norm(chain[-1] + 0.25 * step))
    assert float(chain[0] @ chain[4]) < 0.9
    texts = [f"story told the {word} way" for word in ("one", "two", "three", "four", "five")]
    assert collapse(texts, chain) == [None, "k0", "k0", "k0", "k0"]


def test_the_nearest_of_several_stories_wins():
    one, other = np.linalg.qr(np.stack([vector(1), vector(2)], axis=1))[0].T
    first, second, third = (np.cos(angle) * one + np.sin(angle) * other for angle in (0.0, 0.4, 0.25))
    assert first @ second < 0.95 < first @ third < second @ third
    assert collapse(["first", "second", "third"], [first, second, third]) == [None, None, "k1"]


def test_the_window_forgets_unless_the_story_goes_on():
    texts = ["the same old story"] * 4
    vectors = [vector(1)] * 4
    assert collapse(texts, vectors, [0, 40, 80, 140]) == [None, "k0", "k0", None]
    assert collapse(["story one", "story two"], [vector(1), vector(1, 0.1, 1)], [0, 49]) == [None, None]


def test_what_is_forgotten_takes_no_memory():
    duplicates = Duplicates(SETTING)
    for day in range(40):
        keys = [f"{day}-{number}" for number in range(30)]
        words = [f"story {day} {number}" for number in range(30)]
        vectors = np.stack([vector(day * 30 + number) for number in range(30)])
        duplicates.collapse(keys, words, vectors, [at(24 * day)] * 30)
    assert len(duplicates) <= 30 * 4
    assert duplicates._remembered is not None
    assert len(duplicates._remembered.rows) <= 30 * 4
    assert len(duplicates._remembered.vectors) <= 30 * 8


def test_many_copies_of_one_story_are_all_found():
    count = 400
    texts = [f"this is telling x{chr(97 + n % 26)}{chr(97 + n // 26)} of the story" for n in range(count)]
    found = collapse(texts, [vector(1, 0.15, n) for n in range(count)], [n / 100 for n in range(count)])
    assert found == [None] + ["k0"] * (count - 1)


def test_a_template_with_other_numbers_is_another_text_each_time():
    count = 300
    found = collapse(
        [f"Price alert: ACME at {n}" for n in range(count)], [vector(1)] * count, [n / 100 for n in range(count)]
    )
    assert found == [None] * count


def stream(seed: int, count: int) -> list[tuple[str, str, np.ndarray, datetime]]:
    """Synthetic items: a few stories told again in equal or other words, some late."""
    rng = random.Random(seed)
    items = []
    for number in range(count):
        story, telling = rng.randrange(12), rng.randrange(3)
        hours = max(0.0, number * 0.8 - (rng.random() < 0.1) * rng.random() * 60)
        text = f"story {'abcdefghijkl'[story]} in the {('plain', 'long', 'short')[telling]} telling {story % 3}"
        items.append((f"i{number}", text, vector(story, rng.choice([0.0, 0.2, 0.3]), number % 7), at(hours)))
    return items


def feed(duplicates: Duplicates, items: Sequence[tuple[str, str, np.ndarray, datetime]]) -> list[str | None]:
    if not items:
        return []
    keys, texts, vectors, times = zip(*items, strict=True)
    return duplicates.collapse(keys, texts, np.stack(vectors), times)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 60), st.integers(0, 150))
def test_neither_calls_nor_a_restart_from_the_store_change_what_is_found(seed: int, size: int, stop: int):
    items = stream(seed, 150)
    expected = feed(Duplicates(SETTING), items)
    assert 0 < sum(root is not None for root in expected) < len(items)
    duplicates, found = Duplicates(SETTING), []
    for first in range(0, stop, size):
        found += feed(duplicates, items[first : min(first + size, stop)])
    restored = Duplicates(SETTING)
    if found:
        newest = max(item[3] for item in items[:stop])
        kept = [
            (*item, root)
            for item, root in zip(items[:stop], found, strict=True)
            if item[3] >= newest - timedelta(hours=48)
        ]
        keys, texts, vectors, times, roots = zip(*kept, strict=True)
        stored = np.stack(vectors).astype(np.float16).astype(np.float32)
        restored.restore(keys, texts, stored, times, roots)
    for first in range(stop, len(items), size):
        found += feed(restored, items[first : first + size])
    assert found == expected


def by_hand(items: Sequence[tuple[str, str, np.ndarray, datetime]]) -> list[str | None]:
    """What is to be found, by comparing every pair."""
    table = np.stack([item[2] for item in items]).astype(np.float16).astype(np.float64)
    table /= np.linalg.norm(table, axis=1, keepdims=True)
    words = [read(item[1])[0] for item in items]
    roots: list[str] = []
    found: list[str | None] = []
    for number, (key, text, _, _) in enumerate(items):
        newest = max(item[3] for item in items[: number + 1])
        standing: dict[str, int] = {}
        for other in range(number):
            if words[other] not in standing or items[standing[words[other]]][3] <= items[other][3]:
                standing[words[other]] = other
        alive = [other for other in standing.values() if items[other][3] >= newest - timedelta(hours=48)]
        equal = [other for other in alive if words[other] == words[number]]
        near = [
            (-table[number] @ table[other], roots[other]) for other in alive
            if table[number] @ table[other] >= 0.95 and read(text)[1].agree(read(items[other][1])[1])
        ]  # fmt: skip
        found.append(roots[equal[0]] if equal else min(near)[1] if near else None)
        roots.append(found[-1] or key)
    return found


@pytest.mark.parametrize("seed", range(3))
def test_the_window_is_searched_as_if_every_pair_were_compared(seed: int):
    items = stream(seed, 300)
    assert feed(Duplicates(SETTING), items) == by_hand(items)


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.zeros((1, DIM)), "differ in length"),
        (np.full((2, DIM), np.nan), "without NaN"),
        (np.full((2, DIM), 3.0), "unit length"),
        (np.zeros((2, DIM + 1)), "161 dimensions, those before have 160"),
    ],
)
def test_what_does_not_fit_is_refused_and_not_remembered(vectors: np.ndarray, message: str):
    duplicates = Duplicates(SETTING)
    duplicates.collapse(["x"], ["something"], vector(1)[None], [START])
    with pytest.raises(DataError, match=message):
        duplicates.collapse(["a", "b"], ["one", "two"], vectors, [START, START])
    assert len(duplicates) == 1
    assert duplicates.collapse([], [], np.empty((0, DIM)), []) == []
