"""EASE: the linear weights between items that best give back a history from its other items."""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import NDArray

from triptych.errors import DataError
from triptych_recommendation.data.interactions import Interactions
from triptych_recommendation.models.base import Report, best, silent
from triptych_recommendation.models.linear import LinearModel
from triptych_recommendation.models.profiles import Profiler
from triptych_recommendation.models.settings import EaseSettings
from triptych_recommendation.models.sparse import ItemWeights


class Ease(LinearModel):
    """The closed form of Steck (2019), "Embarrassingly shallow autoencoders for sparse data".

    With `dropout` the loss is that of Steck (2020), "Autoencoders that don't overfit towards the identity", for that
    share of events dropped. The inverse is dense (8 bytes times the square of the items, and time by the cube), so only
    the `most_items` most popular items have weights; the others score 0 and say nothing.
    """

    name = "ease"

    @classmethod
    def fit(
        cls,
        interactions: Interactions,
        settings: EaseSettings,
        *,
        seed: int,
        vectors: NDArray[np.float32] | None = None,
        progress: Report = silent,
    ) -> Self:
        """Invert the Gram matrix of the items; `seed` and `vectors` are not used."""
        from scipy.sparse import csr_matrix

        matrix = interactions.matrix()
        rows = np.sort(best(np.asarray(matrix.sum(axis=0)).ravel(), settings.most_items))
        share = np.maximum(np.diff(matrix.indptr), 1) ** -settings.active
        part = matrix[:, rows].astype(np.float64)
        gram = (part.T @ part.multiply(share[:, None]).tocsr()).toarray()
        source, target, values = _largest(_weights(gram, settings), settings.kept)
        whole = csr_matrix((values, (rows[source], rows[target])), (matrix.shape[1], matrix.shape[1]))
        return cls(
            ItemWeights.of(whole, int8=settings.int8), Profiler(settings.last, settings.recency, settings.weighted)
        )


def _weights(gram: NDArray[np.float64], settings: EaseSettings) -> NDArray[np.float64]:
    """Float64 [items, items], the diagonal 0: a row speaks for its columns. The Gram matrix is overwritten."""
    from scipy.linalg import lapack

    if not len(gram):
        return gram
    place = np.arange(len(gram))
    odds = settings.dropout / (1 - settings.dropout)
    gram[place, place] += settings.l2 + odds * gram[place, place]
    factor, failed = lapack.dpotrf(gram.T, lower=1, overwrite_a=1)
    inverse, failed_too = lapack.dpotri(factor, lower=1, overwrite_c=1)
    if failed or failed_too:
        raise DataError(f"EASE cannot be solved with l2 = {settings.l2}; give a larger ease.l2")
    whole: NDArray[np.float64] = np.tril(inverse) + np.tril(inverse, -1).T
    whole /= -np.diag(whole).copy()
    whole[place, place] = 0
    return whole


def _largest(weights: NDArray[np.float64], kept: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """Rows, columns and values of the entries of each row that are largest by magnitude."""
    n = len(weights)
    columns = np.argpartition(-np.abs(weights), kept, axis=1)[:, :kept] if kept < n else np.tile(np.arange(n), (n, 1))
    values = np.take_along_axis(weights, columns, axis=1).ravel().astype(np.float32)
    rows, columns = np.repeat(np.arange(n), columns.shape[1]), columns.ravel()
    used = values != 0
    return rows[used], columns[used], values[used]
