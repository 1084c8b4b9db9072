"""Evaluation: every item is ranked, from what was known before, and what was seen is not asked for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from triptych_recommendation.data.interactions import History, Interactions
from triptych_recommendation.data.splits import Held, leave_one_out
from triptych_recommendation.hindsight.evaluation import LENGTH, evaluate, ranked_scores

ITEMS = 40


class Neighbours:
    """Scores an item by how near its row is to the newest of the history, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []

    def scores(self, histories: Sequence[History]) -> np.ndarray:
        self.asked += [history.items.tolist() for history in histories]
        last = np.array([history.items[-1] if len(history) else 0 for history in histories])
        return (1 / (1 + np.abs(np.arange(ITEMS) - last[:, None]))).astype(np.float32)


def walkers(users: int = 50) -> Interactions:
    """Everybody goes from one item to the next."""
    starts = np.random.default_rng(0).integers(0, ITEMS - 8, users)
    user = np.repeat(np.arange(users), 8)
    item = (starts[:, None] + np.arange(8)).ravel()
    names = [f"u{n}" for n in range(users)], [f"i{n}" for n in range(ITEMS)]
    return Interactions.of_rows(*names, user, item, np.tile(np.arange(8), users))


def test_the_next_step_is_found_when_what_was_seen_is_taken_out():
    split, model = leave_one_out(walkers()), Neighbours()
    found = evaluate(model, split.before_test, split.test, batch=7)
    assert model.asked == [split.before_test.history(int(user)).items.tolist() for user in split.test.users]
    assert found.metrics["recall@10"] == 1
    assert found.lists.shape == (50, LENGTH)
    for row, asked in zip(found.lists, model.asked, strict=True):
        assert not set(asked) & set(row.tolist())
        assert row[0] == asked[-1] + 1
    with_seen = evaluate(Neighbours(), split.before_test, split.test, remove_seen=False)
    assert with_seen.metrics["mrr"] < found.metrics["mrr"]


def test_a_batch_changes_nothing():
    split = leave_one_out(walkers())
    one, all_ = (evaluate(Neighbours(), split.train, split.validation, batch=size) for size in (1, 1_000))
    assert (one.lists == all_.lists).all()
    assert one.metrics == all_.metrics


def test_places_that_a_model_cannot_fill_are_empty():
    class Mute:
        def scores(self, histories: Sequence[History]) -> np.ndarray:
            return np.zeros((len(histories), ITEMS), np.float32)

    split = leave_one_out(walkers())
    found = evaluate(Mute(), split.before_test, split.test)
    assert (found.lists == -1).all()
    assert found.metrics["recall@20"] == 0  # all items tie, so the one held out stands last


def test_what_cannot_be_evaluated_is_refused():
    interactions = walkers()
    nobody = Held(np.empty(0, np.int32), [], np.empty(0, np.int64))
    with pytest.raises(ValueError, match="nothing is held out"):
        evaluate(Neighbours(), interactions, nobody)
    with pytest.raises(ValueError, match="expected"):
        ranked_scores(Neighbours(), [interactions.history(0)], ITEMS + 1)
