"""How the schema came to be what it is: each version's change to the one before, and nothing is lost on the way.

A new store is made as the tables are now. An older one goes through the functions below, in one transaction; each is
written in SQL of its time, for the tables may have moved on since.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection, text, update

from triptych.errors import DataError
from triptych.sql.meta import make, refuse_newer, version_of
from triptych_finance.store import tables

COUNTERS = ("item", "inbox", "verdict")
_FIRST = 1  # the version that the first migration starts from
_NEEDED = ("meta",)  # tables that a store of any version has


def check(connection: Connection, name: str) -> None:
    """Raises `DataError` or `MissingError` unless the store is of the version that this program reads."""
    version = version_of(connection, tables.metadata, name, needed=_NEEDED)
    if version is None:
        raise DataError("holds no store yet; a monitor makes one when it starts", file=name)
    refuse_newer(version, LATEST, name)
    if version < LATEST:
        raise DataError(
            f"is of an earlier version (schema {version}, now {LATEST}); the next start of a monitor brings it up",
            file=name,
        )


def migrate(connection: Connection, name: str) -> None:
    """Make the tables, or bring them up to date, within the caller's transaction.

    Raises `MissingError` for a store of a newer version.
    """
    version = version_of(connection, tables.metadata, name, needed=_NEEDED)
    if version is None:
        make(connection, tables.metadata, LATEST, COUNTERS)
        return
    refuse_newer(version, LATEST, name)
    for step in MIGRATIONS[version - _FIRST :]:
        step(connection)
    connection.execute(update(tables.meta).where(tables.meta.c.name == "version").values(value=LATEST))


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
