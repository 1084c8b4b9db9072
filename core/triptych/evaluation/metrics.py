"""Metrics of every kind of head, each as a dict of floats ready for JSON.

Every dict has `low` and `high`: the 95 % bootstrap interval of its headline metric (accuracy, micro-F1, mean
squared error, recall at one). What goes in are arrays, or tensors on the CPU.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from triptych.evaluation.bootstrap import bootstrap_interval, bootstrap_statistic

Array = np.ndarray[Any, Any]

_ROWS = 1024  # queries compared at once in `retrieval_metrics`


def classification_metrics(probabilities: Any, targets: Any) -> dict[str, float]:
    """Probabilities [samples, labels] against int64 [samples].

    `macro_f1` averages over the labels that occur among targets or predictions, `top_K` is there for K below the
    number of labels, `log_loss` is in nats, `ece` the expected calibration error.
    """
    probabilities, targets = np.asarray(probabilities), np.asarray(targets)
    _require(len(targets))
    predicted = probabilities.argmax(axis=1)
    accuracy = bootstrap_interval(predicted == targets)
    matrix = confusion_matrix(predicted, targets, probabilities.shape[1])
    occurring = (matrix.sum(axis=0) + matrix.sum(axis=1)) > 0
    metrics = {
        "accuracy": accuracy.value,
        "low": accuracy.low,
        "high": accuracy.high,
        "macro_f1": float(f1_of_confusion(matrix)[occurring].mean()),
    }
    for k in (3, 5):
        if k < probabilities.shape[1]:
            near = np.argpartition(-probabilities, k - 1, axis=1)[:, :k] == targets[:, None]
            metrics[f"top_{k}"] = float(near.any(axis=1).mean())
    chosen = np.take_along_axis(probabilities, targets[:, None], axis=1).astype(np.float64)
    metrics["log_loss"] = float(-np.log(np.maximum(chosen, 1e-12)).mean())
    metrics["ece"] = expected_calibration_error(probabilities, targets)
    return metrics


def confusion_matrix(predicted: Any, targets: Any, labels: int) -> Array:
    """Int64 [labels, labels]: how often each target (row) was answered with each label (column)."""
    cells = np.asarray(targets) * labels + np.asarray(predicted)
    return np.bincount(cells, minlength=labels * labels).reshape(labels, labels)


def f1_of_confusion(matrix: Array) -> Array:
    """F1 of each label, float64 [labels]; zero for a label that is never right."""
    f1: Array = 2 * matrix.diagonal() / np.maximum(matrix.sum(axis=0) + matrix.sum(axis=1), 1)
    return f1


def expected_calibration_error(probabilities: Any, targets: Any, *, bins: int = 15) -> float:
    """Mean distance between confidence and accuracy over bins of equal width (Guo et al. 2017)."""
    probabilities = np.asarray(probabilities, dtype=np.float64)
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == np.asarray(targets)
    index = np.clip((confidence * bins).astype(np.int64), 0, bins - 1)
    gaps = np.bincount(index, weights=correct - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(probabilities))


def multilabel_metrics(probabilities: Any, targets: Any, *, threshold: float = 0.5) -> dict[str, float]:
    """Probabilities [samples, labels] against zeros and ones of that shape.

    `macro_f1` averages over labels that occur among targets or predictions, `map` (mean average precision) over
    those with at least one positive.
    """
    probabilities, targets = np.asarray(probabilities), np.asarray(targets)
    _require(len(targets))
    predicted, actual = probabilities >= threshold, targets > 0.5
    cases = (predicted & actual, predicted & ~actual, ~predicted & actual)  # hits, false alarms, misses
    micro = bootstrap_statistic(np.stack([case.sum(axis=1) for case in cases], axis=1), _f1_of_means)
    by_label = np.stack([case.sum(axis=0) for case in cases], axis=1).astype(np.float64)
    occurring = by_label.sum(axis=1) > 0
    precisions = [average_precision(probabilities[:, i], actual[:, i]) for i in np.flatnonzero(actual.any(axis=0))]
    return {
        "micro_f1": micro.value,
        "low": micro.low,
        "high": micro.high,
        "macro_f1": float(_f1_of_means(by_label[occurring]).mean()) if occurring.any() else 0.0,
        "map": float(np.mean(precisions)) if precisions else 0.0,
        "exact": float((predicted == actual).all(axis=1).mean()),
    }


def average_precision(scores: Any, positive: Any) -> float:
    """Mean precision at each positive [samples], best score first; equal scores count as one step."""
    scores, positive = np.asarray(scores), np.asarray(positive)
    order = np.argsort(-scores, kind="stable")
    last_of_tie = np.append(scores[order][1:] != scores[order][:-1], True)
    found = np.cumsum(positive[order])[last_of_tie]
    place = np.arange(1, len(order) + 1)[last_of_tie]
    return float((np.diff(found, prepend=0) * found / place).sum() / positive.sum())


def regression_metrics(values: Any, targets: Any) -> dict[str, float]:
    """Predicted against true numbers, both [samples, outputs]; each metric is the mean over the outputs.

    `r2` is zero for predicting the mean of these targets, negative for worse; `spearman` is the rank correlation.
    """
    values, targets = np.asarray(values, dtype=np.float64), np.asarray(targets, dtype=np.float64)
    _require(len(targets))
    error = values - targets
    squared = bootstrap_interval(np.square(error).mean(axis=1))
    spread = np.square(targets - targets.mean(axis=0)).sum(axis=0)
    r2 = 1 - np.square(error).sum(axis=0) / np.maximum(spread, 1e-12)
    ranks = [_correlation(_ranks(values[:, i]), _ranks(targets[:, i])) for i in range(values.shape[1])]
    return {
        "mse": squared.value,
        "low": squared.low,
        "high": squared.high,
        "mae": float(np.abs(error).mean()),
        "r2": float(r2.mean()),
        "spearman": float(np.mean(ranks)),
    }


def retrieval_metrics(vectors: Any, groups: Any) -> dict[str, float]:
    """Each of the unit `vectors` [samples, dim] searches the others for its own group (int64 [samples]).

    A sample that is alone in its group cannot find anything and does not count; `queries` says how many do.
    """
    vectors, groups = np.asarray(vectors), np.asarray(groups)
    ranks: list[Array] = []
    for start in range(0, len(vectors), _ROWS):
        rows = np.arange(start, min(start + _ROWS, len(vectors)))
        similar = vectors[rows] @ vectors.T
        similar[rows - start, rows] = -np.inf  # nobody finds himself
        own = groups[rows, None] == groups
        own[rows - start, rows] = False
        best = np.where(own, similar, -np.inf).max(axis=1, keepdims=True)
        rank = 1 + ((similar >= best) & ~own).sum(axis=1)  # a tie with a stranger counts against
        ranks.append(rank[own.any(axis=1)])
    found = np.concatenate(ranks) if ranks else np.zeros(0)
    _require(len(found), "no group has two samples")
    first = bootstrap_interval(found <= 1)
    return {
        "recall_at_1": first.value,
        "low": first.low,
        "high": first.high,
        "recall_at_5": float((found <= 5).mean()),
        "mrr": float((1 / found).mean()),
        "queries": float(len(found)),
    }


def _f1_of_means(means: Array) -> Array:
    """Columns hits, false alarms, misses, [rows, 3] to F1 [rows]."""
    hits, wrong = means[:, 0], means[:, 1] + means[:, 2]
    f1: Array = 2 * hits / np.maximum(2 * hits + wrong, 1e-12)
    return f1


def _ranks(values: Array) -> Array:
    """Float64 [samples]: places from one; equal values share the mean of their places."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Array = (counts.cumsum() - (counts - 1) / 2)[inverse]
    return ranks


def _correlation(a: Array, b: Array) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-12))


def _require(samples: int, reason: str = "no samples") -> None:
    if samples == 0:
        raise ValueError(f"there is nothing to measure: {reason}")
