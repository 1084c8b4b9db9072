"""The ledger: what every variant is worth and costs, which one is chosen, and whether it beats a classical rival."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from triptych.errors import ConfigError

Finite = Annotated[float, Field(allow_inf_nan=False)]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Quality(_Record):
    """A metric on held-out data, with its interval where there is one (None: not computed)."""

    metric: str
    value: Finite
    low: Finite | None = None
    high: Finite | None = None
    higher_is_better: bool = True

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if (self.low is None) != (self.high is None):
            raise ValueError("an interval has two ends")
        if self.low is not None and self.high is not None and not self.low <= self.value <= self.high:
            raise ValueError(f"the interval [{self.low}, {self.high}] does not hold the value {self.value}")
        return self

    @property
    def merit(self) -> float:
        """The value, turned so that more is better."""
        return self.value if self.higher_is_better else -self.value

    def __str__(self) -> str:
        return f"{self.value:.4g}" + ("" if self.low is None else f" [{self.low:.4g}, {self.high:.4g}]")


class Row(_Record):
    """A row of the ledger of which all or little was measured (None: not measured), as of a classical rival."""

    name: str
    quality: Quality
    size_mb: Finite | None = None
    p50_ms: Finite | None = None
    p99_ms: Finite | None = None
    throughput_per_s: Finite | None = None
    cost_per_million: Finite | None = None
    currency: str = ""
    resident_mb: Finite | None = None
    training_cost: Finite | None = None
    notes: list[str] = []


class Variant(Row):
    """One way to answer, measured in all that decides."""

    size_mb: Finite  # on disk
    p50_ms: Finite  # of a single request
    p99_ms: Finite
    throughput_per_s: Finite  # in batches
    cost_per_million: Finite  # requests, in `currency`
    currency: str

    def dominates(self, other: Variant) -> bool:
        """Whether this one is at least as good in quality, cost, latency and size, and better in one."""
        ours, theirs = self._scores(), other._scores()
        return ours != theirs and all(a >= b for a, b in zip(ours, theirs, strict=True))

    def _scores(self) -> tuple[float, ...]:
        return (self.quality.merit, -self.cost_per_million, -self.p50_ms, -self.size_mb)


class Gain(_Record):
    """The chosen variant's quality minus the rival's on the same samples, from a paired bootstrap.

    In the metric's own direction: for an error, a gain is negative.
    """

    value: Finite
    low: Finite
    high: Finite


class Ledger(_Record):
    """All rows. Made by `Ledger.choose`; read back from a manifest by `Ledger.model_validate(manifest.ledger)`."""

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

    @classmethod
    def choose(
        cls,
        variants: Sequence[Variant],
        *,
        tolerance: float = 0.0,
        rival: Row | None = None,
        gain: Gain | None = None,
        notes: Sequence[str] = (),
    ) -> Self:
        """Choose the cheapest variant whose quality is within `tolerance` (in the metric's unit) of the best.

        Equal costs are decided by quality, then latency, then size. `rival` is the cheapest classical method on the
        same split; `gain` the paired difference to it, without which the chosen variant's own interval decides.
        Raises `ConfigError` for rows that cannot be compared.
        """
        _check(variants, tolerance, rival)
        best = max(variants, key=lambda v: (v.quality.merit, -v.cost_per_million))
        good = [v for v in variants if _loss(best, v) <= tolerance + 1e-12]
        chosen = min(good, key=lambda v: (v.cost_per_million, -v.quality.merit, v.p50_ms, v.size_mb))
        worth_it, verdict = (None, "") if rival is None else _verdict(chosen, rival, gain)
        return cls(
            variants=list(variants),
            chosen=chosen.name,
            why=_why(chosen, best, variants, tolerance),
            tolerance=tolerance,
            rival=None if rival is None else Row.model_validate(rival.model_dump()),
            gain=gain,
            worth_it=worth_it,
            verdict=verdict,
            front=[v.name for v in variants if not any(o.dominates(v) for o in variants)],
            notes=list(notes),
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

    def markdown(self) -> str:
        """The table, the choice and the verdict. `*` marks the Pareto front, bold the chosen variant."""
        first = self.variants[0]
        header = [
            "variant",
            first.quality.metric,
            f"{first.currency} per million",
            "p50 ms",
            "p99 ms",
            "requests/s",
            "size MB",
            "memory MB",
        ]
        lines = ["| " + " | ".join(header) + " |", "| --- |" + " ---: |" * (len(header) - 1)]
        rows = sorted(self.variants, key=lambda v: (-v.quality.merit, v.cost_per_million))
        lines += [self._row(v) for v in rows]
        if self.rival is not None:
            lines.append(self._row(self.rival))
        text = ["\n".join(lines), "`*` on the Pareto front of quality, cost, latency and size.", self.why]
        if self.verdict:
            text.append(self.verdict)
        notes = [*self.notes, *(f"{v.name}: {note}" for v in self.variants for note in v.notes)]
        if notes:
            text.append("\n".join(f"- {note}" for note in notes))
        return "\n\n".join(text) + "\n"

    def _row(self, v: Row) -> str:
        name = f"**{v.name}**" if v.name == self.chosen else v.name
        if v is self.rival:
            name = f"{v.name} (rival)"
        elif v.name in self.front:
            name += " *"
        numbers = [v.cost_per_million, v.p50_ms, v.p99_ms, v.throughput_per_s, v.size_mb, v.resident_mb]
        shown = ["" if number is None else _short(number) for number in numbers]
        cells = [name.replace("|", "\\|"), str(v.quality), *shown]
        return "| " + " | ".join(cells) + " |"


def _check(variants: Sequence[Variant], tolerance: float, rival: Row | None) -> None:
    if not variants:
        raise ConfigError("a ledger needs at least one variant")
    if not tolerance >= 0:
        raise ConfigError(f"the tolerance is {tolerance}; it is a loss of quality, zero or more")
    names = [v.name for v in variants]
    if len(set(names)) != len(names):
        raise ConfigError(f"two variants have one name: {', '.join(names)}")
    rows: list[Row] = [*variants, *([rival] if rival is not None else [])]
    kinds = {(v.quality.metric, v.quality.higher_is_better) for v in rows}
    if len(kinds) > 1:
        raise ConfigError(f"variants are judged by different metrics: {', '.join(sorted(k[0] for k in kinds))}")
    currencies = sorted({v.currency for v in rows if v.cost_per_million is not None})
    if len(currencies) > 1:
        raise ConfigError(f"variants are priced in different currencies: {', '.join(currencies)}")


def _loss(best: Variant, other: Variant) -> float:
    return best.quality.merit - other.quality.merit


def _why(chosen: Variant, best: Variant, variants: Sequence[Variant], tolerance: float) -> str:
    metric = chosen.quality.metric
    cost = f"{_short(chosen.cost_per_million)} {chosen.currency} per million requests"
    if len(variants) == 1:
        return f"{chosen.name} is the only variant: {metric} {_short(chosen.quality.value)} at {cost}."
    if chosen is best:
        cheaper = [v for v in variants if v.cost_per_million < chosen.cost_per_million]
        lost = f"; every cheaper one loses more than {tolerance:g}" if cheaper else " and none is cheaper"
        return f"{chosen.name} is chosen: it has the best {metric} ({_short(chosen.quality.value)}) at {cost}{lost}."
    return (
        f"{chosen.name} is chosen: {cost}, {_times(best.cost_per_million, chosen.cost_per_million)} {best.name},"
        f" and its {metric} {_short(chosen.quality.value)} is within {tolerance:g} of the best"
        f" ({_short(best.quality.value)})."
    )


def _verdict(chosen: Variant, rival: Row, gain: Gain | None) -> tuple[bool | None, str]:
    """Whether the chosen variant is better than the rival beyond chance, and the sentence that says so."""
    quality, name = chosen.quality, rival.name
    cost, cheaper = "", False
    if rival.cost_per_million is not None:
        cost = f" It costs {_times(rival.cost_per_million, chosen.cost_per_million)} {name}."
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


def _times(other: float, ours: float) -> str:
    """How our cost compares with another one, to be followed by its name."""
    if ours <= 0 or other <= 0:
        return "less than" if ours < other else "as much as" if ours == other else "more than"
    ratio = max(other / ours, ours / other)
    if ratio < 1.05:
        return "about as much as"
    shown = f"{ratio:,.0f}" if ratio >= 10 else f"{ratio:.2g}"
    return f"{shown} times {'less' if ours < other else 'more'} than"


def _short(number: float) -> str:
    """Up to four significant digits, never in powers of ten for what a table holds."""
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.4g}"
