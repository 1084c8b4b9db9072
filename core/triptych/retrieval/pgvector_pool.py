"""Connections to PostgreSQL: kept between calls, made anew when the server was restarted, errors in our words."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import unquote

import psycopg
from pgvector.psycopg import register_vector
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict

from triptych.errors import DataError, MissingError, TriptychError

_IDLE = 8  # connections kept for the next call
_ATTEMPTS = 20  # of a write that meets another one on the same ids
_SECONDS = 10  # to connect
_OLDEST = (0, 8)  # pgvector with iterative scans, which find k neighbours under a filter

Connection = psycopg.Connection[Any]
T = TypeVar("T")


class Pool:
    """Connections to one database; any number of threads may use it.

    `location` is the URL as it may be shown, without a password, and the name of the index.
    """

    def __init__(self, url: str, name: str) -> None:
        shown, self._secrets = _shown(url)
        self.location = f"{shown}#{name}"
        try:
            self._options: dict[str, Any] = dict(conninfo_to_dict(url))
        except psycopg.ProgrammingError:  # its message may quote the password
            raise DataError(
                f"{self.location} is no URL of PostgreSQL; write postgresql://user@host/database#name"
            ) from None
        self._options = {"connect_timeout": _SECONDS, "fallback_application_name": "triptych"} | self._options
        self._idle: list[Connection] = []
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._closed = False

    def read(self, work: Callable[[Connection], T]) -> T:
        """What `work` returns; it sees one state of the database throughout."""

        def reading(connection: Connection) -> T:
            with connection.transaction():
                connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                return work(connection)

        return self.run(reading)

    def write(self, work: Callable[[Connection], T]) -> T:
        """What `work` returns, all of it durable or none; it is done again where another writer was in its way."""

        def writing(connection: Connection) -> T:
            with connection.transaction():
                return work(connection)

        for attempt in range(_ATTEMPTS):
            try:
                return self.run(writing)
            except _InTheWayError:
                time.sleep(random.uniform(0, 0.02 * (attempt + 1)))
        raise DataError(f"{self.location}: other writers of the same ids were in the way {_ATTEMPTS} times; try again")

    def run(self, work: Callable[[Connection], T]) -> T:
        """What `work` returns, outside of a transaction. A connection that was lost since the last call is replaced."""
        kept = self._kept()
        if kept is not None:
            try:
                return self._use(kept, work)
            except _LostError:
                self._forget()
        try:
            return self._use(self._connect(), work)
        except _LostError as error:
            raise MissingError(
                f"{self.location}: the connection was lost ({error}); whether a write was made is not known: repeat it"
            ) from None

    def close(self) -> None:
        """Close every connection that nobody uses, and the others when they come back."""
        self._closed = True
        self._forget()

    def _use(self, connection: Connection, work: Callable[[Connection], T]) -> T:
        try:
            with self._told(connection):
                return work(connection)
        finally:
            idle = not connection.closed and connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
            with self._lock:
                keep = idle and not self._closed and len(self._idle) < _IDLE
                if keep:
                    self._idle.append(connection)
            if not keep:
                connection.close()

    def _kept(self) -> Connection | None:
        if self._closed:
            raise DataError(f"{self.location} is closed; open it again")
        with self._lock:
            if self._process != os.getpid():  # after a fork they are the parent's
                self._idle, self._process = [], os.getpid()
            return self._idle.pop() if self._idle else None

    def _forget(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _connect(self) -> Connection:
        try:
            connection: Connection = psycopg.connect(**self._options, autocommit=True, prepare_threshold=None)
        except psycopg.Error as error:
            raise MissingError(
                f"{self.location} cannot be reached: {self._without_secrets(error)}. "
                "Is the server running, and are user, password and database right?"
            ) from None
        try:
            with self._told(connection):
                self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: Connection) -> None:
        if connection.info.parameter_status("server_encoding") != "UTF8":
            raise MissingError(f"{self.location} has no database in UTF8; make one with ENCODING 'UTF8'")
        found = connection.execute("SELECT extversion FROM pg_extension WHERE extname = 'vector'").fetchone()
        if found is None:
            self._create_extension(connection)
        elif tuple(int(part) for part in found[0].split(".")[:2]) < _OLDEST:
            raise MissingError(
                f"{self.location} has pgvector {found[0]}, and 0.8 is needed: ALTER EXTENSION vector UPDATE"
            )
        register_vector(connection)
        connection.execute("SET synchronous_commit = on; SET jit = off; SET hnsw.iterative_scan = strict_order")

    def _create_extension(self, connection: Connection) -> None:
        try:
            connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        except psycopg.Error as error:
            if connection.closed:
                raise
            raise MissingError(
                f"{self.location} has no pgvector: {self._without_secrets(error)}. Install it on the server, and let a "
                "user who has the right to do so run CREATE EXTENSION vector in this database"
            ) from None

    @contextmanager
    def _told(self, connection: Connection) -> Iterator[None]:
        """PostgreSQL's errors as ours; what cannot be a user's is raised as it is."""
        try:
            yield
        except TriptychError:
            raise
        except (errors.UniqueViolation, errors.DeadlockDetected, errors.SerializationFailure) as error:
            raise _InTheWayError(str(error)) from error
        except psycopg.Error as error:
            reason = self._without_secrets(error)
            if connection.closed:
                raise _LostError(reason) from None
            if isinstance(error, errors.UndefinedTable):
                raise DataError(f"{self.location} is no longer there: {reason}") from error
            if isinstance(error, errors.DuplicateTable):
                raise DataError(
                    f"{self.location} exists already ({reason}); open it, or choose another name"
                ) from error
            if isinstance(error, psycopg.DataError | errors.ProgramLimitExceeded):
                raise DataError(f"{self.location} cannot hold this: {reason}") from error
            if isinstance(
                error, psycopg.OperationalError | errors.InsufficientPrivilege | errors.ReadOnlySqlTransaction
            ):
                raise MissingError(f"{self.location}: {reason}") from error
            raise

    def _without_secrets(self, error: BaseException) -> str:
        text = " ".join(str(error).split())
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


class _LostError(Exception):
    """The connection is gone."""


class _InTheWayError(Exception):
    """Another writer had the same ids; nothing was written."""


def _shown(url: str) -> tuple[str, list[str]]:
    """The URL without its password and options, and the texts that must not be shown."""
    address = url.removeprefix("postgresql://").removeprefix("postgres://")
    user, at, host = address.partition("?")[0].rpartition("@")
    secrets = [user.partition(":")[2]]
    for option in url.partition("?")[2].split("&"):
        name, _, value = option.partition("=")
        if "password" in name:
            secrets.append(value)
    secrets += [unquote(secret) for secret in secrets]
    return f"postgresql://{user.partition(':')[0]}{at}{host}", sorted({s for s in secrets if s}, key=len, reverse=True)
