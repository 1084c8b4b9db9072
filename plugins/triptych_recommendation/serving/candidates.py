"""The first stage: a few hundred items out of all that a user may be shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych_recommendation.serving.live import Live
from triptych_recommendation.serving.tastes import Taste
from triptych_recommendation.serving.vectors import LiveVectors

Floats = NDArray[np.float32]
Rows = NDArray[np.int32]
Mask = NDArray[np.bool_]
_ALL_BELOW = 1_000  # so few allowed items are all ranked
_LIKE = 50  # neighbours of the taste, and of it among the items that came last
_LATEST = 300  # items that came after the model
_NEAR = 100  # neighbours that are looked up at once
_ENOUGH = 5  # of a kind among them
_WIDER = 1.2  # more of the model's candidates than pass on average


class Near:
    """The allowed items nearest to a taste in content; asked once for all, and again only for kinds that are rare."""

    def __init__(self, vectors: LiveVectors, taste: Floats, allowed: Mask) -> None:
        self._vectors, self._taste, self._allowed = vectors, taste, allowed
        self.rows, self.cosines = vectors.nearest(taste, _NEAR, allowed)

    def among(self, kind: Callable[[Any], Mask], k: int) -> tuple[Rows, Floats]:
        """Up to `k` allowed ones of a kind, the nearest first: rows and cosines.

        Some of them where there are many of the kind, as many as there are otherwise. `kind` gives bool [rows] for
        rows or for a slice of them.
        """
        marked = kind(self.rows)
        if np.count_nonzero(marked) >= min(k, _ENOUGH) or len(self.rows) < _NEAR:
            return self.rows[marked][:k], self.cosines[marked][:k]
        return self._vectors.nearest(self._taste, k, self._allowed & kind(slice(None)))

    def latest(self, first: int) -> tuple[Rows, Floats]:
        """The nearest of the rows from `first` on that came last: rows and cosines."""
        rows = np.arange(max(first, len(self._allowed) - _LATEST), len(self._allowed), dtype=np.int32)
        if not len(rows) or not self._taste.any():
            return rows[:0], np.zeros(0, dtype=np.float32)
        rows = rows[self._allowed[rows] & self._vectors.there[rows]]
        cosines = self._vectors.get(rows) @ self._taste
        order = np.argsort(-cosines, kind="stable")[:_LIKE]
        return rows[order], cosines[order]


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """`rows` are allowed, each once.

    `cosines` is float32 [rows]: of those that came as neighbours of the taste in content how near they are, of others
    NaN.
    """

    rows: Rows
    cosines: Floats


def candidates(live: Live, taste: Taste, allowed: Mask, pool: int, near: Near) -> Candidates:
    """The model's best, the neighbours of the taste in content, new items among them, and what is popular.

    Where little is allowed, all of it. The popular ones come last, in their order.
    """
    count = int(np.count_nonzero(allowed))
    marked = live.cold()[near.rows]
    marked[:_LIKE] = True
    latest, their_cosines = near.latest(live.model.items)
    like = np.concatenate([near.rows[marked], latest])
    like_cosines = np.concatenate([near.cosines[marked], their_cosines])
    parts = [like]
    if taste.query is not None:
        parts.insert(0, live.vectors.nearest(taste.query, pool, allowed)[0])
    if count <= _ALL_BELOW:
        parts.append(np.flatnonzero(allowed).astype(np.int32))
    elif len(taste.history):
        parts.insert(0, _by_model(live, taste, allowed, pool, count))
    if sum(map(len, parts)) < 2 * pool:
        parts.append(_popular(live, allowed, pool))
    rows = np.concatenate(parts)
    rows = rows[np.sort(np.unique(rows, return_index=True)[1])]
    cosines = np.full(len(rows), np.nan, dtype=np.float32)
    if len(like):
        order = np.argsort(like, kind="stable")
        found = order[np.minimum(np.searchsorted(like, rows, sorter=order), len(like) - 1)]
        cosines = np.where(like[found] == rows, like_cosines[found], cosines)
    return Candidates(rows, cosines)


def _by_model(live: Live, taste: Taste, allowed: Mask, pool: int, count: int) -> Rows:
    asked = min(live.model.items, int(_WIDER * pool * len(allowed) / count) + len(taste.history))
    found = live.model.candidates(taste.history, asked)
    return found[allowed[found]][:pool]


def _popular(live: Live, allowed: Mask, pool: int) -> Rows:
    """The most popular of the allowed ones; a popular item is soon met, so that few are looked at."""
    order = live.counts.popular()
    end = 4 * pool
    while True:
        found: Rows = order[:end][allowed[order[:end]]].astype(np.int32)
        if len(found) >= pool or end >= len(order):
            return found[:pool]
        end *= 4
