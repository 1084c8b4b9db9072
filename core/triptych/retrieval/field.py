"""One vector field of a table: which item each row belongs to, and the search among them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from triptych.retrieval.base import VectorField
from triptych.retrieval.columns import Mask
from triptych.retrieval.engines.base import Floats, some_missing
from triptych.retrieval.filters import Filter, key_of, parse
from triptych.retrieval.growing import Growing
from triptych.retrieval.search import Limits, RowSearch
from triptych.retrieval.table import Positions, Table

_ONE = np.float32(1.0)


class FieldSearch:
    """The vectors of one field. `positions` (int32, rising) has, for each row, the item in the table."""

    def __init__(self, field: VectorField, table: Table, rows: RowSearch, positions: Any = None) -> None:
        self.field = field
        self.table = table
        self.rows = rows
        self.positions = Growing(np.int32, positions)

    def add(self, positions: Positions, vectors: Floats) -> None:
        """Append the vectors float32 [rows, dim] of items that the table has at int64 [rows]."""
        if len(positions):
            self.rows.add(vectors)
            self.positions.extend(positions)

    def search(self, queries: Floats, k: int, where: Mapping[str, Any] | None) -> tuple[Floats, Positions]:
        """Scores as hits carry them and positions in the table, both [queries, at most k], best first.

        Raises `DataError` for a filter that is not understood.
        """
        found = parse(where) if where else None
        scores, rows = self.rows.nearest(queries, k, self._limits(where, found))
        return self._as_scores(scores), self._positions(rows)

    def alive(self) -> int:
        """How many vectors belong to items that are there."""
        return (
            int(self.table.alive_mask()[self.positions.view].sum()) if len(self.table.deaths) else len(self.positions)
        )

    def _positions(self, rows: Positions) -> Positions:
        if not rows.size:
            return rows
        found: Positions = self.positions.view[rows].astype(np.int64)
        if some_missing(rows):
            found[rows < 0] = -1
        return found

    def _limits(self, where: Mapping[str, Any] | None, found: Filter | None) -> Limits | None:
        deaths = len(self.table.deaths)
        if found is None and not deaths:
            return None

        def mask() -> Mask:
            items = self.table.alive_mask()
            if found is not None:
                items &= self.table.columns.select(found)
            selected: Mask = items[self.positions.view]
            return selected

        return Limits(key_of(where), mask, deaths)

    def _as_scores(self, scores: Floats) -> Floats:
        if self.field.metric == "cosine":
            return np.maximum(np.minimum(scores, _ONE), -_ONE)  # rounding goes beyond by 1e-7
        if self.field.metric == "l2":
            return np.float32(0.0) - np.sqrt(np.maximum(scores, np.float32(0.0)))  # not -0.0
        return scores
