"""What is held out, and that what is learnt from comes before it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from triptych.errors import DataError
from triptych_recommendation.data.interactions import Interactions
from triptych_recommendation.data.settings import DataSettings
from triptych_recommendation.data.splits import Held, Split, by_time, first_events, leave_one_out, make_split

EVENTS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6), st.integers(0, 30)), min_size=1, max_size=60)


def of_events(events: list[tuple[int, int, int]]) -> Interactions:
    user, item, time = np.array(events, dtype=np.int64).T
    return Interactions.of_rows(list("abcde"), list("0123456"), user, item, time)


def names(interactions: Interactions, held: Held) -> dict[str, list[str]]:
    return {
        interactions.users[user]: [interactions.items[row] for row in items]
        for user, items in zip(held.users, held.targets, strict=True)
    }


def events_of(interactions: Interactions) -> list[tuple[int, ...]]:
    arrays = (interactions.user, interactions.item, interactions.time)
    return [tuple(int(value) for value in row) for row in zip(*arrays, strict=True)]


def check_parts(whole: Interactions, split: Split) -> None:
    """What holds of every split."""
    for known, held in ((split.train, split.validation), (split.before_test, split.test)):
        assert sorted(set(held.users.tolist())) == held.users.tolist()
        assert held.users.dtype == np.int32
        assert held.as_of.dtype == np.int64
        for user, targets, as_of in zip(held.users, held.targets, held.as_of, strict=True):
            assert len(targets) > 0
            assert targets.dtype == np.int32
            assert len(set(targets.tolist())) == len(targets)
            history = known.history(user)
            assert not set(targets.tolist()) & set(history.items.tolist()), "what is asked for must be new"
            assert (history.times <= as_of).all()
            there = whole.history(user)
            assert set(targets.tolist()) <= set(there.items[there.times >= as_of].tolist())
    assert (split.train.users, split.train.items) == (whole.users, whole.items)
    assert set(events_of(split.train)) <= set(events_of(split.before_test)) <= set(events_of(whole))


@given(EVENTS)
def test_leave_one_out_holds_out_the_two_newest_items(events):
    whole = of_events(events)
    distinct = {user: len({item for who, item, _ in events if who == user}) for user in range(5)}
    enough = [user for user, count in distinct.items() if count >= 3]
    assume(enough)
    split = leave_one_out(whole)
    check_parts(whole, split)
    assert split.test.users.tolist() == split.validation.users.tolist() == enough
    for place, user in enumerate(enough):
        order = list(dict.fromkeys(whole.history(user).items.tolist()))  # by first event
        assert split.test.targets[place].tolist() == order[-1:]
        assert split.validation.targets[place].tolist() == order[-2:-1]
        assert set(split.train.history(user).items.tolist()) == set(order[:-2])
        assert set(split.before_test.history(user).items.tolist()) == set(order[:-1])
    for user in set(range(5)) - set(enough):
        assert len(split.train.history(user)) == len(whole.history(user))


@given(EVENTS, st.floats(0.05, 0.4), st.floats(0.05, 0.4))
def test_by_time_learns_from_nothing_that_comes_later(events, validation, test):
    whole = of_events(events)
    try:
        split = by_time(whole, validation, test)
    except DataError:
        return
    check_parts(whole, split)
    assert split.train.time.max() < split.validation.as_of.min()
    assert split.before_test.time.max() < split.test.as_of.min()
    assert len(set(split.test.as_of.tolist())) == 1
    start = int(split.test.as_of[0])
    for user in range(5):
        history = whole.history(user)
        earlier = set(history.items[history.times < start].tolist())
        new = list(dict.fromkeys(i for i in history.items[history.times >= start].tolist() if i not in earlier))
        mine = np.flatnonzero(split.test.users == user)
        assert [t for place in mine for t in split.test.targets[place].tolist()] == new


def test_leave_one_out_of_a_few(interactions):
    split = leave_one_out(interactions)
    assert names(interactions, split.test) == {"ann": ["chair"], "bob": ["vase"]}
    assert names(interactions, split.validation) == {"ann": ["rug"], "bob": ["rug"]}
    assert split.test.as_of.tolist() == [40, 50]
    assert split.train.history(2).items.tolist() == [1], "cat has too few items, so all of hers is learnt from"


def test_what_is_done_again_with_an_old_item_holds_nothing_out():
    again = Interactions.of(["a"] * 6, ["x", "y", "z", "x", "w", "x"], [1, 2, 3, 4, 5, 6])
    split = leave_one_out(again)
    assert names(again, split.test) == {"a": ["w"]}
    assert events_of(split.before_test)[-1] == (0, 0, 4), "x at 4 is before w, x at 6 is after it and in no part"
    assert names(again, split.validation) == {"a": ["z"]}
    assert split.train.time.tolist() == [1, 2]


def test_by_time_keeps_the_shares_where_all_times_differ():
    rng = np.random.default_rng(0)
    many = Interactions.of_rows(
        [str(n) for n in range(50)], [str(n) for n in range(400)],
        rng.integers(0, 50, 1000), rng.integers(0, 400, 1000), rng.permutation(1000),
    )  # fmt: skip
    split = by_time(many, 0.1, 0.2)
    assert len(split.before_test) == 800
    assert len(split.train) == 700


def test_new_users_and_items_may_stand_in_the_test_alone():
    late = Interactions.of(["a", "a", "a", "b", "c"], ["x", "y", "z", "x", "new"], [1, 2, 3, 4, 5])
    split = by_time(late, 0.2, 0.2)
    assert names(late, split.test) == {"c": ["new"]}
    assert names(late, split.validation) == {"b": ["x"]}


@pytest.mark.parametrize("times", [[5, 5, 5, 5], [1, 9, 9, 9]])
def test_one_time_for_all_cannot_be_split_by_time(times):
    same = Interactions.of(list("abcd"), list("wxyz"), times)
    with pytest.raises(DataError, match="leave-one-out"):
        by_time(same, 0.1, 0.1)


def test_too_few_events_say_so(interactions):
    lone = Interactions.of(["a", "b"], ["x", "y"])
    with pytest.raises(DataError, match="no user has 3"):
        leave_one_out(lone)
    with pytest.raises(DataError, match="2 events are too few"):
        by_time(lone, 0.1, 0.1)
    with pytest.raises(ValueError, match="least >= 3"):
        leave_one_out(interactions, least=2)
    with pytest.raises(ValueError, match="both shares"):
        by_time(interactions, 0.5, 0.5)


def test_the_settings_choose(interactions):
    assert make_split(interactions, DataSettings()).method == "leave-one-out"
    assert make_split(interactions, DataSettings(split="time", validation=0.25, test=0.25)).method == "time"
    with pytest.raises(DataError, match="no user has 5"):
        make_split(interactions, DataSettings(least=5))


def test_first_events_are_one_for_each_pair():
    again = Interactions.of(list("abab"), list("xxxy"), [1, 2, 3, 4])
    assert first_events(again).tolist() == [0, 2, 3]
