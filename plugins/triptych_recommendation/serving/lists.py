"""The second stage: from scored candidates to a list, with pinned items, variety, fatigue and room for the unknown."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych_recommendation.serving.answers import Origin
from triptych_recommendation.serving.candidates import Near
from triptych_recommendation.serving.diversity import contenders, diversified
from triptych_recommendation.serving.live import Live
from triptych_recommendation.serving.scoring import Scorer
from triptych_recommendation.serving.settings import RuleSettings

Floats = NDArray[np.float32]
_NEW_LIKE = 50  # little-seen items nearest to a taste that are drawn from
_WARMTH = 0.05  # of the draw: a cosine higher by so much is e times as likely


@dataclass(frozen=True, slots=True)
class Place:
    """One place of a list."""

    row: int
    at: int  # its place among the candidates
    score: float
    origin: Origin


def compose(
    scorer: Scorer,
    scores: Floats,
    *,
    pinned: int,
    explored: int,
    k: int,
    rules: RuleSettings,
    chance: random.Random,
) -> list[Place]:
    """At most `k` places: pinned items, then the best by maximal marginal relevance, explored ones strewn in below.

    `scores` is float32 [candidates], of equals the earlier first. Pinned rows are the first of the candidates, explored
    ones the last. The first place that is not pinned is not an explored one, unless there is nothing else.
    """
    first, last = pinned, len(scorer.rows) - explored
    order = np.argsort(-scores, kind="stable")[: max(rules.pool, k) + first + explored]
    best = order[(order >= first) & (order < last)]
    room = max(k - explored, 0)
    best = best[: contenders(np.clip(scores[best], 0, 1), max(room - first, 0), rules.diversity)]
    pool = np.concatenate([np.arange(first), best])
    relevance = np.clip(scores[pool], 0, 1)
    chosen = diversified(relevance, scorer.vectors(pool), room, rules.diversity, first=first).tolist()
    places = [
        Place(int(scorer.rows[at]), at, float(scores[at]), "pinned" if one < first else "ranked")
        for one, at in zip(chosen, pool[chosen].tolist(), strict=True)
    ]
    for at in range(last, len(scorer.rows)):
        lowest = min(first + 1, len(places))
        place = Place(int(scorer.rows[at]), at, float(scores[at]), "exploration")
        places.insert(chance.randint(lowest, len(places)), place)
    return places[:k]


def exploration_places(k: int, share: float, pinned: int, chance: random.Random) -> int:
    """How many of `k` places are for exploration: the share, rounded up or down by chance so that it holds on average.

    The first place that is not pinned is not among them.
    """
    wanted = k * share
    whole = int(wanted) + (chance.random() < wanted - int(wanted))
    return max(0, min(whole, k - pinned - 1))


def explore(
    live: Live, near: Near, allowed: NDArray[np.bool_], count: int, rules: RuleSettings, chance: random.Random
) -> list[int]:
    """At most `count` allowed rows that are new or were seldom chosen and shown, drawn by chance.

    Those nearest to a taste in content are drawn from, the nearer the likelier (a softmax over cosines); without a
    taste all are alike.
    """
    if count < 1:
        return []

    def little(rows: Any) -> NDArray[np.bool_]:
        marked: NDArray[np.bool_] = allowed[rows] & live.counts.little_seen(rules.little_seen, rows)
        return marked

    generator = np.random.default_rng(chance.getrandbits(64))
    rows, cosines = near.among(little, _NEW_LIKE)
    if len(rows):
        keys = cosines / _WARMTH + generator.gumbel(size=len(rows))  # the largest are a draw without putting back
        return [int(row) for row in rows[np.argsort(-keys, kind="stable")[:count]]]
    every = np.flatnonzero(little(slice(None)))
    return [int(row) for row in generator.choice(every, min(count, len(every)), replace=False, shuffle=False)]
