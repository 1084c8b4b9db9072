"""What every option costs to answer with: measured in turns, priced, and put beside the cheapest classical rival."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from triptych.compression.budget import Budget
from triptych.compression.contract import check_contract
from triptych.compression.ledger import Gain, Ledger, Quality, Row, Variant
from triptych.compression.measure import Answer, Measurement, measure_all, measure_in_fresh_process
from triptych.compression.prices import Prices
from triptych.compression.row import LOWER_IS_BETTER, variant_row
from triptych.errors import DataError
from triptych.evaluation.bootstrap import paired_bootstrap
from triptych.evaluation.risk import ThresholdChoice
from triptych.evaluation.rival import NAME as RIVAL
from triptych.evaluation.rival import classical_rival
from triptych.finalist import Judged, Trained
from triptych.runtime.base import Session

MODEL_ALONE = "Time and money are of the model alone; reading media, retrieval and the vertical's rule come on top."
REQUESTS = 64
"""Test samples that are sent again and again."""


@dataclass(frozen=True, slots=True, eq=False)
class Option:
    """Something that may be put into service: a model, or a cascade (its `stages`, with their threshold)."""

    judged: Judged
    session: Session
    stages: tuple[Judged, ...] = ()
    threshold: ThresholdChoice | None = None


def build_ledger(
    trained: Trained, options: Mapping[str, Option], budget: Budget, prices: Prices, metric: str, spent: float
) -> Ledger:
    """Measure every option and choose. `spent` CPU-seconds went into finding them.

    The option named as `trained` is the parent; what it answers decides what the others lose.
    """
    parent = options[trained.name].judged
    train, test = trained.inside["train"], trained.inside["test"]
    answers: dict[str, Answer] = {name: option.session.run for name, option in options.items()}
    rival, read = None, None
    if trained.session.kind == "classification" and any(isinstance(s.text, str) for s in train):
        rival = classical_rival(train, test)
        read = rival.pipeline.predict_proba
        answers[RIVAL] = lambda requests: read([s.text if isinstance(s.text, str) else "" for s in requests])
    speeds = measure_all(answers, list(test[:REQUESTS]), rounds=3, round_seconds=1.0)
    rows = [_row(option, parent, trained, speeds, budget, prices, metric) for option in options.values()]
    notes = [
        prices.describe(),
        MODEL_ALONE,
        f"The search and its measurements took {spent:.0f} CPU-seconds.",
    ]
    if rival is None:
        return Ledger.choose(rows, budget=budget, parent=parent.name, prices=prices, notes=notes)
    rival_row: Row = variant_row(RIVAL, metric, rival.metrics, speeds[RIVAL], size_mb=rival.size_mb, prices=prices)
    rival_row = rival_row.model_copy(update={"resident_mb": None, "notes": list(rival.notes)})
    ledger = Ledger.choose(rows, budget=budget, parent=parent.name, prices=prices, notes=notes, rival=rival_row)
    difference = paired_bootstrap(
        options[ledger.chosen].judged.right["test"].astype(float), np.asarray(rival.correct, dtype=float)
    )
    gain = Gain(value=difference.value, low=difference.low, high=difference.high)
    return Ledger.choose(
        rows, budget=budget, parent=parent.name, prices=prices, notes=notes, rival=rival_row, gain=gain
    )


def _row(
    option: Option,
    parent: Judged,
    trained: Trained,
    speeds: Mapping[str, Measurement],
    budget: Budget,
    prices: Prices,
    metric: str,
) -> Variant:
    judged, is_parent = option.judged, option.judged is parent
    contract = check_contract(parent.standing, judged.standing, max_drop=budget.max_drop or 0.0)
    escalated = None if option.threshold is None else option.threshold.escalation_rate
    row = variant_row(
        judged.name,
        metric,
        judged.standing.metrics,
        speeds[judged.name],
        size_mb=judged.size_mb,
        prices=prices,
        on_gpu=is_parent and trained.session.plan.device.type != "cpu",
        training_cpu_seconds=trained.training_cpu_seconds,
        compression_cpu_seconds=None if is_parent else judged.cpu_seconds,
        validation_drop=None if is_parent else _validation_drop(judged, parent, metric),
        escalation_rate=escalated,
        contract=contract,
        steps=judged.steps,
        notes=judged.notes,
    )
    return row.model_copy(update={"resident_mb": _resident_mb(option, trained)})


def _resident_mb(option: Option, trained: Trained) -> float | None:
    """What a process of its own takes to answer with an option, all stages of a cascade together; None: not known."""
    if not trained.config.compression.memory:
        return None
    total = 0.0
    for stage in option.stages or (option.judged,):
        exported = stage.directory is not None
        directory = stage.directory if exported else trained.directory
        if directory is None:
            return None
        module = "exported" if exported else "torch_session"
        try:
            loaded = measure_in_fresh_process(f"triptych.runtime.{module}:open_whole", [str(directory)])
        except DataError:  # parts that only this process knows
            return None
        total += loaded.resident_mb
    return round(total, 1)


def _validation_drop(judged: Judged, parent: Judged, metric: str) -> float:
    """As the test split's drop is counted."""
    better = metric not in LOWER_IS_BETTER
    ours, theirs = (
        Quality(metric=metric, value=j.validation[metric], higher_is_better=better) for j in (judged, parent)
    )
    return ours.drop_from(theirs)
