"""What a split gives away: whether training knows what is to be guessed."""

from __future__ import annotations

import numpy as np

from triptych_recommendation.data.interactions import Interactions
from triptych_recommendation.data.splits import Held, Split


def check(split: Split) -> list[str]:
    """What is worth a warning about a split, each as one sentence; an empty list where nothing is.

    Looked for are items held out that the same user's training already has; events of a user that are later than, or
    have the very time of, what is held out of that user; users and items that only the held-out part has; and
    training on events of others that are newer than what is to be guessed, which leave-one-out cannot avoid.
    """
    found = [
        *_check_part("validation", split.train, split.validation),
        *_check_part("test", split.before_test, split.test),
    ]
    newer = _share_newer(split.before_test, split.test)
    if split.method == "leave-one-out" and newer > 0:
        found.append(
            f"on average {newer:.0%} of the events that are learnt from are newer than the item of the test that is to "
            "be guessed: a model knows what others did later, as it never will in service; split by time to see what "
            "is left without that"
        )
    return found


def _check_part(name: str, known: Interactions, held: Held) -> list[str]:
    items = np.concatenate([np.zeros(0, np.int32), *held.targets]).astype(np.int64)
    users = np.repeat(held.users.astype(np.int64), [len(targets) for targets in held.targets])
    width = len(known.items)
    seen = np.isin(users * width + items, known.user.astype(np.int64) * width + known.item)
    limit = np.full(len(known.users), np.iinfo(np.int64).max)
    limit[held.users] = held.as_of
    after = limit[known.user]
    new_users = np.diff(known.starts)[held.users] == 0
    new_items = np.setdiff1d(items, known.item)
    learnt = "what is learnt from"
    counted = (
        (int(seen.sum()), f"items held out for the {name} stand with the same user in {learnt}"),
        (int((known.time > after).sum()), f"events in {learnt} are later than what the {name} asks of the same user"),
        (int((known.time == after).sum()), f"events in {learnt} have the very time of what the {name} asks"),
        (int(new_users.sum()), f"users of the {name} have no event in {learnt}"),
        (len(new_items), f"items of the {name} have no event in {learnt}"),
    )
    return [f"{count:,} {words}" for count, words in counted if count]


def _share_newer(known: Interactions, held: Held) -> float:
    """The share of the known events that are newer than a guess, on average over all guesses."""
    if not len(known) or not len(held):
        return 0.0
    until = np.searchsorted(np.sort(known.time), held.as_of, side="right")
    return float(1 - until.mean() / len(known))
