"""What every engine does: rows in, nearest rows out. What the rows mean is `table.py`'s."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import faiss
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]
Kind = Literal["auto", "flat", "ivf-flat", "ivf-sq8", "ivf-pq", "ivf-rabitq", "hnsw"]

BLOCK = 50_000  # rows handled at a time
# Measured at 384 and 1024 dimensions on one core: from four queries on, a matrix product is faster.
_PRODUCT_FROM_QUERIES = 4


@dataclass(frozen=True, slots=True)
class Plan:
    """What an index is to be: its kind, the recall of the ten nearest it holds, exact below `flat_below` rows.

    `similarity` says whether larger inner products are nearer; otherwise smaller Euclidean distances are.
    """

    dim: int
    similarity: bool = True
    kind: Kind = "auto"
    recall: float = 0.95
    flat_below: int = 20_000

    @property
    def metric(self) -> int:
        """FAISS' number of the metric."""
        return int(faiss.METRIC_INNER_PRODUCT if self.similarity else faiss.METRIC_L2)


class Source(Protocol):
    """Where the vectors of a new engine come from, so that they need not be in memory together."""

    @property
    def rows(self) -> int:
        """How many there are."""

    def sample(self, count: int, seed: int) -> Floats:
        """Some of them, float32 [at most count, dim]; none twice."""

    def blocks(self) -> Iterator[Floats]:
        """All of them in order, float32 [at most BLOCK, dim] at a time."""


class ArraySource:
    """Vectors that are in memory: float32 [rows, dim]."""

    def __init__(self, vectors: Floats) -> None:
        self.vectors = vectors

    @property
    def rows(self) -> int:
        """How many there are."""
        return len(self.vectors)

    def sample(self, count: int, seed: int) -> Floats:
        """Some of them."""
        chosen = np.random.default_rng(seed).permutation(self.rows)[:count]
        return self.vectors[np.sort(chosen)]

    def blocks(self) -> Iterator[Floats]:
        """All of them."""
        for start in range(0, self.rows, BLOCK):
            yield self.vectors[start : start + BLOCK]


class Engine(ABC):
    """One FAISS index and the way it is searched. Not safe to change while others search."""

    kind: Kind
    exact = False  # whether every search looks at every vector
    index: Any  # what FAISS writes into a file
    trained_on: int = 0  # rows that the structure was fitted to

    @property
    def rows(self) -> int:
        """How many vectors there are."""
        return int(self.index.ntotal)

    @abstractmethod
    def add(self, vectors: Floats) -> None:
        """Append rows: float32 [rows, dim]."""

    @abstractmethod
    def search(self, queries: Floats, k: int, selector: Any = None, *, share: float = 1.0) -> tuple[Floats, Rows]:
        """The `k` nearest rows, best first: scores and rows, both [queries, k]; -1 where too few were met.

        Scores are inner products or squared distances. `selector` (of FAISS) lets through a `share` of the rows.
        """

    @abstractmethod
    def search_all(self, queries: Floats, k: int, selector: Any = None) -> tuple[Floats, Rows]:
        """As `search`, looking at every row."""

    @property
    def parameters(self) -> dict[str, Any]:
        """How it is searched, as JSON; `restore` takes it."""
        return {}

    def vectors(self, rows: Rows) -> Floats:
        """The vectors of some rows as they are held, float32 [rows, dim]; rounded where the kind rounds."""
        found: Floats = self.index.reconstruct_batch(rows)
        return found


def prepare_products(dim: int) -> None:
    """Let FAISS use matrix products from a few queries on; the wheel's default begins at hundreds.

    One setting for the whole process; an index of another size may change it between the lines, which costs time and
    nothing else.
    """
    threshold = _PRODUCT_FROM_QUERIES * dim
    if faiss.cvar.distance_compute_blas_threshold != threshold:
        faiss.cvar.distance_compute_blas_threshold = threshold


def some_missing(rows: Rows) -> bool:
    """Whether int64 [queries, k] ends in -1 anywhere: a search found fewer than `k`."""
    if not rows.size:
        return False
    return bool((rows[0, -1] if len(rows) == 1 else rows[:, -1].min()) < 0)  # for one query a third of the time


def best_first(scores: Floats, similarity: bool) -> Any:
    """The order of each row of scores, best first."""
    return np.argsort(-scores if similarity else scores, axis=1, kind="stable")
