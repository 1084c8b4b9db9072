"""The verdict on a model: one call for the metrics of any head, its scope detection included."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from triptych.evaluation.metrics import (
    classification_metrics,
    multilabel_metrics,
    regression_metrics,
    retrieval_metrics,
)
from triptych.evaluation.scope import ScopeDetector, Seen, evidence_of, scope_metrics
from triptych.models.multimodal import Features, MultimodalModel

HEADLINE = {"classification": "accuracy", "multilabel": "micro_f1", "regression": "mse", "embedding": "recall_at_1"}
"""The metric that choices are made by, for each kind of head; "mse" is better when lower."""


@torch.inference_mode()
def judge(
    model: MultimodalModel,
    features: Features,
    targets: Sequence[Any],
    *,
    scope: ScopeDetector | None = None,
    out_of_scope: Features | None = None,
) -> dict[str, Any]:
    """Metrics of a model on labelled samples, and on samples outside every label where there are any.

    `features` and `out_of_scope` are encoder outputs (`MultimodalModel.features`); `targets` are as samples carry
    them. Raises `DataError` for a target that the head does not know.
    """
    output = model.fuse(features.to(model.device))
    probabilities = model.probabilities(output, features.mask.to(model.device)).float().cpu()
    encoded = model.head.encode(targets)
    metrics: dict[str, Any] = {"samples": len(targets)}
    if model.head.kind == "classification":
        metrics |= classification_metrics(probabilities, encoded)
    elif model.head.kind == "multilabel":
        metrics |= multilabel_metrics(probabilities, encoded)
    elif model.head.kind == "regression":
        metrics |= regression_metrics(probabilities, encoded)
    else:
        metrics |= retrieval_metrics(probabilities, encoded)
    if scope is not None and out_of_scope is not None and len(out_of_scope):
        outside = model.fuse(out_of_scope.to(model.device))
        outside_probabilities = model.probabilities(outside, out_of_scope.mask.to(model.device)).float().cpu()
        metrics["out_of_scope"] = scope_metrics(
            scope,
            inside=Seen(output.embedding.float().cpu(), probabilities, evidence_of(features)),
            outside=Seen(outside.embedding.float().cpu(), outside_probabilities, evidence_of(out_of_scope)),
        )
    return metrics
