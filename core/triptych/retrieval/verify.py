"""Whether everything is there, and is what was written."""

from __future__ import annotations

import sqlite3
import zlib
from pathlib import Path

import numpy as np

from triptych.errors import DataError
from triptych.retrieval import log as truth
from triptych.retrieval.log import Log
from triptych.retrieval.snapshots import Pointer, check_snapshot
from triptych.retrieval.state import State

_NAMED = 5  # of many like problems
_COMPARED = 200  # vectors of each field that memory is compared with
_ROUNDED = 0.25  # of the length of a vector: copies in eight bits, and vectors beyond the range these were fitted to


def verify(keep: Log, state: State, home: Path, pointer: Pointer | None) -> list[str]:
    """Every problem found; the caller keeps others from writing."""
    problems: list[str] = []
    try:
        with keep.frozen() as connection:
            problems += [
                f"{keep.path.name}: {text}" for (text,) in connection.execute("PRAGMA integrity_check") if text != "ok"
            ]
            problems += _checksums(connection)
            problems += _relations(connection)
            problems += _memory(connection, state)
    except sqlite3.DatabaseError as error:
        problems.append(f"{keep.path.name}: {error}")
    if pointer is not None:
        try:
            check_snapshot(home, pointer)
        except DataError as error:
            problems.append(f"snapshot: {error}")
    return problems


def _checksums(connection: sqlite3.Connection) -> list[str]:
    damaged = []
    for name, metadata, content, checksum in connection.execute("SELECT id, metadata, content, checksum FROM items"):
        if truth.checksum_of(name, metadata, content) != checksum:
            damaged.append(f"item {name!r} is not what was written")
    for number, field in truth.field_rows(connection, None):
        rows = connection.execute(f"SELECT key, vector, checksum FROM vectors_{number}")
        for key, vector, checksum in rows:
            if zlib.crc32(vector) != checksum or len(vector) != 4 * field.dim:
                damaged.append(f"vector {field.name!r} of {_name(connection, key)} is not what was written")
    return _shortened(damaged)


def _relations(connection: sqlite3.Connection) -> list[str]:
    problems = []
    for number, field in truth.field_rows(connection, None):
        orphans = connection.execute(f"SELECT key FROM vectors_{number} WHERE key NOT IN (SELECT key FROM items)")
        problems += [f"a vector {field.name!r} has the key {key}, which no item has" for (key,) in orphans]
    (texts,) = connection.execute("SELECT count(*) FROM items WHERE json_extract(content, '$.text') <> ''").fetchone()
    (indexed,) = connection.execute("SELECT count(*) FROM words_docsize").fetchone()
    if texts != indexed:
        problems.append(f"{texts} items have a text, and {indexed} are found by words")
    return _shortened(problems)


def _memory(connection: sqlite3.Connection, state: State) -> list[str]:
    """Whether what is searched is what the log has."""
    problems = []
    table = state.table
    known = np.fromiter((key for (key,) in connection.execute("SELECT key FROM items ORDER BY key")), dtype=np.int64)
    if not np.array_equal(known, table.keys.view[table.alive_mask()]):
        problems.append("the index in memory has other items than the log")
        return problems
    for row in truth.field_rows(connection):
        search = state.searches[row.field.name]
        source = truth.LogSource(connection, row)
        positions = search.positions.view
        rows = np.flatnonzero(table.alive_mask()[positions])
        if not np.array_equal(source.keys, table.keys.view[positions[rows]]):
            problems.append(f"field {row.field.name!r} in memory has vectors of other items than the log")
            continue
        chosen = np.sort(np.random.default_rng(0).permutation(len(rows))[:_COMPARED])
        if not len(chosen):
            continue
        held = search.rows.vectors(rows[chosen])
        question = f"SELECT vector FROM vectors_{row.number} WHERE key = ?"
        blobs = [connection.execute(question, (key,)).fetchone()[0] for key in source.keys[chosen].tolist()]
        written = truth.joined(blobs, row.field.dim)
        lengths = np.maximum(np.linalg.norm(written, axis=1), 1e-12)
        tolerance = 1e-6 if search.rows.engine.kind in ("flat", "ivf-flat") else _ROUNDED
        off = np.linalg.norm(held - written, axis=1) > tolerance * lengths + 1e-6
        if off.any():
            problems.append(f"field {row.field.name!r} in memory has {int(off.sum())} of {len(chosen)} vectors wrong")
    return problems


def _name(connection: sqlite3.Connection, key: int) -> str:
    row = connection.execute("SELECT id FROM items WHERE key = ?", (key,)).fetchone()
    return repr(row[0]) if row else f"the key {key}"


def _shortened(problems: list[str]) -> list[str]:
    more = len(problems) - _NAMED
    return problems if more <= 1 else [*problems[:_NAMED], f"and {more} more like these"]
