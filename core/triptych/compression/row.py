"""A ledger row from what was measured: quality, speed, size, and the money that follows from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from triptych.compression.ledger import Quality, Variant
from triptych.compression.measure import Measurement
from triptych.compression.prices import Prices

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
    notes: Sequence[str] = (),
) -> Variant:
    """The row of one variant. `metrics` has `metric` with its interval as `low` and `high`.

    A million requests are priced by the time of batches, as on a machine that is kept busy: CPU seconds, and on a
    GPU the wall seconds that it is taken for.
    """
    gpu_seconds = 1 / speed.throughput_per_s if on_gpu else 0.0
    cost = prices.per_million(speed.batch_cpu_ms / 1000, gpu_seconds)
    training = None if training_cpu_seconds is None else prices.cost(training_cpu_seconds).amount
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
        p99_ms=round(speed.p99_ms, 3),
        throughput_per_s=round(speed.throughput_per_s, 1),
        cost_per_million=round(cost.amount, 4),
        currency=cost.currency,
        resident_mb=round(speed.resident_mb, 1),
        training_cost=None if training is None else round(training, 6),
        notes=list(notes),
    )
