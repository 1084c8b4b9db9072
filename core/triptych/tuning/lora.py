"""Low-rank adapters in the encoders (Hu et al. 2022, "LoRA"), merged into plain weights afterwards.

The saved model knows nothing of adapters. As in `full`, fusion and head start from frozen features and the outputs of
the lowest layers are computed once.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from triptych.config import TrainingConfig
from triptych.models.multimodal import MultimodalModel
from triptych.tuning.base import TuningContext
from triptych.tuning.full import Full
from triptych.tuning.loop import LoopResult
from triptych.types import Modality, Sample


class Lora(Full):
    """Adapters of rank `training.lora_rank` on every linear layer above `training.frozen_layers`.

    Convolutions without groups are adapted as well. Encoders without pretrained weights are trained as they are.
    """

    name = "lora"

    def tune_encoders(
        self,
        model: MultimodalModel,
        train: Sequence[Sample],
        validation: Sequence[Sample],
        settings: TrainingConfig,
        context: TuningContext,
        notes: list[str],
    ) -> LoopResult:
        """The training of `full`, with adapters in the place of the encoders' own weights."""
        adapted = {
            m: a for m in model.modalities if (a := _adapt(model, m, settings.lora_rank, context.seed)) is not None
        }
        result = super().tune_encoders(model, train, validation, settings, context, notes)
        for m, adapter in adapted.items():
            adapter.merge_and_unload()  # type: ignore[operator]
            notes.append(f"{model.encoder(m).name}: adapters of rank {settings.lora_rank} merged")
        model.requires_grad_(True)
        return result


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
