"""The evidence of an alert: what moved the bucket, the nearest news of the past and what followed it.

Only what was known when the bucket was closed is looked at, whatever the store holds by now: the evidence is the same
live, in a replay, and however the stream was cut.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from triptych.errors import DataError, UnknownNameError
from triptych_finance.signal.board import SECTOR, SignalReading
from triptych_finance.store.outlines import Earlier, Outlines, Said, Shown, Vector

MOVERS = 5  # items shown of those that moved the bucket, by default
PAST = 400  # the entity's latest items before the bucket, among which neighbours are looked for
LATE = 100  # more that are read, so that those which came too late take nobody's place
FOLLOW_DAYS = 7  # after which the index is read again
PRICE_DAYS = 3  # trading days after which the price is read again
HALF = 2  # bytes of a number in a vector as it is kept
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


def evidence(
    outlines: Outlines,
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
    late_from = outlines.first_after(closed)  # what has this number or a higher one came too late for the bucket
    said = [one for one in _about(outlines, reading, sectors) if one.number < late_from]
    fresh = [one for one in said if not one.copied]
    movers = _movers(fresh, reading)[:k]
    moved = outlines.shown([(one.number, one.entity) for one, _ in movers])
    shares = [share for _, share in movers]
    query = _mean_vector([one.vector for one in moved], shares)
    near = [] if query is None else _neighbours(outlines, reading, sectors, query, late_from, k)
    past = outlines.shown([name for name, _ in near])
    return {
        "items": len({one.number for one in fresh}),
        "copies": len({one.number for one in said} - {one.number for one in fresh}),
        "moved": [{**_shown(one), "share": round(share, 4)} for one, share in zip(moved, shares, strict=True)],
        "past": [
            {**_shown(one), "similarity": round(cosine, 3), **_followed(outlines, reading, prices, one, closed)}
            for one, (_, cosine) in zip(past, near, strict=True)
        ],
    }


def _about(outlines: Outlines, reading: SignalReading, sectors: Sectors) -> list[Said]:
    """What the items of the bucket say about its entity or sector, in the order of their numbers."""
    said = outlines.said(_entity_of(reading), reading.start, reading.end)
    return [one for one in said if _concerns(one.entity, reading.entity, sectors)]


def _entity_of(reading: SignalReading) -> str | None:
    """The entity of a reading; None for a sector's, which many are in."""
    return None if reading.entity.startswith(SECTOR) else reading.entity


def _concerns(entity: str, wanted: str, sectors: Sectors) -> bool:
    if not wanted.startswith(SECTOR):
        return entity == wanted
    try:
        return sectors.sector(entity) == wanted.removeprefix(SECTOR)
    except UnknownNameError:
        return False


def _movers(said: Sequence[Said], reading: SignalReading) -> list[tuple[Said, float]]:
    """Those that moved the index in the direction of the alarm, most first, each with its share of that movement.

    An item draws the index from where it was towards its own score, with its weight. Where volume alone is unusual
    each counts by its weight.
    """
    before = reading.index - reading.change

    def pull(one: Said) -> float:
        if reading.direction == 0:
            return one.weight
        return one.weight * (one.score - before) * reading.direction

    pulls = [(one, pull(one)) for one in said]
    pulls = [(one, value) for one, value in pulls if value > 0]
    pulls.sort(key=lambda p: (-p[1], p[0].number, p[0].entity))
    total = sum(value for _, value in pulls)
    return [(one, value / total) for one, value in pulls]


def _mean_vector(vectors: Sequence[Vector | None], shares: Sequence[float]) -> Vector | None:
    """The mean of vectors, weighted by share, at unit length, [dim]; None where there is none, or two lengths."""
    found = [(vector, share) for vector, share in zip(vectors, shares, strict=True) if vector is not None]
    if not found or len({len(vector) for vector, _ in found}) != 1:
        return None
    weights = np.array([share for _, share in found], dtype=np.float32)
    mean = weights @ np.stack([vector for vector, _ in found])
    length = float(np.linalg.norm(mean))
    return np.asarray(mean / length, dtype=np.float32) if length > 0 else None


def _neighbours(
    outlines: Outlines, reading: SignalReading, sectors: Sectors, query: Vector, late_from: float, k: int
) -> list[tuple[tuple[int, str], float]]:
    """The nearest items published before the bucket: number and entity, and the cosine."""
    on_time: dict[int, Earlier] = {}
    for one in outlines.earlier(_entity_of(reading), reading.start, PAST + LATE):
        if one.number < late_from and _concerns(one.entity, reading.entity, sectors):
            on_time.setdefault(one.number, one)
    known = [one for one in list(on_time.values())[:PAST] if not one.copied]
    usable = [(one, one.vector) for one in known if one.vector is not None and len(one.vector) == HALF * len(query)]
    if not usable:
        return []
    vectors = np.frombuffer(b"".join(vector for _, vector in usable), dtype="<f2").astype(np.float32)
    vectors = vectors.reshape(len(usable), len(query))
    lengths = np.linalg.norm(vectors, axis=1)
    cosines = np.round((vectors @ query) / np.where(lengths > 0, lengths, 1.0), 3)
    ranked = [((one.number, one.entity), float(cosine)) for (one, _), cosine in zip(usable, cosines, strict=True)]
    ranked.sort(key=lambda pair: (-pair[1], -pair[0][0]))
    return ranked[:k]


def _followed(
    outlines: Outlines, reading: SignalReading, prices: PastPrices | None, one: Shown, closed: dt.datetime
) -> dict[str, Any]:
    """The index before an item and some days after it, and what the price did; without what was not known yet."""
    return {**_index(outlines, reading, one.published), **_price(prices, one.entity, one.published, closed)}


def _index(outlines: Outlines, reading: SignalReading, published: dt.datetime) -> dict[str, Any]:
    after = published + dt.timedelta(days=FOLLOW_DAYS)
    if after > reading.end:
        return {}
    series = outlines.levels(reading.entity, published - 2 * (reading.end - reading.start), after)
    before = [index for end, index in series if end <= published]
    later = [index for end, index in series if published < end <= after]
    if not before or not later:
        return {}
    return {"index": {"before": round(before[-1], 4), "after": round(later[-1], 4), "days": FOLLOW_DAYS}}


def _price(prices: PastPrices | None, symbol: str, published: dt.datetime, closed: dt.datetime) -> dict[str, Any]:
    if prices is None:
        return {}
    with contextlib.suppress(DataError, UnknownNameError):
        if prices.position(symbol, published) + PRICE_DAYS <= prices.position(symbol, closed):
            change = prices.change(symbol, published, PRICE_DAYS)
            volatility = prices.realised_volatility(symbol, published, PRICE_DAYS)
            return {"price": {"change": round(change, 4), "volatility": round(volatility, 3), "days": PRICE_DAYS}}
    return {}


def _shown(one: Shown) -> dict[str, Any]:
    return {
        "key": one.key, "title": _cut(one.title), "url": one.url, "published": one.published.isoformat(),
        "entity": one.entity, "sentence": _cut(one.sentence), "score": one.score, "weight": one.weight,
    }  # fmt: skip


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
