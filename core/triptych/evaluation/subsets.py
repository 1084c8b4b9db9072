"""What each combination of modalities is worth, on the same samples, and whether all together are worth more."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from triptych.evaluation.bootstrap import bootstrap_interval, paired_bootstrap
from triptych.models.multimodal import Features, MultimodalModel
from triptych.types import Modality

METRIC = {"classification": "accuracy", "multilabel": "f1", "regression": "mse"}
"""What is averaged over samples; for several labels the F1 of each sample, for numbers the squared error."""


@torch.inference_mode()
def subset_table(
    model: MultimodalModel,
    features: Features,
    targets: Tensor,
    features_of: Callable[[tuple[Modality, ...]], Features] | None = None,
) -> dict[str, Any]:
    """Every non-empty subset of the model's modalities, measured on the samples that have all of them.

    `features_of(parts)` gives the features of those samples as if only `parts` had been sent. It is needed where one
    modality is read out of another (OCR, speech): masking would leave the picture's words in the text. Without it,
    the other modalities are masked.

    `targets` are as the head encodes them. Returns `rows` (parts, samples, the metric of `METRIC` with its 95 %
    interval `low` and `high`, mean calibrated `confidence`), `best_single`, `difference` (full input minus best
    single modality, positive is better, paired bootstrap) and a `verdict` in words. The best single modality is
    picked on these very samples, which can only make it look better: a gain is not claimed lightly. Raises
    `ValueError` for an embedding head.
    """
    if model.head.kind not in METRIC:
        raise ValueError(f"a {model.head.kind} head has no metric that is a mean over samples")
    complete = features.mask.all(dim=1)
    if not bool(complete.any()):
        verdict = "no sample has every modality, so the subsets cannot be compared"
        return {"rows": [], "best_single": None, "difference": None, "verdict": verdict}
    features, targets = features.rows(complete).to(model.device), targets[complete].cpu()
    metric, better = METRIC[model.head.kind], -1.0 if model.head.kind == "regression" else 1.0
    rows: list[dict[str, Any]] = []
    scores: dict[tuple[Modality, ...], Tensor] = {}
    for size in range(1, len(model.modalities) + 1):
        for parts in combinations(model.modalities, size):
            some = (features_of(parts) if features_of else features.only(parts)).to(model.device)
            probabilities = model.probabilities(model.fuse(some), some.mask).double().cpu()
            scores[parts] = _scores(model.head.kind, probabilities, targets)
            interval = bootstrap_interval(scores[parts].numpy())
            row = {"parts": " + ".join(parts), "samples": len(targets), metric: interval.value}
            row |= {"low": interval.low, "high": interval.high}
            rows.append(row | _confidence(model.head.kind, probabilities))
    single = max(((m,) for m in model.modalities), key=lambda parts: better * float(scores[parts].mean()))
    difference = paired_bootstrap(better * scores[tuple(model.modalities)].numpy(), better * scores[single].numpy())
    if len(model.modalities) == 1:
        verdict = "one modality: nothing to compare"
    else:
        verdict = _verdict(metric, single[0], difference.value, difference.low, difference.high)
    return {
        "rows": rows,
        "best_single": single[0],
        "difference": {"value": difference.value, "low": difference.low, "high": difference.high},
        "verdict": verdict,
    }


def _scores(kind: str, probabilities: Tensor, targets: Tensor) -> Tensor:
    """Float64 [samples]: what `METRIC` is the mean of."""
    if kind == "classification":
        return (probabilities.argmax(dim=1) == targets).double()
    if kind == "multilabel":
        predicted, actual = probabilities >= 0.5, targets > 0.5
        sizes = (predicted.sum(dim=1) + actual.sum(dim=1)).double()
        hits = (predicted & actual).sum(dim=1).double()
        return torch.where(sizes > 0, 2 * hits / sizes.clamp_min(1), 1.0)  # nothing there, nothing said: right
    return (probabilities - targets.double()).square().mean(dim=1)


def _confidence(kind: str, probabilities: Tensor) -> dict[str, float]:
    if kind == "classification":
        return {"confidence": float(probabilities.max(dim=1).values.mean())}
    if kind == "multilabel":
        return {"confidence": float(torch.maximum(probabilities, 1 - probabilities).mean())}
    return {}


def _verdict(metric: str, single: Modality, value: float, low: float, high: float) -> str:
    measured = f"{value:+.4f} {metric} against {single} alone, 95 % interval {low:+.4f} to {high:+.4f}"
    if low > 0:
        return f"all modalities together are better than any single one: {measured}"
    if high < 0:
        return f"no gain: all modalities together are worse than the best single one: {measured}"
    return f"no gain that can be told from chance: {measured}"
