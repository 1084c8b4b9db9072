"""How the schema came to be what it is: each version's change to the one before, and nothing is lost on the way.

A new store is made as the tables are now. An older one goes through the functions below, in one transaction; each is
written in SQL of its time, for the tables may have moved on since.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection, inspect, select, text, update

from triptych.errors import DataError, MissingError
from triptych_finance.store import tables

COUNTERS = ("item", "inbox", "verdict")
_FIRST = 1  # the version that the first migration starts from


def version_of(connection: Connection, name: str) -> int | None:
    """The version of a store's schema; None: there is no table at all yet.

    Raises `DataError` where the tables are those of another program.
    """
    found = set(inspect(connection).get_table_names())
    if "meta" in found:
        columns = {column["name"] for column in inspect(connection).get_columns("meta")}
        question = select(tables.meta.c.value).where(tables.meta.c.name == "version")
        version = connection.scalar(question) if columns == {"name", "value"} else None
        if version is not None:
            return int(version)
    # a database server has room for other programs' tables, a file of SQLite is one program's
    others = found & set(tables.metadata.tables) if connection.dialect.name == "postgresql" else found
    if others:
        raise DataError(
            f"holds tables of another program ({', '.join(sorted(others))}); give the store a file, or in PostgreSQL "
            "a schema of its own, as ?options=-csearch_path%3Dtriptych",
            file=name,
        )
    return None


def check(connection: Connection, name: str) -> None:
    """Raises `DataError` or `MissingError` unless the store is of the version that this program reads."""
    version = version_of(connection, name)
    if version is None:
        raise DataError("holds no store yet; a monitor makes one when it starts", file=name)
    _refuse_newer(version, name)
    if version < LATEST:
        raise DataError(
            f"is of an earlier version (schema {version}, now {LATEST}); the next start of a monitor brings it up",
            file=name,
        )


def migrate(connection: Connection, name: str) -> None:
    """Make the tables, or bring them up to date, within the caller's transaction.

    Raises `MissingError` for a store of a newer version.
    """
    version = version_of(connection, name)
    if version is None:
        tables.metadata.create_all(connection)
        counters = [{"name": counter, "value": 0} for counter in COUNTERS]
        connection.execute(tables.meta.insert(), [{"name": "version", "value": LATEST}, *counters])
        return
    _refuse_newer(version, name)
    for step in MIGRATIONS[version - _FIRST :]:
        step(connection)
    connection.execute(update(tables.meta).where(tables.meta.c.name == "version").values(value=LATEST))


def _refuse_newer(version: int, name: str) -> None:
    if version > LATEST:
        raise MissingError(
            f"{name} was written by a newer version of Triptych (schema {version}, known up to {LATEST}); update it"
        )


def _verdicts_name_their_entity(connection: Connection) -> None:
    """2: a verdict outlives its alert, so it says itself which entity it is about; notices are found by their alert."""
    collation = 'COLLATE "C"' if connection.dialect.name == "postgresql" else ""
    connection.execute(text(f"ALTER TABLE verdict ADD COLUMN entity TEXT {collation} NOT NULL DEFAULT ''"))
    connection.execute(
        text("UPDATE verdict SET entity = coalesce((SELECT entity FROM alert WHERE alert.id = verdict.alert), '')")
    )
    connection.execute(text("CREATE INDEX notice_by_alert ON notice (alert)"))


MIGRATIONS: tuple[Callable[[Connection], None], ...] = (_verdicts_name_their_entity,)
LATEST = _FIRST + len(MIGRATIONS)
