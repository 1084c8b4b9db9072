"""Small linear regressions whose strength is chosen on blocks of time, and weights that a prediction has to earn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

ALPHAS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 1e5)  # inputs have about unit length, see `Scaling`
MOST_DEVIATIONS = 5.0  # a standardised input beyond is cut to it


@dataclass(frozen=True, slots=True, eq=False)
class Scaling:
    """Columns to mean 0 and deviation 1, an unknown value to 0, and the whole row to about unit length."""

    mean: Array  # [columns]
    deviation: Array  # [columns]

    @classmethod
    def fit(cls, x: Array) -> Scaling:
        """From training rows [rows, columns]; NaN is unknown. A column without a known or a second value is ignored."""
        known = np.isfinite(x)
        count = known.sum(axis=0)
        mean = np.where(known, x, 0.0).sum(axis=0) / np.maximum(count, 1)
        deviation = np.sqrt((np.where(known, x - mean, 0.0) ** 2).sum(axis=0) / np.maximum(count, 1))
        varies = deviation > 1e-9 * np.maximum(1.0, np.abs(mean))
        return cls(mean, np.where(varies, deviation, np.inf))

    def apply(self, x: Array) -> Array:
        """[rows, columns] to the same shape."""
        scaled = np.clip((x - self.mean) / self.deviation, -MOST_DEVIATIONS, MOST_DEVIATIONS)
        return np.asarray(np.nan_to_num(scaled) / np.sqrt(x.shape[1]))


@dataclass(frozen=True, slots=True, eq=False)
class Linear:
    """Standardised inputs times coefficients plus a constant."""

    scaling: Scaling
    coefficients: Array  # [columns]
    constant: float

    def predict(self, x: Array) -> Array:
        """[rows, columns] to [rows]."""
        return self.scaling.apply(x) @ self.coefficients + self.constant


@dataclass(frozen=True, slots=True, eq=False)
class RidgePath:
    """Ridge regressions of all strengths `ALPHAS` on the same rows."""

    scaling: Scaling
    coefficients: Array  # [alphas, columns]
    constants: Array  # [alphas]

    @classmethod
    def fit(cls, x: Array, y: Array) -> RidgePath:
        """From x [rows, columns] and y [rows]; one decomposition of the smaller side serves all strengths."""
        scaling = Scaling.fit(x)
        z = scaling.apply(x)
        centre, mean = z.mean(axis=0), y.mean()
        z, target = z - centre, y - mean
        wide = z.shape[1] > z.shape[0]
        values, vectors = np.linalg.eigh(z @ z.T if wide else z.T @ z)
        shrunk = 1 / (np.maximum(values, 0.0) + np.array(ALPHAS)[:, None])
        solved = (vectors.T @ (target if wide else z.T @ target)) * shrunk @ vectors.T
        coefficients = solved @ z if wide else solved
        return cls(scaling, coefficients, mean - coefficients @ centre)

    def predict(self, x: Array) -> Array:
        """[rows, columns] to [alphas, rows]."""
        return self.coefficients @ self.scaling.apply(x).T + self.constants[:, None]

    def pick(self, alpha: int) -> Linear:
        """The regression of the strength at a position of `ALPHAS`."""
        return Linear(self.scaling, self.coefficients[alpha], float(self.constants[alpha]))


def time_blocks(rows: int, count: int) -> list[Rows]:
    """Rows in order of time, cut into `count` stretches of about equal length.

    Neighbours in time share their weather, so stretches foretell the future better than rows drawn at random do
    (Bergmeir and Benitez 2012).
    """
    return [block.astype(np.int64) for block in np.array_split(np.arange(rows), count)]


def best(errors: Array) -> int:
    """The candidate, of errors [candidates, rows] with NaN for unknown, whose mean square is least."""
    return int(np.nanmean(errors**2, axis=1).argmin())


def earned_weights(target: Array, predictions: Sequence[Array]) -> Array:
    """A weight in [0, 1] for each prediction [rows] of the target [rows], which is centred on what is known already.

    Non-negative least squares, then each weight is multiplied by 1 - (its standard error / the weight)^2, and is 0
    where the error is larger: a garrote (Breiman 1995). The predictions must come from rows they were not fitted on.
    """
    from scipy.optimize import nnls  # late: only fitting needs it

    x = np.stack(predictions, axis=1)
    weights = np.zeros(x.shape[1])
    found, _ = nnls(x, target)
    used = np.flatnonzero(found > 0)
    free = len(target) - len(used)
    if not len(used) or free < 1:
        return weights
    noise = float(((target - x @ found) ** 2).sum()) / free
    variance = noise * np.diag(np.linalg.pinv(x[:, used].T @ x[:, used]))
    weights[used] = np.clip(found[used] * (1 - variance / found[used] ** 2), 0.0, 1.0)
    return weights
