"""HNSW: a graph of near neighbours (Malkov and Yashunin, TPAMI 2020) over copies in eight bits."""

from __future__ import annotations

import math
from typing import Any

import faiss

from triptych.retrieval.engines.base import BLOCK, Engine, Floats, Plan, Rows, Source
from triptych.retrieval.engines.lists import RANGE_SLACK

_LINKS = 16
_BUILD_BREADTH = 120  # efConstruction
_TRAIN_ROWS = 100_000


class GraphEngine(Engine):
    """A graph index of FAISS. It cannot forget: what is deleted is passed over until it is built anew."""

    kind = "hnsw"

    def __init__(self, plan: Plan, index: Any, *, breadth: int = 64) -> None:
        self.plan = plan
        self.index = index
        self.breadth = breadth  # efSearch
        self.trained_on = index.ntotal

    @property
    def parameters(self) -> dict[str, Any]:
        """The breadth of the search."""
        return {"breadth": self.breadth, "trained_on": self.trained_on}

    @property
    def store(self) -> Any:
        """The copies in eight bits, by row."""
        return faiss.downcast_index(self.index.storage)

    @classmethod
    def build(cls, source: Source, plan: Plan) -> GraphEngine:
        """A graph over everything; `breadth` is still to be tuned."""
        index = faiss.IndexHNSWSQ(plan.dim, faiss.ScalarQuantizer.QT_8bit, _LINKS, plan.metric)
        index.hnsw.efConstruction = _BUILD_BREADTH
        faiss.downcast_index(index.storage).sq.rangestat_arg = RANGE_SLACK
        index.train(source.sample(_TRAIN_ROWS, seed=0))
        engine = cls(plan, index)
        for block in source.blocks():
            engine.add(block)
        engine.trained_on = engine.rows
        return engine

    def add(self, vectors: Floats) -> None:
        """Append rows: float32 [rows, dim]."""
        for start in range(0, len(vectors), BLOCK):
            self.index.add(vectors[start : start + BLOCK])

    def search(self, queries: Floats, k: int, selector: Any = None, *, share: float = 1.0) -> tuple[Floats, Rows]:
        """The nearest rows along the graph; the fewer rows a selector lets through, the broader."""
        breadth = max(k, math.ceil(self.breadth / max(share, 1e-6)))
        if breadth > self.rows // 4:
            return self.search_all(queries, k, selector)
        parameters = faiss.SearchParametersHNSW(efSearch=breadth, sel=selector)
        found: tuple[Floats, Rows] = self.index.search(queries, k, params=parameters)
        return found

    def search_all(self, queries: Floats, k: int, selector: Any = None) -> tuple[Floats, Rows]:
        """Every copy is looked at."""
        parameters = None if selector is None else faiss.SearchParameters(sel=selector)
        found: tuple[Floats, Rows] = self.store.search(queries, k, params=parameters)
        return found
