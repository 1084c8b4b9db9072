"""The content model: likeness to a profile, newest first, also of items that came after the fitting."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.plugins.recommendation.conformance import check
from triptych.errors import BundleError
from triptych_recommendation.codes import Codes
from triptych_recommendation.content.model import Content
from triptych_recommendation.content.profile import event_weights, profiles, unit
from triptych_recommendation.content.settings import ContentSettings
from triptych_recommendation.data.interactions import History, Interactions
from triptych_recommendation.models.base import write_model

ITEMS, DIM = 30, 8


def events(users: int = 60) -> Interactions:
    """Chance, so that every item has been chosen."""
    generator = np.random.default_rng(0)
    user = np.repeat(np.arange(users), 6)
    item = generator.integers(ITEMS, size=len(user))
    return Interactions.of_rows([f"u{u}" for u in range(users)], [f"i{i}" for i in range(ITEMS)], user, item)


def vectors(seed: int = 1) -> np.ndarray:
    """Unit rows, all but the third, which has no content."""
    found = np.random.default_rng(seed).normal(size=(ITEMS, DIM)).astype(np.float32)
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    found[3] = 0
    return found


def fitted(**settings: float) -> Content:
    return Content.fit(events(), ContentSettings(**settings), seed=0, vectors=vectors())


def test_it_keeps_the_promises_of_a_user_model(tmp_path):
    check(fitted(), events(), tmp_path)


def test_what_is_like_the_history_is_best_and_unlike_scores_nothing():
    own = np.zeros((4, 2), dtype=np.float32)
    own[:] = [[1, 0], [0.8, 0.6], [0, 1], [-1, 0]]
    model = Content.fit(Interactions.of(["u"] * 4, list("abcd")), ContentSettings(), seed=0, vectors=own)
    scores = model.scores([History.of([0])])[0]
    np.testing.assert_allclose(scores, [1, 0.8, 0, 0], atol=1e-3)
    assert model.candidates(History.of([0]), 4).tolist() == [0, 1]


def test_vectors_of_any_length_are_taken_by_their_direction():
    longer = Content.fit(events(), ContentSettings(), seed=0, vectors=5 * vectors())
    np.testing.assert_array_equal(longer.vectors, fitted().vectors)


def test_newer_events_count_more_and_old_ones_not_at_all():
    model = fitted(half_life=2, length=4)
    weights = event_weights(History.of([1, 2, 4, 5, 6, 7], weights=[1, 1, 1, 1, 1, 3]), model.settings)
    np.testing.assert_allclose(weights, [0, 0, 2**-1.5, 2**-1, 2**-0.5, 3], rtol=1e-6)


def test_an_item_without_content_scores_nothing_and_says_nothing_of_a_taste():
    model = fitted()
    assert model.scores([History.of([1, 2])])[0, 3] == 0
    assert not model.scores([History.of([3])]).any()
    alone, beside = model.scores([History.of([1, 2]), History.of([1, 2, 3])])
    assert (beside > 0).tolist() == (alone > 0).tolist()


def test_live_vectors_are_scored_as_known_ones_are():
    model, history = fitted(), History.of([1, 2, 5], weights=[1, 2, 1])
    known = model.vectors.astype(np.float32)

    def taste(past: History) -> np.ndarray:
        return unit(profiles([past], lambda rows: known[rows], model.settings))[0]

    query = taste(history)
    assert query.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(query), 1, rtol=1e-5)
    np.testing.assert_allclose(np.maximum(known @ query, 0), model.scores([history])[0], rtol=1e-5, atol=1e-6)
    assert not taste(History.of([3])).any()
    assert not taste(History.of([])).any()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, ITEMS + 3), max_size=12), st.integers(0, ITEMS - 1))
def test_contributions_add_up_and_what_is_left_out_is_missed(rows, asked):
    model, history = fitted(), History.of(rows)
    parts = model.contributions(history, asked)
    score = float(model.score(history, np.array([asked], dtype=np.int32))[0])
    assert max(float(parts.sum()), 0) == pytest.approx(score, abs=1e-4)
    assert not parts[history.items >= ITEMS].any()


def test_vectors_are_half_precision_on_disk_and_must_be_there(tmp_path):
    model = fitted()
    model.save(tmp_path / "model")
    assert Content.load(tmp_path / "model").vectors.dtype == np.float16
    with pytest.raises(ValueError, match="30 items need as many content vectors"):
        Content.fit(events(), ContentSettings(), seed=0)
    with pytest.raises(ValueError, match="not \\(29, 8\\)"):
        Content.fit(events(), ContentSettings(), seed=0, vectors=vectors()[:29])
    broken = vectors()
    broken[4, 2] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        Content.fit(events(), ContentSettings(), seed=0, vectors=broken)


@pytest.mark.parametrize("meta", [{}, {"settings": {"half_life": -1}}, {"settings": {"unknown": 1}}])
def test_settings_that_cannot_be_are_damage(tmp_path, meta):
    write_model(tmp_path, fitted(), meta, {"vectors": fitted().vectors})
    with pytest.raises(BundleError, match="damaged"):
        Content.load(tmp_path)


def test_another_number_of_vectors_is_damage(tmp_path):
    model = fitted()
    write_model(tmp_path, model, {"settings": model.settings.model_dump()}, {"vectors": model.vectors[:7]})
    with pytest.raises(BundleError, match="7 vectors, expected 30"):
        Content.load(tmp_path)


def test_codes_of_the_same_vectors_are_shared_and_know_of_later_items(monkeypatch):
    monkeypatch.setattr("triptych_recommendation.content.model._CODES_FROM", 1)
    alone, sharing = fitted(), fitted()
    rows = np.flatnonzero(sharing.vectors.any(axis=1))
    codes = Codes.build(sharing.vectors, rows, lists=1)
    codes.add(np.array([ITEMS]), vectors()[:1])  # an item that came after the fitting
    other = fitted()
    other.share(np.zeros_like(other.vectors), codes)
    assert other._codes is None, "of other vectors"
    sharing.share(sharing.vectors, codes)
    assert sharing._codes is codes
    history = History.of([0, 5])
    assert sharing.candidates(history, 10).tolist() == alone.candidates(history, 10).tolist()
