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
from triptych_recommendation.models.base import Latest, UserModel, best, read_model, write_model
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
        found = np.zeros(len(rows), dtype=np.float32)
        known = rows < self.items
        found[known] = self._lone(history)[rows[known]]
        return found

    def rescore(self, history: History, parts: Sequence[History], rows: NDArray[np.int32]) -> NDArray[np.float32]:
        """Float32 [parts, rows]; the weights between the history and the rows are looked up once."""
        units = np.unique(known_rows(history, self.items))
        known = np.flatnonzero(rows < self.items)
        between = self._weights.between(units, rows[known])
        heavy = np.zeros((len(parts), len(units)), dtype=np.float32)
        for part, row in zip(parts, heavy, strict=True):
            places, weights = self._profiler(part, self.items)
            row[np.searchsorted(units, part.items[places])] = weights
        found = np.zeros((len(parts), len(rows)), dtype=np.float32)
        found[:, known] = np.maximum(heavy @ between, 0)
        return found

    def candidates(self, history: History, k: int) -> NDArray[np.int32]:
        """At most k rows with a score above 0, the best first."""
        scores = self._lone(history)
        rows = np.flatnonzero(scores)  # few are touched: sorting them is cheaper than sorting all
        return rows[best(scores[rows], k)].astype(np.int32)

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

    def _summed(self, history: History) -> NDArray[np.float32]:
        places, heavy = self._profiler(history, self.items)
        return np.maximum(self._weights.total(history.items[places], heavy), 0)
