"""Matrix factors: a vector for each item, and for a history the vector that explains it best."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from triptych.errors import BundleError
from triptych_recommendation.data.interactions import History, Interactions
from triptych_recommendation.models.base import Latest, Report, UserModel, read_model, silent, write_model
from triptych_recommendation.models.profiles import Profiler
from triptych_recommendation.models.settings import FactorSettings

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Floats = NDArray[np.float32]
_BLOCK = 1_000  # vectors that are solved for at once


class Factors(UserModel):
    """Alternating least squares for implicit feedback (Hu, Koren and Volinsky 2008).

    No vector of a user is kept: it is solved for from the history, so that new users and new events count at once. The
    newest events may count more than the others, as in `profiles.Profiler`; in the training all count the same.
    """

    name = "factors"

    def __init__(self, table: NDArray[Any], scales: Floats | None, alpha: float, l2: float, profiler: Profiler) -> None:
        """`table` is float32 [items, factors], or int8 with `scales` [items, 1].

        An event of weight w has the confidence 1 + `alpha` * w.
        """
        self.items = len(table)
        self.vectors: Floats = table if scales is None else table * scales
        self._table, self._scales = table, scales
        self._alpha, self._l2, self._profiler = alpha, l2, profiler
        self._base = _base(self.vectors, l2)
        self._taste = Latest(self._solution)

    @classmethod
    def fit(
        cls,
        interactions: Interactions,
        settings: FactorSettings,
        *,
        seed: int,
        vectors: Floats | None = None,
        progress: Report = silent,
    ) -> Self:
        """Alternate between users and items from random vectors; content `vectors` are not used."""
        from triptych.tuning.base import Progress  # brings torch, which a server does not need

        matrix = interactions.matrix()
        turned: Any = matrix.T.tocsr()
        start = np.random.default_rng(seed).normal(0, 0.1, (matrix.shape[1], settings.factors))
        made = start.astype(np.float32)
        for step in range(settings.iterations):
            progress(Progress("factors", step, settings.iterations))
            users = _solved(matrix, made, settings.alpha, settings.l2)
            made = _solved(turned, users, settings.alpha, settings.l2)
        profiler = Profiler(settings.last, settings.recency, settings.weighted)
        table, scales = _coded(made) if settings.int8 else (made, None)
        return cls(table, scales, settings.alpha, settings.l2, profiler)

    def scores(self, histories: Sequence[History]) -> Floats:
        """Float32 [histories, items]; what is below 0 scores 0."""
        tastes = np.zeros((len(histories), self.vectors.shape[1]), dtype=np.float32)
        for history, taste in zip(histories, tastes, strict=True):
            taste[:] = self._taste(history)
        found: Floats = np.maximum(tastes @ self.vectors.T, 0)
        return found

    def score(self, history: History, rows: NDArray[np.int32]) -> Floats:
        """Float32 [rows]."""
        found = np.zeros(len(rows), dtype=np.float32)
        known = rows < self.items
        found[known] = np.maximum(self.vectors[rows[known]] @ self._taste(history), 0)
        return found

    def contributions(self, history: History, row: int) -> Floats:
        """Float32 [events]: the score is linear in the events once the history's confidences are fixed."""
        found = np.zeros(len(history), dtype=np.float32)
        places, heavy = self._profiler(history, self.items)
        if row < self.items and len(places):
            own = self.vectors[history.items[places]]
            taught = np.linalg.solve(self._system(own, heavy), self.vectors[row])
            found[places] = (1 + self._alpha * heavy) * (own @ taught)
        return found

    def save(self, directory: Path) -> None:
        """Write the vectors."""
        meta = {
            "alpha": self._alpha, "l2": self._l2, "last": self._profiler.last, "recency": self._profiler.recency,
            "weighted": self._profiler.weighted,
        }  # fmt: skip
        tensors = {"vectors": self._table}
        if self._scales is not None:
            tensors["scales"] = self._scales
        write_model(directory, self, meta, tensors)

    @classmethod
    def load(cls, directory: Path) -> Self:
        """What `save` wrote. Raises `BundleError`."""
        meta, tensors = read_model(directory, cls.name)
        try:
            profiler = Profiler(meta["last"], float(meta["recency"]), float(meta["weighted"]))
            table, scales = tensors["vectors"], tensors.get("scales")
            alpha, l2 = float(meta["alpha"]), float(meta["l2"])
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(f"{directory} holds a damaged model ({error!r}); fit it again") from error
        whole = scales is None or scales.shape == (len(table), 1)
        if table.ndim != 2 or len(table) != meta["items"] or not whole:
            shape = f"vectors of shape {table.shape} for {meta['items']} items"
            raise BundleError(f"{directory} has {shape}; fit it again")
        return cls(table, scales, alpha, l2, profiler)

    def _solution(self, history: History) -> Floats:
        """Float32 [factors]: the vector of a history, 0 where nothing of it is known."""
        places, heavy = self._profiler(history, self.items)
        own = self.vectors[history.items[places]]
        if not len(own):
            return np.zeros(self.vectors.shape[1], dtype=np.float32)
        found: Floats = np.linalg.solve(self._system(own, heavy), (1 + self._alpha * heavy) @ own)
        return found

    def _system(self, own: Floats, heavy: Floats) -> Floats:
        found: Floats = self._base + own.T @ (own * (np.float32(self._alpha) * heavy)[:, None])
        return found


def _coded(vectors: Floats) -> tuple[NDArray[np.int8], Floats]:
    """Int8 [items, factors] and float32 [items, 1]: the largest of each vector is 127."""
    most = np.abs(vectors).max(axis=1, keepdims=True)
    scales = (np.where(most > 0, most, 1) / 127).astype(np.float32)
    return np.rint(vectors / scales).astype(np.int8), scales


def _base(vectors: Floats, l2: float) -> Floats:
    """What the least squares of all histories have in common."""
    found: Floats = vectors.T @ vectors + np.float32(l2) * np.eye(vectors.shape[1], dtype=np.float32)
    return found


def _solved(matrix: csr_matrix, others: Floats, alpha: float, l2: float) -> Floats:
    """Float32 [rows, factors]: the vectors of rows of ones, given those of the columns."""
    base = _base(others, l2)
    found = np.zeros((matrix.shape[0], others.shape[1]), dtype=np.float32)
    filled = np.flatnonzero(np.diff(matrix.indptr))
    for start in range(0, len(filled), _BLOCK):
        rows = filled[start : start + _BLOCK]
        own = [others[matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]]] for row in rows]
        left = np.stack([base + np.float32(alpha) * part.T @ part for part in own])
        right = np.stack([np.float32(1 + alpha) * part.sum(axis=0) for part in own])
        found[rows] = np.linalg.solve(left, right[:, :, None])[:, :, 0]
    return found
