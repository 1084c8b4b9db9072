"""Encoders, fusion and head trained together, from a head that already stands on frozen features.

A random head would first pull pretrained encoders apart (Kumar et al. 2022, "Fine-Tuning can Distort Pretrained
Features and Underperform Out-of-Distribution"), so `frozen` runs first; it costs one pass over the data. The lowest
layers stay as they are and are computed once.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from triptych.config import TrainingConfig
from triptych.models.multimodal import MultimodalModel
from triptych.tuning.base import Strategy, TuningContext, TuningReport
from triptych.tuning.deep import disable_dropout, freeze_lowest, tune_encoders
from triptych.tuning.frozen import Frozen
from triptych.tuning.lexical import add_lexical, remove_lexical
from triptych.tuning.loop import LoopResult
from triptych.types import Sample


class Full(Strategy):
    """Everything above `training.frozen_layers` learns; see the module for the start."""

    name = "full"

    def __init__(self, strength: float | None = None, share: float | None = None) -> None:
        self.strength = strength  # regularisation of the linear start; None: chosen on validation data
        self.share = share  # of n-grams beside a text encoder; None: chosen on validation data

    def tune(
        self,
        model: MultimodalModel,
        train: Sequence[Sample],
        validation: Sequence[Sample],
        settings: TrainingConfig,
        context: TuningContext,
    ) -> TuningReport:
        """See the base."""
        wall, cpu = time.perf_counter(), time.process_time()
        remove_lexical(model)
        start = Frozen(self.strength).start(model, train, validation, settings, context)
        model.requires_grad_(True)
        notes = [*start.notes, *freeze_lowest(model, settings.frozen_layers)]
        disable_dropout(model)
        result = self.tune_encoders(model, train, validation, settings, context, notes)
        seconds, cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu
        report = TuningReport(
            self.name,
            result.epochs,
            seconds,
            cpu_seconds,
            result.samples_per_second,
            [*start.history, *result.history],
            result.best,
            notes,
            start.choices,
        )
        return add_lexical(model, train, validation, report, self.share)

    def tune_encoders(
        self,
        model: MultimodalModel,
        train: Sequence[Sample],
        validation: Sequence[Sample],
        settings: TrainingConfig,
        context: TuningContext,
        notes: list[str],
    ) -> LoopResult:
        """The training itself, of all that requires a gradient; what is worth telling is added to `notes`."""
        return tune_encoders(model, train, validation, settings, context, notes, step=self.name)
