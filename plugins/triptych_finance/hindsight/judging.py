"""What ways of looking come to, and whether one is better than another; what may be chance is not called better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from triptych_finance.hindsight.baselines import Rival
from triptych_finance.hindsight.outcomes import Alarms, Array, Hindsight, interval

SENTIMENT, VOLUME, RETURNS, CHANCE = "sentiment", "news volume", "past returns", "chance"


@dataclass(frozen=True, slots=True)
class Figure:
    """A measure, with its 95 per cent interval where there is enough to say one."""

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """What one way of looking has come to.

    `alarms_per_week` is per entity, as the budget counts alarms, over the whole time and by halves; `measures` has
    precision, recall, lead (in trading days), and alerts and false alerts per entity and week.
    """

    name: str
    alerts: int
    judged: int
    hits: int
    caught: int
    alarms_per_week: tuple[float, float, float]
    measures: Mapping[str, Figure]


@dataclass(frozen=True, slots=True)
class Compared:
    """How much better sentiment is than a baseline; `better` only where the intervals say so."""

    name: str
    precision: Figure
    recall: Figure
    better: bool


def judged(name: str, rival: Rival, hindsight: Hindsight, draws: Mapping[str, Array]) -> Judged:
    """What alarms have come to; `draws` are their measures in the bootstrap."""
    sums = hindsight.sums(rival.alerts)
    values = {measure: float(found[0]) for measure, found in sums.measures().items()}
    return Judged(
        name=name,
        alerts=int(sums.alarms.sum()),
        judged=int(sums.judged.sum()),
        hits=int(sums.hits.sum()),
        caught=int(sums.caught.sum()),
        alarms_per_week=_rates(rival.alarms, hindsight),
        measures={measure: _figure(value, draws[measure]) for measure, value in values.items()},
    )


def of_chance(own: Judged, chance: Mapping[str, Array], events: int) -> Judged:
    """Alarms at random, as many as `own` has: precision and recall are the means over draws, counts are rounded."""
    measures = {name: _figure(_mean(draws), draws) for name, draws in chance.items()}
    hits = round((measures["precision"].value or 0.0) * own.judged)
    caught = round((measures["recall"].value or 0.0) * events)
    return Judged(CHANCE, own.alerts, own.judged, hits, caught, own.alarms_per_week, measures)


def _rates(alarms: Alarms, hindsight: Hindsight) -> tuple[float, float, float]:
    """Alarms per entity and week: on the whole, in the first half of the time and in the second."""
    middle = hindsight.middle
    assert middle is not None
    spans = [track.span for track in hindsight.tracks.values()]
    moments = [fired for entity in hindsight.tracks for fired in alarms.get(entity, ())]
    begin, end = min(span.begin for span in spans), max(span.end for span in spans)
    rates = []
    for first, last in ((begin, end), (begin, middle), (middle, end)):
        weeks = sum(span.within(first, last) for span in spans)
        rates.append(sum(first < fired <= last for fired in moments) / weeks if weeks else float("nan"))
    return rates[0], rates[1], rates[2]


def compare(own: Judged, other: Judged, own_draws: Mapping[str, Array], other_draws: Mapping[str, Array]) -> Compared:
    """How much better one is than another, on the same draws of entities and time."""
    gaps = {}
    for measure in ("precision", "recall"):
        a, b = own.measures[measure].value, other.measures[measure].value
        gaps[measure] = _figure(None if a is None or b is None else a - b, own_draws[measure] - other_draws[measure])
    return Compared(other.name, gaps["precision"], gaps["recall"], is_better(gaps["precision"], gaps["recall"]))


def compare_with_chance(own: Judged, chance: Mapping[str, Array]) -> Compared:
    """How far alarms are above the same ones at random times."""
    gaps = {}
    for measure in ("precision", "recall"):
        value = own.measures[measure].value
        draws = np.zeros(0) if value is None else value - chance[measure]
        gaps[measure] = _figure(_mean(draws), draws)
    return Compared(CHANCE, gaps["precision"], gaps["recall"], is_better(gaps["precision"], gaps["recall"]))


def is_better(precision: Figure, recall: Figure) -> bool:
    """One of the two is surely better, and the other not surely worse."""
    if precision.low is None or precision.high is None or recall.low is None or recall.high is None:
        return False
    return (precision.low > 0 and recall.high >= 0) or (recall.low > 0 and precision.high >= 0)


def in_words(own: Judged, compared: Sequence[Compared], *, enough: bool) -> str:
    """The verdict, which says no more than the intervals do."""
    if own.judged == 0:
        return "No alert could be judged: the verdict is open."
    if not enough:
        return "The time is too short for intervals: the verdict is open."
    better = [one.name for one in compared if one.better]
    if len(better) == len(compared):
        return (
            "The alerts are better than every baseline with the same budget: the intervals of the differences say so."
        )
    rest = [one.name for one in compared if not one.better]
    said = f"better than {' and '.join(better)}, but " if better else ""
    return (
        f"The alerts are {said}not shown to be better than {' or '.join(rest)}: by the intervals, what difference "
        "there is may be chance."
    )


def _figure(value: float | None, draws: Array) -> Figure:
    if value is None or not np.isfinite(value):
        return Figure(None)
    found = interval(draws)
    return Figure(value) if found is None else Figure(value, *found)


def _mean(draws: Array) -> float | None:
    said = draws[np.isfinite(draws)]
    return float(said.mean()) if len(said) else None
