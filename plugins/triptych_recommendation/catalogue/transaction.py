"""What one transaction can ask and write; nothing of it stands before the transaction ends."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection, Select, bindparam, delete, select

from triptych.errors import DataError
from triptych.sql.meta import next_numbers
from triptych.sql.statements import insert, narrowed, put
from triptych_recommendation.catalogue import tables
from triptych_recommendation.catalogue.schema import EventRow, ExposureRow, ItemRow, OutcomeRow, item_json, item_of


class Transaction:
    """One transaction of a `Store`, which makes it.

    Raises `DataError` for values that cannot be kept, and for writing where the store is open for reading.
    """

    def __init__(self, connection: Connection, *, writes: bool) -> None:
        self.connection = connection
        self._writes = writes

    def put_items(self, rows: Sequence[ItemRow]) -> list[ItemRow]:
        """Keep items, each in place of the one with its id. Returns them with their numbers."""
        numbers = self._numbers("item", len(rows))
        numbered = [dataclasses.replace(row, number=number) for row, number in zip(rows, numbers, strict=True)]
        values = [
            {
                "id": row.id,
                "number": row.number,
                "json": None if row.item is None else item_json(row.item),
                "vector": row.vector,
                "encoder": row.encoder,
                "added": row.added,
                "removed": row.removed,
            }
            for row in numbered
        ]
        if values:
            put(self._to_write(), tables.item, values)
        return numbered

    def remove_items(self, ids: Iterable[str], now: int) -> list[ItemRow]:
        """Mark items as removed, also such as the store has never heard of. Returns the rows that changed."""
        wanted = list(dict.fromkeys(ids))
        known = {row.id: row for row in self.items(ids=wanted)}
        there = [known.get(name) or ItemRow(name, None, added=now) for name in wanted]
        return self.put_items([dataclasses.replace(row, removed=now) for row in there if row.removed is None])

    def items(self, *, after: int = 0, ids: Sequence[str] | None = None) -> list[ItemRow]:
        """Items and removals with numbers above `after`, in the order in which they changed last."""
        table = tables.item
        question = select(table).where(table.c.number > after)
        rows: list[ItemRow] = []
        for part in narrowed([question], table.c.id, ids):
            for found in self.connection.execute(part):
                item = None if found.json is None else item_of(found.json)
                values = {**found._mapping, "item": item}
                del values["json"]
                rows.append(ItemRow(**values))
        return sorted(rows, key=lambda row: row.number)

    def add_events(self, rows: Sequence[EventRow]) -> list[EventRow]:
        """Add events; one that is there already is passed over. Returns the new ones with their numbers."""
        if not rows:
            return []
        table = tables.event
        numbers = self._numbers("event", len(rows))
        values = [
            {"key": row.key, **{c.name: getattr(row, c.name) for c in table.c if c.name not in ("key", "number")}}
            for row in rows
        ]
        values = [{"number": number, **value} for number, value in zip(numbers, values, strict=True)]
        connection = self._to_write()
        connection.execute(insert(connection, table).on_conflict_do_nothing(), values)
        added = self.connection.scalars(select(table.c.number).where(table.c.number >= numbers[0]))
        return [dataclasses.replace(rows[number - numbers[0]], number=number) for number in sorted(added)]

    def remove_event(self, user: str, key: str) -> EventRow | None:
        """Take an event of a user out of the store, with the outcomes that it was; None where it is not there."""
        table, shown, outcome = tables.event, tables.exposure, tables.outcome
        found = next((event for event in self.events(user=user) if event.key == key), None)
        if found is not None:
            connection = self._to_write()
            connection.execute(delete(table).where(table.c.key == key))
            own = outcome.c.exposure.in_(select(shown.c.id).where(shown.c.user == user))
            of_it = (outcome.c.item == found.item, outcome.c.kind == found.kind, outcome.c.time == found.time)
            connection.execute(delete(outcome).where(own, *of_it))
        return found

    def events(
        self, *, user: str | None = None, since: int | None = None, until: int | None = None, after: int = 0
    ) -> list[EventRow]:
        """Events of a user or of all, `since <= time <= until`, with numbers above `after`, in the order of numbers."""
        values = {"user": user, "since": since, "until": until, "after": after}
        values = {name: value for name, value in values.items() if value is not None}
        return [EventRow(*row) for row in self.connection.execute(_events(tuple(values)), values)]

    def add_exposures(self, rows: Sequence[ExposureRow]) -> None:
        """Keep what was shown. Raises `DataError` for an id that is there already."""
        if rows:
            table = tables.exposure
            values = [{c.name: getattr(row, c.name) for c in table.c} for row in rows]
            values = [{**value, "items": list(value["items"]), "details": dict(value["details"])} for value in values]
            self._to_write().execute(table.insert(), values)

    def exposures(
        self,
        experiment: str | None = None,
        *,
        ids: Sequence[str] | None = None,
        user: str | None = None,
        since: int | None = None,
        until: int | None = None,
    ) -> list[ExposureRow]:
        """Lists for which all that is given holds, `since <= time < until`, by time and id."""
        values = {"experiment": experiment, "user": user, "since": since, "until": until}
        values = {name: value for name, value in values.items() if value is not None}
        parts = narrowed([_exposures(tuple(values))], tables.exposure.c.id, ids)
        rows = [row for part in parts for row in self.connection.execute(part, values)]
        found = [ExposureRow(**{**row._mapping, "items": tuple(row._mapping["items"])}) for row in rows]
        return sorted(found, key=lambda row: (row.time, row.id))

    def add_outcomes(self, rows: Sequence[OutcomeRow]) -> None:
        """Keep what came of lists; an outcome that is there already is passed over."""
        if rows:
            table = tables.outcome
            numbers = self._numbers("outcome", len(rows))
            values = [{**dataclasses.asdict(row), "number": number} for row, number in zip(rows, numbers, strict=True)]
            connection = self._to_write()
            connection.execute(insert(connection, table).on_conflict_do_nothing(), values)

    def outcomes(
        self, experiment: str | None = None, *, exposures: Sequence[str] | None = None, since: int | None = None
    ) -> list[OutcomeRow]:
        """What came of the lists of an experiment, of these lists or of all, in the order of numbers."""
        table, shown = tables.outcome, tables.exposure
        question = select(*(table.c[name.name] for name in dataclasses.fields(OutcomeRow)))
        if experiment is not None:
            question = question.where(table.c.exposure.in_(select(shown.c.id).where(shown.c.experiment == experiment)))
        if since is not None:
            question = question.where(table.c.time >= since)
        rows = [
            row for part in narrowed([question], table.c.exposure, exposures) for row in self.connection.execute(part)
        ]
        return sorted((OutcomeRow(*row) for row in rows), key=lambda row: row.number)

    def _numbers(self, counter: str, count: int) -> list[int]:
        """The next numbers of a counter; they become visible in order."""
        return next_numbers(self._to_write(), tables.metadata, counter, count) if count else []

    def _to_write(self) -> Connection:
        if not self._writes:
            raise DataError("the store is open for reading only")
        return self.connection


@cache
def _events(given: tuple[str, ...]) -> Select[Any]:
    """The question for events, by the names of what is given; made once: making it takes longer than the answer."""
    table = tables.event
    wanted = {
        "user": table.c.user == bindparam("user"),
        "since": table.c.time >= bindparam("since"),
        "until": table.c.time <= bindparam("until"),
        "after": table.c.number > bindparam("after"),
    }
    question = select(*(table.c[name.name] for name in dataclasses.fields(EventRow)))
    return question.where(*(wanted[name] for name in given)).order_by(table.c.number)


@cache
def _exposures(given: tuple[str, ...]) -> Select[Any]:
    """The question for lists, by the names of what is given; made once."""
    table = tables.exposure
    wanted = {
        "experiment": table.c.experiment == bindparam("experiment"),
        "user": table.c.user == bindparam("user"),
        "since": table.c.time >= bindparam("since"),
        "until": table.c.time < bindparam("until"),
    }
    return select(table).where(*(wanted[name] for name in given))
