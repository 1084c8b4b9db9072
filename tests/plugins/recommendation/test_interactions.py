"""Events as sorted arrays: order, histories, matrix, parts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from triptych_recommendation.data.interactions import History, Interactions

EVENT = st.tuples(st.integers(0, 4), st.integers(0, 6), st.integers(0, 5), st.integers(1, 3))


def of_events(events: list[tuple[int, int, int, int]]) -> Interactions:
    columns = np.array(events, dtype=np.int64).reshape(-1, 4).T
    return Interactions.of_rows(list("abcde"), list("0123456"), columns[0], columns[1], columns[2], columns[3])


@given(st.lists(EVENT, max_size=40))
def test_sorting_is_stable_and_loses_nothing(events):
    found = of_events(events)
    expected = sorted(events, key=lambda event: (event[0], event[2]))  # Python's sort is stable too
    arrays = (found.user, found.item, found.time, found.weight)
    assert [tuple(int(value) for value in row) for row in zip(*arrays, strict=True)] == expected
    assert found.starts.tolist() == [sum(event[0] < user for event in events) for user in range(6)]


@given(st.lists(EVENT, max_size=40), st.randoms(use_true_random=False))
def test_a_part_keeps_users_items_and_histories(events, rng):
    whole = of_events(events)
    keep = np.array([rng.random() < 0.5 for _ in events], dtype=bool)
    part = whole.where(keep)
    assert (part.users, part.items) == (whole.users, whole.items)
    assert len(part) == keep.sum()
    for user, history in enumerate(part.histories()):
        mine = keep & (whole.user == user)
        assert history.items.tolist() == whole.item[mine].tolist()
        assert history.times.tolist() == whole.time[mine].tolist()


@given(st.lists(EVENT, max_size=40))
def test_the_matrix_has_a_one_for_each_pair_and_leaves_the_events_alone(events):
    found = of_events(events)
    before = found.item.copy()
    matrix = found.matrix()
    assert matrix.shape == (5, 7)
    assert matrix.dtype == np.float32
    expected = np.zeros((5, 7))
    for user, item, _, _ in events:
        expected[user, item] = 1
    assert (matrix.toarray() == expected).all()
    assert (found.item == before).all(), "sorting the columns of a row must not sort the history"


def test_names_get_rows_in_the_order_of_their_first_appearance():
    found = Interactions.of(["b", "a", "b"], ["y", "y", "x"], [3, 2, 1], [1, 2, 3], ["view", "buy", "view"])
    assert (found.users, found.items, found.kinds) == (("b", "a"), ("y", "x"), ("view", "buy"))
    assert found.item.tolist() == [1, 0, 0]
    assert found.weight.tolist() == [3, 1, 2]
    assert found.kind.tolist() == [0, 0, 1]


def test_dtypes_are_those_promised(interactions):
    kinds = {name: getattr(interactions, name).dtype for name in ("user", "item", "time", "weight", "kind", "starts")}
    assert kinds == {
        "user": np.int32, "item": np.int32, "time": np.int64, "weight": np.float32, "kind": np.int8, "starts": np.int64
    }  # fmt: skip


def test_more_items_stand_behind_those_that_there_are(interactions):
    more = interactions.with_items(["new", "other", "lamp"])
    assert interactions.items == ("lamp", "vase", "rug", "chair", "new")
    assert more.items == ("lamp", "vase", "rug", "chair", "new", "other")
    assert more.matrix().shape == (3, 6)
    assert more.history(1).items.tolist() == interactions.history(1).items.tolist()


def test_nothing_at_all_is_fine():
    empty = Interactions.of([], [])
    assert len(empty) == 0
    assert empty.histories() == []
    assert empty.matrix().shape == (0, 0)
    assert len(empty.with_items(["a"]).items) == 1


def test_a_user_without_events_has_an_empty_history():
    found = Interactions.of_rows(["a", "b", "c"], ["x"], [0, 2], [0, 0])
    assert [len(history) for history in found.histories()] == [1, 0, 1]


@pytest.mark.parametrize(
    ("user", "item", "weights", "word"),
    [
        ([0, 2], [0, 0], None, "user row"),
        ([0, 0], [0, -1], None, "item row"),
        ([0, 0], [0], None, "2 users, 1 items"),
        ([0, 0], [0, 0], [1, 0], "above 0"),
        ([0, 0], [0, 0], [1, np.nan], "above 0"),
        ([0, 0], [0, 0], [1, np.inf], "above 0"),
    ],
)
def test_arrays_that_cannot_be_are_refused(user, item, weights, word):
    with pytest.raises(ValueError, match=word):
        Interactions.of_rows(["a", "b"], ["x"], user, item, weights=weights)


def test_a_history_of_items_alone_is_in_order_and_weighs_one():
    history = History.of([3, 1, 3])
    assert history.items.dtype == np.int32
    assert (np.diff(history.times) > 0).all()
    assert history.weights.tolist() == [1, 1, 1]
    assert len(History.of([])) == 0
    with pytest.raises(ValueError, match="3 items"):
        History.of([1, 2, 3], [1, 2])
