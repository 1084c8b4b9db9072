"""The two databases: how to connect, and their errors as a user should read them."""

from __future__ import annotations

import sqlite3
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, exc, make_url, text

from triptych.errors import ConfigError, DataError, MissingError, TriptychError
from triptych_recommendation.catalogue import tables

_PATIENCE_S = 30.0  # how long a transaction waits for another process'
_FRESH_S = 0.25  # a server is asked for news at most this often
_SUM = "SELECT sum(value) FROM meta WHERE name IN ('item', 'event')"


class Database(ABC):
    """A database and its connections. `name` may be printed."""

    def __init__(self, name: str, engine: Engine) -> None:
        self.name = name
        self.engine = engine

    @abstractmethod
    def prepare(self) -> None:
        """What a writer does once before it makes tables."""

    @abstractmethod
    def check_there(self) -> None:
        """Raises `MissingError` where there is nothing that could be read."""

    @abstractmethod
    def reader(self) -> Connection:
        """A connection whose transactions see the store as it was when they began."""

    @abstractmethod
    def version(self) -> int:
        """The sum of the counters of items and events: another one after either was written; cheap to ask for."""

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Raises errors that name the store in place of the database's; never with what was being written."""
        try:
            yield
        except exc.TimeoutError as error:
            raise MissingError(f"{self.name}: too many threads use it at once; try again later") from error
        except sqlite3.Error as error:
            raise _of_sqlite(error, self.name) from error
        except exc.StatementError as error:
            if isinstance(error.orig, TriptychError):  # raised while a value was made ready
                raise error.orig from None
            if not isinstance(error, exc.DBAPIError):
                raise
            if isinstance(error.orig, sqlite3.Error):
                raise _of_sqlite(error.orig, self.name) from error
            raise _of_postgres(error.orig, self.name) from error


class SqliteFile(Database):
    """A file with a write-ahead log, so that others read while one writes."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().resolve()
        url = URL.create("sqlite", database=str(self.path))
        super().__init__(str(path), create_engine(url, hide_parameters=True, connect_args={"timeout": _PATIENCE_S}))
        event.listen(self.engine, "connect", _prepare_sqlite)
        event.listen(self.engine, "begin", _begin_sqlite)
        self._watch: sqlite3.Connection | None = None
        self._watching = threading.Lock()
        self._seen = (-1, 0)  # SQLite's own counter of commits, and the sum at that time

    def prepare(self) -> None:
        """Make the folder, and switch the file to a log; a file of another program is left as it is."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MissingError(f"{self.name} cannot be written: {error.strerror}, {error.filename}") from error
        with self.engine.connect() as connection:
            driver = _driver(connection)
            names = {name for (name,) in driver.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if not names or names >= set(tables.metadata.tables):
                driver.execute("PRAGMA journal_mode = WAL")

    def check_there(self) -> None:
        """Raises `MissingError` where there is no file."""
        if not self.path.is_file():
            raise MissingError(f"{self.name}: there is no store; adding items or events makes one")

    def reader(self) -> Connection:
        """The view begins with the first question."""
        return self.engine.connect().execution_options(sqlite_begin="BEGIN")

    def version(self) -> int:
        """Asked for only where somebody has committed since the last time."""
        with self._watching, self.translated():
            if self._watch is None:
                self._watch = sqlite3.connect(self.path, check_same_thread=False, isolation_level=None)
            commits = int(self._watch.execute("PRAGMA data_version").fetchone()[0])
            if commits != self._seen[0]:
                self._seen = (commits, int(self._watch.execute(_SUM).fetchone()[0]))
            return self._seen[1]

    def close(self) -> None:
        """Close all connections; the last one folds the log into the file."""
        with self._watching:
            if self._watch is not None:
                self._watch.close()
                self._watch = None
        super().close()


class PostgresServer(Database):
    """A schema of a server."""

    def __init__(self, url: URL) -> None:
        name = URL.create(url.drivername, url.username, None, url.host, url.port, url.database).render_as_string()
        if url.drivername == "postgresql":
            url = url.set(drivername="postgresql+psycopg")
        try:
            engine = create_engine(url, hide_parameters=True, pool_pre_ping=True)
        except ImportError as error:
            raise MissingError(f"{name} needs a driver: pip install 'triptych[postgres]' ({error})") from error
        super().__init__(name, engine)
        self._seen = (-_FRESH_S, 0)  # when it was asked for last, and the sum at that time

    def prepare(self) -> None:
        """Nothing: the server lets others read beside a writer as it is."""

    def check_there(self) -> None:
        """Whether the server answers shows with the first question."""

    def reader(self) -> Connection:
        """The view begins with the first question."""
        return self.engine.connect().execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    def version(self) -> int:
        """At most so old as `_FRESH_S` says."""
        now = time.monotonic()
        if now - self._seen[0] >= _FRESH_S:
            with self.translated(), self.reader() as connection:
                self._seen = (now, int(connection.execute(text(_SUM)).scalar_one()))
        return self._seen[1]


def database_of(where: str | Path) -> Database:
    """The database of a path or URL. Raises `ConfigError` for an address that is none."""
    if isinstance(where, Path) or "://" not in where:
        return SqliteFile(Path(where))
    try:
        url = make_url(where)
    except exc.ArgumentError:  # its message may hold the password
        raise ConfigError("the store's address is none; use a file, or postgresql://user@host/name") from None
    kind = url.get_backend_name()
    if kind == "sqlite" and url.database and url.database != ":memory:" and not url.query:
        return SqliteFile(Path(url.database))
    if kind == "postgresql":
        return PostgresServer(url)
    raise ConfigError(f"{kind!r} is no store: give a file, sqlite:///file or postgresql://user@host/name")


def _driver(connection: Connection) -> Any:
    """SQLite's own connection, for what cannot be said within a transaction."""
    return connection.connection.driver_connection


def _prepare_sqlite(connection: Any, record: Any) -> None:
    connection.isolation_level = None  # transactions begin where we say so, see _begin_sqlite
    connection.execute("PRAGMA synchronous = FULL")


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("sqlite_begin", "BEGIN IMMEDIATE"))


def _of_sqlite(error: sqlite3.Error, name: str) -> TriptychError:
    code = getattr(error, "sqlite_errorname", "")
    if code.startswith(("SQLITE_FULL", "SQLITE_IOERR")):
        return MissingError(
            f"{name}: nothing was written, the disk is full or failing ({error}); make room, then go on"
        )
    if code.startswith("SQLITE_BUSY"):
        return MissingError(f"{name}: another process has been writing for too long ({error}); try again later")
    if code.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")):
        return MissingError(
            f"{name} cannot be opened or written ({error}); check the rights of the file and its folder"
        )
    if isinstance(error, sqlite3.IntegrityError):
        return DataError(f"holds this already ({error})", file=name)
    return DataError(f"is damaged, or no store ({error}); restore it from a backup", file=name)


def _of_postgres(error: BaseException | None, name: str) -> TriptychError:
    state = getattr(error, "sqlstate", None) or ""
    reason = " ".join(str(error).split())
    if state.startswith("23"):
        return DataError(f"holds this already ({reason})", file=name)
    if state.startswith("XX"):
        return DataError(f"is damaged ({reason}); restore it from a backup", file=name)
    return MissingError(f"{name}: the database does not answer, or refuses ({reason})")
