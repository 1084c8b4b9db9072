"""A clean split is silent; each way to give the answer away is told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from triptych.errors import DataError
from triptych_recommendation.data.interactions import Interactions
from triptych_recommendation.data.leakage import check
from triptych_recommendation.data.splits import Held, Split, by_time, leave_one_out

EVENTS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6), st.integers(0, 30)), min_size=3, max_size=60)


def timeline() -> Interactions:
    """Four people who choose from eight items in turn, all at different times."""
    users, items = np.arange(32) % 4, np.arange(32) // 4
    return Interactions.of_rows(list("abcd"), [f"i{n}" for n in range(8)], users, (items + users) % 8, np.arange(32))


def told(split: Split, word: str) -> list[str]:
    return [warning for warning in check(split) if word in warning]


def test_a_split_by_time_of_known_users_and_items_is_silent():
    assert check(by_time(timeline(), 0.15, 0.2)) == []


def test_leave_one_out_says_that_it_trains_on_the_future():
    users = ["old"] * 3 + ["young"] * 7
    items = ["a", "b", "c", "a", "b", "c", "d", "e", "f", "g"]
    (warning,) = told(leave_one_out(Interactions.of(users, items, range(10))), "newer")
    # 8 events are learnt from; 6 of them are newer than what is asked of the first user, none for the second
    assert warning.startswith("on average 38% of the events"), warning


def test_leave_one_out_of_one_user_has_no_future_to_train_on():
    assert check(leave_one_out(Interactions.of(["a"] * 4, list("wxyz")))) == [
        "1 items of the validation have no event in what is learnt from",
        "1 items of the test have no event in what is learnt from",
    ]


def test_an_answer_in_the_training_is_told():
    split = by_time(timeline(), 0.2, 0.2)
    leaky = replace(split, before_test=timeline())
    (seen,) = told(leaky, "stand with the same user")
    assert seen.startswith(f"{sum(len(t) for t in split.test.targets)} items held out for the test")
    assert told(leaky, "later than what the test asks")
    assert not told(leaky, "later than what the validation asks")


def test_later_events_with_other_items_are_told():
    whole = timeline()
    split = leave_one_out(whole)
    early = Held(split.test.users, split.test.targets, split.test.as_of - 9)
    (warning,) = told(replace(split, test=early), "later than what the test asks of the same user")
    assert warning.startswith("8 events"), "each of four has two events in the last nine moments but the one asked for"


def test_events_of_the_very_time_are_told():
    tied = Interactions.of(["a"] * 4, list("wxyz"), [1, 2, 3, 3])
    (warning,) = told(leave_one_out(tied), "very time")
    assert warning.startswith("1 events")


def test_users_and_items_of_the_test_alone_are_counted():
    late = Interactions.of(["a", "a", "a", "b", "c"], ["x", "y", "z", "x", "new"], [1, 2, 3, 4, 5])
    warnings = check(by_time(late, 0.2, 0.2))
    assert "1 users of the test have no event in what is learnt from" in warnings
    assert "1 items of the test have no event in what is learnt from" in warnings
    assert "1 users of the validation have no event in what is learnt from" in warnings


@given(EVENTS, st.booleans(), st.data())
def test_no_split_gives_answers_away_and_any_answer_put_back_is_told(events, newest, data):
    user, item, time = np.array(events, dtype=np.int64).T
    whole = Interactions.of_rows(list("abcde"), list("0123456"), user, item, time)
    try:
        split = leave_one_out(whole) if newest else by_time(whole, 0.2, 0.2)
    except DataError:
        return
    assert told(split, "stand with the same user") == told(split, "later than what the") == []
    place = data.draw(st.integers(0, len(split.test) - 1))
    who, what = int(split.test.users[place]), int(data.draw(st.sampled_from(split.test.targets[place].tolist())))
    answer = (whole.user == who) & (whole.item == what)
    known = set(zip(*(getattr(split.before_test, name).tolist() for name in ("user", "item", "time")), strict=True))
    kept = [key in known for key in zip(whole.user.tolist(), whole.item.tolist(), whole.time.tolist(), strict=True)]
    leaky = replace(split, before_test=whole.where(np.array(kept) | answer))
    (warning,) = told(leaky, "stand with the same user")
    assert warning.startswith("1 items held out for the test")
