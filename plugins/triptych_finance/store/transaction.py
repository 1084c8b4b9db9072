"""What one transaction can ask and write; nothing of it stands before the transaction ends."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, select, update

from triptych.errors import DataError
from triptych.sql.statements import chunks, insert, narrowed
from triptych_finance.store import tables
from triptych_finance.store.schema import (
    AlertRow,
    EntityRow,
    InboxRow,
    ItemRow,
    NoticeRow,
    ReadingRow,
    SilenceRow,
    VerdictRow,
)
from triptych_finance.store.statements import Statements, between, values_of
from triptych_finance.stream.item import Item, storable


class Transaction(Statements):
    """One transaction of a `Store`, which makes it.

    Times have a zone, in what is given and in what comes back. Raises `DataError` for a time without one, for values
    that cannot be kept, and for writing where that is not allowed.
    """

    def cursor(self, source: str) -> str | None:
        """How far a source is read; None: not at all."""
        found = self.connection.scalar(select(tables.cursor.c.value).where(tables.cursor.c.source == source))
        return None if found is None else str(found)

    def set_cursor(self, source: str, cursor: str) -> None:
        """Say how far a source is read."""
        self.put(tables.cursor, [{"source": source, "value": cursor}])

    def add_items(self, rows: Sequence[ItemRow]) -> list[int]:
        """Add new items with what they say about entities. Returns their numbers.

        Raises `DataError` for a key that is there already; see `known`.
        """
        numbers = self.new_numbers("item", len(rows))
        self.add(tables.item, [values_of(tables.item, row, number=n) for row, n in zip(rows, numbers, strict=True)])
        entities = [
            values_of(tables.item_entity, entity, number=number, place=place)
            for row, number in zip(rows, numbers, strict=True)
            for place, entity in enumerate(row.entities)
        ]
        self.add(tables.item_entity, entities)
        return numbers

    def known(self, keys: Sequence[str]) -> set[str]:
        """Those of the keys under which an item is stored."""
        found: set[str] = set()
        for some in chunks(keys):
            question = select(tables.item.c.key).where(tables.item.c.key.in_(some))
            stored = set(self.connection.scalars(question))
            found.update(key for key in some if storable(key) in stored)
        return found

    def items(
        self,
        *,
        numbers: Sequence[int] | None = None,
        keys: Sequence[str] | None = None,
        entity: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
    ) -> list[ItemRow]:
        """Items for which all that is given holds, in the order in which they were stored.

        `since <= published < until`; with `limit`, the latest stored so many.
        """
        item, about = tables.item, tables.item_entity
        question = between(select(item), item.c.published, since, until)
        if entity is not None:
            question = question.where(item.c.number.in_(select(about.c.number).where(about.c.entity == entity)))
        rows: list[Any] = []
        plain = None if numbers is None else [int(number) for number in numbers]  # numpy's are no numbers to SQLite
        for part in narrowed(narrowed([question], item.c.number, plain), item.c.key, keys):
            rows += self.connection.execute(part.order_by(item.c.number.desc()).limit(limit))
        rows = sorted(rows, key=lambda row: row.number)
        rows = rows if limit is None else rows[max(len(rows) - limit, 0) :]
        entities = self._entities([row.number for row in rows])
        return [_item_row(row._mapping, entities.get(row.number, ())) for row in rows]

    def get_state(self, kind: str, key: str) -> dict[str, Any] | None:
        """The state kept under a kind and key, or None."""
        table = tables.state
        question = select(table.c.json).where(table.c.kind == kind, table.c.key == key)
        found: dict[str, Any] | None = self.connection.scalar(question)
        return found

    def put_states(self, kind: str, states: Mapping[str, Mapping[str, Any] | None]) -> None:
        """Keep states, in place of what was there; None removes one."""
        kept = [{"kind": kind, "key": key, "json": state} for key, state in states.items() if state is not None]
        self.put(tables.state, kept)
        table = tables.state
        for some in chunks([key for key, state in states.items() if state is None]):
            self.to_write().execute(delete(table).where(table.c.kind == kind, table.c.key.in_(some)))

    def states(self, kind: str) -> dict[str, dict[str, Any]]:
        """All states of a kind, in the order of their keys."""
        table = tables.state
        question = select(table.c.key, table.c.json).where(table.c.kind == kind).order_by(table.c.key)
        return {row.key: row.json for row in self.connection.execute(question)}

    def add_readings(self, rows: Sequence[ReadingRow]) -> None:
        """Add readings. Raises `DataError` for an entity and bucket that has one."""
        self.add(tables.reading, [values_of(tables.reading, row) for row in rows])

    def readings(
        self, entity: str | None = None, since: datetime | None = None, until: datetime | None = None
    ) -> list[ReadingRow]:
        """Readings of one entity or all with `since <= start < until`, by time and entity."""
        table = tables.reading
        question = between(select(table), table.c.start, since, until)
        if entity is not None:
            question = question.where(table.c.entity == entity)
        found = self.connection.execute(question.order_by(table.c.start, table.c.end, table.c.entity))
        return [ReadingRow(*row) for row in found]  # the columns stand in the order of its fields

    def put_alerts(self, rows: Sequence[AlertRow]) -> None:
        """Keep alerts, each in place of the one with its id."""
        self.put(tables.alert, [values_of(tables.alert, row) for row in rows])

    def alerts(
        self,
        *,
        ids: Sequence[str] | None = None,
        entity: str | None = None,
        states: Sequence[str] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
    ) -> list[AlertRow]:
        """Alerts for which all that is given holds, by `started` and id.

        `since <= started < until`; with `limit`, the latest so many.
        """
        table = tables.alert
        question = between(select(table), table.c.started, since, until)
        if entity is not None:
            question = question.where(table.c.entity == entity)
        if states is not None:
            question = question.where(table.c.state.in_(states))
        rows: list[Any] = []
        for part in narrowed([question], table.c.id, ids):
            rows += self.connection.execute(part.order_by(table.c.started.desc(), table.c.id.desc()).limit(limit))
        rows = sorted(rows, key=lambda row: (row.started, row.id))
        rows = rows if limit is None else rows[max(len(rows) - limit, 0) :]
        return [AlertRow(**row._mapping) for row in rows]

    def add_notices(self, rows: Sequence[NoticeRow]) -> None:
        """Add notices; one whose id is there already is passed over, whatever has become of it."""
        if rows:
            statement = insert(self.connection, tables.notice).on_conflict_do_nothing()
            self.to_write().execute(statement, [values_of(tables.notice, row) for row in rows])

    def due_notices(self, now: datetime, limit: int) -> list[NoticeRow]:
        """At most `limit` notices that are to be sent by now, the longest due first."""
        table = tables.notice
        question = select(table).where(table.c.sent.is_(None), table.c.next_try <= now)
        question = question.order_by(table.c.next_try, table.c.created, table.c.id).limit(limit)
        return [NoticeRow(**row._mapping) for row in self.connection.execute(question)]

    def set_notice(
        self, notice: str, *, attempts: int, next_try: datetime | None, sent: datetime | None = None, error: str = ""
    ) -> None:
        """Write down an attempt. Raises `DataError` for an unknown id."""
        table = tables.notice
        change = update(table).where(table.c.id == notice)
        change = change.values(attempts=attempts, next_try=next_try, sent=sent, error=error)
        if self.to_write().execute(change).rowcount != 1:
            raise DataError(f"there is no notice {notice!r}")

    def notices(self, alert: str | None = None) -> list[NoticeRow]:
        """The notices of one alert or of all, by `created` and id."""
        table = tables.notice
        question = select(table) if alert is None else select(table).where(table.c.alert == alert)
        found = self.connection.execute(question.order_by(table.c.created, table.c.id))
        return [NoticeRow(**row._mapping) for row in found]

    def add_inbox(self, items: Sequence[Item]) -> list[int]:
        """Keep received items until they are processed. Returns their numbers."""
        numbers = self.new_numbers("inbox", len(items), post=True)
        rows = [{"number": n, "source": i.source, "json": _item_json(i)} for n, i in zip(numbers, items, strict=True)]
        self.add(tables.inbox, rows, post=True)
        return numbers

    def inbox(self, after: int, limit: int, *, source: str | None = None) -> list[InboxRow]:
        """At most `limit` received items with numbers above `after`, of one source or all, in order.

        A number that becomes visible is above all that were visible before, also with many who receive.
        """
        table = tables.inbox
        question = select(table).where(table.c.number > after)
        if source is not None:
            question = question.where(table.c.source == source)
        found = self.connection.execute(question.order_by(table.c.number).limit(limit))
        return [InboxRow(row.number, _item_of(row.json)) for row in found]

    def inbox_size(self, source: str | None = None) -> int:
        """How many received items wait, of one source or all."""
        question = select(func.count()).select_from(tables.inbox)
        if source is not None:
            question = question.where(tables.inbox.c.source == source)
        return int(self.connection.scalar(question) or 0)

    def drop_inbox(self, upto: int, *, source: str | None = None) -> None:
        """Forget received items with numbers up to and including this one, of one source or all."""
        statement = delete(tables.inbox).where(tables.inbox.c.number <= upto)
        if source is not None:
            statement = statement.where(tables.inbox.c.source == source)
        self.to_write().execute(statement)

    def add_verdict(self, row: VerdictRow) -> int:
        """Keep an analyst's verdict. Returns its number."""
        (number,) = self.new_numbers("verdict", 1, post=True)
        self.add(tables.verdict, [values_of(tables.verdict, row, number=number)], post=True)
        return number

    def verdicts(self, since: datetime | None = None, *, after: int = 0) -> list[VerdictRow]:
        """Verdicts given since then and with numbers above `after`, in order.

        Who keeps the last number in the transaction in which he acts on it acts once on each.
        """
        table = tables.verdict
        question = between(select(table), table.c.given, since, None).where(table.c.number > after)
        return [VerdictRow(**row._mapping) for row in self.connection.execute(question.order_by(table.c.number))]

    def add_silence(self, row: SilenceRow) -> None:
        """Keep a silence. Raises `DataError` for an id that is there already."""
        self.add(tables.silence, [values_of(tables.silence, row)], post=True)

    def silences(self, now: datetime | None = None) -> list[SilenceRow]:
        """The silences that hold at a time, or all, by `starts` and id."""
        table = tables.silence
        question = select(table)
        if now is not None:
            question = question.where(table.c.starts <= now, table.c.ends > now)
        found = self.connection.execute(question.order_by(table.c.starts, table.c.id))
        return [SilenceRow(**row._mapping) for row in found]

    def expire_silence(self, silence: str, now: datetime) -> bool:
        """End a silence now. False: it is unknown, or had ended."""
        table = tables.silence
        change = update(table).where(table.c.id == silence, table.c.ends > now).values(ends=now)
        return self.to_write(post=True).execute(change).rowcount == 1

    def _entities(self, numbers: Sequence[int]) -> dict[int, tuple[EntityRow, ...]]:
        about = tables.item_entity
        found: dict[int, tuple[EntityRow, ...]] = {}
        for some in chunks(numbers):
            question = select(about).where(about.c.number.in_(some)).order_by(about.c.number, about.c.place)
            for row in self.connection.execute(question):
                entity = EntityRow(row.entity, row.score, row.weight, row.sentence)
                found[row.number] = (*found.get(row.number, ()), entity)
        return found


def _item_row(values: Mapping[Any, Any], entities: tuple[EntityRow, ...]) -> ItemRow:
    probabilities = values["probabilities"]
    fixed = {"entities": entities, "probabilities": None if probabilities is None else tuple(probabilities)}
    return ItemRow(**{**values, **fixed})


def _item_json(item: Item) -> dict[str, Any]:
    times = {"published": item.published.isoformat(), "arrived": item.arrived.isoformat()}
    return {**dataclasses.asdict(item), **times}


def _item_of(values: dict[str, Any]) -> Item:
    times = {name: datetime.fromisoformat(values[name]) for name in ("published", "arrived")}
    return Item(**{**values, **times, "entities": tuple(values["entities"])})
