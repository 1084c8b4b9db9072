"""The rows of the store as others see them; all times have a zone, and come back in UTC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from triptych_finance.stream.item import Item, key


@dataclass(frozen=True, slots=True)
class EntityRow:
    """What one item says about one entity."""

    entity: str  # its symbol
    score: float  # in [-1, 1]
    weight: float
    sentence: str  # the words that carry it


@dataclass(frozen=True, slots=True)
class ItemRow:
    """An item with what the model made of it."""

    key: str
    source: str
    id: str
    published: datetime
    arrived: datetime
    title: str
    text: str
    url: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict, hash=False)
    digest: str = ""  # of the normalised text
    duplicate_of: str | None = None  # the key of the earlier item that says the same
    score: float | None = None  # of the document, in [-1, 1]
    probabilities: tuple[float, ...] | None = None  # negative, neutral, positive
    vector: NDArray[np.float32] | None = field(default=None, compare=False, repr=False)  # [dim], kept as float16
    entities: tuple[EntityRow, ...] = ()
    number: int = 0  # given by the store, rising and never used twice; 0: not stored yet

    @classmethod
    def of(cls, item: Item, **found: Any) -> Self:
        """The row of an item; `found` are the fields that an item itself lacks."""
        return cls(
            key=key(item), source=item.source, id=item.id, published=item.published, arrived=item.arrived,
            title=item.title, text=item.text, url=item.url, metadata=item.metadata, **found,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class ReadingRow:
    """The index of an entity, or of a sector as "sector:<name>", at the end of one bucket."""

    entity: str
    start: datetime
    end: datetime
    index: float
    change: float
    volume: float
    statistic: float
    threshold: float  # infinite: no alarm was possible
    alarm: bool
    direction: int  # 1, -1, or 0


@dataclass(frozen=True, slots=True)
class AlertRow:
    """An alert as it stands."""

    id: str
    entity: str
    kind: str
    state: str
    started: datetime
    fired: datetime | None = None
    ended: datetime | None = None  # None: it is open, and retention keeps it
    json: Mapping[str, Any] = field(default_factory=dict, hash=False)  # evidence, and what else there is to say


@dataclass(frozen=True, slots=True)
class NoticeRow:
    """One message to one channel. It is due at `next_try`; with neither `next_try` nor `sent` it was given up."""

    id: str
    alert: str
    kind: str  # the event that it tells of
    channel: str
    created: datetime
    payload: Mapping[str, Any] = field(default_factory=dict, hash=False)
    attempts: int = 0
    next_try: datetime | None = None
    sent: datetime | None = None
    error: str = ""  # of the last attempt


@dataclass(frozen=True, slots=True)
class VerdictRow:
    """What an analyst says of an alert."""

    alert: str  # its id
    entity: str
    confirmed: bool  # False: a false alarm
    analyst: str
    note: str
    given: datetime
    number: int = 0  # given by the store, rising in the order in which verdicts became visible


@dataclass(frozen=True, slots=True)
class SilenceRow:
    """No notices for matching alerts from `starts` until just before `ends`."""

    id: str
    pattern: str  # of entities: "ACME", "sector:energy", "sector:*", "*"
    starts: datetime
    ends: datetime
    analyst: str = ""
    note: str = ""
    kind: str = ""  # of alerts; "": every kind


@dataclass(frozen=True, slots=True)
class InboxRow:
    """An item that was received and is not processed yet."""

    number: int  # rising in the order in which items became visible
    item: Item
