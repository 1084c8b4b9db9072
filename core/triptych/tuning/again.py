"""A second training from the same start, on what the first one's model answers.

A model's answers tell more than labels do: how alike two classes are for this sentence, and what is more likely than
the label where that is wrong (Furlanello et al. 2018, "Born-Again Neural Networks"). And it answers samples without a
label as well (Xie et al. 2020, "Self-training with Noisy Student improves ImageNet classification").
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from triptych.config import TrainingConfig
from triptych.models.multimodal import ModelBatch, MultimodalModel
from triptych.tuning.base import TuningContext
from triptych.tuning.deep import freeze_lowest, sources
from triptych.tuning.loop import LoopResult, fit, in_bfloat16, quick
from triptych.tuning.sources import Source
from triptych.types import Sample

TRUST = 0.5
"""Share of the first model's answer in what is taught where there is a target."""


class Part:
    """The first `count` rows of another source."""

    def __init__(self, whole: Source, count: int) -> None:
        self.whole = whole
        self.costs = whole.costs[:count]
        self.mask = whole.mask[:count]

    def batch(self, rows: Sequence[int]) -> ModelBatch:
        """See `Source`."""
        found = self.whole.batch(rows)
        assert isinstance(found, ModelBatch)
        return found

    def digest(self) -> str:
        """Of the whole, and how much of it this is."""
        return f"{len(self.costs)} {self.whole.digest()}"


def tune_again(
    model: MultimodalModel,
    train: Sequence[Sample],
    unlabelled: Sequence[Sample],
    validation: Sequence[Sample],
    settings: TrainingConfig,
    context: TuningContext,
    notes: list[str],
    *,
    step: str,
    targets: Tensor,
    again: TrainingConfig | None = None,
) -> LoopResult:
    """Train on `targets` (probabilities [train, labels]), then from the start again on the answers of that model.

    The second training sees `train` with targets and answers mixed, and `unlabelled` with the answers alone. With
    `again` it has settings of its own: more data and softer targets can teach more layers, faster. Where its
    `frozen_layers` differ, all above them learns, whatever else was fixed before.
    """
    everything = [*train, *unlabelled]
    source, held = sources(model, everything, validation, settings, context, notes, step=step)
    held_targets = model.head.encode([s.target for s in validation]) if validation else None
    start = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    first = fit(model, Part(source, len(train)), targets, held, held_targets, settings, context, step=f"{step}-first")
    model.to(context.plan.device)
    mixed = _answers(model, source, settings)
    mixed[: len(train)] = TRUST * mixed[: len(train)] + (1 - TRUST) * targets
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in start:
                parameter.copy_(start[name])
    if again is not None and again.frozen_layers != settings.frozen_layers:
        model.requires_grad_(True)
        said = freeze_lowest(model, again.frozen_layers)
        source, held = sources(model, everything, validation, again, context, said, step=step)
        notes.extend(f"second training: {note}" for note in said)
    result = fit(model, source, mixed, held, held_targets, again or settings, context, step=step)
    notes.append(
        f"trained again on the answers of a first training (validation {first.best:.4f}, then {result.best:.4f}), "
        f"{len(unlabelled):,} samples without a label among them"
    )
    history = [*first.history, *result.history]
    return LoopResult(first.epochs + result.epochs, history, result.best, result.samples_per_second)


@torch.no_grad()
def _answers(model: MultimodalModel, source: Source, settings: TrainingConfig) -> Tensor:
    """The model's probabilities, float32 [examples, labels], on the CPU."""
    model.eval()
    order = sorted(range(len(source.costs)), key=source.costs.__getitem__)
    found: dict[int, Tensor] = {}
    for start in range(0, len(order), 2 * settings.batch_size):
        rows = order[start : start + 2 * settings.batch_size]
        inputs = source.batch(rows).to(model.device)
        assert isinstance(inputs, ModelBatch)
        with in_bfloat16(quick(settings, model.device)):
            logits = model(inputs, keep=inputs.mask).logits.float()
        found |= dict(zip(rows, logits.softmax(dim=-1).cpu(), strict=True))
    return torch.stack([found[row] for row in range(len(order))])
