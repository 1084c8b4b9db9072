"""What the page asks of a store. Every question reads a bounded number of rows, whatever the store holds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import func, select

from triptych.sql.statements import chunks
from triptych_finance.monitor.memory import BOARD
from triptych_finance.store import tables
from triptych_finance.store.schema import AlertRow, ReadingRow, VerdictRow
from triptych_finance.store.transaction import Transaction

OPEN = ("pending", "firing", "keep_firing")
LISTED = (*OPEN, "resolved")  # the rest never fired
MOST_OPEN = 2_000  # open alerts that are looked at
MOST_READINGS = 3_000  # of one entity: eight years of days
MOST_ACCOUNTS = 5_000
NEWEST = 2_000  # items that health looks at
EXCERPT = 400  # characters of a text
_item, _about, _reading, _alert, _verdict = (
    tables.item, tables.item_entity, tables.reading, tables.alert, tables.verdict
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an entity or sector stands: its index, and change and volume over the last buckets."""

    entity: str
    index: float
    change: float
    volume: float


class Line(NamedTuple):
    """An item with what it says about one entity; `first` is the key of the item that it copies, or its own."""

    number: int
    entity: str
    score: float
    sentence: str
    key: str
    first: str
    source: str
    published: datetime
    title: str
    text: str
    url: str


@dataclass(frozen=True, slots=True)
class Newest:
    """Of one source, the latest item among the newest that are looked at, how many it has there, and their lag."""

    source: str
    published: datetime
    arrived: datetime
    count: int
    lag: timedelta  # the median from publication to arrival


def last_bucket(tx: Transaction) -> tuple[datetime, timedelta] | None:
    """End and length of the latest closed bucket; None before the first."""
    end = tx.connection.scalar(select(func.max(_reading.c.end)))
    if end is None:
        return None
    start = tx.connection.scalar(select(_reading.c.start).where(_reading.c.end == end).limit(1))
    assert start is not None
    return end, end - start


def standings(tx: Transaction, end: datetime, span: timedelta) -> list[Standing]:
    """All entities and sectors at the end of a bucket; changes and volumes are those of the time span before it."""
    now = tx.connection.execute(select(_reading.c.entity, _reading.c.index).where(_reading.c.end == end)).all()
    earlier = select(_reading.c.entity, _reading.c.index).where(_reading.c.end == end - span)
    before: dict[str, float] = {row[0]: row[1] for row in tx.connection.execute(earlier)}
    # added up here: with GROUP BY, SQLite walks through all readings in the order of their entities
    lately = select(_reading.c.entity, _reading.c.volume).where(_reading.c.end > end - span)
    volumes: dict[str, float] = {}
    for entity, volume in tx.connection.execute(lately):
        volumes[entity] = volumes.get(entity, 0.0) + volume
    # an index begins at 0
    return [Standing(name, index, index - before.get(name, 0.0), volumes.get(name, 0.0)) for name, index in now]


def sparks(tx: Transaction, entities: Sequence[str], since: datetime) -> dict[str, list[float]]:
    """The index of some entities in every bucket that ends after a time, by time."""
    found: dict[str, list[float]] = {}
    for some in chunks(entities):
        question = select(_reading.c.entity, _reading.c.index)
        question = question.where(_reading.c.entity.in_(some), _reading.c.start >= since)
        for entity, index in tx.connection.execute(question.order_by(_reading.c.entity, _reading.c.start)):
            found.setdefault(entity, []).append(index)
    return found


def series(tx: Transaction, entity: str, since: datetime | None, before: int) -> list[ReadingRow]:
    """The readings of an entity from a time on, by time, at most `MOST_READINGS`; and up to `before` earlier ones."""
    table = _reading
    question = select(table).where(table.c.entity == entity).order_by(table.c.start.desc())
    later = question if since is None else question.where(table.c.start >= since)
    rows = tx.connection.execute(later.limit(MOST_READINGS)).all()
    if since is not None and len(rows) < MOST_READINGS:
        rows = [*rows, *tx.connection.execute(question.where(table.c.start < since).limit(before))]
    return [ReadingRow(*row) for row in reversed(rows)]


def open_alerts(tx: Transaction) -> list[AlertRow]:
    """The alerts that are not over, the latest first."""
    question = select(_alert).where(_alert.c.ended.is_(None), _alert.c.state.in_(OPEN))
    found = tx.connection.execute(question.order_by(_alert.c.started.desc(), _alert.c.id).limit(MOST_OPEN))
    return [AlertRow(**row._mapping) for row in found]


def alerts(
    tx: Transaction, states: Sequence[str], entity: str | None, since: datetime | None, skip: int, limit: int
) -> list[AlertRow]:
    """Alerts in some states, the latest first."""
    question = select(_alert).where(_alert.c.state.in_(states))
    if entity is not None:
        question = question.where(_alert.c.entity == entity)
    if since is not None:
        question = question.where(_alert.c.started >= since)
    question = question.order_by(_alert.c.started.desc(), _alert.c.id).offset(skip).limit(limit)
    return [AlertRow(**row._mapping) for row in tx.connection.execute(question)]


def counted_alerts(tx: Transaction) -> dict[str, int]:
    """How many alerts are in each state."""
    question = select(_alert.c.state, func.count()).group_by(_alert.c.state)
    return {row[0]: row[1] for row in tx.connection.execute(question)}


def verdicts_on(tx: Transaction, alert_ids: Iterable[str]) -> dict[str, list[VerdictRow]]:
    """The verdicts on some alerts, in the order in which they were given."""
    found: dict[str, list[VerdictRow]] = {}
    for some in chunks(list(alert_ids)):
        question = select(_verdict).where(_verdict.c.alert.in_(some)).order_by(_verdict.c.number)
        for row in tx.connection.execute(question):
            found.setdefault(row.alert, []).append(VerdictRow(**row._mapping))
    return found


def lines(tx: Transaction, entities: Sequence[str], before: int | None, limit: int) -> list[Line]:
    """The latest items about any of some entities with numbers below `before`, the latest stored first."""
    numbers: set[int] = set()
    for entity in entities:  # one by one: each is a walk along the index that ends after `limit` rows
        question = select(_about.c.number).where(_about.c.entity == entity)
        if before is not None:
            question = question.where(_about.c.number < before)
        numbers.update(tx.connection.scalars(question.order_by(_about.c.number.desc()).limit(limit)))
    wanted = sorted(numbers, reverse=True)[:limit]
    named = set(entities)
    return [line for line in _lines(tx, _item.c.number, wanted) if line.entity in named]


def lines_of(tx: Transaction, keys: Sequence[str]) -> list[Line]:
    """What some items say, by their keys."""
    return _lines(tx, _item.c.key, keys)


def _lines(tx: Transaction, column: Any, values: Sequence[Any]) -> list[Line]:
    found: list[Line] = []
    for some in chunks(values):
        question = select(
            _item.c.number, _about.c.entity, _about.c.score, _about.c.sentence, _item.c.key,
            func.coalesce(_item.c.duplicate_of, _item.c.key), _item.c.source, _item.c.published, _item.c.title,
            func.substr(_item.c.text, 1, EXCERPT), _item.c.url,
        ).select_from(_item.join(_about, _item.c.number == _about.c.number))  # fmt: skip
        question = question.where(column.in_(some)).order_by(_item.c.number.desc(), _about.c.place)
        found += [Line(*row) for row in tx.connection.execute(question)]
    return found


def newest(tx: Transaction) -> list[Newest]:
    """What the newest items say about each source that they came from."""
    question = select(_item.c.source, _item.c.published, _item.c.arrived).order_by(_item.c.number.desc()).limit(NEWEST)
    by_source: dict[str, list[tuple[datetime, datetime]]] = {}
    for source, published, arrived in tx.connection.execute(question):
        by_source.setdefault(source, []).append((published, arrived))
    found = []
    for source, times in by_source.items():
        lags = sorted(arrived - published for published, arrived in times)
        latest = max(published for published, _ in times)
        found.append(Newest(source, latest, times[0][1], len(times), lags[len(lags) // 2]))
    return sorted(found, key=lambda one: one.source)


def waiting_notices(tx: Transaction) -> tuple[int, list[str]]:
    """How many notices are still to be sent, and the errors of some that were tried."""
    notice = tables.notice
    waits = (notice.c.sent.is_(None), notice.c.next_try.is_not(None))
    count = tx.connection.scalar(select(func.count()).select_from(notice).where(*waits)) or 0
    errors = select(notice.c.error).where(*waits, notice.c.error != "").limit(100)
    return int(count), sorted(set(tx.connection.scalars(errors)))


def accounts(tx: Transaction, entities: Sequence[str] | None = None) -> dict[str, list[Any]]:
    """The account of false alarms of each entity or sector, as `Account.dump` gave it."""
    prefix, state = "series:", tables.state
    question = select(state.c.key, state.c.json).where(state.c.kind == BOARD)
    if entities is None:
        question = question.where(state.c.key >= prefix, state.c.key < "series;").order_by(state.c.key)
        questions = [question.limit(MOST_ACCOUNTS)]
    else:
        questions = [question.where(state.c.key.in_([prefix + name for name in some])) for some in chunks(entities)]
    return {
        row[0].removeprefix(prefix): row[1]["account"] for one in questions for row in tx.connection.execute(one)
    }  # fmt: skip


def marks(tx: Transaction) -> tuple[Any, ...]:
    """What differs as soon as a monitor or an analyst has written something that the page shows."""
    counters = tx.connection.execute(select(tables.meta.c.name, tables.meta.c.value).order_by(tables.meta.c.name)).all()
    settled = tx.get_state("verdicts", "settled")
    board, desk = tx.get_state(BOARD, "board"), tx.get_state("desk", "desk")
    clock = None if board is None else (board["closed"], tuple(sorted((board["clock"] or {}).items())))
    end = tx.connection.scalar(select(func.max(_reading.c.end)))
    opened = tx.connection.execute(select(func.count(), func.max(_alert.c.started)).select_from(_alert)).one()
    silenced = tx.connection.execute(select(func.count(), func.max(tables.silence.c.ends))).one()
    return (
        tuple(map(tuple, counters)), settled and settled["number"], clock, desk and desk["clock"], end,
        tuple(opened), tuple(silenced),
    )  # fmt: skip
