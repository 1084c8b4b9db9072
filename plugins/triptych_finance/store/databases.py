"""The two databases: who may write, and how room is given back."""

from __future__ import annotations

import contextlib
import os
import socket
import time
import zlib
from abc import ABC, abstractmethod
from pathlib import Path

from sqlalchemy import URL, Connection, text

from triptych.errors import MissingError
from triptych.files import Lock
from triptych.sql import databases
from triptych.sql.databases import PATIENCE_S, driver_of, place_of, postgres_engine, sqlite_engine
from triptych_finance.stream.source import without_secrets

_CLASS = 0x7472_6970  # "trip": the first half of the advisory lock, the second is made of the schema's name
_GRACE_S = 1.0  # a server notices within it that the last monitor was killed
_SILENT_S = 30  # a monitor's machine that does not answer for so long, and then four probes, has lost its lock


class Database(databases.Database, ABC):
    """A database and its connections.

    `connect_to_write` takes the lock that only one live writer can hold; that writer's transactions all go through
    the connection that it returns.
    """

    @abstractmethod
    def check_there(self) -> None:
        """Raises `MissingError` where there is nothing that could be read."""

    @abstractmethod
    def connect_to_write(self) -> Connection:
        """The connection of the one live writer. Raises `MissingError` that names the one who writes already."""

    @abstractmethod
    def settle(self, connection: Connection) -> None:
        """What the writer does once, when the tables are as they should be."""

    def connect_to_post(self) -> Connection:
        """A connection for short writing beside the one live writer."""
        return self.engine.connect()

    @abstractmethod
    def give_back_room(self) -> None:
        """Make free what deleted rows took."""


class SqliteFile(Database):
    """A file; who writes it holds `<file>.lock`."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().resolve()
        super().__init__(str(path), sqlite_engine(self.path))
        self._lock: Lock | None = None

    def check_there(self) -> None:
        """Raises `MissingError` where there is no file."""
        if not self.path.is_file():
            raise MissingError(f"{self.name}: there is no store; a monitor makes one when it starts")

    def connect_to_write(self) -> Connection:
        """Takes the lock, and makes the file where it is missing."""
        if self._lock is None:
            name = self.name.replace("{", "{{").replace("}", "}}")
            taken = f"another monitor ({{owner}}) is writing into {name}; stop it, or give this one another store"
            try:
                self._lock = Lock(self.path.with_name(f"{self.path.name}.lock"), taken=taken, error=MissingError)
            except OSError as error:
                raise MissingError(f"{self.name} cannot be written: {error.strerror}, {error.filename}") from error
        with self.translated():
            connection = self.engine.connect()
            driver_of(connection).execute("PRAGMA auto_vacuum = INCREMENTAL")  # heeded where there is no table yet
        return connection

    def settle(self, connection: Connection) -> None:
        """Switch the file to a log, beside which others read; only now, when it is known to be a store."""
        with self.translated():
            driver_of(connection).execute("PRAGMA journal_mode = WAL")

    def give_back_room(self) -> None:
        """Cut free pages off the file, and its log to nothing where nobody reads it."""
        with self.engine.connect() as connection:
            # `execute` would free one page alone: it stops at a row, and each page is a row without columns
            driver_of(connection).executescript("PRAGMA incremental_vacuum; PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close all connections, the last one folds the log into the file, and free the lock."""
        super().close()
        if self._lock is not None:
            self._lock.release()
            with contextlib.suppress(OSError):  # another monitor's is in it by now
                self._lock.path.parent.rmdir()
            self._lock = None


class PostgresServer(Database):
    """A schema of a server; who writes it holds an advisory lock, as long as his connection lives.

    What he writes goes through that very connection, so that with it he loses the right to write.
    """

    def __init__(self, url: URL) -> None:
        name = without_secrets(url.render_as_string(hide_password=True))
        who = f"triptych finance, process {os.getpid()} on {socket.gethostname()}"
        super().__init__(name, postgres_engine(url, name, application_name=who[:63]))

    def check_there(self) -> None:
        """Whether the server answers shows with the first question."""

    def connect_to_write(self) -> Connection:
        """Takes the lock; waits a moment for one whose holder has just died."""
        with self.translated():
            connection = self.engine.connect()
            connection.detach()  # closing it ends the session, and with it the lock
            try:
                connection.execute(text(f"SET tcp_keepalives_idle = {_SILENT_S}"))
                connection.execute(text(f"SET lock_timeout = {int(PATIENCE_S * 1000)}"))
                self._lock(connection)
                connection.commit()
            except BaseException:
                connection.close()
                raise
        return connection

    def settle(self, connection: Connection) -> None:
        """Nothing: the server lets others read beside a writer as it is."""

    def give_back_room(self) -> None:
        """VACUUM, for later rows of the same tables."""
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM (ANALYZE) item, item_entity, reading, alert, notice, verdict, inbox"))

    def _lock(self, connection: Connection) -> None:
        schema = connection.scalar(text("SELECT current_schema()"))
        if schema is None:
            raise MissingError(f"{self.name}: there is no schema to make tables in; create the one of the search path")
        key = {"one": _CLASS, "two": zlib.crc32(str(schema).encode()) >> 1}
        until = time.monotonic() + _GRACE_S
        while not connection.scalar(text("SELECT pg_try_advisory_lock(:one, :two)"), key):
            if time.monotonic() > until:
                holder = connection.scalar(_HOLDER, key) or "another process"
                raise MissingError(
                    f"another monitor ({holder}) is writing into {self.name}; stop it, or give this one another store"
                )
            time.sleep(0.05)


_HOLDER = text(
    "SELECT application_name FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE locktype = 'advisory' AND granted "
    "AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
    "AND classid::bigint = :one AND objid::bigint = :two AND objsubid = 2"
)


def database_of(where: str | Path) -> Database:
    """The database of a path or URL. Raises `ConfigError` for an address that is none."""
    place = place_of(where)
    return SqliteFile(place) if isinstance(place, Path) else PostgresServer(place)
