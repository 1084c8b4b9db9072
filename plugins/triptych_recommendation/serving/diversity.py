"""A list whose items are good and unlike one another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


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
