"""Finding the cheapest way to search an engine that still finds what exact search finds."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from triptych.retrieval.engines.base import Engine
from triptych.retrieval.engines.graph import GraphEngine
from triptych.retrieval.engines.lists import RESCORED, ListsEngine
from triptych.retrieval.engines.trial import Trial, measured_recall, places

_STEP = 1.1  # between one number of lists, or breadth, and the next that is tried
_FACTORS = (2, 3, 4, 5, 6, 8, 10, 12, 14, 16, 20, 24, 32, 48, 64)
_BREADTHS = (1, 2, 3, 4)  # efSearch among centroids, as multiples of the lists looked into
_CORRECTIONS = 6  # of the target, when the measured recall falls short of the estimate
_WIDER = 2.5  # more lists than the fewest that suffice, by so much, in exchange for fewer candidates
_TIMED = 256  # queries of a timing
_SINGLE_QUERIES = 300
_SINGLE_LOSS = 0.002  # of recall, for which a lone query may be faster


def tune(engine: Engine, trial: Trial, target: float) -> float:
    """Set the engine's parameters to the cheapest that reach the target, and say what recall they have.

    The target is raised by one standard error, so that chance does not flatter. Where nothing reaches it, the engine
    is left with the best there is.
    """
    if engine.exact or not trial.truth.size:
        return 1.0
    if isinstance(engine, GraphEngine):
        _tune_graph(engine, trial, target)
    else:
        assert isinstance(engine, ListsEngine)
        engine.make_single(0)
        if engine.kind in RESCORED:
            _tune_candidates(engine, trial, target)
        else:
            _tune_probes(engine, trial, target)
        _tune_single(engine, trial)
    return measured_recall(engine, trial)[0]


def _tune_graph(engine: GraphEngine, trial: Trial, target: float) -> None:
    def enough(breadth: int) -> bool:
        engine.breadth = breadth
        return _reached(measured_recall(engine, trial), target)

    engine.breadth = _least(_ladder(8, 2000), enough)


def _tune_probes(engine: ListsEngine, trial: Trial, target: float) -> None:
    def enough(probes: int) -> bool:
        engine.probes = probes
        return _reached(measured_recall(engine, trial), target)

    engine.probes = _least(_ladder(1, engine.lists), enough)


def _tune_candidates(engine: ListsEngine, trial: Trial, target: float) -> None:
    """Few lists and many candidates, or the other way round: whatever takes less time."""
    reach = _Reach(engine, trial)
    wanted = target
    for _ in range(_CORRECTIONS):
        pairs = reach.pairs(wanted)
        if not pairs:
            break
        costs = _costs(engine, trial, pairs)
        engine.probes, engine.factor = min(pairs, key=costs.__getitem__)
        recall, error = measured_recall(engine, trial)
        if _reached((recall, error), target):
            return
        wanted += min(target + error, 1.0) - recall + 1e-4  # what the rounding of the eight bits has cost
    engine.probes, engine.factor = engine.lists, _FACTORS[-1]


class _Reach:
    """How far lists and candidates reach, as the coarse codes alone tell: each number of lists is searched once."""

    def __init__(self, engine: ListsEngine, trial: Trial) -> None:
        self._engine, self._trial = engine, trial
        self._ladder = _ladder(1, engine.lists)
        self._places: dict[int, NDArray[np.int64]] = {}

    def pairs(self, target: float) -> list[tuple[int, int]]:
        """Lists looked into and candidates for each hit that reach the target; the fewest lists first."""
        fewest = _least(self._ladder, lambda probes: self._factor(probes, target) is not None)
        few = [probes for probes in self._ladder if fewest <= probes <= max(fewest + 1, _WIDER * fewest)]
        return [(probes, factor) for probes in few if (factor := self._factor(probes, target)) is not None]

    def _factor(self, probes: int, target: float) -> int | None:
        trial = self._trial
        if probes not in self._places:
            self._engine.probes = probes
            rows = self._engine.candidates(trial.queries, trial.depth * _FACTORS[-1])
            self._places[probes] = places(rows, trial.truth)
        where = self._places[probes]
        for factor in _FACTORS:
            found = ((where >= 0) & (where < factor * trial.depth)).sum(axis=1)
            if _reached(trial.share(found), target):
                return factor
        return None


def _costs(engine: ListsEngine, trial: Trial, pairs: Sequence[tuple[int, int]]) -> dict[tuple[int, int], float]:
    """Seconds of a query by lists and candidates, from a plane through the timings of a few pairs."""
    timed = list(dict.fromkeys([*pairs[:1], *pairs[len(pairs) // 2 :][:1], *pairs[-1:]]))
    if len(timed) < 3:
        return dict.fromkeys(pairs, 0.0) if len(timed) < 2 else {p: _seconds(engine, trial, p) for p in pairs}
    corners = [*timed, (timed[0][0], timed[-1][1])]
    table = np.array([(1.0, probes, factor) for probes, factor in corners])
    plane, *_ = np.linalg.lstsq(table, np.array([_seconds(engine, trial, pair) for pair in corners]), rcond=None)
    return {pair: float(np.dot(plane, (1.0, *pair))) for pair in pairs}


def _seconds(engine: ListsEngine, trial: Trial, pair: tuple[int, int]) -> float:
    engine.probes, engine.factor = pair
    queries = trial.queries[:_TIMED]
    taken = []
    for _ in range(3):
        started = time.perf_counter()
        engine.search(queries, trial.depth)
        taken.append(time.perf_counter() - started)
    return min(taken) / len(queries)


def _tune_single(engine: ListsEngine, trial: Trial) -> None:
    """Give lone queries a graph over the centroids that finds nearly the lists that the batch looks into."""
    some = replace(trial, queries=trial.queries[:_SINGLE_QUERIES], truth=trial.truth[:_SINGLE_QUERIES])
    together, _ = measured_recall(engine, some)
    for multiple in _BREADTHS:
        engine.make_single(multiple * engine.probes)
        if not engine.breadth:
            return
        rows = np.concatenate([engine.search(some.queries[i : i + 1], some.depth)[1] for i in range(len(some.truth))])
        if some.recall(rows)[0] >= together - _SINGLE_LOSS:
            return
    engine.make_single(0)


def _reached(measured: tuple[float, float], target: float) -> bool:
    recall, error = measured
    return recall >= min(target + error, 1.0)


def _ladder(low: int, high: int) -> list[int]:
    steps = math.ceil(math.log(max(high, 2) / low, _STEP)) + 1
    return sorted({min(high, max(low, round(low * _STEP**step))) for step in range(steps + 1)})


def _least(values: Sequence[int], enough: Callable[[int], bool]) -> int:
    """The least value that is enough, by bisection; the last one where none is."""
    low, high = 0, len(values) - 1
    while low < high:
        middle = (low + high) // 2
        if enough(values[middle]):
            high = middle
        else:
            low = middle + 1
    return values[low]
