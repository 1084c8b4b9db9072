"""What two items have in common, as far as it is known and can be said in words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from triptych_recommendation.data.interactions import Interactions
from triptych_recommendation.data.items import Item
from triptych_recommendation.serving.vectors import LiveVectors

_PAIRS = 2_000  # of items, drawn by chance
_RARE = 0.95  # two items are called alike when so many pairs drawn by chance are less so
_LEAST_COSINE = 0.3  # and when their cosine is above this: in a shop of one thing all are alike
_TAGS = 3  # that are named at most
_LEAST_LETTERS = 4  # of a word of a title that says something
_LEAST_PEOPLE = 3  # who chose both, to be told
_BITS = 32  # of a user's number
_TITLES = 20_000  # whose words are remembered


class Together:
    """Who chose an item, in the bundle's events; so that it can be said how many people chose both of two."""

    def __init__(self, past: Interactions) -> None:
        pairs = np.unique(past.item.astype(np.int64) * max(1, len(past.users)) + past.user)
        self._users = (pairs % max(1, len(past.users))).astype(np.int32)
        counts = np.bincount(pairs // max(1, len(past.users)), minlength=len(past.items))
        self._starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])

    def counts(self, pairs: Sequence[tuple[int, int]]) -> list[int]:
        """How many people chose both items of each pair of rows; 0 for rows that came after the build."""
        known = [place for place, pair in enumerate(pairs) if max(pair) < len(self._starts) - 1]
        found = [0] * len(pairs)
        if known:
            fewer, more = (self._people([pairs[place][side] for place in known]) for side in (0, 1))
            if len(fewer) > len(more):
                fewer, more = more, fewer
            if len(fewer):
                both = fewer[more[np.minimum(np.searchsorted(more, fewer), len(more) - 1)] == fewer]
                for place, count in zip(known, np.bincount(both >> _BITS, minlength=len(known)).tolist(), strict=True):
                    found[place] = count
        return found

    def _people(self, rows: list[int]) -> NDArray[np.int64]:
        """Who chose each of some rows, rising; the place of the row stands above the bits of a user."""
        own = [self._users[self._starts[row] : self._starts[row + 1]] for row in rows]
        places = np.repeat(np.arange(len(rows)) << _BITS, [len(users) for users in own])
        return places + np.concatenate(own)


def alike_from(vectors: LiveVectors, seed: int = 0) -> float:
    """The cosine above which two items are called alike: that of the most alike twentieth of pairs drawn by chance."""
    rows = np.flatnonzero(vectors.there)
    if len(rows) < 2:
        return 1.0
    generator = np.random.default_rng(seed)
    one, other = generator.choice(rows, _PAIRS), generator.choice(rows, _PAIRS)
    different = one != other
    cosines = (vectors.get(one[different]) * vectors.get(other[different])).sum(axis=1)
    return max(_LEAST_COSINE, float(np.quantile(cosines, _RARE)))


def in_common(item: Item, other: Item, cosine: float, alike: float) -> list[str]:
    """Phrases, the plainest first: category, tags, words of the title, and what their content is like together.

    The cosine is of fused vectors, so it is said what both have and the vectors are made of, never which of them it
    was.
    """
    found = []
    if item.category and item.category == other.category:
        found.append(f"same category ({item.category})")
    tags = [tag for tag in item.tags if tag in other.tags and tag != item.category][:_TAGS]
    if tags:
        found.append(f"both {and_(tags)}")
    others = _words(other.title)
    word = next((word for word in _words(item.title) if word in others), None)
    if word is not None:
        found.append(f"\u201c{word}\u201d in both titles")
    content = _content(item, other)
    if content and cosine >= alike:
        found.append(f"similar {content}")
    return found


def _content(item: Item, other: Item) -> str:
    """What both have that an encoder reads, in words."""
    has = (
        ("picture", item.image and other.image),
        ("description", item.description and other.description),
        ("sound", item.audio and other.audio),
    )
    kinds = [name for name, there in has if there]
    return and_(kinds) if kinds else "words" if item.text and other.text else ""


@lru_cache(_TITLES)
def _words(title: str) -> tuple[str, ...]:
    words = re.findall(r"[^\W\d_]+", title.casefold())
    return tuple(word for word in dict.fromkeys(words) if len(word) >= _LEAST_LETTERS)


def enough_people(count: int) -> bool:
    """Whether so many who chose both are worth a word."""
    return count >= _LEAST_PEOPLE


def and_(words: Sequence[str]) -> str:
    """Words as a list in a sentence."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
