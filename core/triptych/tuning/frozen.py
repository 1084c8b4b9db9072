"""Encoders stay as they are: features are computed once, cached on disk, and fusion and head are trained on them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from triptych.config import TrainingConfig
from triptych.device import one_thread
from triptych.models.heads import Head, RegressionHead
from triptych.models.multimodal import Features, MultimodalModel
from triptych.models.trust import fit_trust
from triptych.tuning.base import Progress, Strategy, TuningContext, TuningReport
from triptych.tuning.cache import FeatureCache
from triptych.tuning.lexical import add_lexical, remove_lexical
from triptych.tuning.linear import DEFAULT_STRENGTH, choose_linear, fit_linear
from triptych.tuning.loop import fit
from triptych.tuning.scratch import train_from_scratch
from triptych.tuning.sources import FeatureSource
from triptych.types import Sample


class Frozen(Strategy):
    """The cheapest training: minutes of encoding at most, then seconds.

    With one modality the head is a linear classifier at its optimum, its regularisation chosen on validation data
    (or given as `strength`); with several, fusion and head go through the training loop. Encoders without pretrained
    weights are trained on their own modality first.
    """

    name = "frozen"

    def __init__(self, strength: float | None = None, share: float | None = None) -> None:
        self.strength = strength
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
        remove_lexical(model)
        report = self.start(model, train, validation, settings, context)
        return add_lexical(model, train, validation, report, self.share)

    def start(
        self,
        model: MultimodalModel,
        train: Sequence[Sample],
        validation: Sequence[Sample],
        settings: TrainingConfig,
        context: TuningContext,
    ) -> TuningReport:
        """As `tune`, without n-grams beside the encoder: where `full` and `lora` begin."""
        wall, cpu = time.perf_counter(), time.process_time()
        notes = train_from_scratch(model, train, validation, settings, context)
        for m in model.modalities:
            model.encoder(m).requires_grad_(False)
        choices: dict[str, float] = {}
        model.to(context.plan.device)
        seen = _encode(model, train, context, "features")
        held = _encode(model, validation, context, "validation features") if validation else None
        model.to("cpu").eval()
        if isinstance(model.head, RegressionHead):
            model.head.fit(seen.targets)
        if model.fusion is None and model.head.kind != "embedding":
            history, best, choices = self._linear(model.head, seen, held, notes)
            epochs, speed = 1, len(train) / (time.perf_counter() - wall)
        else:
            source, targets = (None, None) if held is None else (FeatureSource(held.features), held.targets)
            with one_thread():  # vectors are small
                result = fit(
                    model, FeatureSource(seen.features), seen.targets, source, targets, settings, context, step="fusion"
                )
            history, best, epochs, speed = result.history, result.best, result.epochs, result.samples_per_second
            if held is not None and (moved := fit_trust(model, held.features, held.targets, seed=context.seed)):
                shown = ", ".join(f"{m} {change:+.2f}" for m, change in moved.items())
                notes.append(f"trust in each modality, moved on validation data: {shown}")
        seconds, cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu
        return TuningReport(self.name, epochs, seconds, cpu_seconds, speed, history, best, notes, choices)

    def _linear(
        self, head: Head, seen: _Seen, held: _Seen | None, notes: list[str]
    ) -> tuple[list[dict[str, Any]], float, dict[str, float]]:
        """Fit the head; returns what was tried, the best validation metric (0 without) and what was chosen."""
        if held is None or self.strength is not None:
            strength = self.strength or DEFAULT_STRENGTH
            fit_linear(head, seen.vectors, seen.targets, strength)
            origin = "as given" if self.strength is not None else "the default: there was nothing to choose on"
            notes.append(f"linear head with regularisation {strength:g}, {origin}")
            return [], 0.0, {"strength": strength}
        chosen, tried = choose_linear(head, seen.vectors, seen.targets, held.vectors, held.targets)
        row = next(r for r in tried if r["strength"] == chosen)
        notes.append(f"linear head with regularisation {chosen:g}, chosen on validation data")
        return tried, float(row.get("accuracy", row["loss"])), {"strength": chosen}


@dataclass(frozen=True, slots=True)
class _Seen:
    features: Features
    targets: Tensor

    @property
    def vectors(self) -> Tensor:
        """Of the only modality, [samples, dim]."""
        return next(iter(self.features.vectors.values()))


def _encode(model: MultimodalModel, samples: Sequence[Sample], context: TuningContext, step: str) -> _Seen:
    def tell(done: int, total: int) -> None:
        context.progress(Progress(step, done, total))

    cache = FeatureCache(context.workspace / "features", progress=tell)
    return _Seen(cache.features(model, samples), model.head.encode([s.target for s in samples]))
