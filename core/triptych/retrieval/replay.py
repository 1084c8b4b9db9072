"""From the log to an index in memory: built anew, or brought up to date."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from triptych.retrieval.engines.base import Floats, Plan
from triptych.retrieval.engines.choose import build_engine
from triptych.retrieval.engines.tune import exact_nearest
from triptych.retrieval.field import FieldSearch
from triptych.retrieval.locks import ReadWriteLock
from triptych.retrieval.log import FieldRow, LogSource, Mark, field_rows, read_mark, read_rows
from triptych.retrieval.search import RowSearch
from triptych.retrieval.state import State
from triptych.retrieval.table import Table


def build_state(
    connection: sqlite3.Connection,
    plans: Mapping[str, Plan],
    queries: Mapping[str, Floats] | None = None,
    *,
    fields: str = "live",
) -> tuple[State, Mark]:
    """Everything from the log, its searches fitted to what is there; `connection` is a frozen one.

    `queries` (by field, float32 [queries, dim]) stand for those to come where searches are tuned. `fields` are the
    "live" ones, or those that are "coming" with a migration.
    """
    mark = read_mark(connection)
    table = Table()
    for keys, batch in read_rows(connection, 0, []):
        table.extend(keys, batch.ids, batch.metadata)
    lock = ReadWriteLock()
    searches = {}
    for row in field_rows(connection, fields):
        name = row.field.name
        source = LogSource(connection, row)
        engine, recall = build_engine(source, plans[name], (queries or {}).get(name))
        rows = RowSearch(plans[name], engine, recall=recall, lock=lock)
        searches[name] = FieldSearch(row.field, table, rows, table.find(source.keys))
    return State(table, searches, lock), mark


def catch_up(state: State, connection: sqlite3.Connection, mark: Mark) -> Mark:
    """Apply what was written since a mark, and return the new one. The caller keeps others from doing the same."""
    searched = [search.field for search in state.searches.values()]
    fields = [row for row in field_rows(connection, None) if row.field in searched]
    connection.execute("BEGIN")
    try:
        reached = read_mark(connection)
        for keys, batch in read_rows(connection, mark.key, fields):
            state.apply(keys, batch)
        gone = connection.execute("SELECT key FROM tombstones WHERE seq > ?", (mark.seq,)).fetchall()
        state.remove(key for (key,) in gone)
    finally:
        connection.execute("COMMIT")
    return reached


def exact_keys(
    connection: sqlite3.Connection, row: FieldRow, plan: Plan, queries: Floats, k: int
) -> list[NDArray[np.int64]]:
    """The keys of the `k` nearest items to each query, found by reading every vector of the log."""
    source = LogSource(connection, row)
    return [source.keys[rows] for rows in exact_nearest(source, plan, queries, min(k, source.rows))]
