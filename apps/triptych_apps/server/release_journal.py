"""What running servers say of their releases, and what shadows were found to be worth: a SQLite file of this machine.

Nothing rests on it: the plan of a bundle lies with the bundle. It is for `triptych release list` and for pages.
"""

from __future__ import annotations

import dataclasses
import os
import secrets
import sqlite3
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import BaseModel

from triptych.bundle import triptych_home
from triptych.sql.wal import write_ahead
from triptych_apps.server.release_shadow import Compared

ALIVE_SECONDS = 5.0  # a server that has said nothing for so long is gone
_SUMS = [field.name for field in dataclasses.fields(Compared)]
_TABLES = f"""
CREATE TABLE IF NOT EXISTS servers (
    id TEXT PRIMARY KEY,
    bundle TEXT NOT NULL,
    seen REAL NOT NULL,  -- seconds since 1970
    state TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS shadows (
    bundle TEXT NOT NULL,
    version TEXT NOT NULL,
    {", ".join(f"{name} REAL NOT NULL DEFAULT 0" for name in _SUMS)},
    PRIMARY KEY (bundle, version)
);
"""


class ServerState(BaseModel):
    """The releases of one running server, by their versions."""

    service: str
    canary: str | None
    share: float
    shadow: str | None
    open: list[str]
    failed: dict[str, str]  # versions that could not be opened, and why
    answered: dict[str, int]  # requests since the release was opened
    errors: dict[str, int]


class Journal:
    """Used by one thread at a time, until it is closed. Raises `sqlite3.Error` and `OSError`."""

    def __init__(self) -> None:
        path = triptych_home() / "releases.sqlite"
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False)
        write_ahead(self._connection)
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.executescript(_TABLES)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def report(self, server: str, bundle: Path, state: ServerState) -> None:
        """What a server has open now."""
        values = (server, str(bundle.resolve()), time.time(), state.model_dump_json())
        self._connection.execute("INSERT OR REPLACE INTO servers VALUES (?, ?, ?, ?)", values)

    def gone(self, server: str) -> None:
        """A server has stopped."""
        forgotten = time.time() - 100 * ALIVE_SECONDS  # killed ones
        self._connection.execute("DELETE FROM servers WHERE id = ? OR seen < ?", (server, forgotten))

    def servers(self, bundle: Path) -> dict[str, ServerState]:
        """Those that run now, by their ids."""
        query = "SELECT id, state FROM servers WHERE bundle = ? AND seen > ? ORDER BY id"
        rows = self._connection.execute(query, (str(bundle.resolve()), time.time() - ALIVE_SECONDS)).fetchall()
        return {identity: ServerState.model_validate_json(state) for identity, state in rows}

    def add(self, bundle: Path, version: str, found: Compared) -> None:
        """More that a shadow has answered."""
        if not (found.answers or found.dropped):
            return
        sums = ", ".join(f"{name} = {name} + excluded.{name}" for name in _SUMS)
        self._connection.execute(
            f"INSERT INTO shadows VALUES (?, ?{', ?' * len(_SUMS)}) ON CONFLICT DO UPDATE SET {sums}",  # noqa: S608
            (str(bundle.resolve()), version, *dataclasses.astuple(found)),
        )

    def shadows(self, bundle: Path) -> dict[str, Compared]:
        """What all servers together have compared, by the version of the shadow."""
        query = f"SELECT version, {', '.join(_SUMS)} FROM shadows WHERE bundle = ?"  # noqa: S608
        rows = self._connection.execute(query, (str(bundle.resolve()),)).fetchall()
        return {row[0]: Compared(*(int(v) if i < 4 else v for i, v in enumerate(row[1:]))) for row in rows}

    def forget_shadow(self, bundle: Path, version: str) -> None:
        """A comparison that begins anew."""
        self._connection.execute(
            "DELETE FROM shadows WHERE bundle = ? AND version = ?", (str(bundle.resolve()), version)
        )


def server_id() -> str:
    """Of this process, and of no other before or after it."""
    return f"{os.getpid()}-{secrets.token_hex(4)}"
