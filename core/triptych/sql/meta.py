"""The table `meta` of a store: the version of its schema, and the counters that number its rows."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import BigInteger, Column, Connection, MetaData, Table, Text, inspect, select, update

from triptych.errors import DataError, MissingError


def meta_table(metadata: MetaData) -> Table:
    """The table, for the schema of a store: a number under each name."""
    return Table(
        "meta",
        metadata,
        Column("name", Text, primary_key=True),
        Column("value", BigInteger, nullable=False),
    )


def make(connection: Connection, metadata: MetaData, version: int, counters: Iterable[str]) -> None:
    """Make the tables of a new store, its counters at zero."""
    metadata.create_all(connection)
    rows = [{"name": "version", "value": version}, *({"name": counter, "value": 0} for counter in counters)]
    connection.execute(metadata.tables["meta"].insert(), rows)


def version_of(connection: Connection, metadata: MetaData, name: str, *, needed: Iterable[str]) -> int | None:
    """The version of a store's schema; None: there is no table at all yet.

    `needed` are the tables by which a store of any version is known, `meta` among them. Raises `DataError` where the
    tables are those of another program.
    """
    inspector, table = inspect(connection), metadata.tables["meta"]
    found = set(inspector.get_table_names())
    if found >= set(needed) and {column["name"] for column in inspector.get_columns("meta")} == {"name", "value"}:
        version = connection.scalar(select(table.c.value).where(table.c.name == "version"))
        if version is not None:
            return int(version)
    # a database server has room for other programs' tables, a file of SQLite is one program's
    others = found & set(metadata.tables) if connection.dialect.name == "postgresql" else found
    if others:
        raise DataError(
            f"holds tables of another program ({', '.join(sorted(others))}); give the store a file, or in PostgreSQL "
            "a schema of its own, as ?options=-csearch_path%3Dtriptych",
            file=name,
        )
    return None


def refuse_newer(version: int, latest: int, name: str) -> None:
    """Raises `MissingError` for a store of a later version than this program knows."""
    if version > latest:
        raise MissingError(
            f"{name} was written by a newer version of Triptych (schema {version}, known up to {latest}); update it"
        )


def next_numbers(connection: Connection, metadata: MetaData, counter: str, count: int) -> list[int]:
    """The next numbers of a counter.

    Who wants some meanwhile waits for the end of this transaction, so that they become visible in order.
    """
    table = metadata.tables["meta"]
    change = update(table).where(table.c.name == counter).values(value=table.c.value + count)
    if connection.execute(change).rowcount != 1:
        raise DataError(f"the store has lost its counter {counter!r}; restore it from a backup")
    last = int(connection.execute(select(table.c.value).where(table.c.name == counter)).scalar_one())
    return list(range(last - count + 1, last + 1))
