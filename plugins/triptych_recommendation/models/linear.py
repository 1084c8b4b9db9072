"""What models have in common that score an item by a weighted sum over the items of a history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from triptych.errors import BundleError
from triptych_recommendation.data.interactions import History
from triptych_recommendation.models.base import Latest, Rescore, UserModel, best, read_model, write_model
from triptych_recommendation.models.profiles import Profiler, known_rows
from triptych_recommendation.models.sparse import ItemWeights


class LinearModel(UserModel):
    """Weights from items to items, and how the items of a history are weighted. A sum below 0 scores 0.

    A lone history touches the rows of its own items only, however many items there are.
    """

    def __init__(self, weights: ItemWeights, profiler: Profiler) -> None:
        self.items = weights.items
        self._weights, self._profiler = weights, profiler
        self._lone = Latest(self._summed)

    def scores(self, histories: Sequence[History]) -> NDArray[np.float32]:
        """Float32 [histories, items]."""
        found = self._weights.product(self._profiler.matrix(histories, self.items))
        return np.maximum(found, 0, out=found)

    def score(self, history: History, rows: NDArray[np.int32]) -> NDArray[np.float32]:
        """Float32 [rows]."""
        there, scores = self._lone(history)
        if not len(there):
            return np.zeros(len(rows), dtype=np.float32)
        places = np.minimum(np.searchsorted(there, rows), len(there) - 1)
        return np.where(there[places] == rows, scores[places], np.float32(0))

    def rescorer(self, history: History, rows: NDArray[np.int32]) -> Rescore:
        """See the base; the weights between the history and the rows are looked up once."""
        known = np.flatnonzero(rows < self.items)
        between = self._weights.between(np.unique(known_rows(history, self.items)), rows[known])

        def rescore(kept: NDArray[np.bool_]) -> NDArray[np.float32]:
            found = np.zeros((len(kept), len(rows)), dtype=np.float32)
            found[:, known] = np.maximum(self._profiler.of_parts(history, kept, self.items)[1] @ between, 0)
            return found

        return rescore

    def candidates(self, history: History, k: int) -> NDArray[np.int32]:
        """At most k rows with a score above 0, the best first."""
        rows, scores = self._lone(history)
        return rows[best(scores, k)]

    def contributions(self, history: History, row: int) -> NDArray[np.float32]:
        """Float32 [events]: an item that is there several times counts at its newest event."""
        found = np.zeros(len(history), dtype=np.float32)
        if row < self.items:
            places, heavy = self._profiler(history, self.items)
            found[places] = heavy * self._weights.column(history.items[places], row)
        return found

    def save(self, directory: Path) -> None:
        """Write the weights."""
        write_model(directory, self, asdict(self._profiler), self._weights.tensors())

    @classmethod
    def load(cls, directory: Path) -> Self:
        """What `save` wrote. Raises `BundleError`."""
        meta, tensors = read_model(directory, cls.name)
        try:
            profiler = Profiler(meta["last"], float(meta["recency"]), float(meta["weighted"]))
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(f"{directory} holds a damaged model ({error!r}); fit it again") from error
        return cls(ItemWeights.from_tensors(tensors, meta["items"]), profiler)

    def _summed(self, history: History) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """The rows that score above 0, rising, and their scores."""
        places, heavy = self._profiler(history, self.items)
        rows, sums = self._weights.total(history.items[places], heavy)
        there = sums > 0
        return rows[there], sums[there]
