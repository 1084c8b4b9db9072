"""When an experiment may end, and with what: the same rule at every look, so that looking costs nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from triptych_recommendation.experiments.settings import ExperimentSettings

if TYPE_CHECKING:
    from triptych_recommendation.experiments.analysis import Lift


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether to stop. `best` is the variant that won; None where none is shown to be better."""

    stop: bool
    best: str | None
    reason: str


def decide(
    lifts: Mapping[str, Sequence[Lift]],
    settings: ExperimentSettings,
    *,
    mismatched: bool,
    users: int,
    control: str,
) -> Decision:
    """The first of these that holds, over `users` who count; `lifts` are those of each variant against the control.

    Wrong shares: stop, and believe nothing. A variant that is better while no guard of it has fallen: it wins, of
    several the one with the highest lower end. Every variant is worse, or has a guard that fell, or is neither better
    nor worse by as much as `least_lift`: stop, the control stays. `most_users` is reached: stop, nothing is shown.
    """
    if mismatched:
        return Decision(True, None, "users do not come in the shares that were set; find out why before you believe it")
    better: list[tuple[float, str]] = []
    out: dict[str, str] = {}
    for name, found in lifts.items():
        lift = found[0]
        fallen = fallen_guards(found, settings)
        if fallen:
            out[name] = f"{fallen[0]!r} falls with {name!r}"
        elif lift.difference.low > 0:
            better.append((lift.difference.low, name))
        elif lift.difference.high < 0:
            out[name] = f"{lift.metric!r} falls with {name!r}"
        elif _small(lift, settings):
            out[name] = f"{name!r} changes {lift.metric!r} by less than {settings.least_lift:.3g} of it"
    if better:
        best = max(better)[1]
        unsure = [name for name in settings.guards if name in open_guards(lifts[best], settings)]
        rest = f"; not shown yet to be harmless for {' and '.join(map(repr, unsure))}" if unsure else ""
        return Decision(True, best, f"{best!r} is better than {control!r} in {lifts[best][0].metric!r}{rest}")
    if len(out) == len(lifts):
        return Decision(True, None, f"{control!r} stays: {'; '.join(out.values())}")
    if settings.most_users is not None and users >= settings.most_users:
        return Decision(True, None, f"{users:,} users are enough: no difference is shown")
    return Decision(False, None, "no difference is shown yet; " + "; ".join(out.values()) if out else _GO_ON)


def fallen_guards(lifts: Sequence[Lift], settings: ExperimentSettings) -> list[str]:
    """The guards that have surely fallen."""
    return [lift.metric for lift in lifts if _guards(lift, settings) and lift.difference.high < 0]


def open_guards(lifts: Sequence[Lift], settings: ExperimentSettings) -> list[str]:
    """The guards that have neither surely fallen nor surely kept all but `guard_drop`."""
    guards = [lift for lift in lifts if _guards(lift, settings) and lift.difference.high >= 0]
    return [lift.metric for lift in guards if lift.ratio is None or lift.ratio.low <= -settings.guard_drop]


_GO_ON = "no difference is shown yet"


def _guards(lift: Lift, settings: ExperimentSettings) -> bool:
    return lift.metric in settings.guards and lift.metric != settings.metric


def _small(lift: Lift, settings: ExperimentSettings) -> bool:
    ratio = lift.ratio
    return ratio is not None and -settings.least_lift < ratio.low and ratio.high < settings.least_lift
