"""Held-out queries, and what exact search finds for them: the yardstick of every engine."""

from __future__ import annotations

import math
from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import NDArray

from triptych.retrieval.engines.base import Engine, Floats, Plan, Rows, Source, prepare_products

NEAREST = 10  # recall is of this many
QUERIES = 1_000
NOBODY = -2  # no row: unlike the -1 of a search that found too few
_TIES = 64  # rows as near as the last one that are looked for
_EQUAL = 1e-6  # how far scores of equal vectors may lie apart


@dataclass(frozen=True, slots=True)
class Trial:
    """Queries float32 [queries, dim] and the rows that may stand among the `depth` nearest: int64 [queries, any].

    There are more of them than `depth` where several are equally near: any of those is right. The rest is filled with
    -2. `own` says that the queries are stored vectors: each finds itself first, which proves nothing and is not
    counted.
    """

    queries: Floats
    truth: Rows
    depth: int
    own: bool

    def recall(self, rows: Rows) -> tuple[float, float]:
        """The share of true neighbours among int64 [queries, any], and its standard error."""
        return self.share((places(rows, self.truth) >= 0).sum(axis=1))

    def share(self, found: NDArray[np.int64]) -> tuple[float, float]:
        """The share of true neighbours where int64 [queries] of them were found, and its standard error."""
        wanted = self.depth - self.own
        if wanted < 1 or not len(found):
            return 1.0, 0.0
        shares = np.maximum(np.minimum(found, self.depth) - self.own, 0) / wanted
        return float(shares.mean()), float(shares.std() / math.sqrt(len(shares)))


def make_trial(source: Source, plan: Plan, queries: Floats | None = None, *, count: int = QUERIES) -> Trial:
    """Queries (by default stored vectors) and what exact search over the source finds for them."""
    own = queries is None
    asked = source.sample(count, seed=1) if queries is None else queries[:count]
    depth = min(NEAREST + own, source.rows)
    return Trial(asked, exact_nearest(source, plan, asked, depth), depth, own)


def exact_nearest(source: Source, plan: Plan, queries: Floats, k: int) -> Rows:
    """The `k` nearest rows of the source to each query, by looking at all of them: int64 [queries, at least k].

    Rows as near as the last of them follow behind; what is left over is filled with -2.
    """
    prepare_products(plan.dim)
    best = np.empty((len(queries), 0), dtype=np.float32)
    rows = np.empty((len(queries), 0), dtype=np.int64)
    first = 0
    for block in source.blocks():
        scores, found = faiss.knn(queries, block, min(k + _TIES, len(block)), metric=plan.metric)
        best, rows = np.concatenate([best, scores], 1), np.concatenate([rows, found + first], 1)
        order = np.argsort(-best if plan.similarity else best, axis=1, kind="stable")[:, : k + _TIES]
        best, rows = np.take_along_axis(best, order, 1), np.take_along_axis(rows, order, 1)
        first += len(block)
    if rows.shape[1] > k > 0:
        last = best[:, k - 1 : k]
        behind = np.abs(best - last) > _EQUAL * np.maximum(np.abs(last), 1.0)
        behind[:, :k] = False
        rows[behind] = NOBODY
        rows = rows[:, : max(k, int((~behind).sum(axis=1).max(initial=k)))]
    return rows


def measured_recall(engine: Engine, trial: Trial) -> tuple[float, float]:
    """Recall of the engine as it is, and its standard error."""
    return trial.recall(engine.search(trial.queries, trial.depth)[1])


def places(rows: Rows, truth: Rows) -> NDArray[np.int64]:
    """Where each true row stands among int64 [queries, any]: int64 [queries, depth], -1 where it is not."""
    found = np.full(truth.shape, -1, dtype=np.int64)
    for column in range(truth.shape[1]):
        same = rows == truth[:, column : column + 1]
        found[:, column] = np.where(same.any(axis=1), same.argmax(axis=1), -1)
    return found
