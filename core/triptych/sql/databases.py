"""A database behind an address: how to connect, and what its transactions see."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, exc, make_url

from triptych.errors import ConfigError, MissingError
from triptych.sql.failures import translated

PATIENCE_S = 30.0  # how long a transaction waits for another one's


class Database:
    """A database and its connections. `name` may be printed."""

    def __init__(self, name: str, engine: Engine) -> None:
        self.name = name
        self.engine = engine

    def translated(self) -> AbstractContextManager[None]:
        """Raises errors that a user understands in place of the database's."""
        url = self.engine.url
        return translated(self.name, url.password or str(url.query.get("password", "")))

    def connect_to_read(self) -> Connection:
        """A connection whose transactions see the store as it was at their first question."""
        if self.engine.dialect.name == "sqlite":
            return self.engine.connect().execution_options(sqlite_begin="BEGIN")
        return self.engine.connect().execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def place_of(where: str | Path) -> Path | URL:
    """What an address means: a file of SQLite, or a URL of PostgreSQL.

    Raises `ConfigError` for anything else, with no part of the address that may hold a password.
    """
    if isinstance(where, Path) or "://" not in where:
        return Path(where)
    try:
        url = make_url(where)
    except Exception:  # its message may hold the password
        raise ConfigError(
            "the address of the store cannot be read; give a file, sqlite:///file or postgresql://user@host/name"
        ) from None
    kind = url.get_backend_name()
    if kind == "sqlite" and url.database and url.database != ":memory:" and not url.query:
        return Path(url.database)
    if kind == "postgresql":
        return url
    raise ConfigError(f"{kind!r} is no store: give a file, sqlite:///file or postgresql://user@host/name")


def sqlite_engine(path: Path) -> Engine:
    """Connections to a file. What is committed is on the disk.

    A transaction waits at its beginning until it may write, but on a connection of `Database.connect_to_read`.
    """
    url = URL.create("sqlite", database=str(path))
    engine = create_engine(url, hide_parameters=True, connect_args={"timeout": PATIENCE_S})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def postgres_engine(url: URL, name: str, **arguments: Any) -> Engine:
    """Connections to a server, by psycopg; `arguments` are libpq's.

    Raises `MissingError` without the driver, and `ConfigError` where the URL names one that nobody knows.
    """
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    try:
        return create_engine(url, hide_parameters=True, pool_pre_ping=True, connect_args=arguments)
    except ImportError as error:
        raise MissingError(f"{name} needs a driver: pip install 'triptych[postgres]' ({error})") from error
    except exc.NoSuchModuleError as error:
        raise ConfigError(f"{name}: no such driver is known ({error}); write postgresql://") from None


def driver_of(connection: Connection) -> Any:
    """The driver's own connection, for what cannot be said within a transaction."""
    return connection.connection.driver_connection


def _prepare_sqlite(connection: Any, record: Any) -> None:
    connection.isolation_level = None  # transactions begin where we say so, see _begin_sqlite
    connection.execute("PRAGMA synchronous = FULL")


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("sqlite_begin", "BEGIN IMMEDIATE"))
