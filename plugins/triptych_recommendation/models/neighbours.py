"""Item-to-item neighbours: items that go together, by users in common or by following each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from triptych_recommendation.data.interactions import Interactions
from triptych_recommendation.data.splits import first_events
from triptych_recommendation.models.base import Report, silent
from triptych_recommendation.models.linear import LinearModel
from triptych_recommendation.models.profiles import Profiler
from triptych_recommendation.models.settings import NeighbourSettings
from triptych_recommendation.models.sparse import ItemWeights, largest

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

_BLOCK = 2_000  # items whose neighbours are held in full at once


class Neighbours(LinearModel):
    """The item-based nearest neighbours of Sarwar et al. (2001) and Deshpande and Karypis (2004), in two kinds.

    Without a window the similarity of two items is their cosine over users, with shrinkage; `penalty` makes it
    asymmetric, and with `active` 1 it is the random walk of Paudel et al. (2017). With a window two items go together
    that stand close in a history, one place apart counting 1, n places 1/n, and the newest items of a history count
    most (as in the session neighbours of Ludewig and Jannach, 2018).
    """

    name = "neighbours"

    @classmethod
    def fit(
        cls,
        interactions: Interactions,
        settings: NeighbourSettings,
        *,
        seed: int,
        vectors: NDArray[np.float32] | None = None,
        progress: Report = silent,
    ) -> Self:
        """Count what goes together; `seed` and `vectors` are not used."""
        weights = ItemWeights.of(_similarities(interactions, settings), int8=settings.int8)
        return cls(weights, Profiler(settings.last, settings.recency, settings.weighted))


def _similarities(interactions: Interactions, settings: NeighbourSettings) -> csr_matrix:
    """Float32 [items, items], the `neighbours` largest of each row."""
    from scipy.sparse import vstack

    matrix = interactions.matrix()
    share = np.maximum(np.diff(matrix.indptr), 1).astype(np.float32) ** np.float32(-settings.active)
    voted = matrix.multiply(share[:, None]).tocsr()
    counts = np.asarray(voted.sum(axis=0)).ravel()
    follow = _following(interactions, share, settings) if settings.window is not None else None
    by_item, parts = voted.T.tocsr(), []
    for start in range(0, matrix.shape[1], _BLOCK):
        rows = slice(start, min(start + _BLOCK, matrix.shape[1]))
        block = (by_item[rows] @ matrix if follow is None else follow[rows]).tocoo()
        apart = block.row + start != block.col
        row, column = block.row[apart], block.col[apart]
        divisor = counts[row + start] ** (1 - settings.penalty) * counts[column] ** settings.penalty
        block = _sparse(block.data[apart] / (divisor + settings.shrinkage), row, column, block.shape)
        parts.append(largest(block, settings.neighbours))
    found: Any = vstack(parts, format="csr") if parts else matrix.T @ matrix
    return found


def _following(interactions: Interactions, share: NDArray[np.float32], settings: NeighbourSettings) -> csr_matrix:
    """Float32 [items, items]: what stands close in histories, from the earlier item to the later one and back."""
    first = first_events(interactions)
    user, item = interactions.user[first], interactions.item[first]
    items = len(interactions.items)
    total = _sparse(np.zeros(0, np.float32), item[:0], item[:0], (items, items))
    for apart in range(1, (settings.window or 0) + 1):
        same = user[:-apart] == user[apart:]
        if not same.any():
            break
        weights = share[user[:-apart][same]] / np.float32(apart)
        total = total + _sparse(weights, item[:-apart][same], item[apart:][same], (items, items))
    return total + np.float32(settings.back) * total.T if settings.back else total


def _sparse(
    values: NDArray[np.float32], rows: NDArray[Any], columns: NDArray[Any], shape: tuple[int, int]
) -> csr_matrix:
    from scipy.sparse import csr_matrix

    found: Any = csr_matrix((values.astype(np.float32), (rows, columns)), shape)
    return found
