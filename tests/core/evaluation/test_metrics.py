"""Metrics beside scikit-learn's, on random answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn import metrics as sk

from triptych.evaluation.metrics import (
    average_precision,
    classification_metrics,
    confusion_matrix,
    expected_calibration_error,
    multilabel_metrics,
    regression_metrics,
    retrieval_metrics,
)


@given(st.integers(2, 8), st.integers(1, 60), st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_classification_agrees_with_scikit_learn(labels, samples, seed):
    generator = torch.Generator().manual_seed(seed)
    probabilities = (2 * torch.randn(samples, labels, generator=generator)).double().softmax(dim=1)
    targets = torch.randint(labels, (samples,), generator=generator)
    ours = classification_metrics(probabilities, targets)
    predicted = probabilities.argmax(dim=1)
    assert ours["accuracy"] == pytest.approx(sk.accuracy_score(targets, predicted))
    assert ours["macro_f1"] == pytest.approx(sk.f1_score(targets, predicted, average="macro", zero_division=0))
    assert ours["log_loss"] == pytest.approx(sk.log_loss(targets, probabilities.double(), labels=range(labels)), 1e-4)
    assert ours["low"] <= ours["accuracy"] <= ours["high"]
    if labels > 3:
        expected = sk.top_k_accuracy_score(targets, probabilities, k=3, labels=range(labels))
        assert ours["top_3"] == pytest.approx(expected)
    assert (
        confusion_matrix(predicted, targets, labels).tolist()
        == sk.confusion_matrix(targets, predicted, labels=range(labels)).tolist()
    )


def test_calibration_error_of_known_cases():
    sure = torch.tensor([[1.0, 0.0]] * 4)
    assert expected_calibration_error(sure, torch.tensor([0, 0, 0, 0])) == pytest.approx(0.0)
    assert expected_calibration_error(sure, torch.tensor([0, 0, 1, 1])) == pytest.approx(0.5)
    half = torch.tensor([[0.75, 0.25]] * 4)
    assert expected_calibration_error(half, torch.tensor([0, 0, 0, 1])) == pytest.approx(0.0)


@given(st.integers(2, 5), st.integers(1, 40), st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_multilabel_agrees_with_scikit_learn(labels, samples, seed):
    generator = torch.Generator().manual_seed(seed)
    # few distinct values: ties must be handled as scikit-learn does
    probabilities = torch.randint(11, (samples, labels), generator=generator) / 10
    targets = torch.randint(2, (samples, labels), generator=generator).float()
    ours = multilabel_metrics(probabilities, targets)
    predicted = (probabilities >= 0.5).int().numpy()
    actual = targets.int().numpy()
    assert ours["micro_f1"] == pytest.approx(sk.f1_score(actual, predicted, average="micro", zero_division=0))
    occurring = (actual.sum(axis=0) + predicted.sum(axis=0)) > 0
    if occurring.any():
        each = sk.f1_score(actual, predicted, average=None, zero_division=0)
        assert ours["macro_f1"] == pytest.approx(each[occurring].mean())
    for column in range(labels):
        if actual[:, column].any():
            expected = sk.average_precision_score(actual[:, column], probabilities[:, column])
            assert average_precision(probabilities[:, column], targets[:, column] > 0) == pytest.approx(
                expected, abs=1e-6
            )


def test_regression_agrees_with_scikit_learn():
    generator = torch.Generator().manual_seed(0)
    targets = torch.randn(50, 2, generator=generator)
    values = targets + 0.5 * torch.randn(50, 2, generator=generator)
    values[:10] = values[10:20]  # ties
    ours = regression_metrics(values, targets)
    assert ours["mse"] == pytest.approx(sk.mean_squared_error(targets, values), rel=1e-5)
    assert ours["mae"] == pytest.approx(sk.mean_absolute_error(targets, values), rel=1e-5)
    assert ours["r2"] == pytest.approx(sk.r2_score(targets, values), rel=1e-4)
    ranks = [spearmanr(targets[:, i], values[:, i]).statistic for i in range(2)]
    assert ours["spearman"] == pytest.approx(np.mean(ranks), rel=1e-5)


def test_retrieval_finds_the_own_group_and_never_itself():
    vectors = torch.nn.functional.normalize(torch.tensor([[1.0, 0.1], [1.0, 0.0], [0.0, 1.0], [0.1, 1.0], [-1.0, 0.2]]))
    perfect = retrieval_metrics(vectors, torch.tensor([0, 0, 1, 1, 2]))
    assert perfect["recall_at_1"] == 1.0
    assert perfect["queries"] == 4  # the last is alone in its group
    crossed = retrieval_metrics(vectors[:4], torch.tensor([0, 1, 0, 1]))
    assert crossed["recall_at_1"] == 0.0
    assert crossed["mrr"] < 0.6


def test_nothing_to_measure_is_an_error():
    with pytest.raises(ValueError, match="nothing to measure"):
        classification_metrics(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64))
    with pytest.raises(ValueError, match="no group has two samples"):
        retrieval_metrics(torch.eye(3), torch.arange(3))
