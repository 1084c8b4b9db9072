"""Metrics of every kind of head, each as a dict of floats ready for JSON.

Every dict has `low` and `high`: the 95 % bootstrap interval of its headline metric (accuracy, micro-F1, mean
squared error, recall at one).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from triptych.evaluation.bootstrap import Array, bootstrap_interval, bootstrap_statistic

_ROWS = 1024  # queries compared at once in `retrieval_metrics`


def classification_metrics(probabilities: Tensor, targets: Tensor) -> dict[str, float]:
    """Probabilities [samples, labels] against int64 [samples].

    `macro_f1` averages over the labels that occur among targets or predictions, `top_K` is there for K below the
    number of labels, `log_loss` is in nats, `ece` the expected calibration error.
    """
    _require(len(targets))
    predicted = probabilities.argmax(dim=1)
    correct = (predicted == targets).double()
    accuracy = bootstrap_interval(correct.numpy())
    matrix = confusion_matrix(predicted, targets, probabilities.shape[1])
    occurring = (matrix.sum(dim=0) + matrix.sum(dim=1)) > 0
    metrics = {
        "accuracy": accuracy.value,
        "low": accuracy.low,
        "high": accuracy.high,
        "macro_f1": float(f1_of_confusion(matrix)[occurring].mean()),
    }
    for k in (3, 5):
        if k < probabilities.shape[1]:
            near = probabilities.topk(k, dim=1).indices == targets.unsqueeze(1)
            metrics[f"top_{k}"] = float(near.any(dim=1).double().mean())
    chosen = probabilities.double().gather(1, targets.unsqueeze(1)).clamp_min(1e-12)
    metrics["log_loss"] = float(-chosen.log().mean())
    metrics["ece"] = expected_calibration_error(probabilities, targets)
    return metrics


def confusion_matrix(predicted: Tensor, targets: Tensor, labels: int) -> Tensor:
    """Int64 [labels, labels]: how often each target (row) was answered with each label (column)."""
    return torch.bincount(targets * labels + predicted, minlength=labels * labels).reshape(labels, labels)


def f1_of_confusion(matrix: Tensor) -> Tensor:
    """F1 of each label, float64 [labels]; zero for a label that is never right."""
    hits = matrix.diagonal().double()
    return 2 * hits / (matrix.sum(dim=0) + matrix.sum(dim=1)).clamp_min(1)


def expected_calibration_error(probabilities: Tensor, targets: Tensor, *, bins: int = 15) -> float:
    """Mean distance between confidence and accuracy over bins of equal width (Guo et al. 2017)."""
    confidence, predicted = probabilities.double().max(dim=1)
    correct = (predicted == targets).double()
    index = (confidence * bins).long().clamp(0, bins - 1)
    gaps = torch.zeros(bins, dtype=torch.float64).index_add_(0, index, correct - confidence)
    return float(gaps.abs().sum() / len(targets))


def multilabel_metrics(probabilities: Tensor, targets: Tensor, *, threshold: float = 0.5) -> dict[str, float]:
    """Probabilities [samples, labels] against zeros and ones of that shape.

    `macro_f1` averages over labels that occur among targets or predictions, `map` (mean average precision) over
    those with at least one positive.
    """
    _require(len(targets))
    predicted, actual = probabilities >= threshold, targets > 0.5
    hits, alarms, misses = predicted & actual, predicted & ~actual, ~predicted & actual
    by_row = torch.stack([x.sum(dim=1) for x in (hits, alarms, misses)], dim=1)
    micro = bootstrap_statistic(by_row.numpy(), _f1_of_means)
    by_label = torch.stack([x.sum(dim=0) for x in (hits, alarms, misses)], dim=1).double().numpy()
    occurring = by_label.sum(axis=1) > 0
    precisions = [average_precision(probabilities[:, i], actual[:, i]) for i in actual.any(dim=0).nonzero().flatten()]
    return {
        "micro_f1": micro.value,
        "low": micro.low,
        "high": micro.high,
        "macro_f1": float(_f1_of_means(by_label[occurring]).mean()) if occurring.any() else 0.0,
        "map": float(np.mean(precisions)) if precisions else 0.0,
        "exact": float((predicted == actual).all(dim=1).double().mean()),
    }


def average_precision(scores: Tensor, positive: Tensor) -> float:
    """Mean precision at each positive [samples], best score first; equal scores count as one step."""
    order = scores.argsort(descending=True, stable=True)
    found = positive[order].double().cumsum(dim=0)
    last_of_tie = torch.ones(len(order), dtype=torch.bool)
    last_of_tie[:-1] = scores[order][1:] != scores[order][:-1]
    place = torch.arange(1, len(order) + 1, dtype=torch.float64)[last_of_tie]
    found = found[last_of_tie]
    gained = torch.diff(found, prepend=torch.zeros(1, dtype=torch.float64))
    return float((gained * found / place).sum() / positive.sum())


def regression_metrics(values: Tensor, targets: Tensor) -> dict[str, float]:
    """Predicted against true numbers, both [samples, outputs]; each metric is the mean over the outputs.

    `r2` is zero for predicting the mean of these targets, negative for worse; `spearman` is the rank correlation.
    """
    _require(len(targets))
    error = (values - targets).double()
    squared = bootstrap_interval(error.square().mean(dim=1).numpy())
    spread = (targets.double() - targets.double().mean(dim=0)).square().sum(dim=0)
    r2 = 1 - error.square().sum(dim=0) / spread.clamp_min(1e-12)
    ranks = [_correlation(_ranks(values[:, i]), _ranks(targets[:, i])) for i in range(values.shape[1])]
    return {
        "mse": squared.value,
        "low": squared.low,
        "high": squared.high,
        "mae": float(error.abs().mean()),
        "r2": float(r2.mean()),
        "spearman": float(np.mean(ranks)),
    }


def retrieval_metrics(vectors: Tensor, groups: Tensor) -> dict[str, float]:
    """Each of the unit `vectors` [samples, dim] searches the others for its own group (int64 [samples]).

    A sample that is alone in its group cannot find anything and does not count; `queries` says how many do.
    """
    ranks: list[Tensor] = []
    for start in range(0, len(vectors), _ROWS):
        rows = torch.arange(start, min(start + _ROWS, len(vectors)))
        similar = vectors[rows] @ vectors.T
        similar[torch.arange(len(rows)), rows] = float("-inf")  # nobody finds himself
        own = groups[rows].unsqueeze(1) == groups.unsqueeze(0)
        own[torch.arange(len(rows)), rows] = False
        best = similar.masked_fill(~own, float("-inf")).max(dim=1).values
        rank = 1 + ((similar >= best.unsqueeze(1)) & ~own).sum(dim=1)  # a tie with a stranger counts against
        ranks.append(rank[own.any(dim=1)])
    found = torch.cat(ranks).double() if ranks else torch.zeros(0, dtype=torch.float64)
    _require(len(found), "no group has two samples")
    first = bootstrap_interval((found <= 1).numpy())
    return {
        "recall_at_1": first.value,
        "low": first.low,
        "high": first.high,
        "recall_at_5": float((found <= 5).double().mean()),
        "mrr": float((1 / found).mean()),
        "queries": float(len(found)),
    }


def _f1_of_means(means: Array) -> Array:
    """Columns hits, false alarms, misses, [rows, 3] to F1 [rows]."""
    hits, wrong = means[:, 0], means[:, 1] + means[:, 2]
    f1: Array = 2 * hits / np.maximum(2 * hits + wrong, 1e-12)
    return f1


def _ranks(values: Tensor) -> Tensor:
    """Float64 [samples]: places from one; equal values share the mean of their places."""
    _, inverse, counts = np.unique(values.numpy(), return_inverse=True, return_counts=True)
    return torch.from_numpy((counts.cumsum() - (counts - 1) / 2)[inverse])


def _correlation(a: Tensor, b: Tensor) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / (a.norm() * b.norm()).clamp_min(1e-12))


def _require(samples: int, reason: str = "no samples") -> None:
    if samples == 0:
        raise ValueError(f"there is nothing to measure: {reason}")
