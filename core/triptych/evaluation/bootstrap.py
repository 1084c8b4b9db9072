"""How sure a measured number is: percentile intervals by resampling the test samples (Efron 1979)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
DRAWS, LEVEL, SEED = 2000, 0.95, 0
_CELLS = 4_000_000  # how many resampled values are held at once


@dataclass(frozen=True, slots=True)
class Interval:
    """A measured value and where it may well lie; of a difference, `excludes_zero` says that it is no accident."""

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether zero lies outside the interval."""
        return self.low > 0 or self.high < 0


def bootstrap_interval(values: Any, *, draws: int = DRAWS, level: float = LEVEL, seed: int = SEED) -> Interval:
    """The interval of a mean. `values` is [samples]: of an accuracy, ones and zeros.

    When all values are equal the interval has no width, which says more about the number of samples than about
    certainty. Raises `ValueError` for no values.
    """
    column = np.asarray(values, dtype=np.float64).reshape(-1, 1)
    return bootstrap_statistic(column, lambda means: means[:, 0], draws=draws, level=level, seed=seed)


def paired_bootstrap(a: Any, b: Any, *, draws: int = DRAWS, level: float = LEVEL, seed: int = SEED) -> Interval:
    """The interval of mean(a) - mean(b), where `a` and `b` [samples] were measured on the same samples in order."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape:
        raise ValueError(f"paired values need equal shapes, got {a.shape} and {b.shape}")
    return bootstrap_interval(a - b, draws=draws, level=level, seed=seed)


def bootstrap_statistic(
    values: Any,
    statistic: Callable[[Array], Array],
    *,
    draws: int = DRAWS,
    level: float = LEVEL,
    seed: int = SEED,
) -> Interval:
    """The interval of a statistic of column means, such as an F1 from the means of hits, misses and false alarms.

    `values` is [samples, columns]; `statistic` takes means [draws, columns] and gives [draws]. The same seed draws
    the same samples, so that two calls on the same samples can be compared. Raises `ValueError` for no samples.
    """
    columns = np.asarray(values, dtype=np.float64)
    if len(columns) == 0:
        raise ValueError("there is nothing to resample: no samples")
    generator = np.random.default_rng(seed)
    size = len(columns)
    step = max(1, _CELLS // size)
    means = np.empty((draws, columns.shape[1]))
    for start in range(0, draws, step):
        rows = generator.integers(size, size=(min(step, draws - start), size))
        for column in range(columns.shape[1]):
            means[start : start + len(rows), column] = columns[rows, column].mean(axis=1)
    tail = 100 * (1 - level) / 2
    low, high = np.percentile(statistic(means), [tail, 100 - tail])
    return Interval(float(statistic(columns.mean(axis=0, keepdims=True))[0]), float(low), float(high))
