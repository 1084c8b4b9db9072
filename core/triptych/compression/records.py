"""The rows of a ledger: what one way to answer is worth, what it costs, and which promises it was held to."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Finite = Annotated[float, Field(allow_inf_nan=False)]


class Record(BaseModel):
    """Base of what a ledger holds: never edited, no unknown fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Quality(Record):
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

    def drop_from(self, parent: Quality) -> float:
        """What is lost against `parent`, negative for a gain.

        In points (hundredths of the metric) where more is better, as for accuracy; in percent of the parent's value
        for an error such as mse, which has no scale of its own. An error that was zero counts as one in a million.
        """
        lost = parent.merit - self.merit
        return lost * 100 if self.higher_is_better else lost * 100 / max(abs(parent.value), 1e-6)

    def __str__(self) -> str:
        return f"{self.value:.4g}" + ("" if self.low is None else f" [{self.low:.4g}, {self.high:.4g}]")


class Contract(Record):
    """What else a variant was held to on held-out data, beside its headline metric (None: not measured).

    `violations` has a sentence for every promise that it breaks; such a variant is not offered.
    """

    ece: Finite | None = None  # expected calibration error
    scope_auroc: Finite | None = None  # in-scope against out-of-scope requests
    false_accept_rate: Finite | None = None  # share of out-of-scope requests that get an answer
    worst_group: str | None = None
    worst_group_quality: Finite | None = None  # the headline metric within that group
    retrieval_agreement: Finite | None = None  # share of requests whose first hits are the parent's
    violations: list[str] = []


class Row(Record):
    """A row of the ledger of which all or little was measured (None: not measured), as of a classical rival.

    Milliseconds and requests a second are of the model on `device`; `_low` and `_high` are the least and greatest of
    the rounds. `cpu_ms` is the CPU time of one request in a batch. `steps` has what each compressor did, as the fields
    of `triptych.compression.base.StepLog`.
    """

    name: str
    quality: Quality
    size_mb: Finite | None = None
    p50_ms: Finite | None = None
    p50_low: Finite | None = None
    p50_high: Finite | None = None
    p95_ms: Finite | None = None
    p99_ms: Finite | None = None
    throughput_per_s: Finite | None = None
    throughput_low: Finite | None = None
    throughput_high: Finite | None = None
    cpu_ms: Finite | None = None
    device: str = "cpu"  # or "cuda"
    cost_per_million: Finite | None = None
    currency: str = ""
    resident_mb: Finite | None = None
    training_cost: Finite | None = None  # of fine-tuning, in `currency`
    compression_cost: Finite | None = None  # of making this variant from its parent
    validation_drop: Finite | None = None  # what is lost on validation data, as `Quality.drop_from` counts it
    escalation_rate: Finite | None = None  # of a cascade: the share of requests that its first stage hands on
    contract: Contract | None = None
    steps: list[dict[str, Any]] = []
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


class Gain(Record):
    """The chosen variant's quality minus the rival's on the same samples, from a paired bootstrap.

    In the metric's own direction: for an error, a gain is negative.
    """

    value: Finite
    low: Finite
    high: Finite


def times(other: float, ours: float) -> str:
    """How our cost compares with another one, to be followed by its name: "41 times less than"."""
    if ours <= 0 or other <= 0:
        return "less than" if ours < other else "as much as" if ours == other else "more than"
    ratio = max(other / ours, ours / other)
    if ratio < 1.05:
        return "about as much as"
    shown = f"{ratio:,.0f}" if ratio >= 10 else f"{ratio:.2g}"
    return f"{shown} times {'less' if ours < other else 'more'} than"


def short(number: float) -> str:
    """Up to four significant digits, never in powers of ten for what a table holds."""
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.4g}"
