"""Why an item stands in a list: past events whose removal makes its score fall, and what the items have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from triptych_recommendation.serving.answers import Explanation
from triptych_recommendation.serving.lists import Place
from triptych_recommendation.serving.live import Live
from triptych_recommendation.serving.scoring import Scorer
from triptych_recommendation.serving.shared import Together, alike_from, and_, enough_people, in_common
from triptych_recommendation.serving.tastes import LOOKING, Taste, leaving_out

_VERBS = {
    "view": "looked at",
    "click": "clicked on",
    "purchase": "bought",
    "rating": "rated",
    "comment": "commented on",
    "play": "played",
    "listen": "listened to",
    "read": "read",
    "watch": "watched",
    "like": "liked",
    LOOKING: "are looking at",
}
_OTHER_VERB = "chose"
_TRIED = 6  # items of the past that are left out one by one
_LATEST = 3  # of them, the latest ones; the others are those most like the list
_GROUPS = 5  # sets of several that are left out together; for the others one is cited
_CONSIDERED = 200  # latest items of the past that may be cited
_LEAST_DROP = 1e-4  # of the scale, whose best is 1: less is no fall
_NEXT = 0.25  # a further item is cited where leaving it out costs so much of what the first one costs


@dataclass(frozen=True, slots=True)
class _Cited:
    rows: tuple[int, ...]
    drop: float


class Explainer:
    """Explains lists. Nothing is cited that was not checked: the items are taken out, and the score must fall.

    Items of the past are left out one by one, and those whose absence costs a place most are cited for it; where more
    than one is cited, they are left out together once more.
    """

    def __init__(self, live: Live) -> None:
        self._live = live
        self._together = Together(live.files.past)
        self._alike = alike_from(live.vectors)

    def explain(
        self, taste: Taste, scorer: Scorer, places: Sequence[Place], tired: Mapping[str, float], most: int
    ) -> list[Explanation]:
        """One for each place. `tired` is by id what lowered scores; `most` items are cited at most."""
        cited: dict[int, _Cited] = {}
        if len(taste.history) and places and scorer.mode != "popularity":
            cited = self._cited(taste, scorer, places, most)
        shared = self._shared(scorer, {place.at: cited[place.row].rows[0] for place in places if place.row in cited})
        kinds = dict(zip(taste.history.items.tolist(), taste.kinds, strict=True))  # the latest kind of each item
        found = []
        for place in places:
            evidence = cited.get(place.row)
            if evidence is None:
                found.append(Explanation(self._plain(place, scorer.reason(place.at))))
                continue
            name = self._live.shelf.items[place.row].id
            ids = tuple(self._live.shelf.items[row].id for row in evidence.rows)
            drop = evidence.drop * tired.get(name, 1.0)
            found.append(Explanation(self._because(evidence.rows, kinds, shared[place.at]), ids, drop))
        return found

    def compare(self, row: int, other: int) -> str:
        """What two items have in common, and how many people chose both, as a sentence; "" where nothing is known."""
        one, two = self._live.vectors.get(np.array([row, other]))
        (people,) = self._together.counts([(row, other)])
        text = self._parts(row, other, float(one @ two), people)
        return text[:1].upper() + text[1:]

    def _cited(self, taste: Taste, scorer: Scorer, listed: Sequence[Place], most: int) -> dict[int, _Cited]:
        """For each listed row the items of the past without which its score falls; rows without such are left out."""
        rows, places = [place.row for place in listed], np.array([place.at for place in listed])
        rescore = scorer.rescorer(places)
        units = self._units(taste, scorer, places)
        full = scorer.scores[places]
        drops = full - rescore(leaving_out(taste.history, [[unit] for unit in units]))
        found: dict[int, _Cited] = {}
        groups: dict[tuple[int, ...], list[int]] = {}
        for column, row in enumerate(rows):
            falls = {unit: float(drop) for unit, drop in zip(units, drops[:, column], strict=True) if unit != row}
            best = sorted((unit for unit in falls if falls[unit] >= _LEAST_DROP), key=lambda unit: -falls[unit])
            best = [unit for unit in best[:most] if falls[unit] >= _NEXT * falls[best[0]]]
            if best:
                found[row] = _Cited((best[0],), falls[best[0]])
            if len(best) > 1:
                groups.setdefault(tuple(best), []).append(column)
        if groups:
            often = sorted(groups, key=lambda group: -len(groups[group]))[:_GROUPS]
            groups = {group: groups[group] for group in often}
            left = rescore(leaving_out(taste.history, list(groups)))
            for scores, (group, columns) in zip(left, groups.items(), strict=True):
                for column in columns:
                    drop = float(full[column] - scores[column])
                    if drop >= found[rows[column]].drop:
                        found[rows[column]] = _Cited(group, drop)
        return found

    def _units(self, taste: Taste, scorer: Scorer, places: NDArray[np.int64]) -> list[int]:
        """Different items of the past that are worth leaving out: the latest, and those most like the list."""
        past = list(dict.fromkeys(reversed(taste.history.items.tolist())))[:_CONSIDERED]
        if len(past) <= _TRIED:
            return past
        latest, others = past[:_LATEST], past[_LATEST:]
        likeness = (self._live.vectors.get(np.array(others, dtype=np.int32)) @ scorer.vectors(places).T).max(axis=1)
        nearest = np.argsort(-likeness, kind="stable")[: _TRIED - _LATEST]
        return latest + [others[place] for place in nearest.tolist()]

    def _shared(self, scorer: Scorer, pairs: Mapping[int, int]) -> dict[int, str]:
        """By the place of a candidate what it has in common with the row of the past that it is paired with."""
        places, past = np.array(list(pairs), dtype=np.int64), np.array(list(pairs.values()), dtype=np.int32)
        cosines = (scorer.vectors(places) * self._live.vectors.get(past)).sum(axis=1).tolist()
        both = list(zip(scorer.rows[places].tolist(), past.tolist(), strict=True))
        people = self._together.counts(both)
        found = zip(pairs, both, cosines, people, strict=True)
        return {place: self._parts(row, other, cosine, count) for place, (row, other), cosine, count in found}

    def _because(self, cited: tuple[int, ...], kinds: Mapping[int, str], shared: str) -> str:
        """Who did what, and what the item has in common with the first of what is cited."""
        items = self._live.shelf.items
        by_verb: dict[str, list[str]] = {}
        for one in cited:
            by_verb.setdefault(_VERBS.get(kinds[one], _OTHER_VERB), []).append(items[one].title or items[one].id)
        acts = and_([f"{verb} {and_(names)}" for verb, names in by_verb.items()])
        if not shared:
            return f"Because you {acts}"
        like = f"like {items[cited[0]].title or items[cited[0]].id}: " if len(cited) > 1 else ""
        return f"Because you {acts}; {like}{shared}"

    def _parts(self, row: int, other: int, cosine: float, people: int) -> str:
        """What two items have in common, in words; "" where nothing is known."""
        parts = in_common(self._live.shelf.items[row], self._live.shelf.items[other], cosine, self._alike)
        return ", ".join([*parts, f"{people:,} people chose both"] if enough_people(people) else parts)

    def _plain(self, place: Place, reason: str) -> str:
        """Words for an item that no event speaks for."""
        events = int(self._live.counts.events[place.row])
        if place.origin == "pinned":
            return "Picked by the shop"
        if reason == "query":
            return "Like what you asked for"
        if place.origin == "exploration":
            return "New here" if not events else "Not many have seen this yet"
        return f"Popular: chosen {events:,} times" if events else "From the catalogue"
