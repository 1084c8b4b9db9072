"""Matrix factors: the least squares that they solve, fold-in, contributions, 8 bits."""

from __future__ import annotations

import numpy as np
import pytest

from tests.plugins.recommendation.conformance import check
from tests.plugins.recommendation.walks import walks
from triptych.errors import BundleError
from triptych_recommendation.data.interactions import History, Interactions
from triptych_recommendation.data.splits import leave_one_out
from triptych_recommendation.hindsight.evaluation import evaluate
from triptych_recommendation.models.factors import Factors
from triptych_recommendation.models.popularity import Popularity
from triptych_recommendation.models.settings import FactorSettings, PopularitySettings

SETTINGS = FactorSettings(factors=8, iterations=5)


@pytest.mark.parametrize(
    "variant", [SETTINGS, FactorSettings(factors=6, iterations=3, alpha=20, recency=0.7, last=6, weighted=1, int8=True)]
)
def test_conformance(variant, tmp_path):
    interactions = walks()
    check(Factors.fit(interactions, variant, seed=0), interactions, tmp_path)


def test_the_vector_of_a_history_is_the_weighted_ridge_regression_of_what_was_chosen():
    events = walks(users=60, items=20)
    model = Factors.fit(events, FactorSettings(factors=4, alpha=3, l2=0.5, recency=1.0), seed=0)
    items = model.vectors.astype(np.float64)
    history = History.of([3, 9, 4])
    confidence, chosen = np.ones(20), np.zeros(20)
    confidence[[4, 9, 3]] += 3 / np.arange(1, 4)
    chosen[[3, 4, 9]] = 1
    left = items.T @ (confidence[:, None] * items) + 0.5 * np.eye(4)
    expected = items @ np.linalg.solve(left, items.T @ (confidence * chosen))
    np.testing.assert_allclose(model.scores([history])[0], np.maximum(expected, 0), rtol=1e-3, atol=1e-4)


def test_each_iteration_lowers_the_loss():
    events = walks(users=80, items=24)
    chosen = events.matrix().toarray().astype(np.float64)

    def loss(iterations):
        model = Factors.fit(events, FactorSettings(factors=4, alpha=3, l2=0.5, iterations=iterations), seed=0)
        items = model.vectors.astype(np.float64)
        total = 0.5 * np.sum(items**2)
        for user, history in enumerate(events.histories()):
            taste = model._taste(history).astype(np.float64)
            total += np.sum((1 + 3 * chosen[user]) * (chosen[user] - items @ taste) ** 2) + 0.5 * np.sum(taste**2)
        return total

    losses = [loss(iterations) for iterations in (1, 2, 4, 8)]
    assert losses == sorted(losses, reverse=True)


def test_contributions_sum_up_to_the_score():
    events = walks()
    model = Factors.fit(events, SETTINGS, seed=0)
    for user in range(0, 100, 9):
        history = events.history(user)
        best = model.candidates(history, 1)
        assert model.contributions(history, int(best[0])).sum() == pytest.approx(
            model.score(history, best)[0], rel=1e-3
        )


def test_they_find_what_popularity_cannot_also_with_eight_bits(tmp_path):
    split = leave_one_out(walks(users=300))
    popular = Popularity.fit(split.before_test, PopularitySettings(), seed=0)
    models = [
        Factors.fit(split.before_test, SETTINGS.model_copy(update={"int8": int8}), seed=0) for int8 in (False, True)
    ]
    found = [evaluate(model, split.before_test, split.test).metrics["ndcg@10"] for model in (popular, *models)]
    assert found[1] > 1.5 * found[0]
    assert found[2] > 0.97 * found[1]
    for name, model in zip(("plain", "small"), models, strict=True):
        model.save(tmp_path / name)
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("plain", "small")]
    assert sizes[1] < 0.75 * sizes[0]


def test_the_seed_decides():
    events = walks()
    asked = [events.history(0)]
    first, again, other = (Factors.fit(events, SETTINGS, seed=seed).scores(asked) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_vectors_of_another_number_of_items_are_refused(tmp_path):
    from safetensors.numpy import save_file

    Factors.fit(walks(), SETTINGS, seed=0).save(tmp_path)
    save_file({"vectors": np.zeros((3, 8), np.float32)}, tmp_path / "model.safetensors")
    with pytest.raises(BundleError, match="for 60 items"):
        Factors.load(tmp_path)
    save_file({"other": np.zeros((3, 8), np.float32)}, tmp_path / "model.safetensors")
    with pytest.raises(BundleError, match="damaged"):
        Factors.load(tmp_path)


def test_nothing_happened_yet():
    empty = Interactions.of_rows(["a"], ["x", "y"], [], [])
    assert Factors.fit(empty, SETTINGS, seed=0).scores([History.of([0])]).tolist() == [[0, 0]]
