"""What most people choose, the newer choices counting more where that is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from triptych_recommendation.data.interactions import History, Interactions
from triptych_recommendation.data.times import DAY
from triptych_recommendation.models.base import Report, UserModel, best, read_model, silent, write_model
from triptych_recommendation.models.settings import PopularitySettings


class Popularity(UserModel):
    """The same score for everybody: how many users had to do with an item, each counted once.

    With a half-life a user counts by the age of the newest event with the item; ages are measured from the newest
    event of all.
    """

    name = "popularity"

    def __init__(self, counts: NDArray[np.float32]) -> None:
        """`counts` is float32 [items], 0 or more."""
        self.items = len(counts)
        self._counts = counts
        self._order = best(counts, len(counts))

    @classmethod
    def fit(
        cls,
        interactions: Interactions,
        settings: PopularitySettings,
        *,
        seed: int,
        vectors: NDArray[np.float32] | None = None,
        progress: Report = silent,
    ) -> Self:
        """Count; `seed` and `vectors` are not used."""
        items = len(interactions.items)
        pairs = interactions.user.astype(np.int64) * max(1, items) + interactions.item
        _, newest = np.unique(pairs[::-1], return_index=True)  # reversed, so that the first is the newest
        newest = len(interactions) - 1 - newest
        weights = np.ones(len(newest))
        if settings.half_life_days is not None and len(newest):
            ages = (interactions.time.max() - interactions.time[newest]) / DAY
            weights = np.exp2(-ages / settings.half_life_days)
        counts = np.bincount(interactions.item[newest], weights, minlength=items)
        return cls(counts.astype(np.float32))

    def scores(self, histories: Sequence[History]) -> NDArray[np.float32]:
        """Float32 [histories, items]: the counts, for each history the same."""
        return np.tile(self._counts, (len(histories), 1))

    def score(self, history: History, rows: NDArray[np.int32]) -> NDArray[np.float32]:
        """Float32 [rows]."""
        found = np.zeros(len(rows), dtype=np.float32)
        known = rows < self.items
        found[known] = self._counts[rows[known]]
        return found

    def candidates(self, history: History, k: int) -> NDArray[np.int32]:
        """The k most popular rows."""
        return self._order[:k]

    def save(self, directory: Path) -> None:
        """Write the counts."""
        write_model(directory, self, {}, {"counts": self._counts})

    @classmethod
    def load(cls, directory: Path) -> Self:
        """What `save` wrote. Raises `BundleError`."""
        _, tensors = read_model(directory, cls.name)
        return cls(tensors["counts"])
