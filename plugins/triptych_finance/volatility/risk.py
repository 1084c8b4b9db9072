"""How much a price will move in the next days: realised log volatility from its past, words, voice and chart.

The past comes first. Words, voice and chart only correct what the past foretells, each with the weight that it earned
on stretches of time it was not fitted on, so that a block of noise costs next to nothing. Any subset may be missing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from triptych.errors import BundleError, DataError, UnknownNameError
from triptych.files import write_synced
from triptych_finance.volatility.prices import HORIZONS
from triptych_finance.volatility.ridge import Array, Linear, Scaling
from triptych_finance.volatility.settings import RiskSettings
from triptych_finance.volatility.stacking import LEAST_ROWS, PAST, Base, Stage, Subset, fit_stage, present

BLOCKS = (PAST, "text", "audio", "chart")
TENSORS, META = "risk.safetensors", "risk.json"
FORMAT = 1


@dataclass(frozen=True, slots=True, eq=False)
class Forecast:
    """Predicted log volatility and its interval, [samples, 4] for `HORIZONS`, and the blocks each sample came with."""

    values: Array
    low: Array
    high: Array
    blocks: tuple[Subset, ...]


class RiskModel:
    """Predicts log volatility over `HORIZONS`; made by `fit` or `load`.

    Each horizon has a stage for samples without their past and, where training had enough of them, one for those with.
    """

    def __init__(self, stages: dict[tuple[int, bool], Stage], settings: RiskSettings, widths: dict[str, int]) -> None:
        self._stages = stages
        self._widths = widths
        self.settings = settings

    @classmethod
    def fit(cls, inputs: Mapping[str, Any], targets: npt.ArrayLike, settings: RiskSettings | None = None) -> Self:
        """From samples in order of time, oldest first.

        `inputs` has some of `BLOCKS`, each [samples, columns]: "past" the past log volatility over `HORIZONS`, "text"
        the mean of the sentences' vectors, "audio" `acoustics.pool`, "chart" `charts.thumbnail` or a better vector. A
        sample whose row is all NaN (of the past: has any NaN) lacks the block. `targets` [samples, 4] may hold NaN.
        Raises `DataError` for shapes that do not fit and where a horizon has too few known targets.
        """
        settings = settings or RiskSettings()
        wanted = np.asarray(targets, dtype=np.float64)
        if wanted.ndim != 2 or wanted.shape[1] != len(HORIZONS):
            raise DataError(f"targets must be [samples, {len(HORIZONS)}], got {list(wanted.shape)}")
        blocks = _checked(inputs, len(wanted))
        stages: dict[tuple[int, bool], Stage] = {}
        for column, days in enumerate(HORIZONS):
            known = np.isfinite(wanted[:, column])
            needed = max(LEAST_ROWS, 2 * settings.folds, math.ceil(settings.level / (1 - settings.level)))
            if known.sum() < needed:
                reason = f"volatility over {days} days is known of {known.sum()} samples, {needed} are needed"
                raise DataError(f"{reason} (vertical.risk.level and vertical.risk.folds set how many)")
            for with_past in (False, True):
                rows = np.flatnonzero(known & present(PAST, blocks[PAST])) if with_past else np.flatnonzero(known)
                if len(rows) >= needed:
                    part = {name: block[rows] for name, block in blocks.items() if name != PAST or with_past}
                    stages[days, with_past] = fit_stage(part, wanted[rows, column], column, needed, settings.folds)
        widths = {name: block.shape[1] for name, block in blocks.items() if block.shape[1]}
        return cls(stages, settings, widths)

    def predict(self, inputs: Mapping[str, Any]) -> Forecast:
        """Forecasts from any subset of the blocks, shaped as in `fit`; of no block at all, the training mean.

        Raises `DataError` for shapes that do not fit those of training, `UnknownNameError` for an unknown block.
        """
        sizes = {len(value) for value in inputs.values() if value is not None}
        if not sizes:
            raise DataError("give one block at least, if only of NaN: the number of samples is taken from it")
        blocks = _checked(inputs, max(sizes))
        for name, block in blocks.items():
            if block.shape[1] not in (0, self._widths.get(name, block.shape[1])):
                reason = f"block {name!r} has {block.shape[1]} columns, the model was fitted on {self._widths[name]}"
                raise DataError(reason)
        has = {name: present(name, block) for name, block in blocks.items()}
        subsets = [tuple(name for name in BLOCKS if has[name][row]) for row in range(max(sizes))]
        values, widths = np.zeros((2, len(subsets), len(HORIZONS)))
        for subset in sorted(set(subsets)):
            rows = np.array([row for row, other in enumerate(subsets) if other == subset], dtype=np.int64)
            for column, days in enumerate(HORIZONS):
                stage, usable = self._stage(days, subset)
                values[rows, column] = stage.base.predict(blocks[PAST][rows])
                for name, weight in zip(usable, stage.weights[usable], strict=True):
                    if weight:
                        values[rows, column] += weight * stage.corrections[name].predict(blocks[name][rows])
                widths[rows, column] = reach(stage.residuals[usable], self.settings.level)
        return Forecast(values, values - widths, values + widths, tuple(subsets))

    def weights(self, subset: Sequence[str]) -> dict[int, dict[str, float]]:
        """By horizon, the weight with which each block but the past corrects a sample that has the subset."""
        result = {}
        for days in HORIZONS:
            stage, usable = self._stage(days, tuple(name for name in BLOCKS if name in subset))
            earned = dict(zip(usable, map(float, stage.weights[usable]), strict=True))
            result[days] = {name: earned.get(name, 0.0) for name in BLOCKS[1:] if name in subset}
        return result

    def save(self, directory: Path) -> None:
        """Write `risk.safetensors` and `risk.json` into a directory, which is made where it is missing."""
        tensors: dict[str, npt.NDArray[Any]] = {}
        described = []
        for (days, with_past), stage in self._stages.items():
            prefix = f"{days}.{'past' if with_past else 'none'}"
            regressions = stage.corrections | ({PAST: stage.base.past} if stage.base.past else {})
            for name, linear in regressions.items():
                tensors[f"{prefix}.{name}.mean"] = linear.scaling.mean
                tensors[f"{prefix}.{name}.deviation"] = linear.scaling.deviation
                tensors[f"{prefix}.{name}.coefficients"] = linear.coefficients
            tensors |= {f"{prefix}.residuals.{'+'.join(key)}": value for key, value in stage.residuals.items()}
            described.append(
                {
                    "days": days,
                    "past": with_past,
                    "mean": stage.base.mean,
                    "column": stage.base.column,
                    "persistence": stage.base.persistence,
                    "constants": {name: linear.constant for name, linear in regressions.items()},
                    "weights": {"+".join(key): value.tolist() for key, value in stage.weights.items()},
                }
            )
        meta = {
            "format": FORMAT,
            "settings": self.settings.model_dump(),
            "widths": self._widths,
            "stages": described,
        }
        directory.mkdir(parents=True, exist_ok=True)
        save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, directory / TENSORS)
        write_synced(directory / META, json.dumps(meta, indent=1) + "\n")

    @classmethod
    def load(cls, directory: Path) -> Self:
        """What `save` wrote. Raises `BundleError` where it is missing, damaged or of another format."""
        for name in (META, TENSORS):
            if not (directory / name).exists():
                raise BundleError(f"{directory} holds no volatility model: {name} is missing")
        try:
            meta = json.loads((directory / META).read_text(encoding="utf-8"))
            if meta["format"] != FORMAT:
                reason = f"{directory / META} has format {meta['format']}, this version reads {FORMAT}; fit it again"
                raise BundleError(reason)
            tensors = load_file(directory / TENSORS)
            stages = {(entry["days"], entry["past"]): _stage(entry, tensors) for entry in meta["stages"]}
            return cls(stages, RiskSettings(**meta["settings"]), meta["widths"])
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise BundleError(f"the volatility model in {directory} is damaged ({error}); fit it again") from error

    def _stage(self, days: int, subset: Subset) -> tuple[Stage, Subset]:
        """The stage for samples that have a subset, and the blocks of it that it can use."""
        stage = self._stages.get((days, PAST in subset)) or self._stages[days, False]
        usable = tuple(name for name in subset if name in stage.corrections)
        while usable not in stage.weights:  # too few training samples had these together
            usable = usable[:-1]
        return stage, usable


def reach(residuals: Array, level: float) -> float:
    """Half the width of an interval that holds a share `level`: cross-conformal (Vovk 2015) on sorted residuals."""
    rank = math.ceil((len(residuals) + 1) * level)
    return float(residuals[min(rank, len(residuals)) - 1])


def _checked(inputs: Mapping[str, Any], samples: int) -> dict[str, Array]:
    """All blocks as float64 [samples, columns]; one that is missing has no columns."""
    for name in inputs:
        if name not in BLOCKS:
            raise UnknownNameError("block", name, list(BLOCKS))
    blocks = {}
    for name in BLOCKS:
        value = inputs.get(name)
        block = np.zeros((samples, 0)) if value is None else np.asarray(value, dtype=np.float64)
        if block.ndim != 2 or len(block) != samples:
            raise DataError(f"block {name!r} must be [{samples}, columns], got {list(block.shape)}")
        if name == PAST and block.shape[1] not in (0, len(HORIZONS)):
            raise DataError(f"block 'past' has {block.shape[1]} columns, one for each of {HORIZONS} days is needed")
        if np.isinf(block).any():
            raise DataError(f"block {name!r} holds infinite values, in sample {np.isinf(block).any(axis=1).argmax()}")
        blocks[name] = block
    return blocks


def _stage(entry: Mapping[str, Any], tensors: Mapping[str, Array]) -> Stage:
    prefix = f"{entry['days']}.{'past' if entry['past'] else 'none'}"
    regressions = {
        name: Linear(
            Scaling(tensors[f"{prefix}.{name}.mean"], tensors[f"{prefix}.{name}.deviation"]),
            tensors[f"{prefix}.{name}.coefficients"],
            constant,
        )
        for name, constant in entry["constants"].items()
    }
    base = Base(entry["mean"], entry["column"], entry["persistence"], regressions.pop(PAST, None))
    stage = Stage(base, regressions)
    for key, weights in entry["weights"].items():
        subset = tuple(key.split("+")) if key else ()
        stage.weights[subset] = np.array(weights)
        stage.residuals[subset] = tensors[f"{prefix}.residuals.{key}"]
    return stage
