"""Items as evidence needs them, by the hundred for each alert: read without what takes long to read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Self

from sqlalchemy import Select, select

from triptych_finance.store import tables
from triptych_finance.store.schema import EntityRow, ItemRow
from triptych_finance.store.statements import between
from triptych_finance.store.transaction import Transaction

_ITEM = [
    tables.item.c[name]
    for name in ("number", "key", "source", "id", "published", "arrived", "title", "url", "duplicate_of", "vector")
]
_ABOUT = [tables.item_entity.c[name] for name in ("entity", "score", "weight", "sentence")]
_WIDTH = len(_ITEM)


class Outlines(Transaction):
    """Another transaction's view, in which items have no text, metadata, digest, score and probabilities.

    Asked for an entity, it leaves out what items say about others; asked for all since a time, without an end, it has
    only the keys and times of items.
    """

    @classmethod
    def of(cls, tx: Transaction) -> Self:
        """What this transaction sees."""
        return cls(tx.connection, writes=False, posts=False)

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
        """As a `Transaction`; by numbers or keys, items are whole."""
        if numbers is not None or keys is not None:
            return super().items(
                numbers=numbers, keys=keys, entity=entity, since=since, until=until, limit=limit
            )  # fmt: skip
        if entity is None and until is None and limit is None and since is not None:
            return self._times(since)
        question = _of_all(since, until, limit) if entity is None else _of_one(entity, since, until, limit)
        return _rows(self.connection.execute(question).all())

    def _times(self, since: datetime) -> list[ItemRow]:
        item = tables.item
        columns = (item.c.number, item.c.key, item.c.source, item.c.id, item.c.published, item.c.arrived)
        found = self.connection.execute(select(*columns).where(item.c.published >= since).order_by(item.c.number))
        return [ItemRow(*row[1:], "", "", number=row[0]) for row in found.all()]


def _of_one(entity: str, since: datetime | None, until: datetime | None, limit: int | None) -> Select[Any]:
    """The latest items about an entity, the last one first, each with what it says about it."""
    item, about = tables.item, tables.item_entity
    question = select(*_ITEM, *_ABOUT).select_from(about.join(item, item.c.number == about.c.number))
    question = between(question.where(about.c.entity == entity), item.c.published, since, until)
    return question.order_by(about.c.number.desc()).limit(limit)


def _of_all(since: datetime | None, until: datetime | None, limit: int | None) -> Select[Any]:
    """The latest items, the last one first, each as often as it says something about an entity, or once."""
    item, about = tables.item, tables.item_entity
    latest = between(select(*_ITEM), item.c.published, since, until)
    found = latest.order_by(item.c.number.desc()).limit(limit).subquery()
    question = select(*found.c, *_ABOUT).select_from(found.outerjoin(about, found.c.number == about.c.number))
    return question.order_by(found.c.number.desc(), about.c.place.desc())


def _rows(found: Iterable[Any]) -> list[ItemRow]:
    """Items in the order in which they were stored, from rows in the opposite one."""
    items: list[ItemRow] = []
    said: list[EntityRow] = []
    last: Any = None

    def close() -> None:
        if last is not None:
            number, key, source, name, published, arrived, title, url, copy_of, vector = last[:_WIDTH]
            items.append(
                ItemRow(
                    key, source, name, published, arrived, title, "", url,
                    duplicate_of=copy_of, vector=vector, entities=tuple(reversed(said)), number=number,
                )
            )  # fmt: skip

    for row in found:
        if last is None or row[0] != last[0]:
            close()
            last, said = row, []
        if row[_WIDTH] is not None:
            said.append(EntityRow(*row[_WIDTH:]))
    close()
    items.reverse()
    return items
