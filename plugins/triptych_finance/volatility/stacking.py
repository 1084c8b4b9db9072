"""A forecast from the past, and corrections of it that other blocks of inputs have to earn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from triptych_finance.volatility import ridge
from triptych_finance.volatility.ridge import ALPHAS, Array, Linear, Rows

Subset = tuple[str, ...]

PAST = "past"
LEAST_ROWS = 10
PERSISTENCE = (0.0, 1.0)  # what the ridge on the past is shrunk towards: the training mean, the past itself


@dataclass(frozen=True, slots=True, eq=False)
class Base:
    """What is foretold before any correction: the training mean, or a ridge on the past.

    With `persistence` 1 the ridge only corrects the column of the past that has the target's own horizon.
    """

    mean: float
    column: int = 0
    persistence: float = 0.0
    past: Linear | None = None

    def predict(self, past: Array) -> Array:
        """[rows, horizons] to [rows]."""
        if self.past is None:
            return np.full(len(past), self.mean)
        return self.past.predict(past) + self.persistence * past[:, self.column]


@dataclass(slots=True, eq=False)
class Stage:
    """A base, the correction that each block makes of it, and the weights of the corrections in each subset.

    `residuals` are absolute, sorted, and of rows that neither the fits nor the choices behind them had seen.
    """

    base: Base
    corrections: dict[str, Linear] = field(default_factory=dict)
    weights: dict[Subset, Array] = field(default_factory=dict)
    residuals: dict[Subset, Array] = field(default_factory=dict)


def present(name: str, block: Array) -> npt.NDArray[np.bool_]:
    """Which rows have a block [rows, columns]: of the past every column is needed, of the others any."""
    known = np.isfinite(block)
    if not block.shape[1]:
        return np.zeros(len(block), dtype=bool)
    return np.asarray(known.all(axis=1) if name == PAST else known.any(axis=1))


def fit_stage(blocks: Mapping[str, Array], y: Array, column: int, needed: int, folds: int) -> Stage:
    """A stage from blocks [rows, columns] and targets y [rows], oldest first.

    With a block "past", which no row may lack, the base is a ridge on it, else the mean. A block, or a subset of them,
    that fewer than `needed` rows have is left out. Strengths, persistence and weights are chosen on `folds` stretches
    of time by models that have not seen them; and the residuals of a stretch come from choices made on the others.
    """
    fit = _Fit(blocks, y, column, folds)
    corrected: dict[str, Array] = {}
    for name, block in blocks.items():
        has = present(name, block)
        if name != PAST and has.sum() >= needed and all(has[rest].sum() >= LEAST_ROWS for rest in fit.rests):
            corrected[name] = fit.correct(name, has)
    for size in range(len(corrected) + 1):
        for subset in combinations(corrected, size):
            fit.weigh(subset, [corrected[name] for name in subset], needed)
    return fit.stage


class _Fit:
    """The state of `fit_stage`: the stretches of time, and what bases that have not seen them leave to explain."""

    def __init__(self, blocks: Mapping[str, Array], y: Array, column: int, folds: int) -> None:
        self.blocks, self.y, self.column = blocks, y, column
        self.past = blocks.get(PAST)
        everything = np.arange(len(y))
        self.folds = ridge.time_blocks(len(y), folds)
        self.rests = [np.setdiff1d(everything, fold) for fold in self.folds]
        errors = self._base_errors()
        self.left = np.zeros(len(y))
        self.bases = []  # of each stretch, fitted and chosen on the others
        for fold, rest in zip(self.folds, self.rests, strict=True):
            candidate = ridge.best(errors[:, rest])
            self.left[fold] = errors[candidate, fold]
            self.bases.append(self._base(rest, candidate))
        self.stage = Stage(self._base(everything, ridge.best(errors)))
        self.silent: set[str] = set()  # blocks that did best with the greatest strength, which leaves nothing of them

    def _base_errors(self) -> Array:
        """Errors of each candidate for the base, on stretches that it has not seen, [candidates, rows]."""
        errors = np.zeros((len(PERSISTENCE) * len(ALPHAS) if self.past is not None else 1, len(self.y)))
        for fold, rest in zip(self.folds, self.rests, strict=True):
            if self.past is None:
                errors[0, fold] = self.y[fold] - self.y[rest].mean()
                continue
            paths = [ridge.RidgePath.fit(self.past[rest], self._beyond(rest, share)) for share in PERSISTENCE]
            errors[:, fold] = np.concatenate(
                [
                    self._beyond(fold, share) - path.predict(self.past[fold])
                    for path, share in zip(paths, PERSISTENCE, strict=True)
                ]
            )
        return errors

    def _base(self, rows: Rows, candidate: int) -> Base:
        mean = float(self.y[rows].mean())
        if self.past is None:
            return Base(mean)
        place, alpha = divmod(candidate, len(ALPHAS))
        path = ridge.RidgePath.fit(self.past[rows], self._beyond(rows, PERSISTENCE[place]))
        return Base(mean, self.column, PERSISTENCE[place], path.pick(alpha))

    def _beyond(self, rows: Rows, persistence: float) -> Array:
        """What a share of persistence leaves of the targets."""
        assert self.past is not None
        beyond: Array = self.y[rows] - persistence * self.past[rows, self.column]
        return beyond

    def correct(self, name: str, has: npt.NDArray[np.bool_]) -> Array:
        """Fit a block's correction of the base; returns what it says of stretches it has not seen, [rows]."""
        block = self.blocks[name]
        said = np.full((len(ALPHAS), len(self.y)), np.nan)
        for fold, rest, base in zip(self.folds, self.rests, self.bases, strict=True):
            asked = fold[has[fold]]
            said[:, asked] = self._path(block, rest[has[rest]], base).predict(block[asked])
        errors = self.left - said
        chosen = np.full(len(self.y), np.nan)
        for fold, rest in zip(self.folds, self.rests, strict=True):
            chosen[fold] = said[ridge.best(errors[:, rest]), fold]
        strength = ridge.best(errors)
        if strength == len(ALPHAS) - 1:
            self.silent.add(name)
        self.stage.corrections[name] = self._path(block, np.flatnonzero(has), self.stage.base).pick(strength)
        return chosen

    def _path(self, block: Array, rows: Rows, base: Base) -> ridge.RidgePath:
        past = self.past[rows] if self.past is not None else np.zeros((len(rows), 0))
        return ridge.RidgePath.fit(block[rows], self.y[rows] - base.predict(past))

    def weigh(self, subset: Subset, said: list[Array], needed: int) -> None:
        """Set the weights and residuals of a subset, where enough rows have all of it."""
        together: Any = np.all([np.isfinite(s) for s in said], axis=0) if said else np.ones(len(self.y), dtype=bool)
        if together.sum() < needed:
            return
        left = self.left.copy()
        for fold, rest in zip(self.folds, self.rests, strict=True):
            for weight, s in zip(self._earned(said, rest[together[rest]]), said, strict=True):
                left[fold] -= weight * s[fold]
        heard = [s * (name not in self.silent) for name, s in zip(subset, said, strict=True)]
        self.stage.weights[subset] = self._earned(heard, np.flatnonzero(together))
        self.stage.residuals[subset] = np.sort(np.abs(left[together]))

    def _earned(self, said: list[Array], rows: Rows) -> Array:
        return ridge.earned_weights(self.left[rows], [s[rows] for s in said]) if said else np.zeros(0)
