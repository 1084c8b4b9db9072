"""The ledger: what every variant is worth and costs, which one is chosen, and whether it beats a classical rival."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from pydantic import BaseModel, ConfigDict

from triptych.compression.budget import Budget, admissible, nearest_miss, refusal
from triptych.compression.prices import BreakEven, Prices, break_even
from triptych.compression.reasons import verdict, why_within_budget, why_within_tolerance
from triptych.compression.records import Contract, Finite, Gain, Quality, Row, Variant
from triptych.errors import ConfigError

__all__ = ["Contract", "Gain", "Ledger", "Quality", "Row", "Variant"]


class Ledger(BaseModel):
    """All rows. Made by `Ledger.choose`; read back from a manifest by `Ledger.model_validate(manifest.ledger)`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    variants: list[Variant]
    chosen: str
    why: str
    tolerance: Finite
    rival: Row | None = None
    gain: Gain | None = None
    worth_it: bool | None = None  # None: there is no rival to compare with
    verdict: str = ""
    front: list[str] = []  # names of the variants on the Pareto front
    notes: list[str] = []
    parent: str | None = None  # the row that the others were made from
    budget: dict[str, float] | None = None  # what was asked for, as `Budget` takes it
    nearest_miss: str = ""  # empty where the budget is held, or none was given
    refused: dict[str, str] = {}  # variants that are not offered, and why
    break_even: list[BreakEven] = []

    @classmethod
    def choose(
        cls,
        variants: Sequence[Variant],
        *,
        tolerance: float = 0.0,
        rival: Row | None = None,
        gain: Gain | None = None,
        notes: Sequence[str] = (),
        budget: Budget | None = None,
        parent: str | None = None,
        prices: Prices | None = None,
    ) -> Self:
        """Choose the cheapest variant that holds the budget, or without one whose quality is near the best.

        With a `budget`, quality is judged against the row named `parent` (without one, against the best); a budget
        without `max_drop` asks nothing of it. Where no variant holds it, the parent stays and `nearest_miss` says what
        was missed. Without a budget, quality may be `tolerance` (in the metric's unit) below the best. With a parent,
        variants that break their contract or bring nothing over it are not offered. Equal costs are decided by
        quality, then latency, then size.

        `rival` is the cheapest classical method on the same split; `gain` the paired difference to it, without which
        the chosen variant's own interval decides. With `prices`, the ledger says from how many requests on the choice
        pays. Raises `ConfigError` for rows that cannot be compared, or a parent that is none of them.
        """
        _check(variants, tolerance, rival, parent)
        reference = _best(variants) if parent is None else next(v for v in variants if v.name == parent)
        judged = budget is not None or parent is not None
        refused = {v.name: reason for v in variants if judged and (reason := refusal(v, reference)) is not None}
        offered = [v for v in variants if v.name not in refused]
        miss = ""
        if budget is None:
            best = _best(offered)
            chosen = _cheapest([v for v in offered if _loss(best, v) <= tolerance + 1e-12])
            why = why_within_tolerance(chosen, best, offered, tolerance)
        else:
            miss = nearest_miss(variants, reference, budget)
            chosen = reference if miss else _cheapest(admissible(variants, reference, budget))
            why = why_within_budget(chosen, reference, budget, miss)
        worth_it, judgement = (None, "") if rival is None else verdict(chosen, rival, gain)
        return cls(
            variants=list(variants),
            chosen=chosen.name,
            why=why,
            tolerance=tolerance,
            rival=None if rival is None else Row.model_validate(rival.model_dump()),
            gain=gain,
            worth_it=worth_it,
            verdict=judgement,
            front=[v.name for v in variants if not any(o.dominates(v) for o in variants)],
            notes=list(notes),
            parent=reference.name if judged else None,
            budget=None if budget is None else budget.model_dump(exclude_none=True),
            nearest_miss=miss,
            refused=refused,
            break_even=[] if prices is None else break_even(prices, chosen, reference if judged else None),
        )

    def variant(self, name: str) -> Variant:
        """A row by its name."""
        return next(v for v in self.variants if v.name == name)

    def pareto(self) -> list[Variant]:
        """The variants that no other one dominates, cheapest first."""
        return sorted((v for v in self.variants if v.name in self.front), key=lambda v: v.cost_per_million)

    def to_json(self) -> dict[str, Any]:
        """The same as JSON, for manifests and `--json`."""
        return self.model_dump(mode="json")

    def remarks(self) -> list[str]:
        """What has to be said below the table: rows that are not offered, break-even, notes."""
        return [
            *(f"{name} is not offered: {reason}" for name, reason in self.refused.items()),
            *(point.sentence for point in self.break_even),
            *self.notes,
            *(f"{v.name}: {note}" for v in self.variants for note in v.notes),
        ]

    def markdown(self) -> str:
        """The tables, the choice and the verdict; the chosen variant is bold."""
        # only here: the tables are made of ledgers
        from triptych.compression.tables import FRONT, contract_table, main_table, measurement_table, steps_table

        text = [main_table(self).markdown(), FRONT, self.why]
        if self.verdict:
            text.append(self.verdict)
        text += [
            f"**{table.caption}**\n\n{table.markdown()}"
            for table in (contract_table(self), steps_table(self), measurement_table(self))
            if table is not None
        ]
        if self.remarks():
            text.append("\n".join(f"- {remark}" for remark in self.remarks()))
        return "\n\n".join(text) + "\n"


def _check(variants: Sequence[Variant], tolerance: float, rival: Row | None, parent: str | None) -> None:
    if not variants:
        raise ConfigError("a ledger needs at least one variant")
    if not tolerance >= 0:
        raise ConfigError(f"the tolerance is {tolerance}; it is a loss of quality, zero or more")
    names = [v.name for v in variants]
    if len(set(names)) != len(names):
        raise ConfigError(f"two variants have one name: {', '.join(names)}")
    if parent is not None and parent not in names:
        raise ConfigError(f"the parent {parent!r} is no row of the ledger; it has {', '.join(names)}")
    rows: list[Row] = [*variants, *([rival] if rival is not None else [])]
    kinds = {(v.quality.metric, v.quality.higher_is_better) for v in rows}
    if len(kinds) > 1:
        raise ConfigError(f"variants are judged by different metrics: {', '.join(sorted(k[0] for k in kinds))}")
    currencies = sorted({v.currency for v in rows if v.cost_per_million is not None})
    if len(currencies) > 1:
        raise ConfigError(f"variants are priced in different currencies: {', '.join(currencies)}")


def _best(variants: Sequence[Variant]) -> Variant:
    return max(variants, key=lambda v: (v.quality.merit, -v.cost_per_million))


def _cheapest(variants: Sequence[Variant]) -> Variant:
    return min(variants, key=lambda v: (v.cost_per_million, -v.quality.merit, v.p50_ms, v.size_mb))


def _loss(best: Variant, other: Variant) -> float:
    return best.quality.merit - other.quality.merit
