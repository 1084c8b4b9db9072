"""A list whose items are good and unlike one another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_ROUNDED = 0.001  # by so much a cosine of stored vectors may be above 1


def contenders(relevance: NDArray[np.float32], k: int, diversity: float) -> int:
    """How many of the first items come into question for `k` places, whatever they are like.

    `relevance` is float32 [items], falling. An item whose whole relevance is less than what likeness can cost the
    `k`th is never chosen: one of the first `k` is always better.
    """
    if k >= len(relevance) or not k:
        return min(k, len(relevance))
    least = (1 - diversity) * float(relevance[k - 1]) - diversity * (1 + _ROUNDED)
    return max(k, int(np.count_nonzero((1 - diversity) * relevance >= least)))


def diversified(
    relevance: NDArray[np.float32], vectors: NDArray[np.float32], k: int, diversity: float, first: int = 0
) -> NDArray[np.int64]:
    """The places of at most `k` items, best first, by maximal marginal relevance (Carbonell and Goldstein, 1998).

    `relevance` is float32 [items], in [0, 1]; `vectors` float32 [items, dim] with rows of length 1, or 0 for an item
    that is like none. The next item has the largest (1 - diversity) relevance - diversity (largest cosine to an item
    above it, at least 0). The first `first` items are taken as they come. Equal ones: the earlier place.
    """
    k = min(k, len(relevance))
    likeness = np.zeros(len(relevance), dtype=np.float32)
    open_ = np.ones(len(relevance), dtype=np.bool_)
    chosen: list[int] = []
    while len(chosen) < k:
        if len(chosen) < first:
            best = len(chosen)
        else:
            best = int(np.argmax(np.where(open_, (1 - diversity) * relevance - diversity * likeness, -np.inf)))
        chosen.append(best)
        open_[best] = False
        if diversity:
            np.maximum(likeness, vectors @ vectors[best], out=likeness)
    return np.array(chosen, dtype=np.int64)
