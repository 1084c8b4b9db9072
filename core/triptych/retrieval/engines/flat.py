"""Exact search: every vector is looked at."""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np

from triptych.retrieval.engines.base import Engine, Floats, Plan, Rows, Source, prepare_products


class FlatEngine(Engine):
    """Vectors as they are, in float32."""

    kind = "flat"
    exact = True

    def __init__(self, plan: Plan, index: Any = None) -> None:
        self.plan = plan
        self.index = faiss.IndexFlat(plan.dim, plan.metric) if index is None else index

    @classmethod
    def build(cls, source: Source, plan: Plan) -> FlatEngine:
        """An engine with all vectors of a source."""
        engine = cls(plan)
        for block in source.blocks():
            engine.add(block)
        engine.trained_on = engine.rows
        return engine

    @property
    def parameters(self) -> dict[str, Any]:
        """How many rows there were when exact search was chosen for them."""
        return {"trained_on": self.trained_on}

    def add(self, vectors: Floats) -> None:
        """Append rows: float32 [rows, dim]."""
        self.index.add(vectors)

    def search(self, queries: Floats, k: int, selector: Any = None, *, share: float = 1.0) -> tuple[Floats, Rows]:
        """The nearest rows; from a few queries on by a matrix product."""
        prepare_products(self.plan.dim)
        parameters = None if selector is None else faiss.SearchParameters(sel=selector)
        found: tuple[Floats, Rows] = self.index.search(queries, k, params=parameters)
        return found

    def search_all(self, queries: Floats, k: int, selector: Any = None) -> tuple[Floats, Rows]:
        """The same."""
        return self.search(queries, k, selector)

    def vectors(self, rows: Rows) -> Floats:
        """Exactly what was added."""
        if not self.rows:
            return np.empty((0, self.plan.dim), dtype=np.float32)
        held = faiss.rev_swig_ptr(self.index.get_xb(), self.rows * self.plan.dim).reshape(self.rows, self.plan.dim)
        found: Floats = held[rows]
        return found
