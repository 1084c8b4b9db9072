"""EASE: the closed form against a plain solution, the limits of size, 8 bits."""

from __future__ import annotations

import numpy as np
import pytest

from tests.plugins.recommendation.conformance import check
from tests.plugins.recommendation.walks import walks
from triptych.errors import BundleError
from triptych_recommendation.data.interactions import History, Interactions
from triptych_recommendation.data.splits import leave_one_out
from triptych_recommendation.hindsight.evaluation import evaluate
from triptych_recommendation.models.ease import Ease
from triptych_recommendation.models.popularity import Popularity
from triptych_recommendation.models.settings import EaseSettings, PopularitySettings


@pytest.mark.parametrize(
    "variant",
    [EaseSettings(l2=20), EaseSettings(l2=20, dropout=0.3, active=0.5, recency=0.5, kept=10, most_items=30, int8=True)],
)
def test_conformance(variant, tmp_path):
    interactions = walks()
    check(Ease.fit(interactions, variant, seed=0), interactions, tmp_path)


def test_each_column_is_the_ridge_regression_of_its_item_on_all_others():
    events = walks(users=80, items=24)
    chosen = events.matrix().toarray().astype(np.float64)
    weights = np.zeros((24, 24))
    for item in range(24):
        others = np.arange(24) != item
        x = chosen[:, others]
        weights[others, item] = np.linalg.solve(x.T @ x + 7 * np.eye(23), x.T @ chosen[:, item])
    model = Ease.fit(events, EaseSettings(l2=7), seed=0)
    asked = [events.history(user) for user in range(10)]
    expected = np.stack([weights[np.unique(history.items)].sum(axis=0) for history in asked])
    np.testing.assert_allclose(model.scores(asked), np.maximum(expected, 0), rtol=1e-4, atol=1e-5)


def test_dropout_is_a_ridge_that_grows_with_the_count_of_the_item():
    events = walks(users=80, items=24)
    chosen = events.matrix().toarray().astype(np.float64)
    gram = chosen.T @ chosen
    inverse = np.linalg.inv(gram + np.diag(7 + 0.25 / 0.75 * np.diag(gram)))
    expected = np.maximum(-inverse / np.diag(inverse), 0)
    np.fill_diagonal(expected, 0)
    model = Ease.fit(events, EaseSettings(l2=7, dropout=0.25), seed=0)
    found = model.scores([History.of([row]) for row in range(24)])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_contributions_are_exact_also_where_they_are_negative():
    events = walks()
    model = Ease.fit(events, EaseSettings(l2=5, recency=0.5), seed=0)
    for user in range(0, 100, 9):
        history = events.history(user)
        best = int(model.candidates(history, 1)[0])
        parts = model.contributions(history, best)
        assert parts.sum() == pytest.approx(model.score(history, np.array([best], np.int32))[0], rel=1e-4)
    assert min(model.contributions(events.history(user), 3).min() for user in range(30)) < 0


def test_rare_items_are_left_out_of_a_catalogue_that_is_too_large():
    events = walks()
    counts = Popularity.fit(events, PopularitySettings(), seed=0)
    popular = counts.candidates(History.of([]), 20)
    model = Ease.fit(events, EaseSettings(most_items=20), seed=0)
    scored = np.flatnonzero(model.scores([events.history(user) for user in range(100)]).any(axis=0))
    assert set(scored.tolist()) == set(popular.tolist())
    rare = int(np.setdiff1d(np.arange(60), popular)[0])
    assert not model.scores([History.of([rare])]).any()


def test_only_the_largest_weights_are_kept_and_eight_bits_hardly_change_a_score():
    events = walks(users=300)
    split = leave_one_out(events)
    full = Ease.fit(split.before_test, EaseSettings(l2=20), seed=0)
    small = Ease.fit(split.before_test, EaseSettings(l2=20, kept=20, int8=True), seed=0)
    found = [evaluate(model, split.before_test, split.test).metrics["ndcg@20"] for model in (full, small)]
    assert found[1] > 0.97 * found[0]
    assert (
        found[0]
        > evaluate(
            Popularity.fit(split.before_test, PopularitySettings(), seed=0), split.before_test, split.test
        ).metrics["ndcg@20"]
    )


def test_tensors_that_do_not_fit_together_are_refused(tmp_path):
    from safetensors.numpy import load_file, save_file

    Ease.fit(walks(), EaseSettings(), seed=0).save(tmp_path)
    file = tmp_path / "model.safetensors"
    tensors = load_file(file)
    for change, reason in (
        ({"values": tensors["values"][:-1]}, "do not fit together"),
        ({"columns": tensors["columns"] + np.uint16(60)}, "do not fit together"),
        ({"starts": tensors["starts"][:-1]}, "do not fit together"),
    ):
        save_file(tensors | change, file)
        with pytest.raises(BundleError, match=reason):
            Ease.load(tmp_path)
    save_file({"starts": tensors["starts"]}, file)
    with pytest.raises(BundleError, match="lacks the tensor"):
        Ease.load(tmp_path)


def test_nothing_happened_yet():
    empty = Interactions.of_rows(["a"], ["x", "y"], [], [])
    model = Ease.fit(empty, EaseSettings(), seed=0)
    assert model.scores([History.of([0])]).tolist() == [[0, 0]]
