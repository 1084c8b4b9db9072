"""Histories as weighted items: each item once, at its newest event."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from triptych_recommendation.data.interactions import History

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


@dataclass(frozen=True, slots=True)
class Profiler:
    """How the items of a history are weighted: the nth newest by n to the minus `recency`, times a power of its weight.

    Each different item is there once, at its newest event; all but the `last` newest are left out where that is given.
    """

    last: int | None = None
    recency: float = 0.0
    weighted: float = 0.0

    def __call__(self, history: History, items: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Places in the history, the newest first, and their weights; rows of `items` and more are left out."""
        newest: dict[int, int] = {}  # by row, how many events are newer
        for age, row in enumerate(history.items[::-1].tolist()):  # for some dozens of events faster than sorting is
            if 0 <= row < items and row not in newest:
                newest[row] = age
                if len(newest) == self.last:
                    break
        places = len(history) - 1 - np.fromiter(newest.values(), np.int64, len(newest))
        weights = np.arange(1, len(newest) + 1, dtype=np.float32) ** np.float32(-self.recency)
        if self.weighted:
            weights *= history.weights[places] ** np.float32(self.weighted)
        return places, weights

    def of_parts(
        self, history: History, kept: NDArray[np.bool_], items: int
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """The different rows of a history below `items`, rising, and float32 [parts, rows], their weights in its parts.

        `kept` is bool [parts, events]; the weight of a row that a part does not have, or does not count, is 0.
        """
        order = np.argsort(history.items, kind="stable")
        order = order[(history.items[order] >= 0) & (history.items[order] < items)]
        rows = history.items[order]
        if not len(rows):
            return rows, np.zeros((len(kept), 0), dtype=np.float32)
        begins = np.flatnonzero(np.diff(rows, prepend=-1))
        newest = np.maximum.reduceat(
            kept[:, order] * (order + 1), begins, axis=1
        )  # its place and 1; 0: it is not there
        weights = (newest > 0).astype(np.float32)
        if self.recency or self.last is not None:
            ages = np.empty_like(newest)
            counts = np.arange(len(begins))
            np.put_along_axis(ages, np.argsort(-newest, axis=1), counts[None], axis=1)
            weights *= ((counts + 1).astype(np.float32) ** np.float32(-self.recency))[ages]
            if self.last is not None:
                weights *= ages < self.last
        if self.weighted:
            weights *= history.weights[newest - 1] ** np.float32(self.weighted)
        return rows[begins], weights

    def matrix(self, histories: Sequence[History], items: int) -> csr_matrix:
        """Float32 [histories, items]."""
        from scipy.sparse import csr_matrix

        found = [self(history, items) for history in histories]
        ends = np.cumsum([0, *(len(places) for places, _ in found)])
        rows = [history.items[places] for history, (places, _) in zip(histories, found, strict=True)]
        columns = np.concatenate([np.zeros(0, np.int32), *rows])
        weights = np.concatenate([np.zeros(0, np.float32), *(weights for _, weights in found)])
        matrix: Any = csr_matrix((weights, columns, ends), (len(histories), items))
        return matrix


def known_rows(history: History, items: int) -> NDArray[np.int32]:
    """The rows of a history that are below `items`."""
    rows = history.items
    return rows[(rows >= 0) & (rows < items)]
