"""The tables behind the rows, the same on SQLite and PostgreSQL.

| table | what |
| --- | --- |
| meta | version of the schema; the last number given out of item, event and outcome |
| item | items that came after the build, and removals of any item |
| event | what people did after the build |
| exposure, outcome | lists that were shown, and what came of them |

Times are integers: microseconds since 1970 in UTC. Vectors are float16, little endian. JSON is text.
"""

from __future__ import annotations

import math

from sqlalchemy import BigInteger, Column, Double, Index, MetaData, Table, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

from triptych.errors import DataError
from triptych.sql import columns
from triptych.sql.columns import COUNTED, Half, Json
from triptych.sql.meta import meta_table


class Words(columns.Words):
    """Text. Raises `DataError` for what no database holds: NUL, and halves of surrogate pairs."""

    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """The text as it is."""
        return None if value is None else storable_words(value)


class Number(TypeDecorator[float]):
    """A finite float, to the last bit; numpy's too."""

    impl = Double
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: Dialect) -> float | None:
        """Python's own float. Raises `DataError` for infinity and "not a number"."""
        if value is not None and not math.isfinite(value):
            raise DataError(f"{value} is no finite number")
        return None if value is None else float(value)


def storable_words(text: str) -> str:
    """The text as it is. Raises `DataError` for what no database holds."""
    if not storable(text):
        raise DataError(f"{text!r} holds characters that no database keeps; leave them out")
    return text


def storable(text: str) -> bool:
    """Whether a database can keep the text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


metadata = MetaData()
meta = meta_table(metadata)
item = Table(
    "item",
    metadata,
    Column("id", Words, primary_key=True),
    Column("number", BigInteger, nullable=False, unique=True),
    Column("json", Json),
    Column("vector", Half),
    Column("encoder", Words, nullable=False),
    Column("added", BigInteger, nullable=False),
    Column("removed", BigInteger),
)
event = Table(
    "event",
    metadata,
    Column("number", COUNTED, primary_key=True, autoincrement=False),
    Column("key", Text, nullable=False, unique=True),
    Column("user", Words, nullable=False),
    Column("item", Words, nullable=False),
    Column("kind", Words, nullable=False),
    Column("time", BigInteger, nullable=False),
    Column("weight", Number, nullable=False),
    Index("event_by_user", "user", "time"),
)
exposure = Table(
    "exposure",
    metadata,
    Column("id", Words, primary_key=True),
    Column("time", BigInteger, nullable=False),
    Column("user", Words, nullable=False),
    Column("items", Json, nullable=False),
    Column("policy", Words, nullable=False),
    Column("experiment", Words, nullable=False),
    Column("variant", Words, nullable=False),
    Column("details", Json, nullable=False),
    Index("exposure_by_user", "user", "time"),
    Index("exposure_by_experiment", "experiment", "time"),
)
outcome = Table(
    "outcome",
    metadata,
    Column("number", COUNTED, primary_key=True, autoincrement=False),
    Column("exposure", Words, nullable=False),
    Column("item", Words, nullable=False),
    Column("kind", Words, nullable=False),
    Column("time", BigInteger, nullable=False),
    Column("weight", Number, nullable=False),
    Index("outcome_once", "exposure", "item", "kind", "time", unique=True),
)
