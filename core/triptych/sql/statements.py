"""What questions and changes are put together from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, Select, Table
from sqlalchemy.dialects import postgresql, sqlite

_CHUNK = 500  # values in one question
_T = TypeVar("_T")


def insert(connection: Connection, table: Table) -> postgresql.Insert | sqlite.Insert:
    """The database's own INSERT, which knows ON CONFLICT."""
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


def put(connection: Connection, table: Table, values: list[dict[str, Any]]) -> None:
    """Insert rows, each in place of the one with its primary key."""
    if values:
        statement = insert(connection, table)
        others = {c.name: statement.excluded[c.name] for c in table.c if not c.primary_key}
        statement = statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=others)
        connection.execute(statement, values)


def narrowed(questions: Sequence[Select[Any]], column: Any, values: Sequence[Any] | None) -> list[Select[Any]]:
    """The questions for these values alone, some at a time; None: as they are."""
    if values is None:
        return list(questions)
    return [question.where(column.in_(some)) for question in questions for some in chunks(sorted(set(values)))]


def chunks(values: Sequence[_T]) -> Iterator[Sequence[_T]]:
    """As many of the values at a time as one question may name."""
    return (values[start : start + _CHUNK] for start in range(0, len(values), _CHUNK))
