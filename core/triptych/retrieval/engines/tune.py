"""Finding the cheapest way to search an engine that still finds what exact search finds."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import faiss
import numpy as np

from triptych.retrieval.engines.base import Engine, Floats, Plan, Rows, Source, prepare_products
from triptych.retrieval.engines.graph import GraphEngine
from triptych.retrieval.engines.lists import ListsEngine

NEAREST = 10  # recall is of this many
QUERIES = 384
_FACTORS = (8, 12, 16, 24, 6, 4, 3, 32, 48, 64)  # the likeliest first: what takes longer than they do is cut short
_STEP = 1.2  # between one number of lists and the next that is tried
_BREADTHS = (1, 2, 3, 4)  # efSearch among centroids, as multiples of the lists looked into


@dataclass(frozen=True, slots=True)
class Trial:
    """Queries float32 [queries, dim] with their true nearest rows int64 [queries, k].

    `own` says that the queries are stored vectors: each finds itself first, which proves nothing and is not counted.
    """

    queries: Floats
    truth: Rows
    own: bool

    @property
    def depth(self) -> int:
        """How many hits to ask for."""
        return int(self.truth.shape[1])

    def recall(self, rows: Rows) -> tuple[float, float]:
        """The share of true neighbours among int64 [queries, depth], and its standard error."""
        each = np.array([len(np.intersect1d(a, b)) for a, b in zip(rows, self.truth, strict=True)], dtype=np.float64)
        wanted = self.depth - self.own
        if wanted < 1:
            return 1.0, 0.0
        shares = np.maximum(each - self.own, 0) / wanted
        return float(shares.mean()), float(shares.std() / math.sqrt(len(shares)))


def make_trial(source: Source, plan: Plan, queries: Floats | None = None, *, count: int = QUERIES) -> Trial:
    """Queries (by default stored vectors) and what exact search over the source finds for them."""
    own = queries is None
    asked = source.sample(count, seed=1) if queries is None else queries[:count]
    return Trial(asked, exact_nearest(source, plan, asked, min(NEAREST + own, source.rows)), own)


def exact_nearest(source: Source, plan: Plan, queries: Floats, k: int) -> Rows:
    """The `k` nearest rows of the source to each query, by looking at all of them: int64 [queries, k]."""
    prepare_products(plan.dim)
    best = np.empty((len(queries), 0), dtype=np.float32)
    rows = np.empty((len(queries), 0), dtype=np.int64)
    first = 0
    for block in source.blocks():
        scores, found = faiss.knn(queries, block, min(k, len(block)), metric=plan.metric)
        best, rows = np.concatenate([best, scores], 1), np.concatenate([rows, found + first], 1)
        order = np.argsort(-best if plan.similarity else best, axis=1, kind="stable")[:, :k]
        best, rows = np.take_along_axis(best, order, 1), np.take_along_axis(rows, order, 1)
        first += len(block)
    return rows


def tune(engine: Engine, trial: Trial, target: float) -> float:
    """Set the engine's parameters to the cheapest that reach the target, and say what recall they have.

    The target is raised by one standard error, so that chance does not flatter. Where nothing reaches it, the engine
    is left with the best there is.
    """
    if engine.exact or not trial.truth.size:
        return 1.0
    if isinstance(engine, GraphEngine):
        return _tune_graph(engine, trial, target)
    assert isinstance(engine, ListsEngine)
    return _tune_lists(engine, trial, target)


def measured_recall(engine: Engine, trial: Trial) -> tuple[float, float]:
    """Recall of the engine as it is, and its standard error."""
    return trial.recall(engine.search(trial.queries, trial.depth)[1])


def _tune_lists(engine: ListsEngine, trial: Trial, target: float) -> float:
    engine.make_single(0)
    probes = sorted({min(engine.lists, round(_STEP**i)) for i in range(math.ceil(math.log(engine.lists, _STEP)) + 2)})
    choices: list[tuple[float, int, int]] = []
    for factor in _FACTORS if engine.kind == "ivf-rabitq" else (1,):
        engine.factor = factor

        def reaches(count: int) -> tuple[bool, float]:
            engine.probes = count
            started = time.perf_counter()
            _, rows = engine.search(trial.queries, trial.depth)
            seconds = time.perf_counter() - started
            return _enough(trial.recall(rows), target), seconds

        found = _least(probes, reaches, limit=min((choice[0] for choice in choices), default=math.inf))
        if found is not None:
            choices.append((found[1], found[0], factor))
    if choices:
        _, engine.probes, engine.factor = min(choices)
    else:
        engine.probes, engine.factor = engine.lists, _FACTORS[-1] if engine.kind == "ivf-rabitq" else 1
    _tune_single(engine, trial, target)
    return measured_recall(engine, trial)[0]


def _tune_single(engine: ListsEngine, trial: Trial, target: float) -> None:
    """Give lone queries a graph over the centroids that finds nearly the lists that the batch looks into."""
    together, _ = measured_recall(engine, trial)
    for multiple in _BREADTHS:
        engine.make_single(multiple * engine.probes)
        if not engine.breadth:
            return
        rows = np.concatenate(
            [engine.search(trial.queries[i : i + 1], trial.depth)[1] for i in range(len(trial.truth))]
        )
        if trial.recall(rows)[0] >= min(target, together - 0.002):
            return
    engine.make_single(0)


def _tune_graph(engine: GraphEngine, trial: Trial, target: float) -> float:
    def reaches(breadth: int) -> tuple[bool, float]:
        engine.breadth = breadth
        return _enough(measured_recall(engine, trial), target), 0.0

    breadths = [round(8 * _STEP**i) for i in range(30)]
    found = _least(breadths, reaches)
    engine.breadth = breadths[-1] if found is None else found[0]
    return measured_recall(engine, trial)[0]


def _enough(measured: tuple[float, float], target: float) -> bool:
    recall, error = measured
    return recall >= min(target + error, 1.0)


def _least(
    values: list[int], reaches: Callable[[int], tuple[bool, float]], *, limit: float = math.inf
) -> tuple[int, float] | None:
    """The least value that is enough, with its seconds, by bisection; None where none is, or all take too long."""
    low, high, best = 0, len(values), None
    while low < high:
        middle = (low + high) // 2
        enough, seconds = reaches(values[middle])
        if enough:
            best, high = (values[middle], seconds), middle
        elif seconds > 1.5 * limit:
            return best  # more of it takes longer still
        else:
            low = middle + 1
    return best
