"""What the questions and changes of a transaction are put together from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Connection, Select, Table, select, update
from sqlalchemy.dialects import postgresql, sqlite

from triptych.errors import DataError
from triptych_finance.store import tables

_CHUNK = 500  # values in one question
_T = TypeVar("_T")


class Statements:
    """A connection within a transaction; `writes` and `posts` say what may be changed."""

    def __init__(self, connection: Connection, *, writes: bool, posts: bool) -> None:
        self.connection = connection
        self._writes, self._posts = writes, posts

    def new_numbers(self, counter: str, count: int, *, post: bool = False) -> list[int]:
        """The next numbers of a counter.

        Who wants some meanwhile waits for the end of this transaction, so that they become visible in order.
        """
        if not count:
            return []
        table = tables.meta
        connection = self.to_write(post=post)
        change = update(table).where(table.c.name == counter).values(value=table.c.value + count)
        if connection.execute(change).rowcount != 1:
            raise DataError(f"the store has lost its counter {counter!r}; restore it from a backup")
        last = int(connection.execute(select(table.c.value).where(table.c.name == counter)).scalar_one())
        return list(range(last - count + 1, last + 1))

    def add(self, table: Table, values: list[dict[str, Any]], *, post: bool = False) -> None:
        """Insert rows. One that is there already raises the database's error."""
        if values:
            self.to_write(post=post).execute(table.insert(), values)

    def put(self, table: Table, values: list[dict[str, Any]]) -> None:
        """Insert rows, each in place of the one with its primary key."""
        if values:
            statement = self.insert(table)
            others = {c.name: statement.excluded[c.name] for c in table.c if not c.primary_key}
            statement = statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=others)
            self.to_write().execute(statement, values)

    def insert(self, table: Table) -> postgresql.Insert | sqlite.Insert:
        """The database's own INSERT, which knows ON CONFLICT."""
        return postgresql.insert(table) if self.connection.dialect.name == "postgresql" else sqlite.insert(table)

    def to_write(self, *, post: bool = False) -> Connection:
        """The connection, for a change. Raises `DataError` where it is for reading."""
        if not (self._writes or (post and self._posts)):
            raise DataError("the store is open for reading here; only its monitor writes this")
        return self.connection


def values_of(table: Table, row: Any, **given: Any) -> dict[str, Any]:
    """The values of a row by column; `given` ones go before the row's own."""
    return {name: given[name] if name in given else getattr(row, name) for name in table.c.keys()}  # noqa: SIM118


def between(question: Select[Any], column: Any, since: datetime | None, until: datetime | None) -> Select[Any]:
    """The question for `since <= column < until`."""
    if since is not None:
        question = question.where(column >= since)
    return question if until is None else question.where(column < until)


def narrowed(questions: Sequence[Select[Any]], column: Any, values: Sequence[Any] | None) -> list[Select[Any]]:
    """The questions for these values alone, some at a time; None: as they are."""
    if values is None:
        return list(questions)
    return [question.where(column.in_(some)) for question in questions for some in chunks(sorted(set(values)))]


def chunks(values: Sequence[_T]) -> Iterator[Sequence[_T]]:
    """As many of the values at a time as one question may name."""
    return (values[start : start + _CHUNK] for start in range(0, len(values), _CHUNK))
