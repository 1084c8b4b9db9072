"""From the log to an index in memory: built anew, or brought up to date."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from triptych.retrieval.engines.base import Floats, Plan
from triptych.retrieval.engines.choose import build_engine
from triptych.retrieval.engines.trial import Trial, make_trial
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


def catch_up(state: State, connection: sqlite3.Connection, mark: Mark, *, fields: str = "live") -> Mark:
    """Apply what was written since a mark, and return the new one. The caller keeps others from doing the same.

    `fields` as in `build_state`; a field may be both at once, where it is encoded again as it was.
    """
    searched = [search.field for search in state.searches.values()]
    connection.execute("BEGIN")
    try:
        rows = [row for row in field_rows(connection, fields) if row.field in searched]
        reached = read_mark(connection)
        gone = connection.execute("SELECT key FROM tombstones WHERE seq > ?", (mark.seq,)).fetchall()
        with state.lock.writing():  # what replaces and what is replaced change places in one step
            for keys, batch in read_rows(connection, mark.key, rows):
                state.extend(keys, batch)
            state.bury(key for (key,) in gone)
    finally:
        connection.execute("COMMIT")
    return reached


def exact_trial(connection: sqlite3.Connection, row: FieldRow, plan: Plan, queries: Floats) -> Trial:
    """Queries and the keys of the items nearest to them, found by reading every vector of the log."""
    source = LogSource(connection, row)
    trial = make_trial(source, plan, queries)
    return replace(trial, truth=np.where(trial.truth < 0, trial.truth, source.keys[trial.truth]))
