"""An RSS or Atom feed: `feed:https://example.org/news.xml`, `feed:https://example.org/news.xml#every=600`.

Options stand behind `#`, which never goes to a server, for the address may have a query of its own.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Self
from urllib.parse import urlsplit

from pydantic import Field

from triptych.errors import ConfigError, DataError
from triptych_finance.sources.entries import matters, parse_document, record_of
from triptych_finance.sources.fetch import Answer, fetch, without_secrets
from triptych_finance.sources.parsing import (
    MEGABYTE,
    Rules,
    content_id,
    read_options,
    read_record,
    utc_now,
)
from triptych_finance.stream.item import Item
from triptych_finance.stream.source import Poll

if TYPE_CHECKING:
    from triptych_finance.store.store import Store

DAY_S = 86_400.0
LONGEST_PAUSE_S = DAY_S / 4  # between two tries of a feed that fails
MOST_ENTRIES = 2000  # of one document
REMEMBERED = 1000  # entries that are no longer in the document, for some come back
GONE = 410


class FeedOptions(Rules):
    """What may stand behind `#` in the address of a feed."""

    every: Annotated[float, Field(ge=60)] = 300.0  # seconds between two fetches
    max_mb: Annotated[float, Field(gt=0, le=64)] = 10.0  # of one document


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """What was read of a feed. `etag` and `modified` are of the last document whose entries were all handed out."""

    etag: str = ""
    modified: str = ""
    seen: tuple[str, ...] = ()  # of entries, as short hashes of their ids
    failures: int = 0  # in a row
    since: float = 0.0  # when the pause began, seconds of Unix time
    pause: float = 0.0  # seconds until the next fetch

    @classmethod
    def read(cls, cursor: str | None) -> Self:
        """The place that a cursor names. Raises `DataError` for a cursor that no feed has written."""
        if not cursor:
            return cls()
        try:
            values = json.loads(cursor)
            return cls(**{**values, "seen": tuple(values["seen"])})
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{cursor!r} is no place in a feed; give this source another name") from error

    def __str__(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    def left(self, now: float) -> float:
        """Seconds of the pause that are left at `now`; all of it where the clock has gone backwards."""
        passed = now - self.since
        return max(0.0, self.pause - passed) if passed >= 0 else self.pause


class Feed:
    """New entries of one feed, those published first coming first.

    It fetches at most every `every` seconds, also across restarts, and asks only for what has changed. A fetch that
    fails is a problem, and the pause doubles with each failure in a row, up to six hours; where the server names a
    pause (Retry-After), it gets it, up to a day. An entry is known by its id, else its link, else a hash of its
    content; one without a date is published when it is first seen. An entry that changes later is not read again.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str,
        options: FeedOptions | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.name = name
        self.url = url
        self._shown = without_secrets(url)
        self._options = options or FeedOptions()
        self._clock, self._sleep = clock, sleep
        self._next_fetch = clock()
        self._place: Place | None = None
        self._document: Place | None = None  # what the place becomes once the backlog is handed out
        self._backlog: list[tuple[str, Item | str]] = []  # hash of the id, and the entry; the next one last

    @classmethod
    def open(cls, spec: str, *, name: str, store: Store | None = None) -> Self:
        """The feed of an address. Raises `ConfigError`."""
        url, options = read_options(spec.partition(":")[2], FeedOptions, mark="#")
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"a feed needs an address of the web, as feed:https://example.org/news.xml, not {url!r}")
        if "@" in parts.netloc:
            raise ConfigError(f"the address of the feed on {parts.hostname} has a user or password in it; leave it out")
        return cls(url, name=name, options=options)

    def poll(self, cursor: str | None, limit: int, wait_s: float) -> Poll:
        """At most `limit` entries after the cursor. A fetch may take longer than `wait_s`."""
        until = self._clock() + wait_s
        place = Place.read(cursor)
        if place != self._place:
            self._backlog, self._document = [], None
            self._next_fetch = self._clock() + place.left(time.time())
        items: list[Item] = []
        problems: list[str] = []
        if not self._backlog and self._wait(until):
            place = self._fetch(place, problems)
        taken = [self._backlog.pop() for _ in range(min(limit, len(self._backlog)))]
        for _, entry in taken:
            if isinstance(entry, Item):
                items.append(entry)
            else:
                problems.append(entry)
        place = dataclasses.replace(place, seen=(*place.seen, *(key for key, _ in taken)))
        if not self._backlog and self._document is not None:
            place, self._document = self._document, None
        self._place = place
        return Poll(items, str(place), False, problems, answered=place.failures == 0)

    def acknowledge(self, cursor: str) -> None:
        """Nothing to do: a feed does not know who has read it."""

    def close(self) -> None:
        """Forget what was fetched."""
        self._backlog, self._document, self._place = [], None, None

    def _wait(self, until: float) -> bool:
        """Whether it is time to fetch; waits for it until `until`."""
        while (left := self._next_fetch - self._clock()) > 0:
            patience = until - self._clock()
            if patience <= 0:
                return False
            self._sleep(min(left, patience))
        return True

    def _fetch(self, place: Place, problems: list[str]) -> Place:
        """The place after a fetch; new entries are in the backlog then."""
        limit = int(self._options.max_mb * MEGABYTE)
        answer = fetch(self.url, etag=place.etag, modified=place.modified, limit=limit)
        entries = self._entries(answer, problems) if answer.body else []
        failed = answer.problem is not None or (bool(problems) and not entries)
        failures = place.failures + 1 if failed else 0
        pause = self._options.every
        if failed:
            pause = min(LONGEST_PAUSE_S, pause * 2.0 ** min(failures, 30))
            pause = DAY_S if answer.status == GONE else max(pause, min(DAY_S, answer.retry_after_s))
        if answer.problem is not None:
            problems.append(f"{self._shown}: {answer.problem}; next try in {pause:,.0f} s")
        self._next_fetch = self._clock() + pause
        place = dataclasses.replace(place, failures=failures, since=time.time(), pause=pause)
        if failed or not answer.body:
            return place
        known = set(place.seen)
        fresh = [(key, entry) for key, entry in entries if key not in known]
        self._backlog = sorted(fresh, key=_event_time, reverse=True)
        here = dict.fromkeys(key for key, _ in entries)
        kept = [key for key in place.seen if key not in here][-REMEMBERED:]
        self._document = dataclasses.replace(place, etag=answer.etag, modified=answer.modified, seen=(*kept, *here))
        return place

    def _entries(self, answer: Answer, problems: list[str]) -> list[tuple[str, Item | str]]:
        """Each entry of a document, once, under the hash of its id. What is wrong with the document is a problem."""
        document = parse_document(answer)
        if isinstance(document, str):
            problems.append(f"{self._shown}: {document}")
            return []
        error = document.get("bozo_exception")
        if not document.entries and not document.get("version"):
            problems.append(f"{self._shown}: the document is neither RSS nor Atom ({error or 'no feed in it'})")
        elif document.get("bozo") and matters(error):
            problems.append(f"{self._shown}: the feed is malformed ({error}); what could be read of it is taken")
        if len(document.entries) > MOST_ENTRIES:
            left_out = len(document.entries) - MOST_ENTRIES
            problems.append(f"{self._shown}: {left_out:,} of {len(document.entries):,} entries are left out")
        entries: dict[str, Item | str] = {}
        for values in (record_of(entry, self.url) for entry in document.entries[:MOST_ENTRIES]):
            key = values.get("id") or content_id(values)
            now = utc_now()
            entry = read_record(
                values, source=self.name, place=f"{self._shown}, entry {key[:80]!r}", spare_id=key, now=now,
                rules=self._options, undated=now,
            )  # fmt: skip
            entries.setdefault(hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()[:16], entry)
        return list(entries.items())


def _event_time(entry: tuple[str, Item | str]) -> float:
    return entry[1].published.timestamp() if isinstance(entry[1], Item) else 0.0
