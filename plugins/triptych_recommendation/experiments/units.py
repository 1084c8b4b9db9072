"""From the log of lists and outcomes to one row for each user, who is what was assigned."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from triptych_recommendation.data.times import DAY
from triptych_recommendation.experiments.interleaving import Draft, credit
from triptych_recommendation.experiments.settings import ExperimentSettings

if TYPE_CHECKING:
    from triptych_recommendation.catalogue.schema import ExposureRow, OutcomeRow
    from triptych_recommendation.experiments.assignment import Experiment

PREFERENCE = "preference"
METRICS = ("click", "purchase", "value")


@dataclass(frozen=True, slots=True)
class Unit:
    """A user in an experiment, by what happened in his window, which begins with his first list.

    `values` are means over the lists of the window: "click" and "purchase" are shares of lists, "value" is the mean
    weight of what came of a list; "preference" is the mean credit of interleaved lists, above 0 for the second variant.
    """

    user: str
    first: int  # microseconds since 1970
    variant: str
    lists: int
    values: dict[str, float]
    complete: bool  # whether the window is over


@dataclass(frozen=True, slots=True)
class Log:
    """The users of an experiment in the order of their first lists, and what could not be used."""

    units: list[Unit] = field(default_factory=list)
    nameless: int = 0  # lists that were shown to nobody knows whom
    crossed: int = 0  # users who saw more than one variant; they count for their first
    foreign: int = 0  # lists of variants that the experiment does not have

    @property
    def complete(self) -> list[Unit]:
        """Those whose window is over, in the same order."""
        return [unit for unit in self.units if unit.complete]


def read_log(
    experiment: Experiment,
    exposures: Sequence[ExposureRow],
    outcomes: Sequence[OutcomeRow],
    settings: ExperimentSettings,
    now: int,
) -> Log:
    """The users behind lists and outcomes of one experiment, as far as they are known at `now` (microseconds).

    An outcome counts when it falls into the user's window, as its list must, and weighs anything: a dislike is no
    choice. What is later than `now` is passed over.
    """
    known = set(experiment.variants) if experiment.kind == "ab" else {""}
    named = [row for row in exposures if row.user and row.time <= now]
    by_user: dict[str, list[ExposureRow]] = defaultdict(list)
    for row in sorted(named, key=lambda row: (row.time, row.id)):
        if experiment.kind == "interleaving" or row.variant in known:
            by_user[row.user].append(row)
    by_list: dict[str, list[OutcomeRow]] = defaultdict(list)
    for outcome in outcomes:
        if outcome.weight > 0:
            by_list[outcome.exposure].append(outcome)
    value_of = _preference(experiment) if experiment.kind == "interleaving" else _values(settings)
    window = int(settings.window_days * DAY)
    units = []
    for user, rows in by_user.items():
        end = rows[0].time + window
        lists = [row for row in rows if row.time < end]
        found = [value_of(row, [o for o in by_list[row.id] if o.time < min(end, now + 1)]) for row in lists]
        values = {name: sum(one[name] for one in found) / len(found) for name in found[0]}
        units.append(Unit(user, rows[0].time, rows[0].variant, len(lists), values, end <= now))
    units.sort(key=lambda unit: (unit.first, unit.user))
    return Log(
        units,
        nameless=sum(not row.user and row.time <= now for row in exposures),
        crossed=sum(len({row.variant for row in rows}) > 1 for rows in by_user.values()),
        foreign=len(named) - sum(map(len, by_user.values())),
    )


Values = Callable[["ExposureRow", list["OutcomeRow"]], dict[str, float]]


def _values(settings: ExperimentSettings) -> Values:
    bought = set(settings.purchases)

    def values(row: ExposureRow, outcomes: list[OutcomeRow]) -> dict[str, float]:
        return {
            "click": float(bool(outcomes)),
            "purchase": float(any(outcome.kind in bought for outcome in outcomes)),
            "value": min(sum(outcome.weight for outcome in outcomes), settings.most_value),
        }

    return values


def _preference(experiment: Experiment) -> Values:
    sides = {name: side for side, name in enumerate(experiment.variants)}

    def values(row: ExposureRow, outcomes: list[OutcomeRow]) -> dict[str, float]:
        teams = [sides.get(team) if isinstance(team, str) else None for team in row.details.get("teams", ())]
        teams += [None] * (len(row.items) - len(teams))
        draft = Draft(row.items, tuple(teams[: len(row.items)]))
        return {PREFERENCE: float(credit(draft, {outcome.item for outcome in outcomes}))}

    return values
