"""What a model costs for each list that is asked of it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from triptych_recommendation.data.interactions import History, Interactions
from triptych_recommendation.models.base import UserModel

_LISTS = 60  # that are made, the first ten of them to warm up
_WARM = 10
_POOL = 240  # candidates of a list, and
_PARTS = 6  # parts of a history that its ten best are scored by once more, as serving does


def milliseconds(model: UserModel, histories: Sequence[History]) -> float:
    """CPU time of a list: its candidates, their scores, and what its best would score with less history.

    The middle of all histories, without what serving adds to it (rules, variety, words). Raises `ValueError` for no
    histories.
    """
    if not histories:
        raise ValueError("without histories there is nothing to measure")
    found = []
    for number in range(_LISTS):
        history = histories[number % len(histories)]
        started = time.process_time()
        rows = model.candidates(history, _POOL)
        model.score(history, rows)
        model.rescorer(history, rows[:10])(_less(history))
        found.append(1e3 * (time.process_time() - started))
    return float(np.median(found[_WARM:]))


def affordable(costs: Mapping[str, float], most: float, kept: Sequence[str]) -> list[str]:
    """The models whose costs together are `most` at most: all of them without the costliest; those `kept` stay."""
    found = list(costs)
    while sum(costs[name] for name in found) > most and (rest := [name for name in found if name not in kept]):
        found.remove(max(rest, key=lambda name: costs[name]))
    return found


def some_histories(interactions: Interactions) -> list[History]:
    """Those of users spread evenly over all of them."""
    users = np.linspace(0, len(interactions.users) - 1, min(_LISTS, len(interactions.users))).astype(int)
    return [interactions.history(int(user)) for user in users]


def _less(history: History) -> NDArray[np.bool_]:
    """Bool [parts, events]: parts of a history, each without one event."""
    found: NDArray[np.bool_] = np.arange(min(_PARTS, len(history)))[:, None] != np.arange(len(history))
    return found
