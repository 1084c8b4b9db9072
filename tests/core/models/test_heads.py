"""Heads know their targets."""

from __future__ import annotations

import pytest
import torch

from triptych.errors import DataError, UnknownNameError
from triptych.models.heads import ClassificationHead, EmbeddingHead, MultiLabelHead, RegressionHead, build_head


def test_labels_become_numbers_and_unknown_ones_are_named():
    head = ClassificationHead(4, ["a", "b"])
    assert head.encode(["b", "a", "b"]).tolist() == [1, 0, 1]
    with pytest.raises(DataError, match="label 'c' was not among the training labels: a, b"):
        head.encode(["c"])
    with pytest.raises(DataError, match="was not among"):
        head.encode([["a"]])
    with pytest.raises(ValueError, match="differ"):
        ClassificationHead(4, ["a", "a"])


def test_several_labels_one_label_none():
    head = MultiLabelHead(4, ["billing", "refund"])
    assert head.encode([("billing", "refund"), "refund", ()]).tolist() == [[1, 1], [0, 1], [0, 0]]
    with pytest.raises(DataError, match="'fraud'"):
        head.encode([("billing", "fraud")])


def test_numbers_are_answered_in_their_own_units():
    head = RegressionHead(4, ["price"])
    targets = head.encode([100.0, 300.0])
    head.fit(targets)
    assert head.probabilities(torch.tensor([[-1.0], [1.0]])).flatten().tolist() == pytest.approx([100, 300])
    assert float(head.loss(torch.tensor([[-1.0], [1.0]]), targets)) == pytest.approx(0)
    head.fit(head.encode([5.0]))  # a single value has no spread, and that is no reason for NaN
    assert bool(head.probabilities(torch.zeros(1, 1)).isfinite().all())
    with pytest.raises(DataError, match="not 1 number"):
        head.encode(["cheap"])


def test_equal_targets_are_drawn_together():
    head = EmbeddingHead(2, 2)
    targets = head.encode(["x", "x", "y", "y", "alone"])
    together = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0], [-1.0, -1.0]])
    crossed = together[[0, 2, 1, 3, 4]]
    assert float(head.loss(together, targets)) < float(head.loss(crossed, targets))
    assert float(head.loss(together[4:], targets[4:])) == 0.0
    torch.testing.assert_close(head.probabilities(crossed).norm(dim=1), torch.ones(5))


def test_a_head_comes_back_from_its_settings():
    for head in (
        ClassificationHead(3, ["a", "b"]),
        MultiLabelHead(3, ["a"]),
        RegressionHead(3, ["n"]),
        EmbeddingHead(3, 8),
    ):
        again = build_head(3, head.settings)
        assert type(again) is type(head)
        assert again.settings == head.settings
    with pytest.raises(UnknownNameError, match="Did you mean 'regression'"):
        build_head(3, {"kind": "regresion", "names": ["x"]})


def test_graded_targets_are_met_by_vectors_that_are_as_alike_as_they_are():
    generator = torch.Generator().manual_seed(0)
    head = EmbeddingHead(4, 3, contrast=0.2)
    wanted = torch.randn(6, 3, generator=generator)
    met = wanted.clone().requires_grad_(True)
    best = head.loss(met, wanted)
    best.backward()
    assert met.grad is not None
    assert met.grad.abs().max() < 1e-6
    for _ in range(20):
        assert float(head.loss(torch.randn(6, 3, generator=generator), wanted)) > float(best.detach()) + 0.01


def test_a_sample_whose_graded_target_is_zero_counts_neither_way():
    torch.manual_seed(1)
    head = EmbeddingHead(4, 3)
    targets = torch.randn(5, 6)
    targets[2] = 0
    logits = torch.randn(5, 3, requires_grad=True)
    loss = head.loss(logits, targets)
    loss.backward()
    kept = [0, 1, 3, 4]
    assert logits.grad is not None
    others = head.loss(logits[kept].detach(), targets[kept])
    assert float(loss.detach()) == pytest.approx(float(others))
    assert logits.grad[2].abs().max() == 0


def test_graded_targets_that_say_nothing_cost_nothing():
    logits = torch.randn(3, 2, requires_grad=True)
    loss = EmbeddingHead(4, 2).loss(logits, torch.zeros(3, 5))
    loss.backward()
    assert float(loss.detach()) == 0
    assert logits.grad is not None
    assert torch.equal(logits.grad, torch.zeros(3, 2))
