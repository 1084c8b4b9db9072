"""A file is switched to a write-ahead log by whoever comes first, and the others wait."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from triptych.sql.wal import write_ahead


def mode(path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        return str(connection.execute("PRAGMA journal_mode").fetchone()[0])


def test_a_file_that_another_connection_holds_is_waited_for(tmp_path: Path):
    path = tmp_path / "a.sqlite"
    with (
        closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as first,
        closing(sqlite3.connect(path, isolation_level=None)) as second,
    ):
        first.execute("BEGIN IMMEDIATE")
        first.execute("CREATE TABLE t (x)")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            write_ahead(second, patience_s=0.05)
        later = threading.Timer(0.2, lambda: first.execute("COMMIT"))
        later.start()
        write_ahead(second)
        later.join()
    assert mode(path) == "wal"


def test_what_no_patience_helps_is_told_at_once(tmp_path: Path):
    path = tmp_path / "a.sqlite"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE t (x)")
    with (
        closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection,
        pytest.raises(sqlite3.OperationalError, match="readonly"),
    ):
        write_ahead(connection, patience_s=30)
