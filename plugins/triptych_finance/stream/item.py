"""One item of news, post or transcript as a source hands it on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from triptych.errors import DataError

SEPARATOR = "\x1f"  # between source and id in a key; no source's name may hold it
LONGEST_NAME = 1_000  # bytes of an id and of a source's name: both stand in an index
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")  # what UTF-8, or PostgreSQL's text, cannot hold


@dataclass(frozen=True, slots=True)
class Item:
    """One item. Times are kept in UTC; characters that no database holds become U+FFFD.

    Raises `DataError` for an empty id, source or text, an id or source beyond 1,000 bytes, and a time without a zone.
    """

    id: str  # unique within its source
    source: str  # the name the source was given
    text: str  # headline and body
    published: datetime  # event time
    arrived: datetime  # when it reached us; in a replay the clock of the replay
    title: str = ""
    url: str = ""
    entities: tuple[str, ...] = ()  # symbols that the source itself names; (): find them in the text
    metadata: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        for name in ("id", "source", "text", "title", "url"):
            object.__setattr__(self, name, storable(getattr(self, name)))
        object.__setattr__(self, "entities", tuple(storable(symbol) for symbol in self.entities))
        object.__setattr__(self, "metadata", {storable(k): storable(v) for k, v in self.metadata.items()})
        for name in ("id", "source", "text"):
            if not getattr(self, name).strip():
                raise DataError(f"an item's {name!r} is empty")
        for name in ("id", "source"):
            if len(getattr(self, name).encode()) > LONGEST_NAME:
                raise DataError(
                    f"an item's {name!r} is longer than {LONGEST_NAME:,} bytes: {getattr(self, name)[:40]}..."
                )
        if SEPARATOR in self.source:
            raise DataError(f"{self.source!r} cannot name a source: it holds the control character \\x1f")
        for name in ("published", "arrived"):
            object.__setattr__(self, name, in_utc(getattr(self, name), name))


def key(item: Item) -> str:
    """What tells an item from all others, of every source."""
    return f"{item.source}{SEPARATOR}{item.id}"


def in_utc(time: datetime, what: str = "time") -> datetime:
    """The same moment in UTC. Raises `DataError` for a time without a zone."""
    if time.tzinfo is UTC:
        return time
    if time.utcoffset() is None:
        raise DataError(f"{what!r} is {time.isoformat()}, which has no time zone; write it as ...T12:00:00+00:00")
    try:
        return time.astimezone(UTC)
    except OverflowError as error:
        raise DataError(f"{what!r} is {time.isoformat()}, which is no date in UTC") from error


def storable(text: str) -> str:
    """The text with U+FFFD for NUL and for halves of surrogate pairs."""
    return _UNSTORABLE.sub("\ufffd", text)
