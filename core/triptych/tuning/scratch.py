"""Encoders without pretrained weights learn their own modality alone before anything is fused.

Together with a strong neighbour such an encoder would hardly be trained, because the neighbour already explains the
labels (Wang et al. 2020, "What Makes Training Multi-Modal Classification Networks Hard?").
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from triptych.config import TrainingConfig
from triptych.encoders.base import Encoder
from triptych.models.heads import build_head
from triptych.models.multimodal import MultimodalModel
from triptych.tuning.base import TuningContext
from triptych.tuning.loop import fit
from triptych.tuning.sources import SampleSource
from triptych.types import Modality, Sample

FEWEST = 8
"""Samples with a modality under which nothing can be learnt from it."""


def train_from_scratch(
    model: MultimodalModel,
    train: Sequence[Sample],
    validation: Sequence[Sample],
    settings: TrainingConfig,
    context: TuningContext,
) -> list[str]:
    """Train every encoder of `model` that has parameters but no pretrained weights; returns a note for each."""
    notes = []
    for m in model.modalities:
        encoder = model.encoder(m)
        if encoder.pretrained or not any(p.requires_grad for p in encoder.parameters()):
            continue
        notes.append(_train_alone(model, m, encoder, train, validation, settings, context))
    return notes


def _train_alone(
    model: MultimodalModel,
    modality: Modality,
    encoder: Encoder,
    train: Sequence[Sample],
    validation: Sequence[Sample],
    settings: TrainingConfig,
    context: TuningContext,
) -> str:
    own = [s.only([modality]) for s in train if s.value(modality) is not None]
    own_validation = [s.only([modality]) for s in validation if s.value(modality) is not None]
    if len(own) < FEWEST:
        return f"{encoder.name} has only {len(own)} training values and stays untrained"
    torch.manual_seed(context.seed)  # the same training whatever was built before, so that another fusion finds it done
    head = build_head(encoder.dim, model.head.settings)
    alone = MultimodalModel({modality: encoder}, None, head)
    targets = head.encode([s.target for s in own])
    if head.kind == "regression":
        head.fit(targets)  # type: ignore[operator]
    result = fit(
        alone,
        SampleSource(alone, own),
        targets,
        SampleSource(alone, own_validation) if own_validation else None,
        head.encode([s.target for s in own_validation]) if own_validation else None,
        settings,
        context,
        step=f"scratch-{modality}",
    )
    return (
        f"{encoder.name} had no pretrained weights and was trained on {len(own)} values first ({result.epochs} epochs)"
    )
