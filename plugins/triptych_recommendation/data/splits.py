"""Training, validation and test by time: each user's newest items, or the newest events of all users."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from triptych.errors import DataError
from triptych_recommendation.data.interactions import Interactions
from triptych_recommendation.data.settings import DataSettings

Method = Literal["leave-one-out", "time"]


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """What users chose later, to be guessed from what they did before. Each user is there once, in order of rows.

    The items are new to the user: none has an event of theirs before.
    """

    users: NDArray[np.int32]  # [held users], rows
    targets: list[NDArray[np.int32]]  # for each of them the rows of the items held out, at least one, the oldest first
    as_of: NDArray[np.int64]  # [held users], microseconds: events later than this are not known

    def __len__(self) -> int:
        return len(self.users)


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Interactions in three parts; users and items have the same rows in all of them.

    A guess for `validation` may use the histories of `train`; a guess for `test` those of `before_test`, which is
    `train` and the events of the validation, and what a model is fitted to again once its settings are chosen.
    """

    method: Method
    train: Interactions
    validation: Held
    test: Held
    before_test: Interactions


def make_split(interactions: Interactions, settings: DataSettings) -> Split:
    """The split that the settings name. Raises `DataError` where there are too few events for it."""
    if settings.split == "time":
        return by_time(interactions, settings.validation, settings.test)
    return leave_one_out(interactions, least=settings.least)


def leave_one_out(interactions: Interactions, *, least: int = 3) -> Split:
    """The newest item of every user to the test, the one before it to the validation.

    An item is as new as the user's first event with it. What the user did after the item that is held out (again with
    an item of old, say) is in no part. Users with fewer than `least` different items are in the training as a whole.
    Raises `DataError` where that is all of them, `ValueError` for `least` below 3.
    """
    if least < 3:
        raise ValueError("two items are held out, and one at least must be left: least >= 3")
    first = first_events(interactions)
    distinct = np.bincount(interactions.user[first], minlength=len(interactions.users))
    users = np.flatnonzero(distinct >= least)
    if not len(users):
        raise DataError(f"no user has {least} different items or more, so that none can be held out")
    ends = np.cumsum(distinct)[users]  # behind each user's last place in `first`, which is sorted by user
    test, validation = first[ends - 1], first[ends - 2]
    return Split(
        "leave-one-out",
        _before(interactions, users, validation),
        _held(interactions, users, validation),
        _held(interactions, users, test),
        _before(interactions, users, test),
    )


def by_time(interactions: Interactions, validation_share: float, test_share: float) -> Split:
    """All events before one moment to the training, the newest share to the test, those between to the validation.

    Held out are the items that a user had no event with before the moment at which a part begins. Users and items may
    have events in the test alone. Events of one time stay together, so the shares are not exact. Raises `DataError`
    where a part is empty, `ValueError` for shares that leave nothing to train on.
    """
    if not (validation_share > 0 and test_share > 0 and validation_share + test_share < 1):
        raise ValueError("both shares must be above 0 and below 1 together")
    times = np.sort(interactions.time)
    n = len(times)
    if n < 3:
        raise DataError(f"{n} events are too few to be split by time")
    test_from = times[min(n - 1, round(n * (1 - test_share)))]
    earlier = int(np.searchsorted(times, test_from))
    validation_from = times[min(max(earlier - 1, 0), round(n * (1 - test_share - validation_share)))]
    train = interactions.where(interactions.time < validation_from)
    split = Split(
        "time",
        train,
        _held_from(interactions, int(validation_from), int(test_from)),
        _held_from(interactions, int(test_from), None),
        interactions.where(interactions.time < test_from),
    )
    for part, size in (("training", len(train)), ("validation", len(split.validation)), ("test", len(split.test))):
        if not size:
            reason = f"the split by time leaves nothing for {part}: too many events have one and the same time"
            raise DataError(f"{reason}, or nobody chose anything new; use split = 'leave-one-out'")
    return split


def first_events(interactions: Interactions) -> NDArray[np.int64]:
    """The places of the first event of every user with every item, sorted by user, then time."""
    pairs = interactions.user.astype(np.int64) * max(1, len(interactions.items)) + interactions.item
    places = np.unique(pairs, return_index=True)[1]
    return np.sort(places).astype(np.int64)


def _before(interactions: Interactions, users: NDArray[np.int64], events: NDArray[np.int64]) -> Interactions:
    """The interactions without each user's event at that place and all that follow it."""
    end = interactions.starts[1:].copy()
    end[users] = events
    return interactions.where(np.arange(len(interactions)) < end[interactions.user])


def _held(interactions: Interactions, users: NDArray[np.int64], events: NDArray[np.int64]) -> Held:
    targets = [interactions.item[event : event + 1] for event in events]
    return Held(users.astype(np.int32), targets, interactions.time[events])


def _held_from(interactions: Interactions, start: int, end: int | None) -> Held:
    """Items that are new to their users between two moments."""
    first = first_events(interactions)
    time = interactions.time[first]
    first = first[(time >= start) & (time < end if end is not None else True)]
    users, begins = np.unique(interactions.user[first], return_index=True)
    targets = np.split(interactions.item[first], begins[1:]) if len(users) else []
    return Held(users.astype(np.int32), targets, np.full(len(users), start, dtype=np.int64))
