"""Who may foretell the volatility to come: the model of all inputs, or something cheaper that does as well.

On the newest items, which no fit has seen, all ways are held against the ridge on past volatility. It answers unless
another way's squared error is shown to be less: the interval of the difference excludes zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from triptych.errors import DataError
from triptych.evaluation.bootstrap import Interval, bootstrap_statistic
from triptych_finance.volatility.prices import HORIZONS
from triptych_finance.volatility.ridge import Array
from triptych_finance.volatility.risk import Forecast, RiskModel, reach
from triptych_finance.volatility.settings import RiskSettings
from triptych_finance.volatility.stacking import PAST

MEAN, PERSISTENCE, RIDGE, EVERYTHING = "train mean", "persistence", "ridge on past volatility", "all inputs"
WAYS = (MEAN, PERSISTENCE, RIDGE, EVERYTHING)  # the cheapest first
NEWEST = 0.2  # of the items, on which the ways are compared
LEAST_COMPANIES = 5  # below, resampling companies says nothing, and nothing is called better

Blocks = Mapping[str, Array]
Days = npt.NDArray[np.datetime64]


@dataclass(frozen=True, slots=True, eq=False)
class Ways:
    """A volatility model, and how far persistence is off: half the width of its interval, [4]."""

    model: RiskModel
    off: Array

    @classmethod
    def fit(cls, blocks: Blocks, targets: Array, settings: RiskSettings) -> Ways:
        """As `RiskModel.fit`, of samples that all have their past; raises as it does."""
        model = RiskModel.fit(blocks, targets, settings)
        errors = np.abs(targets - blocks[PAST])
        off = [reach(np.sort(column[np.isfinite(column)]), settings.level) for column in errors.T]
        return cls(model, np.array(off))

    def foretell(self, way: str, blocks: Blocks) -> Forecast:
        """What a way makes of samples [samples, columns] of each block; all but `EVERYTHING` need only the past."""
        past = blocks[PAST]
        if way == PERSISTENCE:
            return Forecast(past, past - self.off, past + self.off, ((PAST,),) * len(past))
        if way == EVERYTHING:
            return self.model.predict(blocks)
        return self.model.predict({PAST: past if way == RIDGE else np.full_like(past, np.nan)})


@dataclass(frozen=True, slots=True)
class Comparison:
    """The ways on the newest items: which answers each of `HORIZONS`, and what was measured."""

    answers: tuple[str, ...]
    rows: list[dict[str, Any]]  # one a horizon: mean squared errors and what answers
    differences: dict[int, dict[str, Interval]]  # by horizon, of the others' squared errors from the ridge's
    verdict: str


def compare(
    blocks: Blocks, targets: Array, days: Days, known: Days, companies: Sequence[str], settings: RiskSettings
) -> Comparison:
    """Fit on all but the newest fifth, with the labels known by then, and judge on it.

    `blocks` and `targets` as for `RiskModel.fit`, oldest first; `days` [samples] are the samples' own, `known`
    [samples, 4] those on which their targets were known (not a time: never). Intervals are by a bootstrap over
    companies, whose items stay together (Cameron, Gelbach and Miller 2008): items of one week share their future.
    """
    cut = days[int((1 - NEWEST) * len(days))]
    train, test = np.flatnonzero(days < cut), np.flatnonzero(days >= cut)
    seen = np.where(known[train] < cut, targets[train], np.nan)
    try:
        ways = Ways.fit({name: block[train] for name, block in blocks.items()}, seen, settings)
    except DataError as error:
        note = f"Nothing could be compared on the newest items, so {RIDGE} answers: {error.reason}."
        return Comparison((RIDGE,) * len(HORIZONS), [], {}, note)
    asked = {name: block[test] for name, block in blocks.items()}
    squared = {way: (ways.foretell(way, asked).values - targets[test]) ** 2 for way in WAYS}
    names = np.array(companies)[test]
    answers, rows, differences = [], [], {}
    for column, horizon in enumerate(HORIZONS):
        errors = {way: values[:, column] for way, values in squared.items()}
        judged = np.isfinite(errors[RIDGE])
        errors = {way: values[judged] for way, values in errors.items()}
        differences[horizon] = {
            way: by_company(errors[way] - errors[RIDGE], names[judged]) for way in WAYS if way != RIDGE and judged.any()
        }
        enough = len(np.unique(names[judged])) >= LEAST_COMPANIES
        better = [way for way, found in differences[horizon].items() if enough and found.high < 0]
        answers.append(better[0] if better else RIDGE)
        means = {way: round(float(values.mean()), 5) for way, values in errors.items() if judged.any()}
        rows.append({"days": horizon, "items": int(judged.sum()), **means, "answers": answers[-1]})
    return Comparison(tuple(answers), rows, differences, _verdict(answers, len(test), len(np.unique(names))))


def _verdict(answers: Sequence[str], items: int, companies: int) -> str:
    said = f"Mean squared errors on the newest {items} items, of {companies} companies. "
    others = [f"{way} over {days} days" for days, way in zip(HORIZONS, answers, strict=True) if way != RIDGE]
    if not others:
        return f"{said}Nothing is shown to be better than {RIDGE}, so it answers."
    rest = f", and elsewhere {RIDGE}" if RIDGE in answers else ""
    return f"{said}What is shown to be better than {RIDGE} answers: {', '.join(others)}{rest}."


def by_company(differences: Array, names: npt.NDArray[Any]) -> Interval:
    """The interval of a mean difference of paired errors [items], resampling whole companies."""
    sums = [(differences[names == name].sum(), (names == name).sum()) for name in np.unique(names)]
    return bootstrap_statistic(np.array(sums, dtype=np.float64), lambda means: means[:, 0] / means[:, 1])
