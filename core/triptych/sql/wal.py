"""The write-ahead log of an SQLite file that several processes may open at once."""

from __future__ import annotations

import random
import sqlite3
import time


def write_ahead(connection: sqlite3.Connection, *, patience_s: float = 5.0) -> None:
    """Switch the file to a write-ahead log, beside which others read while one writes.

    The connection's own timeout does not hold for this switch while somebody else writes, as one who makes the tables
    at the same moment does: it fails at once. Here it is tried again. Raises `sqlite3.OperationalError` for a file that
    is still locked after `patience_s` seconds (and the timeout), and at once for one that cannot be written.
    """
    end = time.monotonic() + patience_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY  # the lowest byte, whatever is extended
            if not busy or time.monotonic() >= end:
                raise
            time.sleep(random.uniform(0.001, 0.01))  # at random, so that two that met part
        else:
            return
