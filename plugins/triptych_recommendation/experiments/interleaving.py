"""Two rankings in one list, each fairly served, and whose items were chosen."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Draft:
    """A list with the team of each item: 0 or 1, the ranking that put it there; None: both had nothing else left."""

    items: tuple[str, ...]
    teams: tuple[int | None, ...]


def team_draft(first: Sequence[str], second: Sequence[str], k: int, *, seed: str) -> Draft:
    """Draft at most `k` items from two rankings, the same for the same seed.

    Team-draft interleaving (Radlinski, Kurup and Joachims, "How does clickthrough data reflect retrieval quality?",
    CIKM 2008, algorithm 2): the team with fewer items picks its best that is not there yet, a coin decides where both
    have as many. When one ranking has nothing more, the other fills up without a team, for what follows would count
    for it alone. Raises `ValueError` for a ranking that has an item twice.
    """
    for ranking in (first, second):
        if len(set(ranking)) != len(ranking):
            raise ValueError("a ranking has an item twice")
    rest: tuple[list[str], list[str]] = (list(first), list(second))
    items: list[str] = []
    teams: list[int | None] = []
    while len(items) < k:
        there = set(items)
        for ranking in rest:
            while ranking and ranking[0] in there:
                ranking.pop(0)
        if not all(rest):
            break
        behind = teams.count(0) - teams.count(1)
        picks = _coin(seed, len(items)) if behind == 0 else int(behind > 0)
        items.append(rest[picks].pop(0))
        teams.append(picks)
    for name in [*rest[0], *rest[1]]:
        if len(items) < k and name not in items:
            items.append(name)
            teams.append(None)
    return Draft(tuple(items), tuple(teams))


def credit(draft: Draft, chosen: Collection[str]) -> int:
    """1 where more of the chosen items are the second team's, -1 where more are the first's, 0 where as many are."""
    of_team = [sum(1 for item, team in _pairs(draft) if team == side and item in chosen) for side in (0, 1)]
    return (of_team[1] > of_team[0]) - (of_team[1] < of_team[0])


def _pairs(draft: Draft) -> list[tuple[str, int | None]]:
    return list(zip(draft.items, draft.teams, strict=True))


def _coin(seed: str, place: int) -> int:
    return hashlib.sha256(f"{place}:{seed}".encode("utf-8", "surrogatepass")).digest()[0] & 1
