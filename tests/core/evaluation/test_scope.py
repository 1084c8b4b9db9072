"""The detector tells strangers from friends, holds its stated rate, and comes back from disk as it was."""

from __future__ import annotations

import math

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from sklearn.metrics import roc_auc_score

from triptych.errors import BundleError
from triptych.evaluation.scope import (
    ScopeDetector,
    Seen,
    accept_threshold,
    auroc,
    reject_threshold,
    scope_metrics,
)

LABELS, DIM = 5, 16


def world(seed=0, per_label=40, spread=0.25):
    """Clusters around `LABELS` centres, and strangers around centres of their own."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.nn.functional.normalize(torch.randn(2 * LABELS, DIM, generator=generator))

    def draw(which, count):
        labels = torch.tensor(which).repeat_interleave(count)
        return centres[labels] + spread * torch.randn(len(labels), DIM, generator=generator), labels

    def seen(vectors):
        return vectors, (6 * vectors @ centres[:LABELS].T).softmax(dim=1)

    known, strange = list(range(LABELS)), list(range(LABELS, 2 * LABELS))
    train, labels = draw(known, per_label)
    return {
        "train": (train, labels),
        "inside": seen(draw(known, per_label)[0]),
        "outside": seen(draw(strange, per_label)[0]),
        "test_inside": seen(draw(known, 100)[0]),
        "test_outside": seen(draw(strange, 100)[0]),
    }


def fitted(data, *, rate=0.05, outside=True):
    detector = ScopeDetector.fit(*data["train"])
    detector.set_threshold(inside=data["inside"], outside=data["outside"] if outside else None, rate=rate)
    return detector


@pytest.mark.parametrize("seed", range(3))
def test_strangers_are_told_apart_better_than_by_probability(seed):
    data = world(seed)
    for outside in (True, False):
        found = scope_metrics(fitted(data, outside=outside), inside=data["test_inside"], outside=data["test_outside"])
        assert found["auroc"] > 0.9
        assert found["auroc"] > found["max_probability_auroc"]
        assert found["in_scope_rejected_at_rate"] <= found["max_probability_in_scope_rejected_at_rate"]


def test_known_strangers_help():
    data = world(7, spread=0.35)
    with_them = scope_metrics(fitted(data), inside=data["test_inside"], outside=data["test_outside"])
    without = scope_metrics(fitted(data, outside=False), inside=data["test_inside"], outside=data["test_outside"])
    assert with_them["auroc"] > without["auroc"]


def test_the_stated_rate_is_held_on_new_messages():
    rates = []
    for seed in range(8):
        data = world(seed, spread=0.35)
        found = scope_metrics(fitted(data, rate=0.1), inside=data["test_inside"], outside=data["test_outside"])
        assert found["stated_false_accept_rate"] == 0.1
        assert found["threshold_basis"] == "out-of-scope"
        rates.append(found["false_accept_rate"])
    assert sum(rate <= 0.1 for rate in rates) >= 6  # of 8, at an assurance of 0.9 and 500 test messages each


def test_without_strangers_the_threshold_is_of_in_scope_messages_and_says_so():
    data = world(1)
    detector = fitted(data, rate=0.1, outside=False)
    assert detector.describe()["basis"] == "in-scope"
    rejected = float((detector.score(*data["test_inside"]) < detector.threshold).mean())
    assert rejected == pytest.approx(0.1, abs=0.05)
    found = scope_metrics(detector, inside=data["test_inside"], outside=data["test_outside"])
    assert found["stated_false_accept_rate"] is None


def test_a_single_known_stranger_is_evidence_but_no_ground_for_a_rate():
    data = world(2)
    detector = ScopeDetector.fit(*data["train"])
    one = tuple(part[:1] for part in data["outside"])
    before = ScopeDetector.fit(*data["train"])
    before.set_threshold(inside=data["inside"], rate=0.05)
    detector.set_threshold(inside=data["inside"], outside=one, rate=0.05)
    assert detector.describe()["basis"] == "in-scope"
    assert detector.score(*one)[0] < before.score(*one)[0]


def test_saved_and_loaded_it_gives_the_same_scores(tmp_path):
    data = world(3)
    detector = fitted(data)
    detector.save(tmp_path)
    again = ScopeDetector.load(tmp_path)
    assert again.settings == detector.settings
    assert np.array_equal(again.score(*data["test_inside"]), detector.score(*data["test_inside"]))


def test_a_damaged_detector_is_refused(tmp_path):
    fitted(world(4)).save(tmp_path)
    (tmp_path / "scope.safetensors").write_bytes(b"nonsense")
    with pytest.raises(BundleError, match="scope detector"):
        ScopeDetector.load(tmp_path)
    with pytest.raises(BundleError):
        ScopeDetector.load(tmp_path / "nowhere")


def test_a_label_without_examples_and_fewer_examples_than_neighbours():
    vectors, labels = torch.eye(4), torch.tensor([0, 0, 0, 1])
    probabilities = torch.tensor([[0.8, 0.1, 0.1], [0.8, 0.1, 0.1], [0.1, 0.1, 0.8]])
    detector = ScopeDetector.fit(vectors, labels, neighbours=10)
    detector.set_threshold(inside=(vectors[:3], probabilities))
    scores = detector.score(vectors[:3], probabilities)
    assert bool(np.isfinite(scores).all())
    assert int(scores.argmin()) == 2  # as sure as the others, of a label that has no example


def test_a_message_is_as_near_alone_as_among_many():
    chance = np.random.default_rng(3)
    vectors, labels = chance.normal(size=(90, 8)), np.repeat([0, 1, 3], 30)
    detector = ScopeDetector.fit(vectors, labels)
    queries, probabilities = chance.normal(size=(60, 8)), np.eye(4)[np.repeat([0, 1, 2, 3], 15)[:60]]
    probabilities[:30] = np.eye(4)[0]  # some labels have many messages, some have few, one has no examples
    together = detector.score(queries, probabilities)
    alone = [detector.score(queries[row : row + 1], probabilities[row : row + 1])[0] for row in range(60)]
    np.testing.assert_allclose(together, alone, rtol=1e-5)
    own = vectors[labels == 3] / np.linalg.norm(vectors[labels == 3], axis=1, keepdims=True)
    nearest = np.sort(own @ (queries[59] / np.linalg.norm(queries[59])))[-3:].mean()
    assert detector._nearness(queries, probabilities)[59] == pytest.approx(nearest, abs=1e-3)
    assert set(detector._nearness(queries, probabilities)[30:45]) == {-1.0}


def test_what_cannot_be_fitted():
    with pytest.raises(ValueError, match="one label for each"):
        ScopeDetector.fit(torch.zeros(3, 2), torch.zeros(2, dtype=torch.int64))
    detector = ScopeDetector.fit(torch.eye(3), torch.arange(3))
    with pytest.raises(ValueError, match="in-scope validation samples"):
        detector.set_threshold(inside=(torch.zeros(0, 3), torch.zeros(0, 3)))


@given(
    st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=200),
    st.sampled_from([0.01, 0.05, 0.1, 0.3]),
    st.sampled_from([0.5, 0.9, 0.99]),
)
@settings(max_examples=100, deadline=None)
def test_no_more_than_the_rate_is_accepted_of_the_scores_it_was_set_on(values, rate, assurance):
    scores = torch.tensor(values)
    threshold, sure = accept_threshold(scores, rate, assurance)
    if threshold is None:
        assert len(values) < 1 / rate
        assert not sure
        return
    accepted = float((scores >= threshold).double().mean())
    assert accepted <= rate + 1e-9
    assert [float(s) >= threshold for s in scores] == (scores >= threshold).tolist()  # in either precision


@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=200), st.sampled_from([0.01, 0.05, 0.1, 0.3]))
@settings(max_examples=100, deadline=None)
def test_no_more_than_the_rate_is_rejected_of_the_scores_it_was_set_on(values, rate):
    threshold = reject_threshold(torch.tensor(values), rate)
    rejected = sum(v < (-math.inf if threshold is None else threshold) for v in values)
    assert rejected <= rate * (len(values) + 1)


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=30),
    st.lists(st.integers(0, 5), min_size=1, max_size=30),
)
@settings(max_examples=60, deadline=None)
def test_auroc_agrees_with_scikit_learn(inside, outside):
    expected = roc_auc_score([1] * len(inside) + [0] * len(outside), inside + outside)
    assert auroc(torch.tensor(inside), torch.tensor(outside)) == pytest.approx(expected)


@pytest.mark.parametrize(("count", "rate"), [(20_000, 0.05), (8_000, 0.1), (1_100, 0.5)])
def test_many_examples_hold_the_rate_as_few_do(count, rate):
    scores = torch.randn(count, generator=torch.Generator().manual_seed(0))
    threshold, sure = accept_threshold(scores, rate, 0.9)
    accepted = float((scores >= threshold).double().mean())
    assert sure
    assert rate - 0.05 < accepted <= rate


def test_siblings_of_an_example_do_not_vouch_for_it():
    generator = torch.Generator().manual_seed(0)
    centre = torch.randn(40, 16, generator=generator)
    inside = Seen(torch.randn(60, 16, generator=generator), torch.full((60, 3), 1 / 3))
    twins = torch.cat([centre, centre + 0.01 * torch.randn(40, 16, generator=generator)])
    outside = Seen(twins, torch.full((80, 3), 1 / 3))
    thresholds = []
    for groups in (None, [str(i % 40) for i in range(80)]):
        detector = ScopeDetector.fit(inside.embeddings, torch.randint(3, (60,), generator=generator.manual_seed(1)))
        detector.set_threshold(inside=inside, outside=outside, groups=groups, rate=0.1)
        thresholds.append(detector.threshold)
    assert thresholds[1] > thresholds[0]
