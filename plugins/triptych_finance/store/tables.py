"""The tables behind the rows, the same on SQLite and PostgreSQL.

| table | what |
| --- | --- |
| meta | version of the schema; the last number given out of item, inbox and verdict |
| cursor | how far each source is read |
| item, item_entity | items, and what each says about which entity |
| state | boards, detectors and desks as JSON |
| reading | the index over time |
| alert, notice, verdict, silence | what was concluded, who was told, what analysts say of it |
| inbox | items that were received and are not processed yet |

Times are integers: microseconds since 1970 in UTC. Vectors are float16, little endian. JSON is text.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

from sqlalchemy import BigInteger, Boolean, Column, Double, Index, Integer, MetaData, Table
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

from triptych.sql import columns
from triptych.sql.columns import COUNTED, Half, Json
from triptych.sql.meta import meta_table
from triptych_finance.stream.item import in_utc, storable

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Moment(TypeDecorator[datetime]):
    """A time with a zone. Raises `DataError` for one without."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """Microseconds since 1970."""
        return None if value is None else (in_utc(value) - EPOCH) // _MICROSECOND

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        """The time in UTC."""
        return None if value is None else EPOCH + timedelta(microseconds=value)


class Words(columns.Words):
    """Text; what no database holds becomes U+FFFD, also in what is asked for."""

    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """The text as it can be kept."""
        return None if value is None else storable(value)


class Number(TypeDecorator[float]):
    """A float, to the last bit; numpy's and infinite ones too."""

    impl = Double
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: Dialect) -> float | None:
        """None for "not a number", which SQLite lacks."""
        return None if value is None or math.isnan(value) else float(value)


class Figure(Number):
    """A float that may be "not a number", but is never absent."""

    cache_ok = True

    def process_result_value(self, value: float | None, dialect: Dialect) -> float:
        """The number."""
        return math.nan if value is None else value


metadata = MetaData()
meta = meta_table(metadata)
cursor = Table(
    "cursor",
    metadata,
    Column("source", Words, primary_key=True),
    Column("value", Words, nullable=False),
)
item = Table(
    "item",
    metadata,
    Column("number", COUNTED, primary_key=True, autoincrement=False),
    Column("key", Words, nullable=False, unique=True),
    Column("source", Words, nullable=False),
    Column("id", Words, nullable=False),
    Column("published", Moment, nullable=False),
    Column("arrived", Moment, nullable=False),
    Column("title", Words, nullable=False),
    Column("text", Words, nullable=False),
    Column("url", Words, nullable=False),
    Column("metadata", Json, nullable=False),
    Column("digest", Words, nullable=False),
    Column("duplicate_of", Words),
    Column("score", Number),
    Column("probabilities", Json),
    Column("vector", Half),
    Index("item_by_time", "published"),
    Index("item_by_arrival", "arrived"),
)
item_entity = Table(
    "item_entity",
    metadata,
    Column("number", COUNTED, primary_key=True, autoincrement=False),
    Column("place", Integer, primary_key=True, autoincrement=False),  # in the order in which the item named them
    Column("entity", Words, nullable=False),
    Column("score", Number, nullable=False),
    Column("weight", Number, nullable=False),
    Column("sentence", Words, nullable=False),
    Index("item_entity_by_entity", "entity", "number"),
)
state = Table(
    "state",
    metadata,
    Column("kind", Words, primary_key=True),
    Column("key", Words, primary_key=True),
    Column("json", Json, nullable=False),
)
reading = Table(
    "reading",
    metadata,
    Column("entity", Words, primary_key=True),
    Column("start", Moment, primary_key=True, autoincrement=False),
    Column("end", Moment, primary_key=True, autoincrement=False),
    Column("index", Figure),
    Column("change", Figure),
    Column("volume", Figure),
    Column("statistic", Figure),
    Column("threshold", Figure),
    Column("alarm", Boolean, nullable=False),
    Column("direction", Integer, nullable=False),
    Index("reading_by_end", "end"),
)
alert = Table(
    "alert",
    metadata,
    Column("id", Words, primary_key=True),
    Column("entity", Words, nullable=False),
    Column("kind", Words, nullable=False),
    Column("state", Words, nullable=False),
    Column("started", Moment, nullable=False),
    Column("fired", Moment),
    Column("ended", Moment),
    Column("json", Json, nullable=False),
    Index("alert_by_start", "started"),
)
notice = Table(
    "notice",
    metadata,
    Column("id", Words, primary_key=True),
    Column("alert", Words, nullable=False),
    Column("kind", Words, nullable=False),
    Column("channel", Words, nullable=False),
    Column("created", Moment, nullable=False),
    Column("payload", Json, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_try", Moment),
    Column("sent", Moment),
    Column("error", Words, nullable=False),
    Index("notice_by_alert", "alert"),
    Index("notice_by_next_try", "next_try"),
)
inbox = Table(
    "inbox",
    metadata,
    Column("number", COUNTED, primary_key=True, autoincrement=False),
    Column("source", Words, nullable=False),
    Column("json", Json, nullable=False),
)
verdict = Table(
    "verdict",
    metadata,
    Column("number", COUNTED, primary_key=True, autoincrement=False),
    Column("alert", Words, nullable=False),
    Column("entity", Words, nullable=False),
    Column("confirmed", Boolean, nullable=False),
    Column("analyst", Words, nullable=False),
    Column("note", Words, nullable=False),
    Column("given", Moment, nullable=False),
)
silence = Table(
    "silence",
    metadata,
    Column("id", Words, primary_key=True),
    Column("pattern", Words, nullable=False),
    Column("kind", Words, nullable=False),
    Column("starts", Moment, nullable=False),
    Column("ends", Moment, nullable=False),
    Column("analyst", Words, nullable=False),
    Column("note", Words, nullable=False),
)
