"""What the evidence of an alert asks a store for: of hundreds of items, no more is read than is needed of each."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from sqlalchemy import LargeBinary, bindparam, func, select, type_coerce

from triptych_finance.store import tables
from triptych_finance.store.transaction import Transaction

Vector = npt.NDArray[np.float32]
_item, _about, _reading = tables.item, tables.item_entity, tables.reading


class Said(NamedTuple):
    """What an item says about an entity; `copied` where it is a copy of an earlier one."""

    number: int  # of the item
    copied: bool
    entity: str
    score: float
    weight: float


class Earlier(NamedTuple):
    """An earlier item about an entity, with its vector as it is kept."""

    number: int
    copied: bool
    entity: str
    vector: bytes | None


class Shown(NamedTuple):
    """What is shown of an item, and of what it says about an entity."""

    number: int
    entity: str
    key: str
    title: str
    url: str
    published: datetime
    vector: Vector | None
    sentence: str
    score: float
    weight: float


# arrivals rise with the numbers, so the first by arrival has the lowest number
_FIRST = (
    select(_item.c.number)
    .where(_item.c.published >= bindparam("moment"), _item.c.arrived >= bindparam("moment"))
    .order_by(_item.c.arrived, _item.c.number)
    .limit(1)
)
_OF_BOTH = _item.join(_about, _item.c.number == _about.c.number)
_SAID = (
    select(_item.c.number, _item.c.duplicate_of.is_not(None), _about.c.entity, _about.c.score, _about.c.weight)
    .select_from(_OF_BOTH)
    .where(_item.c.published >= bindparam("since"), _item.c.published < bindparam("until"))
    .order_by(_item.c.number, _about.c.place)
)
# a bucket's items have numbers near each other; without that, all that was ever said of an entity would be looked at
_BETWEEN = select(func.min(_item.c.number), func.max(_item.c.number)).where(
    _item.c.published >= bindparam("since"), _item.c.published < bindparam("until")
)
_SAID_OF_ONE = _SAID.where(
    _about.c.entity == bindparam("entity"), _about.c.number.between(bindparam("first"), bindparam("last"))
)
_KEPT = type_coerce(_item.c.vector, LargeBinary)
_EARLIER_OF_ONE = (
    select(_item.c.number, _item.c.duplicate_of.is_not(None), _about.c.entity, _KEPT)
    .select_from(_OF_BOTH)
    .where(_about.c.entity == bindparam("entity"), _item.c.published < bindparam("until"))
    .order_by(_about.c.number.desc())
    .limit(bindparam("limit"))
)
_LATEST = (
    select(_item.c.number, _item.c.duplicate_of.is_not(None).label("copied"), _KEPT.label("vector"))
    .where(_item.c.published < bindparam("until"))
    .order_by(_item.c.number.desc())
    .limit(bindparam("limit"))
    .subquery()
)
_EARLIER = (
    select(_LATEST.c.number, _LATEST.c.copied, _about.c.entity, _LATEST.c.vector)
    .select_from(_LATEST.join(_about, _LATEST.c.number == _about.c.number))
    .order_by(_LATEST.c.number.desc(), _about.c.place)
)
_SHOWN = (
    select(
        _item.c.number, _about.c.entity, _item.c.key, _item.c.title, _item.c.url, _item.c.published, _item.c.vector,
        _about.c.sentence, _about.c.score, _about.c.weight,
    )
    .select_from(_OF_BOTH)
    .where(_item.c.number.in_(bindparam("numbers", expanding=True)))
)  # fmt: skip
_LEVELS = (
    select(_reading.c.end, _reading.c.index)
    .where(
        _reading.c.entity == bindparam("entity"),
        _reading.c.start >= bindparam("since"),
        _reading.c.start < bindparam("until"),
    )
    .order_by(_reading.c.start)
)


class Outlines:
    """The questions, within one transaction, in which no item is added meanwhile."""

    def __init__(self, tx: Transaction) -> None:
        self._connection = tx.connection
        self._first: dict[datetime, float] = {}
        self._numbers: dict[tuple[datetime, datetime], Any] = {}  # the lowest and the highest of a bucket

    def first_after(self, moment: datetime) -> float:
        """The lowest number of an item that was published at a moment or later, and had arrived; infinite: none."""
        if moment not in self._first:
            found = self._connection.scalar(_FIRST, {"moment": moment})
            self._first[moment] = float("inf") if found is None else int(found)
        return self._first[moment]

    def said(self, entity: str | None, since: datetime, until: datetime) -> list[Said]:
        """What items with `since <= published < until` say, of one entity or of all, in the order of their numbers."""
        given: dict[str, Any] = {"since": since, "until": until}
        if entity is None:
            return [Said(*row) for row in self._connection.execute(_SAID, given).all()]
        if (since, until) not in self._numbers:
            self._numbers[since, until] = self._connection.execute(_BETWEEN, given).one()
        first, last = self._numbers[since, until]
        if first is None:
            return []
        given |= {"entity": entity, "first": first, "last": last}
        return [Said(*row) for row in self._connection.execute(_SAID_OF_ONE, given).all()]

    def earlier(self, entity: str | None, until: datetime, limit: int) -> list[Earlier]:
        """What the latest `limit` items published before say, of one entity or of all; the latest item comes first.

        About one entity `limit` counts the items about it, else all items.
        """
        given = {"until": until, "limit": limit}
        if entity is None:
            return [Earlier(*row) for row in self._connection.execute(_EARLIER, given).all()]
        return [Earlier(*row) for row in self._connection.execute(_EARLIER_OF_ONE, {**given, "entity": entity}).all()]

    def shown(self, chosen: Sequence[tuple[int, str]]) -> list[Shown]:
        """What there is to show of items, each given as its number and the entity in question; in this order."""
        if not chosen:
            return []
        numbers = sorted({number for number, _ in chosen})
        found = [Shown._make(row) for row in self._connection.execute(_SHOWN, {"numbers": numbers}).all()]
        by_name = {(one.number, one.entity): one for one in found}
        return [by_name[name] for name in chosen]

    def levels(self, entity: str, since: datetime, until: datetime) -> list[tuple[datetime, float]]:
        """Ends of buckets with `since <= start < until`, and the index at each, by time."""
        given = {"entity": entity, "since": since, "until": until}
        return [(end, index) for end, index in self._connection.execute(_LEVELS, given).all()]
