"""The rows of the store as others see them. Times are microseconds since 1970 in UTC, as in the arrays."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.errors import DataError
from triptych_recommendation.data.items import Item


@dataclass(frozen=True, slots=True, eq=False)
class ItemRow:
    """An item as it stands: there, or removed."""

    id: str
    item: Item | None  # None: it was removed, and the store never knew more than its id
    vector: NDArray[np.float32] | None = None  # [dim], kept as float16; None: it has no content, or was not encoded
    encoder: str = ""  # fingerprint of what made the vector
    added: int = 0  # when it came, or came back
    removed: int | None = None  # when it was removed; None: it is there
    number: int = 0  # given by the store, anew with each change, rising in the order in which changes became visible


@dataclass(frozen=True, slots=True)
class EventRow:
    """Somebody did something with an item. `key` tells equal events: one that is there already is not added again."""

    user: str
    item: str
    kind: str
    time: int
    weight: float = 1.0  # 0: known, but not learnt from, as a dislike
    number: int = 0  # given by the store, rising in the order in which events became visible

    @property
    def key(self) -> str:
        """The same for equal events, another for others: of user, item, kind and time, not of the weight."""
        names = "".join(f"{len(name)}:{name}" for name in (self.user, self.item, self.kind))
        return hashlib.sha256(f"{names}{self.time}".encode("utf-8", "surrogatepass")).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class ExposureRow:
    """A list that was shown to somebody."""

    id: str
    time: int
    user: str  # "": nobody knows who
    items: tuple[str, ...]  # ids, the first one on top
    policy: str = ""  # what made the list, as "blend" or "new user"
    experiment: str = ""  # "": none
    variant: str = ""
    details: Mapping[str, Any] = field(default_factory=dict, hash=False)  # JSON: places explored, which side chose, ...


@dataclass(frozen=True, slots=True)
class OutcomeRow:
    """What came of a list: one of its items was chosen."""

    exposure: str  # its id
    item: str
    kind: str  # of the event
    time: int
    weight: float = 1.0
    number: int = 0  # given by the store, rising


def item_json(item: Item) -> dict[str, Any]:
    """An item as JSON, without what it lacks; `item_of` reads it again.

    Raises `DataError` for a price that is not a finite number, and for metadata that is not JSON.
    """
    values: dict[str, Any] = {"id": item.id, "title": item.title, "description": item.description}
    if item.price is not None and not math.isfinite(item.price):
        raise DataError(f"item {item.id!r} has the price {item.price}; give a number, or none")
    for name in ("image", "audio"):
        path = getattr(item, name)
        values[name] = None if path is None else str(path)
    values |= {"category": item.category, "price": item.price, "stock": item.stock, "tags": list(item.tags)}
    values["metadata"] = dict(item.metadata)
    try:
        json.dumps(values["metadata"], allow_nan=False)
    except (TypeError, ValueError) as error:
        raise DataError(f"metadata of item {item.id!r} cannot be kept as JSON: {error}") from error
    return {name: value for name, value in values.items() if value not in (None, "", [], {}) or name == "id"}


def item_of(values: Mapping[str, Any]) -> Item:
    """The item that `item_json` wrote."""
    paths = {name: Path(values[name]) for name in ("image", "audio") if values.get(name)}
    return Item(**{**values, **paths, "tags": tuple(values.get("tags", ()))})
