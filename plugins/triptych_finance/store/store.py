"""The store: one live writer, any number of readers, and whole transactions or none."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy import Connection, delete, select

from triptych.errors import DataError, TriptychError
from triptych_finance.store import migrations, tables
from triptych_finance.store.databases import Database, database_of
from triptych_finance.store.transaction import Transaction

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pruned:
    """How many rows retention has removed."""

    items: int
    readings: int
    alerts: int
    notices: int


class Store:
    """An open store; `Store.open` makes one. It may be shared by threads."""

    def __init__(self, database: Database, *, writer: bool) -> None:
        self.writer = writer
        self._database = database
        self._mutex = threading.RLock()
        self._connection: Connection | None = None  # the writer's
        self._closed = False

    @classmethod
    def open(cls, where: str | Path, *, writer: bool) -> Self:
        """The store in an SQLite file, or in PostgreSQL at postgresql://...; a writer makes or upgrades it.

        A password is better in PGPASSWORD or ~/.pgpass than in the URL. Raises `MissingError` where another writer
        lives, nothing is there to be read, or the store is of a newer version; `DataError` where it is none;
        `ConfigError` for another kind of database.
        """
        database = database_of(where)
        store = cls(database, writer=writer)
        try:
            if writer:
                with store.transaction() as tx:
                    migrations.migrate(tx.connection, database.name)
                database.settle(tx.connection)
            else:
                database.check_there()
                with store.reading() as tx:
                    migrations.check(tx.connection, database.name)
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
        """For a writer: all that is written stands when the block ends, none of it when it raises.

        For a reader the same as `reading`. One at a time; another thread's waits.
        """
        if not self.writer:
            with self.reading() as tx:
                yield tx
            return
        with self._mutex, self._database.translated():
            connection = self._writing_connection()
            with connection.begin():
                yield Transaction(connection, writes=True, posts=True)

    @contextmanager
    def reading(self) -> Iterator[Transaction]:
        """A view of the store as it was at the first question, whatever is written meanwhile."""
        with self._database.translated(), self._database.connect_to_read() as connection, connection.begin():
            yield Transaction(connection, writes=False, posts=False)

    @contextmanager
    def posting(self) -> Iterator[Transaction]:
        """A short transaction beside the live writer, in any process: it may add to the inbox, verdicts and silences.

        Not within `transaction`, which it would wait for.
        """
        with self._database.translated(), self._database.connect_to_post() as connection, connection.begin():
            yield Transaction(connection, writes=False, posts=True)

    def prune(self, before: datetime) -> Pruned:
        """Remove what arrived, was measured or came to its end before a time, and give its room back.

        Alerts that are open or have a notice yet to be sent stay, with all their notices. An item that is removed
        would be taken for new if its source gave it once more, so keep more than a source can repeat.
        """
        with self.transaction() as tx:
            pruned = _prune(tx.connection, before)
        try:
            with self._database.translated():
                self._database.give_back_room()
        except TriptychError as error:
            log.warning("old rows are removed, but their room is not given back: %s", error)
        return pruned

    def close(self) -> None:
        """Close the connections and let another write; a second call does nothing."""
        with self._mutex:
            self._closed = True
            if self._connection is not None:
                self._connection.close()
                self._connection = None
            self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _writing_connection(self) -> Connection:
        """The connection that holds the lock; a new one, with the lock taken anew, after a server has cut it off."""
        if self._closed:
            raise DataError("is closed", file=self.name)
        if self._connection is not None and self._connection.invalidated:
            self._connection.close()
            self._connection = None
        if self._connection is None:
            self._connection = self._database.connect_to_write()
        return self._connection


def _prune(connection: Connection, before: datetime) -> Pruned:
    item, alert, notice, verdict = tables.item, tables.alert, tables.notice, tables.verdict
    old_items = select(item.c.number).where(item.c.arrived < before)
    connection.execute(delete(tables.item_entity).where(tables.item_entity.c.number.in_(old_items)))
    items = connection.execute(delete(item).where(item.c.arrived < before)).rowcount
    readings = connection.execute(delete(tables.reading).where(tables.reading.c.end < before)).rowcount
    unsent = select(notice.c.alert).where(notice.c.sent.is_(None), notice.c.next_try.is_not(None))
    old_alert = alert.c.ended.is_not(None) & (alert.c.ended < before) & alert.c.id.not_in(unsent)
    notices = connection.execute(delete(notice).where(notice.c.alert.in_(select(alert.c.id).where(old_alert)))).rowcount
    alerts = connection.execute(delete(alert).where(old_alert)).rowcount
    orphan = verdict.c.alert.not_in(select(alert.c.id))
    connection.execute(delete(verdict).where(verdict.c.given < before, orphan))
    connection.execute(delete(tables.silence).where(tables.silence.c.ends < before))
    return Pruned(items, readings, alerts, notices)
