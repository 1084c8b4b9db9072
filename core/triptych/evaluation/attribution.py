"""What each modality did for an answer: the fusion's weights, and what happens when it is taken away."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from triptych.models.multimodal import Features, MultimodalModel


@dataclass(frozen=True, slots=True, eq=False)
class Attribution:
    """Both views, float [samples, modalities], zero where a modality is absent.

    `weights` are the fusion's own numbers and sum to one. `effects` are measured: by how much the answer loses
    when the modality is left out (negative: the others alone are surer of it). The two may disagree; believe the
    effects.
    """

    weights: Tensor
    effects: Tensor


@torch.inference_mode()
def attribute(model: MultimodalModel, features: Features) -> Attribution:
    """Leave each modality out in turn.

    For classification the effect is the loss of calibrated probability of the predicted label; for several labels
    and for regression the mean absolute change of the outputs; for an embedding one minus the cosine. Where nothing
    would be left, an uninformed answer stands in: equal probabilities, or outputs of zero.
    """
    features = features.to(model.device)
    whole = model.fuse(features)
    before = model.probabilities(whole, features.mask).float()
    effects = torch.zeros_like(features.mask, dtype=torch.float32)
    for column in range(len(model.modalities)):
        mask = features.mask.clone()
        mask[:, column] = False
        rest = Features(features.vectors, mask)
        after = torch.full_like(before, 1 / before.shape[1] if model.head.kind == "classification" else 0.0)
        left = mask.any(dim=1)
        if bool(left.any()):
            kept = rest.rows(left)
            after[left] = model.probabilities(model.fuse(kept), kept.mask).float()
        effects[:, column] = _loss(model.head.kind, before, after) * features.mask[:, column]
    return Attribution(whole.weights.float().cpu(), effects.cpu())


def _loss(kind: str, before: Tensor, after: Tensor) -> Tensor:
    if kind == "classification":
        predicted = before.argmax(dim=1, keepdim=True)
        return (before.gather(1, predicted) - after.gather(1, predicted)).squeeze(1)
    if kind == "embedding":
        return 1 - (before * after).sum(dim=1)
    return (before - after).abs().mean(dim=1)
