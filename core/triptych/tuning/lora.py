"""Low-rank adapters in the encoders (Hu et al. 2022, "LoRA"), merged into plain weights afterwards.

The saved model knows nothing of adapters. As in `full`, fusion and head start from frozen features and the outputs of
the lowest layers are computed once.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from torch import nn

from triptych.config import TrainingConfig
from triptych.models.multimodal import MultimodalModel
from triptych.tuning.base import Strategy, TuningContext, TuningReport
from triptych.tuning.deep import disable_dropout, freeze_lowest, tune_encoders
from triptych.tuning.frozen import Frozen
from triptych.tuning.lexical import add_lexical, remove_lexical
from triptych.types import Modality, Sample


class Lora(Strategy):
    """Adapters of rank `training.lora_rank` on every linear layer above `training.frozen_layers`.

    Convolutions without groups are adapted as well. Encoders without pretrained weights are trained as they are.
    """

    name = "lora"

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
        adapted = {
            m: a for m in model.modalities if (a := _adapt(model, m, settings.lora_rank, context.seed)) is not None
        }
        result = tune_encoders(model, train, validation, settings, context, notes, step=self.name)
        for m, adapter in adapted.items():
            adapter.merge_and_unload()  # type: ignore[operator]
            notes.append(f"{model.encoder(m).name}: adapters of rank {settings.lora_rank} merged")
        model.requires_grad_(True)
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


def _adapt(model: MultimodalModel, modality: Modality, rank: int, seed: int) -> nn.Module | None:
    """Put adapters into one encoder's backbone, in place; None where nothing in it can carry one."""
    import torch
    from peft import LoraConfig, get_peft_model

    encoder = model.encoder(modality)
    if not encoder.pretrained:
        return None
    targets = [
        name
        for name, module in encoder.backbone.named_modules()
        if name
        and (isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.groups == 1))
        and any(p.requires_grad for p in module.parameters())
    ]
    if not targets:
        return None
    torch.manual_seed(seed)  # the adapters' starting values
    adapter: nn.Module = get_peft_model(
        encoder.backbone, LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules=targets)
    )
    return adapter
