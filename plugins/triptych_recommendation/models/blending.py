"""How a blend makes scores of different models comparable, and how it learns what each of them is worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from triptych_recommendation.data.interactions import History, Interactions
from triptych_recommendation.data.splits import Held
from triptych_recommendation.models.profiles import known_rows
from triptych_recommendation.models.settings import BlendSettings

if TYPE_CHECKING:
    from triptych_recommendation.models.base import UserModel

FEATURES = 2  # of each part
Array = NDArray[np.float64]
_BATCH = 128


@dataclass(frozen=True, slots=True, eq=False)
class Mixture:
    """The weights of a blend: float32 [buckets, parts * FEATURES], 0 or more, by the length of the history."""

    depth: int
    bounds: tuple[int, ...]  # a history of at most bounds[b] events is in bucket b
    weights: NDArray[np.float32]

    def of(self, history: History) -> NDArray[np.float32]:
        """Float32 [parts, FEATURES]: the weights for a history."""
        bucket = int(np.searchsorted(self.bounds, len(history)))
        found: NDArray[np.float32] = self.weights[bucket].reshape(-1, FEATURES)
        return found


def features(
    scores: NDArray[np.float32], top: NDArray[np.float32], floor: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Two features of scores that are at least 0: their share of the `top` one, and that on a logarithmic scale.

    `floor`, the score at the depth of the blend, says where the logarithm begins to tell scores apart; at least a
    hundredth of the top. All three may be arrays that fit each other. Where the top is 0 so are the features.
    """
    high = np.where(top > 0, top, np.float32(1))
    low = np.maximum(floor, high / np.float32(100))
    shares: NDArray[np.float32] = np.divide(scores, high, dtype=np.float32)
    steep: NDArray[np.float32] = np.divide(high, low, dtype=np.float32)
    logarithmic: NDArray[np.float32] = np.log1p(shares * steep) / np.log1p(steep)
    return shares, logarithmic


class Scale:
    """The features of scores for one history, whose `top` score and that at the depth are known."""

    def __init__(self, top: float, floor: float) -> None:
        self._high = np.float32(top) if top > 0 else np.float32(1)
        self._steep = self._high / max(np.float32(floor), self._high / np.float32(100))
        self._most = np.log1p(self._steep)

    def __call__(self, scores: NDArray[np.float32], weights: NDArray[np.float32]) -> NDArray[np.float32]:
        """Float32 of the same shape: the two `features`, each times its weight of float32 [FEATURES]."""
        shares = scores / self._high
        found: NDArray[np.float32] = np.log1p(shares * self._steep)
        found *= weights[1] / self._most
        found += shares * weights[0]
        return found


def scale(scores: NDArray[np.float32], histories: Sequence[History], depth: int) -> tuple[NDArray[np.float32], ...]:
    """For scores [histories, items]: the top one and the one at the depth, [histories, 1] each, of unseen items."""
    unseen = scores.copy()
    for row, history in zip(unseen, histories, strict=True):
        row[known_rows(history, scores.shape[1])] = 0
    if depth < scores.shape[1]:
        unseen = -np.partition(-unseen, depth - 1, axis=1)[:, :depth]
        floor = unseen.min(axis=1, keepdims=True)
    else:
        floor = np.zeros((len(scores), 1), dtype=np.float32)
    return unseen.max(axis=1, keepdims=True), floor


@dataclass(frozen=True, slots=True, eq=False)
class Lessons:
    """What a blend learns from: for each user with a target among the best of any part, the features of these best."""

    rows: NDArray[np.float32]  # [candidates of all users, parts * FEATURES]
    wanted: Array  # [candidates], the target's share of the user's targets that are there, or 0
    starts: NDArray[np.int64]  # [users + 1]
    lengths: NDArray[np.int64]  # [users], of their histories
    places: NDArray[np.int64]  # [users], in the held-out part

    def only(self, users: NDArray[np.bool_]) -> Lessons:
        """The lessons of some of the users."""
        counts = np.diff(self.starts)
        kept = np.repeat(users, counts)
        starts = np.concatenate([[0], np.cumsum(counts[users])]).astype(np.int64)
        return Lessons(self.rows[kept], self.wanted[kept], starts, self.lengths[users], self.places[users])


def collect(parts: Sequence[UserModel], interactions: Interactions, held: Held, depth: int) -> Lessons:
    """The lessons of the held-out users, from what the parts say about their histories in `interactions`."""
    rows, wanted, lengths, places = [], [], [], []
    for start in range(0, len(held), _BATCH):
        histories = [interactions.history(int(user)) for user in held.users[start : start + _BATCH]]
        scored = [part.scores(histories) for part in parts]
        scales = [scale(scores, histories, depth) for scores in scored]
        for place, history in enumerate(histories):
            candidates = _union([scores[place] for scores in scored], history, depth)
            hits = np.isin(candidates, held.targets[start + place])
            if not hits.any():
                continue
            columns = [
                feature
                for scores, (top, floor) in zip(scored, scales, strict=True)
                for feature in features(scores[place, candidates], top[place], floor[place])
            ]
            rows.append(np.stack(columns, axis=1))
            wanted.append(hits / hits.sum())
            lengths.append(len(history))
            places.append(start + place)
    starts = np.cumsum([0, *map(len, rows)]).astype(np.int64)
    return Lessons(
        np.concatenate([np.zeros((0, len(parts) * FEATURES), np.float32), *rows]),
        np.concatenate([np.zeros(0), *wanted]),
        starts,
        np.array(lengths, dtype=np.int64),
        np.array(places, dtype=np.int64),
    )


def learn(lessons: Lessons, settings: BlendSettings) -> Mixture:
    """The weights under which the softmax over each user's candidates makes the held-out items most likely.

    A bucket with few users has the weights of all. Without any lesson the parts weigh the same.
    """
    bounds = tuple(sorted(set(settings.buckets)))
    everyone = np.ones(lessons.rows.shape[1])
    if len(lessons.lengths):
        everyone = _fitted(lessons, everyone, pull=1e-3)
    weights = []
    for bucket in range(len(bounds) + 1):
        inside = np.searchsorted(bounds, lessons.lengths) == bucket
        own = inside.sum() >= settings.least_users
        weights.append(_fitted(lessons.only(inside), everyone, pull=settings.l2) if own else everyone)
    return Mixture(settings.depth, bounds, np.array(weights, dtype=np.float32))


def _union(scores: Sequence[NDArray[np.float32]], history: History, depth: int) -> NDArray[np.int64]:
    """Unseen rows that are among the best of any part."""
    found = []
    for own in scores:
        unseen = own.copy()
        unseen[known_rows(history, len(own))] = 0
        best = np.argpartition(-unseen, depth - 1)[:depth] if depth < len(own) else np.arange(len(own))
        found.append(best[unseen[best] > 0])
    return np.unique(np.concatenate(found)).astype(np.int64)


def _fitted(lessons: Lessons, start: Array, *, pull: float) -> Array:
    """Weights of 0 or more with the least loss, which the `pull` draws to where they start."""
    from scipy.optimize import minimize

    rows, begins = lessons.rows.astype(np.float64), lessons.starts[:-1]
    counts = np.diff(lessons.starts)

    def loss(weights: Array) -> tuple[float, Array]:
        sums = rows @ weights
        sums -= np.repeat(np.maximum.reduceat(sums, begins), counts)
        chances = np.exp(sums)
        totals = np.add.reduceat(chances, begins)
        chances /= np.repeat(totals, counts)
        value = np.log(totals).sum() - lessons.wanted @ sums + pull * np.sum((weights - start) ** 2)
        slope = (chances - lessons.wanted) @ rows + 2 * pull * (weights - start)
        return float(value), slope

    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(0, None)] * len(start))
    result: Array = found.x
    return result
