"""The one number by which steps of a chain are compared."""

from __future__ import annotations

import torch
from torch import Tensor

from triptych.evaluation.judge import HEADLINE
from triptych.evaluation.metrics import multilabel_metrics, retrieval_metrics
from triptych.models.multimodal import Features, MultimodalModel


@torch.inference_mode()
def quality(model: MultimodalModel, features: Features, targets: Tensor) -> float:
    """The headline metric of the model's head, higher is better: a mean squared error is negated.

    `features` are the model's own encoder vectors, `targets` as `model.head.encode` gives them.
    """
    output = model.fuse(features.to(model.device))
    answers = model.probabilities(output, features.mask.to(model.device)).float().cpu()
    if model.head.kind == "classification":
        return float((answers.argmax(dim=1) == targets).double().mean())
    if model.head.kind == "regression":
        return -float((answers - targets).double().square().mean())
    metrics = (multilabel_metrics if model.head.kind == "multilabel" else retrieval_metrics)(answers, targets)
    return metrics[HEADLINE[model.head.kind]]
