"""What the user is ready to lose and to pay, and which variants hold it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from triptych.compression.records import Variant, short
from triptych.errors import ConfigError

Limit = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_ROUNDING = 1e-9  # of a limit: what adding floats may cost


class Budget(BaseModel):
    """Limits that a variant has to hold; None asks for nothing.

    `max_drop` is the quality lost against the parent, as `Quality.drop_from` counts it: 0.5 is half a point of
    accuracy (0.005), or half a percent more of an error such as mse. `max_cost` is for a million requests, in the
    currency of the price file; `max_mb` is on disk.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    max_drop: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    max_p95_ms: Limit | None = None
    max_mb: Limit | None = None
    max_cost: Limit | None = None
    min_throughput: Limit | None = None  # requests a second, in batches

    @classmethod
    def of(cls, **limits: float | None) -> Budget:
        """The same as the constructor, but what is wrong with a limit is raised as a `ConfigError`."""
        try:
            return cls(**limits)
        except ValidationError as error:
            raise ConfigError([f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]) from error

    def check(self, variant: Variant, parent: Variant) -> list[Violation]:
        """Every limit that the variant breaks.

        Where p95 was not measured, p99 stands for it: it is never less. The drop is the larger of those on the test
        split and on validation data: one split alone is soon passed by luck.
        """
        drop = variant.quality.drop_from(parent.quality)
        if variant.validation_drop is not None:
            drop = max(drop, variant.validation_drop)
        p95 = variant.p95_ms if variant.p95_ms is not None else variant.p99_ms
        measured = [
            ("drop", drop, self.max_drop, _drop_unit(variant)),
            ("p95", p95, self.max_p95_ms, "ms"),
            ("size", variant.size_mb, self.max_mb, "MB"),
            ("cost", variant.cost_per_million, self.max_cost, f"{variant.currency} per million"),
        ]
        broken = [
            Violation(name, value, limit, unit, (value - limit) / (limit or 1.0))
            for name, value, limit, unit in measured
            if limit is not None and value > limit + _ROUNDING * max(1.0, limit)
        ]
        least, speed = self.min_throughput, variant.throughput_per_s
        if least is not None and speed < least * (1 - _ROUNDING):
            broken.append(Violation("throughput", speed, least, "requests/s", (least - speed) / least, under=True))
        return broken

    def describe(self, like: Variant) -> str:
        """The limits in words; the row tells the metric and the currency."""
        limits = [
            (self.max_drop, f"a drop of at most {{}} {_drop_unit(like)}"),
            (self.max_p95_ms, "p95 of at most {} ms"),
            (self.max_mb, "at most {} MB"),
            (self.max_cost, f"at most {{}} {like.currency} per million requests"),
            (self.min_throughput, "at least {} requests/s"),
        ]
        return ", ".join(text.format(short(limit)) for limit, text in limits if limit is not None) or "no limits"


@dataclass(frozen=True, slots=True)
class Violation:
    """One limit that is broken. `relative` is by how much, as a share of the limit (of one point where that is 0)."""

    constraint: str
    value: float
    limit: float
    unit: str
    relative: float
    under: bool = False  # the value is below what was asked for

    def __str__(self) -> str:
        share = self.relative * 100
        shown = f"{share:.0f}" if share >= 1 else f"{share:.2g}"
        by = f"{shown} % {'under' if self.under else 'over'}"
        value, limit = short(self.value), short(self.limit)
        if value == limit:  # told apart by more digits only
            value = f"{self.value:.7g}"
        return f"{self.constraint} {value} {self.unit} where {limit} was asked ({by})"


def refusal(variant: Variant, parent: Variant) -> str | None:
    """Why a variant is not offered whatever the budget, None where it may be; the parent itself always may.

    It breaks its contract, or it is both slower and dearer than its parent: a smaller file alone is no economy.
    """
    if variant.name == parent.name:
        return None
    if variant.contract is not None and variant.contract.violations:
        return "; ".join(variant.contract.violations)
    if variant.p50_ms >= parent.p50_ms and variant.cost_per_million >= parent.cost_per_million:
        return f"dominated by {parent.name}: neither faster nor cheaper"
    return None


def admissible(variants: Sequence[Variant], parent: Variant, budget: Budget) -> list[Variant]:
    """The variants that may be offered and hold every limit, in their order."""
    return [v for v in variants if refusal(v, parent) is None and not budget.check(v, parent)]


def nearest_miss(variants: Sequence[Variant], parent: Variant, budget: Budget) -> str:
    """Which variant comes nearest to the budget, and by how much it misses each limit; empty where one holds it.

    Nearest is the one whose largest relative violation is smallest, of equals the cheaper. Only those that may be
    offered are considered. Raises `ConfigError` where there are none.
    """
    offered = [v for v in variants if refusal(v, parent) is None]
    if not offered:
        raise ConfigError("no variant may be offered: each breaks its contract or is dominated by its parent")
    broken = {v.name: budget.check(v, parent) for v in offered}
    if not all(broken.values()):
        return ""
    nearest = min(offered, key=lambda v: (max(b.relative for b in broken[v.name]), v.cost_per_million))
    missed = "; ".join(map(str, broken[nearest.name]))
    return f"no variant holds all limits; nearest is {nearest.name}: {missed}"


def _drop_unit(variant: Variant) -> str:
    return "points" if variant.quality.higher_is_better else "%"
