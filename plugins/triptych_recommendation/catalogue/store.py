"""The store: what came after the build. Any number of processes write in short, whole transactions, others read."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy import Connection

from triptych.errors import DataError
from triptych.sql.meta import make, refuse_newer, version_of
from triptych_recommendation.catalogue import tables
from triptych_recommendation.catalogue.databases import Database, database_of
from triptych_recommendation.catalogue.schema import ExposureRow
from triptych_recommendation.catalogue.tables import storable_words
from triptych_recommendation.catalogue.transaction import Transaction

VERSION = 1  # of the schema
_SHOWN = (
    'SELECT id, time, items, details, policy, experiment, variant FROM exposure WHERE "user" = :user AND time >= :since'
)
COUNTERS = ("item", "event", "outcome")


class Store:
    """An open store; `Store.open` makes one. It may be shared by threads."""

    def __init__(self, database: Database, *, writer: bool) -> None:
        self.writer = writer
        self._database = database
        self._mutex = threading.RLock()  # threads queue here, which is fairer and quicker than SQLite's own waiting
        self._closed = False

    @classmethod
    def open(cls, where: str | Path, *, writer: bool) -> Self:
        """The store in an SQLite file, or in PostgreSQL at postgresql://...; a writer makes it where it is missing.

        A password is better in PGPASSWORD or ~/.pgpass than in the URL. Raises `MissingError` where nothing is there
        to be read or it is of a newer version; `DataError` where it is none; `ConfigError` for another kind of
        database.
        """
        database = database_of(where)
        store = cls(database, writer=writer)
        try:
            with database.translated():
                if writer:
                    database.prepare()
                    with store.transaction() as tx:
                        _make(tx.connection, database.name)
                else:
                    database.check_there()
                    with store.reading() as tx:
                        _check(tx.connection, database.name)
        except BaseException:
            store.close()
            raise
        return store

    @property
    def name(self) -> str:
        """Where it is; may be printed."""
        return self._database.name

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """All that is written stands, on the disk, when the block ends, and none of it when it raises.

        For a reader the same as `reading`. One at a time; another thread's waits.
        """
        if not self.writer:
            with self.reading() as tx:
                yield tx
            return
        with self._mutex, self._database.translated(), self._open().engine.connect() as connection, connection.begin():
            yield Transaction(connection, writes=True)

    @contextmanager
    def reading(self) -> Iterator[Transaction]:
        """A view of the store as it was at the first question, whatever is written meanwhile."""
        with self._database.translated(), self._open().connect_to_read() as connection, connection.begin():
            yield Transaction(connection, writes=False)

    def shown_to(self, user: str, since: int) -> list[ExposureRow]:
        """The lists that a user was shown from a time on, by time and id; sooner than by `Transaction.exposures`."""
        found = self._open().rows(_SHOWN, {"user": storable_words(user), "since": since})
        rows = [
            ExposureRow(name, time, user, tuple(json.loads(items)), policy, experiment, variant, json.loads(details))
            for name, time, items, details, policy, experiment, variant in found
        ]
        return sorted(rows, key=lambda row: (row.time, row.id))

    def version(self) -> int:
        """Another number after items or events were written, by whomever. In a server at most 0.25 s old."""
        return self._open().version()

    def close(self) -> None:
        """Close the connections; a second call does nothing."""
        with self._mutex:
            self._closed = True
            self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> Database:
        if self._closed:
            raise DataError("is closed", file=self.name)
        return self._database


def _make(connection: Connection, name: str) -> None:
    """Make the tables where there are none, in one transaction."""
    if _version(connection, name) is None:
        make(connection, tables.metadata, VERSION, COUNTERS)


def _check(connection: Connection, name: str) -> None:
    if _version(connection, name) is None:
        raise DataError("holds no store yet; adding items or events makes one", file=name)


def _version(connection: Connection, name: str) -> int | None:
    """The version of the schema; None: there is no table at all yet.

    Raises `DataError` where the tables are those of another program, `MissingError` for a newer version.
    """
    version = version_of(connection, tables.metadata, name, needed=tables.metadata.tables)
    if version is not None:
        refuse_newer(version, VERSION, name)
    return version
