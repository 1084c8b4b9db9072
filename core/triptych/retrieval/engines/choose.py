"""From a plan to an engine: which kind, measured on the vectors that it is to hold."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from triptych.retrieval.engines.base import ArraySource, Engine, Floats, Kind, Plan, Source
from triptych.retrieval.engines.flat import FlatEngine
from triptych.retrieval.engines.graph import GraphEngine
from triptych.retrieval.engines.lists import RESCORED, ListsEngine, suits
from triptych.retrieval.engines.trial import Trial, make_trial, measured_recall
from triptych.retrieval.engines.tune import tune

_IN_LISTS: tuple[Kind, ...] = ("ivf-pq", "ivf-rabitq", "ivf-sq8")  # the fastest first: the first that finds enough
_COMPARE_BELOW = 200_000  # from there on nobody needs to measure whether exact search is slower
_GRAPH_BELOW = 50_000  # a graph takes ten times the time to build, and cannot forget; with more rows it is for who asks
_COARSE_FROM = 256  # codebooks are not learnt from fewer vectors
_TIMED = 64
_STORED = 384
_GROWTH = 4  # the structure is fitted anew when there are this many times the rows it was fitted to


def build_engine(source: Source, plan: Plan, queries: Floats | None = None) -> tuple[Engine, float]:
    """The engine for a source and the recall measured on it.

    "auto" measures what may suit: exact search, inverted lists in one bit a dimension (in eight, where one does not
    reach the recall), and for not too many rows a graph; the fastest that reaches the recall is taken. `queries`
    float32 [queries, dim] stand for those to come.
    """
    fewest = _COARSE_FROM if plan.kind in ("auto", *RESCORED) else 2
    if plan.kind == "flat" or source.rows < max(fewest, plan.flat_below):
        return FlatEngine.build(source, plan), 1.0
    trial = make_trial(source, plan, queries)
    if plan.kind != "auto":
        return _built(source, plan, plan.kind, trial)
    for kind in (kind for kind in _IN_LISTS if suits(kind, plan.dim)):
        engine, recall = _built(source, plan, kind, trial)
        if recall >= plan.recall:
            break
    if source.rows >= _COMPARE_BELOW:
        return engine, recall
    rivals: list[tuple[Engine, float]] = [(FlatEngine.build(source, plan), 1.0)]
    if source.rows < _GRAPH_BELOW:
        rivals.append(_built(source, plan, "hnsw", trial))
    for rival in rivals:
        enough = rival[1] >= plan.recall
        if enough and (recall < plan.recall or _seconds(rival[0], trial) < _seconds(engine, trial)):
            engine, recall = rival
    return engine, recall


def _built(source: Source, plan: Plan, kind: Kind, trial: Trial) -> tuple[Engine, float]:
    if kind == "hnsw":
        graph = GraphEngine.build(source, plan)
        return graph, tune(graph, trial, plan.recall)
    lists = ListsEngine.build(source, plan, kind)
    recall = tune(lists, trial, plan.recall)
    if not trial.own:  # filters' indexes are tuned on stored vectors, to what these are found with
        lists.stored_recall, _ = measured_recall(lists, make_trial(source, plan, count=_STORED))
    return lists, recall


def outgrown(engine: Engine, plan: Plan) -> bool:
    """Whether so many rows were added that another engine would serve better."""
    if engine.exact:
        return plan.kind != "flat" and engine.rows >= max(2, plan.flat_below, engine.trained_on * 2)
    return engine.rows > _GROWTH * engine.trained_on


def restore_engine(index: Any, plan: Plan, kind: Kind, parameters: dict[str, Any]) -> Engine:
    """The engine of an index that FAISS has read, with the parameters that were kept beside it."""
    if kind == "flat":
        engine: Engine = FlatEngine(plan, index)
    elif kind == "hnsw":
        engine = GraphEngine(plan, index, breadth=parameters["breadth"])
    else:
        engine = ListsEngine(plan, kind, index, probes=parameters["probes"], factor=parameters["factor"])
        engine.make_single(parameters["breadth"])
        engine.stored_recall = parameters.get("stored_recall", 0.0)
    engine.trained_on = parameters.get("trained_on", engine.rows)
    return engine


def read_index(path: Path, *, mapped: bool = False) -> Any:
    """A FAISS index from its file; `mapped` leaves what can be left in the file. Raises `RuntimeError`."""
    return faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC if mapped else 0)


def write_index(index: Any, path: Path) -> None:
    """Write a FAISS index into a file. Raises `OSError`, a full disk included, which FAISS' own writer may miss."""
    with path.open("wb") as file:
        faiss.write_index(index, faiss.PyCallbackIOWriter(file.write))


def engine_of(vectors: Floats, plan: Plan) -> tuple[Engine, float]:
    """`build_engine` for vectors in memory."""
    return build_engine(ArraySource(np.ascontiguousarray(vectors)), plan)


def _seconds(engine: Engine, trial: Trial) -> float:
    """What a query takes: the mean of lone ones (their median) and of a batch."""
    alone = []
    for query in trial.queries[:_TIMED]:
        started = time.perf_counter()
        engine.search(query[None], trial.depth)
        alone.append(time.perf_counter() - started)
    started = time.perf_counter()
    engine.search(trial.queries[: 4 * _TIMED], trial.depth)
    together = (time.perf_counter() - started) / len(trial.queries[: 4 * _TIMED])
    return (float(np.median(alone)) + together) / 2
