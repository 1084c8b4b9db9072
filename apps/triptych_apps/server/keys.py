"""API keys in SQLite: who may ask which vertical, how often, and for how much money.

A key is `tt_<id>_<secret>`. Only the SHA-256 of the secret is kept: it has 256 random bits, which nobody guesses, so
that a slow hash, which every request would pay for, adds nothing.
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
import json
import os
import secrets
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from triptych.bundle import triptych_home
from triptych.errors import DataError, UnknownNameError
from triptych.sql.wal import write_ahead

_PREFIX = "tt"
_TABLE = """
CREATE TABLE IF NOT EXISTS keys (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    digest BLOB NOT NULL,
    verticals TEXT NOT NULL,  -- a JSON list, empty for all
    per_minute INTEGER,       -- requests, null for any number
    budget REAL,              -- money, null for any amount
    spent REAL NOT NULL DEFAULT 0,
    created TEXT NOT NULL,
    revoked TEXT
)
"""
_COLUMNS = "id, name, digest, verticals, per_minute, budget, spent, created, revoked"


@dataclass(frozen=True, slots=True)
class Key:
    """One key without its secret. `budget` and `spent` are in the currency of the bundles' prices."""

    id: str
    name: str
    digest: bytes
    verticals: tuple[str, ...]  # empty: all
    per_minute: int | None
    budget: float | None
    spent: float
    created: str
    revoked: str | None

    def allows(self, vertical: str) -> bool:
        """Whether it may be used for a vertical."""
        return not self.verticals or vertical in self.verticals


class KeyStore:
    """The keys of a machine. Any number of processes may use one file; a change is seen by all at their next look.

    Every method raises `DataError` where the file cannot be read or written: damaged, locked, or on a full disk.
    `find`, `changed` and `all` belong to one thread; `add`, `revoke` and `charge` to any.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or triptych_home() / "keys.sqlite"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if not self.path.exists():
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))  # for its owner alone
        self._reader = self._connect()
        self._lock = threading.Lock()
        self._seen = -1
        self._keys: dict[str, Key] = {}

    def close(self) -> None:
        """Close the file."""
        self._reader.close()

    def all(self) -> list[Key]:
        """Every key, the oldest first, revoked ones too."""
        self._look()
        return list(self._keys.values())

    def find(self, given: str) -> Key | None:
        """The key that a client gave; None for one that is unknown, wrong or revoked."""
        self._look()
        parts = given.split("_", 2)
        if len(parts) != 3 or parts[0] != _PREFIX:
            return None
        key = self._keys.get(parts[1])
        digest = _digest(parts[2])
        if key is None or key.revoked is not None or not hmac.compare_digest(digest, key.digest):
            return None
        return key

    def add(
        self, name: str, *, verticals: tuple[str, ...] = (), per_minute: int | None = None, budget: float | None = None
    ) -> tuple[Key, str]:
        """A new key and the text that a client sends, which is told this once and never kept."""
        identity, secret = secrets.token_hex(4), secrets.token_urlsafe(32)
        with self._writing() as connection:
            connection.execute(
                "INSERT INTO keys (id, name, digest, verticals, per_minute, budget, created)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (identity, name, _digest(secret), json.dumps(list(verticals)), per_minute, budget, _now()),
            )
        return self._one(identity), f"{_PREFIX}_{identity}_{secret}"

    def revoke(self, identity: str) -> Key:
        """Take a key out of use, at once and for good. Raises `UnknownNameError`."""
        with self._writing() as connection:
            done = connection.execute("UPDATE keys SET revoked = coalesce(revoked, ?) WHERE id = ?", (_now(), identity))
        if done.rowcount == 0:
            raise UnknownNameError("key", identity, [key.id for key in self.all()])
        return self._one(identity)

    def charge(self, amounts: Mapping[str, float]) -> None:
        """Add what was spent, by the id of the key."""
        with self._writing() as connection:
            rows = [(amount, identity) for identity, amount in amounts.items()]
            connection.executemany("UPDATE keys SET spent = spent + ? WHERE id = ?", rows)

    def _one(self, identity: str) -> Key:
        return next(key for key in self.all() if key.id == identity)

    def _look(self) -> None:
        """Read the table again where another connection has changed it."""
        with self._told("read"):
            (version,) = self._reader.execute("PRAGMA data_version").fetchone()
            if version != self._seen:
                rows = self._reader.execute(f"SELECT {_COLUMNS} FROM keys ORDER BY created, rowid").fetchall()  # noqa: S608
                self._keys = {row[0]: _key(row) for row in rows}
                self._seen = version

    def _connect(self) -> sqlite3.Connection:
        with self._told("read"):
            connection = sqlite3.connect(self.path, timeout=10, isolation_level=None, check_same_thread=False)
            try:
                write_ahead(connection)
                connection.execute("PRAGMA synchronous = NORMAL")
                connection.execute(_TABLE)
            except sqlite3.Error:
                connection.close()
                raise
        return connection

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._told("written"), self._lock, closing(self._connect()) as connection:
            connection.execute("BEGIN IMMEDIATE")
            with connection:
                yield connection

    @contextmanager
    def _told(self, done: str) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, ValueError, TypeError) as error:  # a row that somebody else wrote
            raise DataError(f"the keys cannot be {done}: {error}", file=self.path) from error


def _key(row: tuple[Any, ...]) -> Key:
    return Key(row[0], row[1], row[2], tuple(json.loads(row[3])), *row[4:])


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
