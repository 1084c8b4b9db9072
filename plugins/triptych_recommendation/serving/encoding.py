"""Items on their way into the store: checked, and turned into vectors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from triptych.data.tables import first_few
from triptych.errors import DataError
from triptych.types import Sample
from triptych_recommendation.catalogue.schema import EventRow, item_json
from triptych_recommendation.content.profile import unit
from triptych_recommendation.data.events import LARGEST_WEIGHT
from triptych_recommendation.data.items import Item, sample_of
from triptych_recommendation.data.times import DAY, moment_of

Floats = NDArray[np.float32]
Encode = Callable[[Sequence[Sample]], Floats]


def check_items(items: Sequence[Item]) -> None:
    """Raises `DataError` for an id that is empty or there twice, and for a price, stock or metadata that cannot be."""
    twice = sorted(name for name, count in Counter(item.id for item in items).items() if count > 1)
    if twice:
        raise DataError(f"items of one call have the same id: {first_few(twice)}; give each item once")
    for item in items:
        if not item.id.strip():
            raise DataError("an item has no id; every item needs one")
        item_json(item)
        if (item.price is not None and item.price < 0) or (item.stock is not None and item.stock < 0):
            raise DataError(f"item {item.id!r} has a price or stock below 0")


def check_ids(ids: Sequence[str]) -> None:
    """Raises `DataError` for a text that stands for a list of ids."""
    if isinstance(ids, str):
        raise DataError(f"give a list of ids, not the text {ids!r}")


def check_events(events: Sequence[EventRow], now: int) -> None:
    """Raises `DataError` for the first event without a name, with an impossible weight, or over a day in the future."""
    for place, event in enumerate(events, 1):
        what = f"event {place} of {len(events)} (user {event.user!r}, item {event.item!r})"
        if not (event.user.strip() and event.item.strip() and event.kind.strip()):
            raise DataError(f"{what} lacks a user, an item or a kind")
        if not 0 <= event.weight <= LARGEST_WEIGHT:
            raise DataError(f"{what} weighs {event.weight}; a weight is between 0 and {LARGEST_WEIGHT:,.0f}")
        if event.time > now + DAY:
            raise DataError(f"{what} lies in the future ({_date(event.time)}); times are microseconds since 1970, UTC")


def vectors_of(items: Sequence[Item], encode: Encode | None, given: Floats | None, dim: int) -> Floats:
    """Content vectors of items, float32 [items, dim], of length 1; zeros where there is no content or no encoder.

    `given` are vectors that were made before, as `encode` makes them. Raises `DataError` for vectors of another shape,
    and for NaN or infinity, naming the item.
    """
    if given is not None:
        return _checked(items, np.asarray(given, dtype=np.float32), dim)
    found = np.zeros((len(items), dim), dtype=np.float32)
    places = [place for place, item in enumerate(items) if item.has_content]
    if places and encode is not None:
        with_content = [items[place] for place in places]
        found[places] = _checked(with_content, np.asarray(encode([sample_of(item) for item in with_content])), dim)
    return found


def notes_on(items: Sequence[Item], vectors: Floats, encode: Encode | None) -> list[str]:
    """What is worth telling whoever added the items."""
    blind = [item for item, vector in zip(items, vectors, strict=True) if not vector.any()]
    bare = [item.id for item in blind if not item.has_content]
    unread = [item.id for item in blind if item.has_content]
    only = "they are recommended by events and exploration alone"
    notes = [f"{len(bare):,} items have no content ({first_few(bare)}): {only}"] if bare else []
    if unread:
        why = "nothing here can encode them" if encode is None else "their vectors are zero"
        notes.append(f"{len(unread):,} items have content, but {why} ({first_few(unread)}): {only}")
    return notes


def _checked(items: Sequence[Item], vectors: Floats, dim: int) -> Floats:
    if vectors.shape != (len(items), dim):
        raise DataError(f"{len(items)} items need vectors of shape [{len(items)}, {dim}], not {list(vectors.shape)}")
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(bad):
        raise DataError(
            f"the vector of item {items[int(bad[0])].id!r} has NaN or infinity in it; look at its text, picture and "
            "sound, for nothing was added"
        )
    return unit(vectors)


def _date(time: int) -> str:
    try:
        return moment_of(time).isoformat()
    except OverflowError:
        return "after the year 9999"
