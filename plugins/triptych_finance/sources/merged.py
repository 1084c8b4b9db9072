"""Several replays as one stream: their rows by time, as if they stood in one file."""

from __future__ import annotations

import heapq
import json
from collections.abc import Sequence
from datetime import datetime

from triptych.errors import ConfigError, DataError
from triptych_finance.sources.tables import Replay
from triptych_finance.stream.item import Item
from triptych_finance.stream.source import Poll


class Merged:
    """Replays whose items come in the order of the replays' clocks; of equal times, in the order of the replays.

    Items keep the source that they come from. The cursor holds those of all. Raises `ConfigError` for two replays of
    one name and for a paced one, for each paces itself.
    """

    def __init__(self, replays: Sequence[Replay]) -> None:
        names = [replay.name for replay in replays]
        problems = [f"two sources are called {name!r}" for name in sorted(set(names)) if names.count(name) > 1]
        problems += [f"{r.name}: several replays run together, so none can have a speed" for r in replays if r.paced]
        if problems:
            raise ConfigError(problems)
        self.name = " + ".join(names)
        self._replays = list(replays)
        self._cursor: str | None = None
        self._cursors: list[str | None] = []
        self._ahead: list[tuple[datetime, int, Item, str]] = []  # a heap: clock, replay, its next item, cursor behind
        self._begun = False

    def poll(self, cursor: str | None, limit: int, wait_s: float) -> Poll:
        """At most `limit` rows after the cursor. Raises `DataError` for a file or a cursor that cannot be used."""
        problems: list[str] = []
        if not self._begun or cursor != self._cursor:
            self._go_to(cursor, problems)
        items: list[Item] = []
        while self._ahead and len(items) + len(problems) < limit:
            _, number, item, behind = heapq.heappop(self._ahead)
            items.append(item)
            self._cursors[number] = behind
            self._look_ahead(number, problems)
        self._cursor = json.dumps(self._cursors)
        return Poll(items, self._cursor, not self._ahead, problems)

    def acknowledge(self, cursor: str) -> None:
        """Nothing to do: the files keep their rows."""

    def close(self) -> None:
        """Let go of the files."""
        for replay in self._replays:
            replay.close()
        self._begun = False

    def _go_to(self, cursor: str | None, problems: list[str]) -> None:
        try:
            found = [None] * len(self._replays) if cursor is None else json.loads(cursor)
            if not isinstance(found, list) or not all(place is None or isinstance(place, str) for place in found):
                raise ValueError("it is no list of places")
        except ValueError as error:
            raise DataError(f"{cursor!r} is no place in several replays: {error}") from error
        if len(found) != len(self._replays):
            raise DataError(f"{cursor!r} is a place in {len(found)} replays, not in {len(self._replays)}")
        self._cursors, self._ahead, self._begun = found, [], True
        for number in range(len(found)):
            self._look_ahead(number, problems)

    def _look_ahead(self, number: int, problems: list[str]) -> None:
        """Put the next item of a replay on the heap; what cannot be read before it is passed over."""
        ended = False
        while not ended:
            poll = self._replays[number].poll(self._cursors[number], 1, 0.0)
            problems += poll.problems
            if poll.items:
                item = poll.items[0]
                heapq.heappush(self._ahead, (item.arrived, number, item, poll.cursor))
                return
            self._cursors[number], ended = poll.cursor, poll.ended
