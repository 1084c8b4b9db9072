"""Which decisions a reviewer should look at first, and how good the answers are, told from those that were drawn.

The queue has two kinds of places. Four of five go by the value of a label: unsure, ambiguous, outside of what was
learnt, in need of a person, answered otherwise by another version; what resembles something that stands further up,
or was reviewed before, counts less. Every fifth is drawn by lot, whatever it is worth, for an estimate from valuable
ones alone would make the answers look worse than they are.

The lot is a random number that a decision got when it was written. Decisions fall into strata of confidence, and in
each of them those with the smallest numbers are reviewed first. However many have been reviewed so far, they are then
a random sample of the stratum, so that the mean over strata, weighted by their sizes, is without bias (Cochran,
Sampling Techniques, 3rd edition, section 5.3).
"""

from __future__ import annotations

import heapq
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

DRAWN_EVERY = 5  # places of the queue
_BANDS = ((0.5, "below 0.5"), (0.7, "0.5 to 0.7"), (0.9, "0.7 to 0.9"), (math.inf, "0.9 and above"))
_OUTSIDE, _PERSON, _DISAGREES = 0.5, 0.5, 0.5  # how much of what is missing to a value of 1 each of these adds


@dataclass(frozen=True, slots=True)
class Candidate:
    """A decision as the queue sees it; `correct` is None until it was reviewed."""

    name: str
    confidence: float
    margin: float | None
    in_scope: bool | None
    attention: str | None
    lot: float
    disagrees: bool = False  # another version answered otherwise
    correct: bool | None = None

    @property
    def stratum(self) -> str:
        """The stratum it is drawn in."""
        if self.in_scope is False:
            return "out of scope"
        return next(name for above, name in _BANDS if self.confidence < above)

    @property
    def value(self) -> float:
        """What a label is worth, 0 to 1, before others are looked at."""
        doubts = [] if self.margin is None else [1 - self.margin]
        if self.in_scope is not False or not doubts:  # outside, the confidence is no longer about the label
            doubts.append(1 - self.confidence)
        rest = 1 - sum(doubts) / len(doubts)
        rest *= 1 - _OUTSIDE if self.in_scope is False else 1
        rest *= 1 - _PERSON if self.attention else 1
        rest *= 1 - _DISAGREES if self.disagrees else 1
        return min(1.0, max(0.0, 1 - rest))

    @property
    def reasons(self) -> list[str]:
        """Why it is worth a look, in words."""
        found = []
        if self.in_scope is False:
            found.append("out of scope")
        elif self.confidence < _BANDS[1][0]:
            found.append("unsure")
        if self.margin is not None and self.margin < 0.2:
            found.append("two labels are near")
        found += ["another version disagrees"] if self.disagrees else []
        return [*found, self.attention] if self.attention else found


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the queue; `drawn` by lot, or for its `value`, which near-duplicates have lowered."""

    candidate: Candidate
    value: float
    drawn: bool


@dataclass(slots=True)
class Stratum:
    """How many decisions there are, how many of them the sample has, and how many of those are correct."""

    name: str
    decisions: int = 0
    sampled: int = 0
    correct: int = 0


@dataclass(slots=True)
class Estimate:
    """The share of correct answers; None while a stratum has none in the sample. `error` is its standard error."""

    share: float | None = None
    error: float | None = None
    strata: list[Stratum] = field(default_factory=list)


def queue(candidates: Sequence[Candidate], words: Callable[[str], frozenset[str]], limit: int) -> list[Place]:
    """The first places; `words` gives the set of words of a decision by its name, for likeness."""
    waiting = [c for c in candidates if c.correct is None]
    reviewed = [words(c.name) for c in candidates if c.correct is not None][:200]  # the newest
    drawn = _by_lot(candidates)
    valued = _by_value(waiting, words, reviewed)
    places: list[Place] = []
    taken: set[str] = set()
    while len(places) < limit and len(taken) < len(waiting):
        by_lot = len(places) % DRAWN_EVERY == DRAWN_EVERY - 1
        place = next((p for p in (drawn if by_lot else valued) if p.candidate.name not in taken), None)
        if place is None:  # this kind is used up, so all are taken
            break
        taken.add(place.candidate.name)
        places.append(place)
    return places


def estimate(candidates: Iterable[Candidate]) -> Estimate:
    """The share of correct answers among all candidates, from those that the lot has reached."""
    found = Estimate()
    for name, members in sorted(_strata(candidates).items()):
        sample = _sample(members)
        found.strata.append(Stratum(name, len(members), len(sample), sum(c.correct is True for c in sample)))
    total = sum(s.decisions for s in found.strata)
    if not total or any(s.sampled == 0 for s in found.strata):
        return found
    found.share = sum(s.decisions / total * s.correct / s.sampled for s in found.strata)
    if all(s.sampled > 1 or s.sampled == s.decisions for s in found.strata):
        found.error = math.sqrt(sum((s.decisions / total) ** 2 * _variance(s) for s in found.strata))
    return found


def words_of(text: str) -> frozenset[str]:
    """The words of a text, for likeness."""
    return frozenset(re.findall(r"\w+", text.lower()))


def likeness(one: frozenset[str], other: frozenset[str]) -> float:
    """Jaccard's: the share of words that both have."""
    return len(one & other) / len(one | other) if one and other else 0.0


def _variance(stratum: Stratum) -> float:
    """Of the mean of a sample without replacement."""
    if stratum.sampled == stratum.decisions:
        return 0.0
    share = stratum.correct / stratum.sampled
    return (1 - stratum.sampled / stratum.decisions) * share * (1 - share) / (stratum.sampled - 1)


def _strata(candidates: Iterable[Candidate]) -> dict[str, list[Candidate]]:
    """The candidates of each stratum in the order of their lots."""
    found: dict[str, list[Candidate]] = {}
    for candidate in sorted(candidates, key=lambda c: c.lot):
        found.setdefault(candidate.stratum, []).append(candidate)
    return found


def _sample(members: Sequence[Candidate]) -> list[Candidate]:
    """Those before the first that waits. One further on was reviewed for another reason than its lot."""
    found = []
    for candidate in members:
        if candidate.correct is None:
            break
        found.append(candidate)
    return found


def _by_lot(candidates: Sequence[Candidate]) -> Iterator[Place]:
    """The next ones of the strata, in turns, so that the sample grows in proportion to their sizes."""
    strata = _strata(candidates)
    sampled = {name: len(_sample(members)) for name, members in strata.items()}
    left = {name: iter([c for c in members if c.correct is None]) for name, members in strata.items()}
    while left:
        name = max(left, key=lambda name: len(strata[name]) / (sampled[name] + 1))
        candidate = next(left[name], None)
        if candidate is None:
            del left[name]
            continue
        sampled[name] += 1
        yield Place(candidate, candidate.value, drawn=True)


def _by_value(
    waiting: Sequence[Candidate], words: Callable[[str], frozenset[str]], reviewed: Sequence[frozenset[str]]
) -> Iterator[Place]:
    """The most valuable first. A value is only ever lowered, so one is compared when it comes up, and seldom again."""
    above = list(reviewed)
    heap = [(-c.value, row, 0) for row, c in enumerate(waiting)]
    nearest = [0.0] * len(waiting)
    heapq.heapify(heap)
    while heap:
        value, row, seen = heapq.heappop(heap)
        candidate = waiting[row]
        if seen < len(above):
            own = words(candidate.name)
            nearest[row] = max([nearest[row], *(likeness(own, other) for other in above[seen:])])
            value = -candidate.value * (1 - nearest[row])
            heapq.heappush(heap, (value, row, len(above)))
            continue
        above.append(words(candidate.name))
        yield Place(candidate, -value, drawn=False)
