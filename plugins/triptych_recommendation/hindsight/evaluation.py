"""How well a model guesses what was held out: every item is ranked, none is sampled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from triptych_recommendation.data.interactions import History, Interactions
from triptych_recommendation.data.splits import Held
from triptych_recommendation.hindsight.metrics import Array, per_user, ranking_metrics, target_ranks
from triptych_recommendation.models.base import best

LENGTH = 20  # of the lists that are kept


class Scorer(Protocol):
    """All that an evaluation asks of a model, ours or another's."""

    def scores(self, histories: Sequence[History]) -> NDArray[np.float32]:
        """Float32 [histories, items], higher is better."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """One model on one part of the data."""

    users: dict[str, Array]  # each metric, [held users]
    lists: NDArray[np.int32]  # [held users, 20], best first; -1 where the model had nothing more to say

    @property
    def metrics(self) -> dict[str, float]:
        """Means over users, see `metrics.ranking_metrics`."""
        return ranking_metrics(self.users)


def evaluate(
    model: Scorer, interactions: Interactions, held: Held, *, batch: int = 256, remove_seen: bool = True
) -> Evaluation:
    """Rank all items for each held-out user from the user's history in `interactions`.

    Items of the history are taken out of the ranking, unless `remove_seen` is false. Raises `ValueError` for nothing
    held out and for a model that scores another number of items.
    """
    if not len(held):
        raise ValueError("nothing is held out")
    ranks: list[NDArray[np.int64]] = []
    lists = np.full((len(held), LENGTH), -1, dtype=np.int32)
    for start in range(0, len(held), batch):
        users = held.users[start : start + batch]
        histories = [interactions.history(int(user)) for user in users]
        scores = ranked_scores(model, histories, len(interactions.items), remove_seen=remove_seen)
        ranks += target_ranks(scores, held.targets[start : start + batch])
        for row, own in enumerate(scores, start=start):
            found = best(own, LENGTH)
            lists[row, : len(found)] = found
    return Evaluation(per_user(ranks), lists)


def ranked_scores(
    model: Scorer, histories: Sequence[History], items: int, *, remove_seen: bool = True
) -> NDArray[np.float32]:
    """The model's scores [histories, items] with minus infinity for items of the history."""
    scores = np.array(model.scores(histories), dtype=np.float32)
    if scores.shape != (len(histories), items):
        raise ValueError(f"scores of shape {scores.shape}, expected {(len(histories), items)}")
    if remove_seen:
        for row, history in zip(scores, histories, strict=True):
            row[history.items] = -np.inf
    return scores
