"""The evidence of an alert: what moved the bucket, the nearest news of the past and what followed it.

Only what was known when the bucket was closed is looked at, whatever the store holds by now: the evidence is the same
live, in a replay, and however the stream was cut.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from triptych.errors import DataError, UnknownNameError
from triptych_finance.signal.board import SECTOR, SignalReading
from triptych_finance.store.schema import EntityRow, ItemRow, ReadingRow
from triptych_finance.store.transaction import Transaction

MOVERS = 5  # items shown of those that moved the bucket, by default
PAST = 400  # the entity's latest items before the bucket, among which neighbours are looked for
LATE = 100  # more that are read, so that those which came too late take nobody's place
FOLLOW_DAYS = 7  # after which the index is read again
PRICE_DAYS = 3  # trading days after which the price is read again
_SHOWN = 300  # characters of a sentence or title


class Sectors(Protocol):
    """Names the sector of an entity; a `Gazetteer` does."""

    def sector(self, symbol: str) -> str:
        """The sector's name. Raises `UnknownNameError` for an unknown symbol."""
        ...


class PastPrices(Protocol):
    """Daily prices; `Prices` are. Every method raises `DataError` or `UnknownNameError` where prices are missing."""

    def position(self, symbol: str, when: dt.date) -> int:
        """The number of the last close known at `when`."""
        ...

    def change(self, symbol: str, when: dt.date, days: int) -> float:
        """The simple return over the `days` trading days after it."""
        ...

    def realised_volatility(self, symbol: str, when: dt.date, days: int) -> float:
        """The log of the standard deviation of the daily returns of those days."""
        ...


@dataclass(frozen=True, slots=True)
class _Said:
    """An item, and what it says about the entity in question."""

    item: ItemRow
    about: EntityRow


def evidence(
    tx: Transaction,
    reading: SignalReading,
    sectors: Sectors,
    prices: PastPrices | None = None,
    k: int = MOVERS,
    *,
    lateness: dt.timedelta,
) -> dict[str, Any]:
    """What an alert rests on that fires with this reading, as JSON; `lateness` is the signal's.

    "items" and "copies" count what was published in the bucket; "moved" are the `k` items that moved the index most in
    the direction of the alarm, each with its share of all such movement; "past" are the `k` nearest earlier items
    about the entity, or about the sector's entities, by the cosine with the weighted mean vector of "moved".
    """
    closed = reading.end + lateness
    late_from = _first_after(tx, closed)
    said = [one for one in _about(tx, reading, sectors) if one.item.number < late_from]
    fresh = [one for one in said if one.item.duplicate_of is None]
    movers = _movers(fresh, reading)
    moved = [{**_shown(one), "share": round(share, 4)} for one, share in movers[:k]]
    query = _mean_vector(movers[:k])
    past = [] if query is None else _neighbours(tx, reading, sectors, query, late_from, k)
    follow = _Followed(tx, reading, prices, [one for one, _ in past], closed)
    return {
        "items": len({one.item.number for one in fresh}),
        "copies": len({one.item.number for one in said} - {one.item.number for one in fresh}),
        "moved": moved,
        "past": [{**_shown(one), "similarity": round(near, 3), **follow.of(one)} for one, near in past],
    }


def _first_after(tx: Transaction, closed: dt.datetime) -> float:
    """The number of the item that closed the bucket: all with higher numbers came too late for it."""
    later = [item.number for item in tx.items(since=closed) if item.arrived >= closed]
    return min(later, default=float("inf"))


def _about(
    tx: Transaction,
    reading: SignalReading,
    sectors: Sectors,
    *,
    since: dt.datetime | None = None,
    until: dt.datetime | None = None,
    limit: int | None = None,
) -> list[_Said]:
    """Items about the reading's entity or sector, in the order of their numbers; by default those of its bucket."""
    if until is None:
        since, until = reading.start, reading.end
    whole_sector = reading.entity.startswith(SECTOR)
    entity = None if whole_sector else reading.entity
    items = tx.items(entity=entity, since=since, until=until, limit=limit)
    return [_Said(i, e) for i in items for e in i.entities if _concerns(e.entity, reading.entity, sectors)]


def _concerns(entity: str, wanted: str, sectors: Sectors) -> bool:
    if not wanted.startswith(SECTOR):
        return entity == wanted
    try:
        return sectors.sector(entity) == wanted.removeprefix(SECTOR)
    except UnknownNameError:
        return False


def _movers(said: Sequence[_Said], reading: SignalReading) -> list[tuple[_Said, float]]:
    """Those that moved the index in the direction of the alarm, most first, each with its share of that movement.

    An item draws the index from where it was towards its own score, with its weight. Where volume alone is unusual
    each counts by its weight.
    """
    before = reading.index - reading.change

    def pull(one: _Said) -> float:
        if reading.direction == 0:
            return one.about.weight
        return one.about.weight * (one.about.score - before) * reading.direction

    pulls = [(one, pull(one)) for one in said]
    pulls = [(one, value) for one, value in pulls if value > 0]
    pulls.sort(key=lambda p: (-p[1], p[0].item.number, p[0].about.entity))
    total = sum(value for _, value in pulls)
    return [(one, value / total) for one, value in pulls]


def _mean_vector(movers: Sequence[tuple[_Said, float]]) -> npt.NDArray[np.float32] | None:
    """The mean vector of items, weighted by share, at unit length, [dim]; None where no item has one."""
    found = [(one.item.vector, share) for one, share in movers if one.item.vector is not None]
    if not found or len({len(vector) for vector, _ in found}) != 1:
        return None
    shares = np.array([share for _, share in found], dtype=np.float32)
    mean = shares @ np.stack([vector for vector, _ in found])
    length = float(np.linalg.norm(mean))
    return np.asarray(mean / length, dtype=np.float32) if length > 0 else None


def _neighbours(
    tx: Transaction,
    reading: SignalReading,
    sectors: Sectors,
    query: npt.NDArray[np.float32],
    late_from: float,
    k: int,
) -> list[tuple[_Said, float]]:
    """The nearest items published before the bucket, with their cosines."""
    said = _about(tx, reading, sectors, until=reading.start, limit=PAST + LATE)
    on_time = {one.item.number: one for one in reversed(said) if one.item.number < late_from}
    known = [(one, one.item.vector) for one in list(on_time.values())[:PAST] if one.item.duplicate_of is None]
    usable = [(one, vector) for one, vector in known if vector is not None and vector.shape == query.shape]
    if not usable:
        return []
    vectors = np.stack([vector for _, vector in usable])
    lengths = np.linalg.norm(vectors, axis=1)
    cosines = np.round((vectors @ query) / np.where(lengths > 0, lengths, 1.0), 3)
    ranked = [(one, float(cosine)) for (one, _), cosine in zip(usable, cosines, strict=True)]
    ranked.sort(key=lambda pair: (-pair[1], -pair[0].item.number))
    return ranked[:k]


class _Followed:
    """What followed earlier items, as far as it was known when the bucket was closed."""

    def __init__(
        self,
        tx: Transaction,
        reading: SignalReading,
        prices: PastPrices | None,
        items: Sequence[_Said],
        closed: dt.datetime,
    ) -> None:
        self._prices, self._closed = prices, closed
        self._series: list[ReadingRow] = []
        if items:
            first = min(one.item.published for one in items) - 2 * (reading.end - reading.start)
            self._series = tx.readings(reading.entity, first, reading.end)

    def of(self, one: _Said) -> dict[str, Any]:
        """The index before an item and some days after it, and what the price did; without what is not known."""
        return {**self._index(one), **self._price(one)}

    def _index(self, one: _Said) -> dict[str, Any]:
        published = one.item.published
        after = published + dt.timedelta(days=FOLLOW_DAYS)
        if not self._series or self._series[-1].end < after:
            return {}
        before = [row for row in self._series if row.end <= published]
        later = [row for row in self._series if published < row.end <= after]
        if not before or not later:
            return {}
        values = {"before": round(before[-1].index, 4), "after": round(later[-1].index, 4), "days": FOLLOW_DAYS}
        return {"index": values}

    def _price(self, one: _Said) -> dict[str, Any]:
        prices, symbol, published = self._prices, one.about.entity, one.item.published
        if prices is None:
            return {}
        with contextlib.suppress(DataError, UnknownNameError):
            if prices.position(symbol, published) + PRICE_DAYS <= prices.position(symbol, self._closed):
                change = prices.change(symbol, published, PRICE_DAYS)
                volatility = prices.realised_volatility(symbol, published, PRICE_DAYS)
                return {"price": {"change": round(change, 4), "volatility": round(volatility, 3), "days": PRICE_DAYS}}
        return {}


def _shown(one: _Said) -> dict[str, Any]:
    item, about = one.item, one.about
    return {
        "key": item.key, "title": _cut(item.title), "url": item.url, "published": item.published.isoformat(),
        "entity": about.entity, "sentence": _cut(about.sentence), "score": about.score, "weight": about.weight,
    }  # fmt: skip


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
