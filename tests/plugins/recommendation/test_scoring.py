"""One scale for what the model knows and for what came after it; and the second stage."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.plugins.recommendation import served
from triptych_recommendation.content.profile import profiles
from triptych_recommendation.content.settings import ContentSettings
from triptych_recommendation.data.interactions import History
from triptych_recommendation.data.items import Item
from triptych_recommendation.serving.answers import Context
from triptych_recommendation.serving.lists import exploration_places
from triptych_recommendation.serving.recommender import Recommender
from triptych_recommendation.serving.scoring import Curve

F32 = np.float32


@given(
    st.lists(st.tuples(st.floats(-1, 1, width=32), st.floats(0, 5, width=32)), min_size=1, max_size=60),
    st.lists(st.floats(-1, 1, width=32), min_size=2, max_size=20),
)
def test_the_more_alike_the_higher_and_never_above_what_is_known(
    known: list[tuple[float, float]], asked: list[float]
) -> None:
    cosines, scores = (np.array(side, dtype=F32) for side in zip(*known, strict=True))
    found = Curve(cosines, scores)(np.sort(np.array(asked, dtype=F32)))
    assert (np.diff(found) >= -1e-6).all()
    assert (found >= 0).all()
    assert found.max() <= scores.max() + 1e-5


def test_a_new_item_is_worth_what_known_items_as_like_are_worth() -> None:
    cosines = np.repeat(np.linspace(0.1, 0.9, 9), 10).astype(F32)
    scores = np.tile([0.0, 2.0], 45).astype(F32) * cosines * 10  # their mean is ten times the cosine
    found = Curve(cosines, scores)(np.array([0.3, 0.6], dtype=F32))
    np.testing.assert_allclose(found, [3 * (0.9 + 0.03), 6 * (0.9 + 0.06)], rtol=1e-4)


def test_of_two_new_items_on_one_step_the_more_alike_is_above() -> None:
    curve = Curve(np.full(20, 0.2, F32), np.ones(20, F32))
    low, high = curve(np.array([0.5, 0.6], dtype=F32))
    assert low < high
    assert Curve(np.empty(0, F32), np.empty(0, F32))(np.array([0.5], dtype=F32)).tolist() == [0.0]


def test_the_profile_is_a_mean_in_which_old_events_count_less() -> None:
    vectors = np.eye(3, dtype=F32)
    history = History.of([0, 1], weights=[2.0, 1.0])
    settings = ContentSettings(half_life=10.0)
    found = profiles([history], lambda rows: vectors[rows], settings)[0]
    old = 2 * 0.5 ** (1 / 10)
    np.testing.assert_allclose(found, [old / (old + 1), 1 / (old + 1), 0], rtol=1e-6)
    assert not profiles([History.of([])], lambda rows: vectors[rows], settings).any()


@given(st.integers(1, 50), st.floats(0, 0.5), st.integers(0, 3), st.integers(0, 999))
def test_exploration_never_takes_the_first_free_place(k: int, share: float, pinned: int, seed: int) -> None:
    count = exploration_places(k, share, pinned, random.Random(seed))
    assert 0 <= count <= max(0, k - pinned - 1)
    assert count <= k * share + 1


def test_exploration_holds_its_share_on_average() -> None:
    chance = random.Random(0)
    assert np.mean([exploration_places(7, 0.25, 0, chance) for _ in range(4_000)]) == pytest.approx(1.75, abs=0.05)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return served.write_shop(tmp_path_factory.mktemp("shop"))


def test_new_items_stand_between_known_ones_by_their_likeness(shop: Path) -> None:
    with Recommender.open(shop, encode=served.encode) as recommender:
        recommender.add_items(
            [Item("like", "Horror Night", "A horror game."), Item("unlike", "Farming Night", "A farming game.")]
        )
        where = {"id": {"in": ["like", "unlike", *(f"horror{n:02}" for n in range(15))]}}
        found = recommender.recommend("u0", 17, where=where)
        scores = {one.item.id: one.score for one in found.items}
        reasons = {one.item.id: one.reason for one in found.items}
    assert reasons["like"] == reasons["unlike"] == "content"
    assert max(scores.values()) == pytest.approx(1)
    assert scores["unlike"] < 0.3 < scores["like"] < 1


def test_a_history_of_new_items_alone_is_answered_by_content(shop: Path) -> None:
    with Recommender.open(shop, encode=served.encode) as recommender:
        recommender.add_items([Item("new", "Puzzle Night", "A puzzle game.")])
        found = recommender.recommend(None, 5, context=Context(items=["new"]))
        assert found.policy == "content"
        assert all(one.item.category == "puzzle" for one in found.items)


def test_the_settings_of_content_say_which_events_make_a_profile(shop: Path) -> None:
    scores = []
    for length in (1, 2):
        with Recommender.open(shop, encode=served.encode, taste=ContentSettings(length=length)) as recommender:
            recommender.add_items([Item("old", "", "A puzzle game."), Item("new", "", "A horror game.")])
            where = {"id": {"in": ["puzzle03", "horror03"]}}
            found = recommender.recommend(None, 2, where=where, context=Context(items=["old", "new"]))
        assert found.policy == "content"
        scores.append({one.item.id: one.score for one in found.items})
    latest_alone, both = scores
    assert latest_alone["horror03"] == pytest.approx(1)
    assert both["puzzle03"] > latest_alone["puzzle03"] + 0.2
