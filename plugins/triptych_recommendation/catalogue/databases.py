"""The two databases: what a writer prepares, and whether something was written since the last look."""

from __future__ import annotations

import sqlite3
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, exc, text

from triptych.errors import DataError, MissingError
from triptych.sql import databases
from triptych.sql.databases import PATIENCE_S, driver_of, place_of, postgres_engine, sqlite_engine
from triptych.sql.wal import write_ahead
from triptych_recommendation.catalogue import tables

_FRESH_S = 0.25  # a server is asked for news at most this often
_SUM = "SELECT sum(value) FROM meta WHERE name IN ('item', 'event')"


class Database(databases.Database, ABC):
    """A database and its connections."""

    @abstractmethod
    def prepare(self) -> None:
        """What a writer does once before it makes tables."""

    @abstractmethod
    def check_there(self) -> None:
        """Raises `MissingError` where there is nothing that could be read."""

    @abstractmethod
    def version(self) -> int:
        """The sum of the counters of items and events: another one after either was written; cheap to ask for."""

    @abstractmethod
    def rows(self, question: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """What a SELECT finds that both kinds of database understand, its values named as in `:name`.

        As the columns are kept: JSON is text. It takes less time than a transaction.
        """

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Raises errors that name the store in place of the database's, whatever they are."""
        try:
            with super().translated():
                yield
        except (sqlite3.Error, exc.DBAPIError) as error:
            cause = error.orig if isinstance(error, exc.DBAPIError) else error
            if isinstance(cause, sqlite3.Error):
                damaged = f"is damaged, or no store ({cause}); restore it from a backup"
                raise DataError(damaged, file=self.name) from error
            reason = " ".join(str(cause).split())
            raise MissingError(f"{self.name}: the database does not answer, or refuses ({reason})") from error


class SqliteFile(Database):
    """A file with a write-ahead log, so that others read while one writes."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().resolve()
        super().__init__(str(path), sqlite_engine(self.path))
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
            driver = driver_of(connection)
            names = {name for (name,) in driver.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if not names or names >= set(tables.metadata.tables):
                write_ahead(driver)

    def check_there(self) -> None:
        """Raises `MissingError` where there is no file."""
        if not self.path.is_file():
            raise MissingError(f"{self.name}: there is no store; adding items or events makes one")

    def version(self) -> int:
        """Asked for only where somebody has committed since the last time."""
        commits = int(self.rows("PRAGMA data_version", {})[0][0])
        if commits != self._seen[0]:
            self._seen = (commits, int(self.rows(_SUM, {})[0][0]))
        return self._seen[1]

    def rows(self, question: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """By a connection of its own, which waits for no writer."""
        with self._watching:
            try:
                if self._watch is None:
                    self._watch = sqlite3.connect(
                        self.path, timeout=PATIENCE_S, check_same_thread=False, isolation_level=None
                    )
                return self._watch.execute(question, values).fetchall()
            except sqlite3.Error:
                with self.translated():
                    raise

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
        super().__init__(name, postgres_engine(url, name))
        self._seen = (-_FRESH_S, 0)  # when it was asked for last, and the sum at that time

    def prepare(self) -> None:
        """Nothing: the server lets others read beside a writer as it is."""

    def check_there(self) -> None:
        """Whether the server answers shows with the first question."""

    def version(self) -> int:
        """At most so old as `_FRESH_S` says."""
        now = time.monotonic()
        if now - self._seen[0] >= _FRESH_S:
            with self.translated(), self.connect_to_read() as connection:
                self._seen = (now, int(connection.execute(text(_SUM)).scalar_one()))
        return self._seen[1]

    def rows(self, question: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """In a transaction of its own."""
        with self.translated(), self.connect_to_read() as connection:
            return [tuple(row) for row in connection.execute(text(question), values)]


def database_of(where: str | Path) -> Database:
    """The database of a path or URL. Raises `ConfigError` for an address that is none."""
    place = place_of(where)
    return SqliteFile(place) if isinstance(place, Path) else PostgresServer(place)
