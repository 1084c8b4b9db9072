"""The first stage: a few hundred items out of all that a user may be shown."""

from __future__ import annotations

from dataclasses import dataclass

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
        self.rows, self._cosines = vectors.nearest(taste, _NEAR, allowed)

    def among(self, kind: Mask, k: int) -> tuple[Rows, Floats]:
        """Up to `k` of those that bool [items] marks, the nearest first: rows and cosines.

        Some of them where there are many of the kind, as many as there are otherwise.
        """
        marked = kind[self.rows]
        if np.count_nonzero(marked) >= min(k, _ENOUGH) or len(self.rows) < _NEAR:
            return self.rows[marked][:k], self._cosines[marked][:k]
        return self._vectors.nearest(self._taste, k, self._allowed & kind)

    def latest(self, first: int) -> Rows:
        """The nearest of the rows from `first` on that came last."""
        rows = np.arange(max(first, len(self._allowed) - _LATEST), len(self._allowed), dtype=np.int32)
        rows = rows[self._allowed[rows] & self._vectors.there[rows]]
        cosines = self._vectors.get(rows) @ self._taste
        return rows[np.argsort(-cosines, kind="stable")[:_LIKE]] if self._taste.any() else rows[:0]


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """`rows` are allowed, each once; `like` are those of them that came as neighbours of the taste in content."""

    rows: Rows
    like: Rows


def candidates(live: Live, taste: Taste, allowed: Mask, pool: int, near: Near) -> Candidates:
    """The model's best, the neighbours of the taste in content, new items among them, and what is popular.

    Where little is allowed, all of it. The popular ones come last, in their order.
    """
    count = int(np.count_nonzero(allowed))
    new = near.rows[live.cold()[near.rows]]
    like = np.concatenate([near.rows[:_LIKE], new, near.latest(live.model.items)])
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
    once = np.sort(np.unique(rows, return_index=True)[1])
    return Candidates(rows[once], like)


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
