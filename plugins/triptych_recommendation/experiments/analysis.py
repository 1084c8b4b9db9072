"""What an experiment says so far: rates, lift, guards, and whether it may stop. It may be asked at any time.

The unit is the user, for users are what is assigned: a user counts once, with the means over the lists of his window,
when the window is over. So the values come one by one, each known for good, and the intervals of
`triptych_recommendation.experiments.sequences` hold however often anybody looks.

Lift. With p_i the probability by which user i of two variants has got the new one, known from the shares of his day,
and a_i, b_i the means of the new and of the old variant over the users before him, the difference of means is

    mean over i of  (a_i - b_i) + 1[new] (y_i - a_i) / p_i - 1[old] (y_i - b_i) / (1 - p_i)  +-  radius(V) / n,

    V = sum of 1[new] ((y_i - a_i) / p_i)^2 + 1[old] ((y_i - b_i) / (1 - p_i))^2

(Howard et al. 2021, section 4.2, with predictions for both variants). The same with r times the old variant gives
the interval of the ratio: all r for which zero is inside.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from triptych.evaluation.bootstrap import Interval
from triptych_recommendation.data.times import microseconds_of
from triptych_recommendation.experiments.sequences import Array, Boundary, mean_interval, mismatch
from triptych_recommendation.experiments.settings import ExperimentSettings
from triptych_recommendation.experiments.stopping import Decision, decide
from triptych_recommendation.experiments.units import METRICS, PREFERENCE, Log, Unit, read_log

if TYPE_CHECKING:
    from triptych_recommendation.catalogue.schema import ExposureRow, OutcomeRow
    from triptych_recommendation.experiments.assignment import Experiment

_VARIANCE = 0.02  # of a metric, by its range squared: a guess, by which intervals are planned
_MOST_RATIO = 1e3
_STEPS = 40


@dataclass(frozen=True, slots=True)
class Arm:
    """A variant so far. `rates` are means over users whose window is over, of means over their lists."""

    name: str
    share: float  # of all users, at present
    users: int
    complete: int  # of them, those whose window is over
    lists: int
    rates: dict[str, Interval]


@dataclass(frozen=True, slots=True)
class Lift:
    """A variant against the control in one metric."""

    metric: str
    difference: Interval
    ratio: Interval | None  # minus 1, so that 0.1 is ten per cent more; None where the control may be zero


@dataclass(frozen=True, slots=True)
class Report:
    """An experiment at a moment."""

    name: str
    kind: str
    at: int  # microseconds since 1970
    arms: list[Arm]
    lifts: dict[str, list[Lift]]  # by variant, the control left out; the first is the metric that decides
    preference: Interval | None  # of an interleaving: above 0 for the second variant
    mismatch: float  # log of the evidence against the shares
    mismatch_limit: float
    decision: Decision
    notes: list[str] = field(default_factory=list)

    @property
    def mismatched(self) -> bool:
        """Whether users do not come in the shares that were set, so that nothing here can be trusted."""
        return self.mismatch >= self.mismatch_limit


def analyse(
    experiment: Experiment,
    exposures: Sequence[ExposureRow],
    outcomes: Sequence[OutcomeRow],
    settings: ExperimentSettings,
    *,
    now: datetime,
) -> Report:
    """Read an experiment from its lists and what came of them, as far as they are known `now`."""
    at = microseconds_of(now)
    log = read_log(experiment, exposures, outcomes, settings, at)
    shares = experiment.phases[-1].shares()
    limit = math.log(1 / settings.mismatch_alpha)
    if experiment.kind == "interleaving":
        return _interleaved(experiment, log, settings, at)
    arms = [_arm(name, shares.get(name, 0.0), log, settings) for name in experiment.variants]
    lifts = {name: _lifts(experiment, name, log, settings) for name in list(experiment.variants)[1:]}
    evidence = shares_evidence(experiment, log.units)
    decision = decide(
        lifts, settings, mismatched=evidence >= limit, users=len(log.complete), control=experiment.control
    )
    return Report(
        experiment.name, experiment.kind, at, arms, lifts, None, evidence, limit, decision, _notes(log, experiment)
    )


def shares_evidence(experiment: Experiment, units: Sequence[Unit]) -> float:
    """The log of the evidence that users do not come in the shares that were set, phase by phase."""
    total = 0.0
    for number, phase in enumerate(experiment.phases):
        end = experiment.phases[number + 1].since if number + 1 < len(experiment.phases) else math.inf
        begin = phase.since if number else -math.inf
        shares = phase.shares()
        counts = np.array([sum(unit.variant == n and begin <= unit.first < end for unit in units) for n in shares])
        total += mismatch(counts, np.array(list(shares.values())) / sum(shares.values()))
    return total


def _interleaved(experiment: Experiment, log: Log, settings: ExperimentSettings, at: int) -> Report:
    complete = log.complete
    values = [unit.values[PREFERENCE] for unit in complete]
    boundary = Boundary(settings.alpha, 2.0, settings.planned_users * 4 * _VARIANCE)
    preference = mean_interval(values, -1.0, 1.0, boundary)
    first, second = experiment.variants
    if preference.excludes_zero:
        best = second if preference.low > 0 else first
        decision = Decision(True, best, f"users choose items of {best!r} more often")
    elif settings.most_users is not None and len(complete) >= settings.most_users:
        decision = Decision(True, None, f"{len(complete):,} users are enough: no preference is shown")
    else:
        decision = Decision(False, None, "no preference is shown yet")
    arm = Arm(f"{first}|{second}", 1.0, len(log.units), len(complete), sum(unit.lists for unit in log.units), {})
    return Report(
        experiment.name, experiment.kind, at, [arm], {}, preference, 0.0, math.inf, decision, _notes(log, experiment)
    )


def _metrics(settings: ExperimentSettings) -> list[str]:
    """The one that decides, the guards, the rest."""
    return list(dict.fromkeys([settings.metric, *settings.guards, *METRICS]))


def _range(metric: str, settings: ExperimentSettings) -> float:
    return settings.most_value if metric == "value" else 1.0


def _arm(name: str, share: float, log: Log, settings: ExperimentSettings) -> Arm:
    units = [unit for unit in log.units if unit.variant == name]
    complete = [unit for unit in units if unit.complete]
    rates = {}
    for metric in METRICS:
        top = _range(metric, settings)
        boundary = Boundary(settings.alpha, top, settings.planned_users / 2 * _VARIANCE * top**2)
        rates[metric] = mean_interval([unit.values[metric] for unit in complete], 0.0, top, boundary)
    return Arm(name, share, len(units), len(complete), sum(unit.lists for unit in units), rates)


def _lifts(experiment: Experiment, name: str, log: Log, settings: ExperimentSettings) -> list[Lift]:
    """A variant in each metric. Where there are several variants beside the control, they share alpha."""
    units, p = _compared(experiment, name, log)
    new = np.array([unit.variant == name for unit in units], dtype=bool)
    alpha = settings.alpha / (len(experiment.variants) - 1)
    lifts = []
    for metric in _metrics(settings):
        y = np.array([unit.values[metric] for unit in units], dtype=np.float64)
        pair = _Pair(y, new, p, _range(metric, settings), alpha, settings.planned_users)
        lifts.append(Lift(metric, pair.interval(1.0), pair.ratio()))
    return lifts


def _compared(experiment: Experiment, name: str, log: Log) -> tuple[list[Unit], Array]:
    """The users of a variant and of the control who count, and how likely each was to get the variant of the two."""
    control = experiment.control
    begins = [phase.since for phase in experiment.phases]
    shares = [phase.shares() for phase in experiment.phases]
    units, chances = [], []
    for unit in log.complete:
        held = shares[max(0, bisect_right(begins, unit.first) - 1)]
        # once one of the two gets nobody, its users cannot be held against anybody's
        if unit.variant in (name, control) and held.get(name, 0) > 0 and held.get(control, 0) > 0:
            units.append(unit)
            chances.append(held[name] / (held[name] + held[control]))
    return units, np.array(chances, dtype=np.float64)


class _Pair:
    """What the values y [users] of a variant and of the control say of its mean less r times that of the control.

    `new` [users] marks whose value is the variant's, `p` [users] is how likely that was, `top` the highest value.
    The scale of the boundary is that of the most uneven shares so far: whoever makes them more uneven while the
    experiment runs begins a new boundary.
    """

    def __init__(self, y: Array, new: NDArray[np.bool_], p: Array, top: float, alpha: float, planned: int) -> None:
        self.top, self.alpha, self.n = top, alpha, len(y)
        self.planned = planned * _VARIANCE * top**2
        self.chance = (float(p.min()), float(p.max())) if len(p) else (0.5, 0.5)
        self.new = _sums(y, new, p)
        self.old = _sums(y, ~new, 1 - p)

    def interval(self, r: float) -> Interval:
        """The mean of the variant less r times that of the control."""
        least, most = -r * self.top, self.top
        if self.n == 0:
            return Interval(math.nan, least, most)
        total, squares = self._totals(r)
        half = float(self._boundary(r).radius(np.array([squares]))[0]) / self.n
        value = total / self.n
        return Interval(value, max(least, value - half), min(most, value + half))

    def ratio(self) -> Interval | None:
        """The variant's mean over the control's, less 1; None where the control's may be zero for all that is known."""
        if self.n == 0 or self.old[0] <= 0 or self.new[0] < 0 or self._allows(_MOST_RATIO):
            return None
        value = self.new[0] / self.old[0]
        low = 0.0 if self._allows(0.0) else self._edge(value, 0.0)
        return Interval(value - 1, low - 1, self._edge(value, _MOST_RATIO) - 1)

    def _edge(self, inside: float, outside: float) -> float:
        """The r between a ratio that is possible and one that is not, where it begins not to be."""
        for _ in range(_STEPS):
            middle = (inside + outside) / 2
            inside, outside = (middle, outside) if self._allows(middle) else (inside, middle)
        return (inside + outside) / 2

    def _allows(self, r: float) -> bool:
        """Whether zero is inside of `interval(r)`, without working out where it ends."""
        total, squares = self._totals(r)
        return not self._boundary(r).reached(total, squares)

    def _totals(self, r: float) -> tuple[float, float]:
        """The sum over users whose mean is sought, and the squares of its deviations."""
        return self.new[0] - r * self.old[0], self.new[1] + r**2 * self.old[1]

    def _boundary(self, r: float) -> Boundary:
        low, high = self.chance
        planned = self.planned * (1 / low + r**2 / (1 - high))
        return Boundary(self.alpha, self.top * max(1 / low, r / (1 - high)), planned)


def _sums(y: Array, on: NDArray[np.bool_], p: Array) -> tuple[float, float]:
    """The sum of one variant's part over all users [n] of which `on` have it, and that of its squared deviations."""
    seen: Array = np.cumsum(on, dtype=np.float64) - on
    expected = (np.cumsum(y * on) - y * on) / (seen + 1)
    deviations = on * (y - expected) / p
    return float((expected + deviations).sum()), float((deviations**2).sum())


def _notes(log: Log, experiment: Experiment) -> list[str]:
    waiting = len(log.units) - len(log.complete)
    counted = (
        (waiting, "users are not counted yet: their window is not over"),
        (log.crossed, "users saw more than one variant, and count for their first"),
        (log.nameless, "lists were shown to users without a name, and do not count"),
        (log.foreign, "lists are of variants that the experiment does not have, and do not count"),
    )
    notes = [f"{count:,} {words}" for count, words in counted if count]
    return notes + (["the experiment is stopped"] if experiment.stopped is not None else [])
