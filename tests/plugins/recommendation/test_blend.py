"""The blend: comparable features, weights that learn who is right, shares of a score, buckets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests.plugins.recommendation.conformance import check, histories
from tests.plugins.recommendation.walks import walks
from triptych.errors import BundleError
from triptych_recommendation.data.interactions import History
from triptych_recommendation.data.splits import leave_one_out
from triptych_recommendation.hindsight.evaluation import evaluate
from triptych_recommendation.models.blend import Blend
from triptych_recommendation.models.blending import Mixture, collect, features, learn, scale
from triptych_recommendation.models.ease import Ease
from triptych_recommendation.models.neighbours import Neighbours
from triptych_recommendation.models.popularity import Popularity
from triptych_recommendation.models.settings import (
    BlendSettings,
    EaseSettings,
    ModelSettings,
    NeighbourSettings,
    PopularitySettings,
)

SETTINGS = ModelSettings(
    candidates=["popularity", "neighbours", "ease"],
    neighbours=NeighbourSettings(window=3, recency=1.0),
    ease=EaseSettings(l2=20),
    blend=BlendSettings(depth=10, buckets=[8], least_users=20),
)
SCORES = arrays(np.float32, st.integers(1, 30), elements=st.floats(0, 1000, width=32))


@pytest.fixture(scope="module")
def events():
    return walks(users=300)


@pytest.fixture(scope="module")
def blend(events):
    return Blend.fit(events, SETTINGS, seed=0)


@pytest.mark.parametrize("weights", [[1, 2, 3, 0.5, 0, 1], [0, 0, 2, 0, 1, 3]])
def test_conformance(events, weights, tmp_path):
    parts = [
        Popularity.fit(events, PopularitySettings(), seed=0),
        Neighbours.fit(events, SETTINGS.neighbours, seed=0),
        Ease.fit(events, EaseSettings(l2=20, int8=True, kept=30), seed=0),
    ]
    mixture = Mixture(10, (3, 8), np.array([weights, weights[::-1], weights], np.float32))
    check(Blend(parts, mixture), events, tmp_path)


def test_conformance_of_a_learnt_one(events, blend, tmp_path):
    check(blend, events, tmp_path)


def test_who_has_no_history_is_answered_by_popularity(events, blend):
    popular = Popularity.fit(events, PopularitySettings(), seed=0)
    assert blend.candidates(History.of([]), 10).tolist() == popular.candidates(History.of([]), 10).tolist()


@settings(deadline=None, max_examples=50)
@given(SCORES, st.integers(1, 10), st.sampled_from([0.001, 1.0, 1000.0]))
def test_features_keep_the_order_and_do_not_know_the_unit(scores, depth, unit):
    def measured(scores):
        return features(scores, *(part[0] for part in scale(scores[None], [History.of([])], depth)))

    found, other = measured(scores), measured(scores * np.float32(unit))
    order = np.argsort(scores)
    for feature, same in zip(found, other, strict=True):
        assert np.isfinite(feature).all()
        assert (feature >= 0).all()
        assert (np.diff(feature[order]) >= 0).all()
        assert feature.max() == pytest.approx(1 if scores.any() else 0)
        if scores.max() > 1e-3:
            np.testing.assert_allclose(feature, same, rtol=1e-3, atol=1e-4)


def test_what_was_seen_is_no_measure():
    top, floor = scale(np.array([[9, 4, 2, 1, 3]], np.float32), [History.of([0, 77])], 3)
    assert (top[0, 0], floor[0, 0]) == (4, 2)


def test_it_learns_which_part_is_right(events):
    split = leave_one_out(events)
    popular = Popularity.fit(split.train, PopularitySettings(), seed=0)
    right = Neighbours.fit(split.train, SETTINGS.neighbours, seed=0)
    mixture = learn(collect([popular, right], split.train, split.validation, 10), BlendSettings(buckets=[]))
    of_popular, of_right = mixture.of(History.of([0]))
    assert of_right.sum() > 3 * of_popular.sum()
    assert (mixture.weights >= 0).all()
    found = evaluate(Blend([popular, right], mixture), split.train, split.validation).metrics["ndcg@10"]
    assert found > evaluate(popular, split.train, split.validation).metrics["ndcg@10"]
    assert found > 0.97 * evaluate(right, split.train, split.validation).metrics["ndcg@10"]


def test_a_blend_of_different_views_is_better_than_its_parts(events, blend):
    split = leave_one_out(walks(users=300, seed=1))
    parts = [type(part).fit(split.train, getattr(SETTINGS, part.name), seed=0) for part in blend.parts]
    mixture = learn(collect(parts, split.train, split.validation, 20), SETTINGS.blend)
    found = evaluate(Blend(parts, mixture), split.train, split.test).metrics["ndcg@10"]
    single = [evaluate(part, split.train, split.test).metrics["ndcg@10"] for part in parts]
    assert found >= 0.98 * max(single)


def test_a_bucket_has_weights_of_its_own_where_it_has_enough_users(events):
    split = leave_one_out(events)
    parts = [Popularity.fit(split.train, PopularitySettings(), seed=0), Ease.fit(split.train, SETTINGS.ease, seed=0)]
    lessons = collect(parts, split.train, split.validation, 10)
    mixture = learn(lessons, BlendSettings(buckets=[8], least_users=50))
    assert mixture.bounds == (8,)
    assert not np.array_equal(mixture.weights[0], mixture.weights[1])
    assert np.array_equal(mixture.of(History.of(range(8))).ravel(), mixture.weights[0])
    assert np.array_equal(mixture.of(History.of(range(9))).ravel(), mixture.weights[1])
    same = learn(lessons, BlendSettings(buckets=[8], least_users=5_000))
    assert np.array_equal(same.weights[0], same.weights[1])


def test_without_any_lesson_the_parts_weigh_the_same(events):
    split = leave_one_out(events)
    part = Popularity.fit(split.train, PopularitySettings(), seed=0)
    lessons = collect([part], split.train, split.validation, 10)
    lessons = lessons.only(np.zeros(len(lessons.lengths), bool))
    assert learn(lessons, BlendSettings(buckets=[])).weights.tolist() == [[1, 1]]


def test_the_score_is_the_sum_of_the_shares_of_those_who_can_tell(events):
    near, linear = Neighbours.fit(events, NeighbourSettings(), seed=0), Ease.fit(events, SETTINGS.ease, seed=0)
    popular = Popularity.fit(events, PopularitySettings(), seed=0)
    even = np.ones((1, 4), np.float32)
    telling, mixed = Blend([near, linear], Mixture(10, (), even)), Blend([near, popular], Mixture(10, (), even))
    for history in histories(events)[:8]:
        best = telling.candidates(history, 1)
        parts = telling.contributions(history, int(best[0]))
        assert parts.sum() == pytest.approx(telling.score(history, best)[0], rel=1e-4)
        assert 0 < mixed.contributions(history, int(best[0])).sum() < mixed.score(history, best)[0]
    alone = Blend([popular], Mixture(10, (), even[:, :2]))
    assert alone.contributions(events.history(0), 3) is None


def test_a_part_without_weight_is_left_out(events):
    near, linear = Neighbours.fit(events, NeighbourSettings(), seed=0), Ease.fit(events, EaseSettings(), seed=0)
    blend = Blend([linear, near], Mixture(10, (), np.array([[0, 0, 1, 2]], np.float32)))
    assert [part.name for part in blend.parts] == ["neighbours"]
    assert blend.worth() == {"neighbours": [[1, 2]]}
    history = events.history(4)
    assert blend.candidates(history, 9).tolist() == near.candidates(history, 9).tolist()


def test_weights_that_do_not_fit_the_parts_are_refused(events, blend, tmp_path):
    from safetensors.numpy import save_file

    blend.save(tmp_path)
    save_file({"weights": np.ones((1, 3), np.float32)}, tmp_path / "model.safetensors")
    with pytest.raises(BundleError, match="do not fit its parts"):
        Blend.load(tmp_path)
    save_file({"other": np.ones((1, 3), np.float32)}, tmp_path / "model.safetensors")
    with pytest.raises(BundleError, match="damaged blend"):
        Blend.load(tmp_path)
