"""What the questions and changes of a transaction are put together from."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, Table

from triptych.errors import DataError
from triptych.sql import statements
from triptych.sql.meta import next_numbers
from triptych_finance.store import tables


class Statements:
    """A connection within a transaction; `writes` and `posts` say what may be changed."""

    def __init__(self, connection: Connection, *, writes: bool, posts: bool) -> None:
        self.connection = connection
        self._writes, self._posts = writes, posts

    def new_numbers(self, counter: str, count: int, *, post: bool = False) -> list[int]:
        """The next numbers of a counter; they become visible in order."""
        return next_numbers(self.to_write(post=post), tables.metadata, counter, count) if count else []

    def add(self, table: Table, values: list[dict[str, Any]], *, post: bool = False) -> None:
        """Insert rows. One that is there already raises the database's error."""
        if values:
            self.to_write(post=post).execute(table.insert(), values)

    def put(self, table: Table, values: list[dict[str, Any]]) -> None:
        """Insert rows, each in place of the one with its primary key."""
        if values:
            statements.put(self.to_write(), table, values)

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
