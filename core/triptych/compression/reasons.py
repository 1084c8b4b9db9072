"""The sentences of a ledger: why a variant was chosen, and whether it beats the rival."""

from __future__ import annotations

from collections.abc import Sequence

from triptych.compression.budget import Budget
from triptych.compression.records import Gain, Row, Variant, short, times


def why_within_tolerance(chosen: Variant, best: Variant, variants: Sequence[Variant], tolerance: float) -> str:
    """Why the cheapest variant within a tolerance of the best one is what it is."""
    metric = chosen.quality.metric
    cost = _cost(chosen)
    if len(variants) == 1:
        return f"{chosen.name} is the only variant: {metric} {short(chosen.quality.value)} at {cost}."
    if chosen is best:
        cheaper = [v for v in variants if v.cost_per_million < chosen.cost_per_million]
        lost = f"; every cheaper one loses more than {tolerance:g}" if cheaper else " and none is cheaper"
        return f"{chosen.name} is chosen: it has the best {metric} ({short(chosen.quality.value)}) at {cost}{lost}."
    return (
        f"{chosen.name} is chosen: {cost}, {times(best.cost_per_million, chosen.cost_per_million)} {best.name},"
        f" and its {metric} {short(chosen.quality.value)} is within {tolerance:g} of the best"
        f" ({short(best.quality.value)})."
    )


def why_within_budget(chosen: Variant, parent: Variant, budget: Budget, miss: str) -> str:
    """Why the cheapest variant within a budget is what it is; `miss` where none holds it and the parent stays."""
    if miss:
        return f"{parent.name} stays in service: {miss}."
    if chosen.name == parent.name:
        return (
            f"{parent.name} stays in service, at {_cost(parent)}: no other variant that may be offered is cheaper"
            f" within the budget ({budget.describe(parent)})."
        )
    quality = chosen.quality
    return (
        f"{chosen.name} is chosen: {_cost(chosen)}, {times(parent.cost_per_million, chosen.cost_per_million)}"
        f" {parent.name}, the cheapest within the budget ({budget.describe(parent)}). Its"
        f" {quality.metric} {short(quality.value)} is {_difference(chosen, parent)} {parent.name}"
        f" ({short(parent.quality.value)})."
    )


def verdict(chosen: Variant, rival: Row, gain: Gain | None) -> tuple[bool | None, str]:
    """Whether the chosen variant is better than the rival beyond chance, and the sentence that says so."""
    quality, name = chosen.quality, rival.name
    cost, cheaper = "", False
    if rival.cost_per_million is not None:
        cost = f" It costs {times(rival.cost_per_million, chosen.cost_per_million)} {name}."
        cheaper = chosen.cost_per_million < rival.cost_per_million
    if gain is None:
        if quality.low is None or quality.high is None:
            difference = f"{quality.value - rival.quality.value:+.4g}"
            return (
                None,
                f"{quality.metric} changes by {difference} against {name}; there is no interval to judge it by.{cost}",
            )
        base = rival.quality.value
        gain = Gain(value=quality.value - base, low=quality.low - base, high=quality.high - base)
    change = f"{quality.metric} changes by {gain.value:+.4g} [{gain.low:+.4g}, {gain.high:+.4g}] against {name}"
    ends = (gain.low, gain.high) if quality.higher_is_better else (-gain.high, -gain.low)
    if ends[0] > 0:
        return True, f"Worth it: {change}.{cost}"
    reason = "which is worse" if ends[1] < 0 else "an interval that holds zero, so the gain may be chance"
    advice = "Only its cost speaks for it." if cheaper else f"Use {name}."
    return False, f"Not worth it: {change}, {reason}.{cost} {advice}"


def _cost(variant: Variant) -> str:
    return f"{short(variant.cost_per_million)} {variant.currency} per million requests"


def _difference(variant: Variant, parent: Variant) -> str:
    drop = round(variant.quality.drop_from(parent.quality), 6)
    if drop == 0:
        return "that of"
    unit = "points" if variant.quality.higher_is_better else "percent"
    return f"{abs(drop):.2g} {unit} {'worse' if drop > 0 else 'better'} than that of"
