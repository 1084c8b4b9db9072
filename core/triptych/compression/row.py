"""A ledger row from what was measured: quality, speed, size, and the money that follows from them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from triptych.compression.measure import Measurement
from triptych.compression.prices import Prices
from triptych.compression.records import Contract, Quality, Variant

if TYPE_CHECKING:
    from triptych.compression.base import StepLog

LOWER_IS_BETTER = frozenset({"mse", "mae", "log_loss"})


def variant_row(
    name: str,
    metric: str,
    metrics: Mapping[str, Any],
    speed: Measurement,
    *,
    size_mb: float,
    prices: Prices,
    on_gpu: bool = False,
    training_cpu_seconds: float | None = None,
    compression_cpu_seconds: float | None = None,
    resident_mb: float | None = None,
    validation_drop: float | None = None,
    escalation_rate: float | None = None,
    contract: Contract | None = None,
    steps: Sequence[StepLog] = (),
    notes: Sequence[str] = (),
) -> Variant:
    """The row of one variant. `metrics` has `metric` with its interval as `low` and `high`.

    A million requests are priced by the time of batches, as on a machine that is kept busy: CPU seconds, and on a
    GPU the wall seconds that it is taken for. `resident_mb` is what the variant takes in a process of its own
    (`measure_in_fresh_process`); without it stands the memory of the process that measured.
    """
    gpu_seconds = 1 / speed.throughput_per_s if on_gpu else 0.0
    cost = prices.per_million(speed.batch_cpu_ms / 1000, gpu_seconds)
    return Variant(
        name=name,
        quality=Quality(
            metric=metric,
            value=metrics[metric],
            low=metrics["low"],
            high=metrics["high"],
            higher_is_better=metric not in LOWER_IS_BETTER,
        ),
        size_mb=round(size_mb, 3),
        p50_ms=round(speed.p50_ms, 3),
        p50_low=round(speed.p50_ms_rounds.low, 3),
        p50_high=round(speed.p50_ms_rounds.high, 3),
        p95_ms=round(speed.p95_ms, 3),
        p99_ms=round(speed.p99_ms, 3),
        throughput_per_s=round(speed.throughput_per_s, 1),
        throughput_low=round(speed.throughput_rounds.low, 1),
        throughput_high=round(speed.throughput_rounds.high, 1),
        cpu_ms=_digits(speed.batch_cpu_ms),
        device="cuda" if on_gpu else "cpu",
        cost_per_million=_digits(cost.amount),
        currency=cost.currency,
        resident_mb=round(speed.resident_mb if resident_mb is None else resident_mb, 1),
        training_cost=_money(training_cpu_seconds, prices),
        compression_cost=_money(compression_cpu_seconds, prices),
        validation_drop=validation_drop,
        escalation_rate=escalation_rate,
        contract=contract,
        steps=[step_record(step) for step in steps],
        notes=list(notes),
    )


def step_record(step: StepLog) -> dict[str, Any]:
    """A compressor's log as plain values, for JSON."""
    return dataclasses.asdict(step) | {"notes": list(step.notes)}


def _money(cpu_seconds: float | None, prices: Prices) -> float | None:
    return None if cpu_seconds is None else _digits(prices.cost(cpu_seconds).amount)


def _digits(number: float) -> float:
    """Four digits: decimals would make the cheapest cost nothing."""
    return float(f"{number:.4g}")
