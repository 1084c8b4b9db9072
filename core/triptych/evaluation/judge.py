"""The verdict on a model: one call for the metrics of any head, its scope detection included."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from triptych.errors import DataError
from triptych.evaluation.metrics import (
    Array,
    classification_metrics,
    multilabel_metrics,
    regression_metrics,
    retrieval_metrics,
)
from triptych.evaluation.scope import ScopeDetector, Seen, evidence_of, scope_metrics

if TYPE_CHECKING:
    from triptych.models.multimodal import Features, MultimodalModel

HEADLINE = {"classification": "accuracy", "multilabel": "micro_f1", "regression": "mse", "embedding": "recall_at_1"}
"""The metric that choices are made by, for each kind of head; "mse" is better when lower."""
_METRICS = {
    "classification": classification_metrics,
    "multilabel": multilabel_metrics,
    "regression": regression_metrics,
    "embedding": retrieval_metrics,
}


def judge_outputs(
    kind: str,
    labels: Sequence[str],
    seen: Seen,
    targets: Sequence[Any],
    *,
    scope: ScopeDetector | None = None,
    outside: Seen | None = None,
) -> dict[str, Any]:
    """Metrics of what any model said of labelled samples, and of samples outside every label where there are any.

    `kind` and `labels` are the head's; `seen` has its calibrated probabilities (values, of a regression; unit
    vectors, of an embedding) [samples, outputs], `targets` are as samples carry them. Raises `DataError` for a target
    that the head does not know.
    """
    metrics: dict[str, Any] = {"samples": len(targets)}
    metrics |= _METRICS[kind](seen.probabilities, encode_targets(kind, labels, targets))
    if scope is not None and outside is not None and len(outside.embeddings):
        metrics["out_of_scope"] = scope_metrics(scope, inside=seen, outside=outside)
    return metrics


def judge(
    model: MultimodalModel,
    features: Features,
    targets: Sequence[Any],
    *,
    scope: ScopeDetector | None = None,
    out_of_scope: Features | None = None,
) -> dict[str, Any]:
    """`judge_outputs` of a torch model; `features` and `out_of_scope` are its encoders' (`MultimodalModel.features`).

    Raises `DataError` for a target that the head does not know.
    """
    labels = getattr(model.head, "labels", ())
    outside = None if out_of_scope is None or not len(out_of_scope) else _seen(model, out_of_scope)
    return judge_outputs(model.head.kind, labels, _seen(model, features), targets, scope=scope, outside=outside)


def encode_targets(kind: str, labels: Sequence[str], targets: Sequence[Any]) -> Array:
    """Targets as samples carry them to what the metrics compare with, as `Head.encode` does for training.

    Int64 [samples] for one label and for the groups of an embedding, float32 [samples, outputs] otherwise. Raises
    `DataError` for a target that does not fit.
    """
    if kind == "regression":
        try:
            return np.array(targets, dtype=np.float32).reshape(len(targets), -1)
        except (TypeError, ValueError) as error:
            raise DataError(f"a target is not the number(s) that the model predicts: {error}") from error
    if kind == "embedding":
        numbers: dict[Any, int] = {}
        return np.array([numbers.setdefault(target, len(numbers)) for target in targets], dtype=np.int64)
    places = {label: place for place, label in enumerate(labels)}
    if kind == "classification":
        return np.array([_place(places, target) for target in targets], dtype=np.int64)
    encoded = np.zeros((len(targets), len(labels)), dtype=np.float32)
    for row, wanted in enumerate(targets):
        for label in (wanted,) if isinstance(wanted, str) else wanted:
            encoded[row, _place(places, label)] = 1.0
    return encoded


def _place(places: dict[str, int], label: Any) -> int:
    try:
        return places[label]
    except (KeyError, TypeError) as error:
        raise DataError(f"label {label!r} was not among the training labels: {', '.join(places)}") from error


def _seen(model: MultimodalModel, features: Features) -> Seen:
    import torch  # late: what serves an exported model judges by `judge_outputs` alone

    with torch.inference_mode():
        output = model.fuse(features.to(model.device))
        probabilities = model.probabilities(output, features.mask.to(model.device))
        return Seen(output.embedding.float().cpu().numpy(), probabilities.float().cpu().numpy(), evidence_of(features))
