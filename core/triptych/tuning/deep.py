"""What `full` and `lora` share: frozen layers computed once, no dropout, one loop over encoders, fusion and head."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from triptych.config import TrainingConfig
from triptych.models.multimodal import MultimodalModel
from triptych.tuning.base import Progress, TuningContext
from triptych.tuning.loop import LoopResult, fit
from triptych.tuning.sources import LOWER_LIMIT_MB, Layered, LowerSource, SampleSource
from triptych.types import Modality, Sample


def freeze_lowest(model: MultimodalModel, layers: int) -> list[str]:
    """Freeze embeddings and the lowest `layers` of every pretrained encoder that is a stack; a note for each."""
    notes = []
    for m in model.modalities:
        encoder = model.encoder(m)
        if encoder.pretrained and isinstance(encoder, Layered):
            encoder.freeze_lowest(layers)
            lowest = f" and the lowest {count} layers" if (count := min(layers, encoder.layers)) else ""
            notes.append(f"{encoder.name}: embeddings{lowest} stay fixed")
    return notes


def disable_dropout(model: MultimodalModel) -> None:
    """Switch off dropout inside pretrained encoders: few epochs do not overfit, and its random numbers cost time."""
    for m in model.modalities:
        if model.encoder(m).pretrained:
            for module in model.encoder(m).modules():
                if isinstance(module, nn.Dropout):
                    module.p = 0.0


def tune_encoders(
    model: MultimodalModel,
    train: Sequence[Sample],
    validation: Sequence[Sample],
    settings: TrainingConfig,
    context: TuningContext,
    notes: list[str],
    *,
    step: str,
    targets: Tensor | None = None,
) -> LoopResult:
    """Train all that requires a gradient on raw samples; the outputs of frozen layers are computed once.

    `targets` stand in for those that the training samples carry: probabilities [samples, labels] of a classification,
    for instance, where the labels are not certain.
    """
    source, held = sources(model, train, validation, settings, context, notes, step=step)
    targets = model.head.encode([s.target for s in train]) if targets is None else targets
    held_targets = model.head.encode([s.target for s in validation]) if validation else None
    return fit(model, source, targets, held, held_targets, settings, context, step=step)


def sources(
    model: MultimodalModel,
    train: Sequence[Sample],
    validation: Sequence[Sample],
    settings: TrainingConfig,
    context: TuningContext,
    notes: list[str],
    *,
    step: str,
) -> tuple[SampleSource, SampleSource | None]:
    """What `fit` trains on and is judged on, the outputs of frozen layers computed where they fit into memory."""
    model.to(context.plan.device)
    cached = _cached_modality(model, [*train, *validation], settings.frozen_layers, notes)
    context.progress(Progress(step, 0, settings.epochs, "computing the frozen layers" if cached else ""))
    model.eval()
    return _source(model, train, cached), _source(model, validation, cached) if validation else None


def _source(model: MultimodalModel, samples: Sequence[Sample], cached: Modality | None) -> SampleSource:
    return SampleSource(model, samples) if cached is None else LowerSource(model, samples, cached)


def _cached_modality(
    model: MultimodalModel, samples: Sequence[Sample], layers: int, notes: list[str]
) -> Modality | None:
    """The modality whose frozen layers are worth computing once, if their outputs fit into memory."""
    for m in model.modalities:
        encoder = model.encoder(m)
        if not (encoder.pretrained and isinstance(encoder, Layered) and min(layers, encoder.layers)):
            continue
        size = LowerSource.size_mb(model, samples, m)
        if size <= LOWER_LIMIT_MB:
            notes.append(f"{encoder.name}: outputs of the frozen layers kept in memory, {size:.0f} MB")
            return m
        notes.append(f"{encoder.name}: outputs of the frozen layers would take {size:.0f} MB and are not kept")
    return None
