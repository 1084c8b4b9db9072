"""One request, from whoever asks to a list with its reasons."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych_recommendation.data.interactions import History
from triptych_recommendation.experiments.interleaving import team_draft
from triptych_recommendation.serving.answers import Context, Explanation, Recommended
from triptych_recommendation.serving.candidates import Candidates, Near, candidates
from triptych_recommendation.serving.explanations import Explainer
from triptych_recommendation.serving.exposure import ExposureLog
from triptych_recommendation.serving.lists import Place, compose, exploration_places, explore
from triptych_recommendation.serving.live import Live
from triptych_recommendation.serving.rules import Rules
from triptych_recommendation.serving.scoring import Scorer
from triptych_recommendation.serving.tastes import Taste, taste_of
from triptych_recommendation.serving.variants import Assigned

Floats = NDArray[np.float32]
Rows = NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class Wanted:
    """A request, and the moment and the chance that it is answered with."""

    user: str | None
    k: int
    where: Mapping[str, Any] | None
    context: Context | None
    explain: bool
    now: int
    chance: random.Random


@dataclass(frozen=True, slots=True)
class Made:
    """A list; `teams` has the variant that put each item there, None for neither, and is empty without a draft."""

    items: tuple[Recommended, ...]
    policy: str
    why: str = ""
    teams: tuple[str | None, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class _Ranking:
    places: list[Place]
    scorer: Scorer | None  # None: nothing may be shown
    tired: Mapping[str, float]
    why: str = ""


class Maker:
    """Makes lists out of what is live; the caller holds the lock for reading."""

    def __init__(self, live: Live, log: ExposureLog, explainer: Explainer) -> None:
        self._live = live
        self._log = log
        self._explainer = explainer

    def make(self, wanted: Wanted, assigned: Assigned, *, seed: str) -> Made:
        """A list by the rules that hold for the user; drafted from two, with `seed`, in an interleaving."""
        taste = taste_of(self._live, self._live.users.get(wanted.user), wanted.context, wanted.now)
        profile = self._live.profiles(taste.history, np.ones((1, len(taste.history)), dtype=np.bool_))[0]
        first = self._ranked(wanted, taste, profile, assigned.rules)
        if assigned.other is None:
            items = self._finished(wanted, taste, first, assigned.rules)
            return Made(items, _policy(first), first.why, (), taste.notes)
        second = self._ranked(wanted, taste, profile, assigned.other)
        sides = [
            {one.item.id: one for one in self._finished(wanted, taste, ranking, rules)}
            for ranking, rules in ((first, assigned.rules), (second, assigned.other))
        ]
        draft = team_draft(list(sides[0]), list(sides[1]), wanted.k, seed=seed)
        by_id = {**sides[1], **sides[0]}
        teams = tuple(None if team is None else assigned.sides[team] for team in draft.teams)
        policy = _policy(first) or _policy(second)
        why = "" if draft.items else first.why
        return Made(tuple(by_id[name] for name in draft.items), policy, why, teams, taste.notes)

    def similar(self, row: int, k: int, where: Mapping[str, Any] | None, rules: Rules, explain: bool) -> Made:
        """Items like one, by content and by who chooses them: by what the item adds to a score without any history."""
        live = self._live
        allowed = rules.allowed(where, np.empty(0, dtype=np.int32))
        mask = allowed.mask.copy()
        mask[row] = False
        if not mask.any():
            return Made((), "similar", f"nothing but the item itself is left after {allowed.steps[-1][0]}")
        taste = Taste(History.of([row]), ("view",), np.array([row], dtype=np.int32), None, known=True)
        own = live.vectors.get(np.array([row]))[0]
        found = candidates(live, taste, mask, rules.settings.pool, Near(live.vectors, own, mask))
        scorer = Scorer(live, taste, own, found.rows, found.cosines)
        content = np.clip(scorer.vectors(slice(None)) @ own, 0, 1)
        chosen = np.zeros_like(content)
        if scorer.mode == "behaviour":
            nothing = np.zeros((1, 1), dtype=np.bool_)
            chosen = np.clip(scorer.scores - scorer.rescorer(np.arange(len(scorer.rows)))(nothing)[0], 0, None)
            chosen /= max(float(chosen.max(initial=0)), 1e-9)
        both = own.any() and chosen.any()
        scores = (content + chosen) / 2 if both else np.maximum(content, chosen)
        items = []
        for place in np.argsort(-scores, kind="stable")[:k].tolist():
            other = int(found.rows[place])
            if scores[place] <= 0:
                break
            words = Explanation(self._explainer.compare(other, row)) if explain else None
            reason = "behaviour" if chosen[place] > content[place] else "content"
            items.append(Recommended(live.shelf.items[other], float(scores[place]), "ranked", reason, words))
        return Made(tuple(items), "similar", "" if items else "nothing is known to be like the item")

    def _ranked(self, wanted: Wanted, taste: Taste, profile: Floats, rules: Rules) -> _Ranking:
        settings, chance = rules.settings, wanted.chance
        allowed = rules.allowed(wanted.where, taste.seen)
        if not allowed.count:
            return _Ranking([], None, {}, f"nothing is left after {allowed.emptied_by()}")
        pinned = rules.pinned(allowed)[: wanted.k]
        rest = allowed.mask
        if pinned:
            rest = rest.copy()
            rest[pinned] = False
        count = exploration_places(wanted.k, settings.exploration, len(pinned), chance)
        near = Near(self._live.vectors, profile, allowed.mask)
        toward = near if taste.query is None else Near(self._live.vectors, taste.query, allowed.mask)
        explored = explore(self._live, toward, rest, count, settings, chance)
        found = candidates(self._live, taste, allowed.mask, max(settings.pool, wanted.k), near)
        rows, cosines = _framed(found, pinned, explored)
        scorer = Scorer(self._live, taste, profile, rows, cosines)
        tired = self._log.tired(wanted.user, wanted.now, settings)
        scores = scorer.scores
        if tired:
            scores = scores.copy()
            for name, factor in tired.items():
                scores[rows == self._live.shelf.rows.get(name, -1)] *= factor
        places = compose(
            scorer, scores, pinned=len(pinned), explored=len(explored), k=wanted.k, rules=settings, chance=chance
        )
        return _Ranking(places, scorer, tired)

    def _finished(self, wanted: Wanted, taste: Taste, ranking: _Ranking, rules: Rules) -> tuple[Recommended, ...]:
        """The items of the places with their reasons and, where wanted, explanations."""
        places, scorer, items = ranking.places, ranking.scorer, self._live.shelf.items
        if scorer is None:
            return ()
        explanations: Sequence[Explanation | None] = [None] * len(places)
        if wanted.explain:
            explanations = self._explainer.explain(taste, scorer, places, ranking.tired, rules.settings.cited)
        return tuple(
            Recommended(items[place.row], place.score, place.origin, scorer.reason(place.at), words)
            for place, words in zip(places, explanations, strict=True)
        )


def _framed(found: Candidates, pinned: Sequence[int], explored: Sequence[int]) -> tuple[Rows, Floats]:
    """All rows once, pinned ones first and explored ones last, and their cosines as `Candidates` has them."""
    if not pinned and not explored:
        return found.rows, found.cosines
    apart = np.array([*pinned, *explored], dtype=np.int32)
    where = found.rows[:, None] == apart
    own = np.full(len(apart), np.nan, dtype=np.float32)
    place, which = np.nonzero(where)
    own[which] = found.cosines[place]
    rest, first = ~where.any(axis=1), len(pinned)
    rows = np.concatenate([apart[:first], found.rows[rest], apart[first:]])
    return rows, np.concatenate([own[:first], found.cosines[rest], own[first:]])


def _policy(ranking: _Ranking) -> str:
    return ranking.scorer.policy if ranking.scorer is not None else ""
