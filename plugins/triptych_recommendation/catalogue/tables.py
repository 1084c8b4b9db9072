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

import json
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import BigInteger, Column, Double, Index, Integer, LargeBinary, MetaData, Table, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

from triptych.errors import DataError

Vector = NDArray[np.float32]


class Words(TypeDecorator[str]):
    """Text. Raises `DataError` for what no database holds: NUL, and halves of surrogate pairs."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """On PostgreSQL too the order is that of the code points, whatever the language of the database."""
        return Text(collation="C") if dialect.name == "postgresql" else Text()

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """The text as it is."""
        if value is not None and not storable(value):
            raise DataError(f"{value!r} holds characters that no database keeps; leave them out")
        return value


class Json(TypeDecorator[Any]):
    """JSON as text, in ASCII, so that no character in it is beyond a database."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """The JSON text. Raises `DataError` for what JSON cannot say, such as infinity."""
        try:
            return None if value is None else json.dumps(value, allow_nan=False, separators=(",", ":"))
        except (TypeError, ValueError) as error:
            raise DataError(f"{str(value)[:80]} cannot be kept as JSON: {error}") from error

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        """What the text says."""
        return None if value is None else json.loads(value)


class Number(TypeDecorator[float]):
    """A finite float, to the last bit; numpy's too."""

    impl = Double
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: Dialect) -> float | None:
        """Python's own float. Raises `DataError` for infinity and "not a number"."""
        if value is not None and not math.isfinite(value):
            raise DataError(f"{value} is no finite number")
        return None if value is None else float(value)


class Half(TypeDecorator[Vector]):
    """A vector as float16."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: Vector | None, dialect: Dialect) -> bytes | None:
        """Little-endian float16. Raises `DataError` for numbers beyond its range."""
        if value is None:
            return None
        with np.errstate(over="ignore"):
            halves = np.asarray(value).astype("<f2")
        if halves.ndim != 1 or not np.isfinite(halves).all():
            raise DataError("a vector must be one row of finite numbers of at most 65,504")
        return halves.tobytes()

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> Vector | None:
        """Float32 [dim]."""
        return None if value is None else np.frombuffer(value, dtype="<f2").astype(np.float32)


def storable(text: str) -> bool:
    """Whether a database can keep the text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


metadata = MetaData()
_counted = BigInteger().with_variant(Integer, "sqlite")  # SQLite's row id is INTEGER by name

meta = Table(
    "meta",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", BigInteger, nullable=False),
)
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
    Column("number", _counted, primary_key=True, autoincrement=False),
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
    Column("number", _counted, primary_key=True, autoincrement=False),
    Column("exposure", Words, nullable=False),
    Column("item", Words, nullable=False),
    Column("kind", Words, nullable=False),
    Column("time", BigInteger, nullable=False),
    Column("weight", Number, nullable=False),
    Index("outcome_once", "exposure", "item", "kind", "time", unique=True),
)
