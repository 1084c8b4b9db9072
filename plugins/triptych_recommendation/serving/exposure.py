"""What was shown to whom: written behind the answer, remembered so that nobody is shown the same again and again."""

from __future__ import annotations

import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence

from triptych.errors import DataError
from triptych_recommendation.catalogue.schema import EventRow, ExposureRow, OutcomeRow
from triptych_recommendation.catalogue.store import Store
from triptych_recommendation.data.times import DAY
from triptych_recommendation.serving.settings import RuleSettings

_WAITING = 1_000  # lists that wait to be written at most; whoever shows more waits for the disk
_BATCH = 500  # lists in one transaction at most
_REMEMBERED = 20_000  # users whose lists are kept in memory
_FRESH_S = 60.0  # lists that another process showed are known after so long at most
_TOGETHER_S = 0.05  # lists that are written in one transaction come within so long


class ExposureLog:
    """Lists on their way into the store, and those that users were shown of late. Safe for threads.

    `record` returns before the list is on the disk: a thread writes what has come meanwhile in one transaction, so a
    kill loses the lists of the last moments, and no more. `flush` waits until all are there.
    """

    def __init__(self, store: Store, rules: RuleSettings) -> None:
        self._store = store
        self._rules = rules
        self._kept_days = max(rules.tired_days, rules.outcome_days)
        self._shown: OrderedDict[str, tuple[float, list[ExposureRow]]] = OrderedDict()  # with when they were read
        self._unwritten: dict[str, ExposureRow] = {}  # by id
        self._changing = threading.Lock()
        self._queue: queue.Queue[ExposureRow | None] = queue.Queue(_WAITING)
        self._error: Exception | None = None
        self._closed = False
        self._hurry = threading.Event()  # somebody waits for what is to be written
        self._thread = threading.Thread(target=self._write, name="exposures", daemon=True)
        self._thread.start()

    def record(self, row: ExposureRow) -> None:
        """Take a list to be written. Raises what went wrong with those before it."""
        if self._closed:
            raise DataError("is closed", file=self._store.name)
        self._raise()
        with self._changing:
            self._unwritten[row.id] = row
            if row.user in self._shown:  # otherwise it is read with the others when they are asked for
                self._shown[row.user][1].append(row)
        self._queue.put(row)

    def flush(self) -> None:
        """Wait until all that was recorded is on the disk. Raises what went wrong."""
        self._hurry.set()
        self._queue.join()
        self._hurry.clear()
        self._raise()

    def close(self) -> None:
        """Write what waits and end the thread; a second call does nothing."""
        if not self._closed:
            self._closed = True
            self._hurry.set()
            self._queue.put(None)
            self._thread.join()
            self._raise()

    def look_back(self, days: float) -> None:
        """Rules of an experiment go back so far: remember lists as long."""
        if days > self._kept_days:
            with self._changing:
                self._kept_days = days
                self._shown.clear()

    def tired(self, user: str | None, now: int, rules: RuleSettings) -> dict[str, float]:
        """By id, 0 to 1: what scores are multiplied by for having been shown in vain; of all other items 1.

        An item counts once for each list that it stood on in the last `tired_days`. Items with an outcome are in the
        user's history, which rules deal with.
        """
        since = now - int(rules.tired_days * DAY)
        counts: dict[str, int] = {}
        for exposure in self._of(user, now) if user is not None else []:
            if exposure.time >= since:
                for name in exposure.items:
                    counts[name] = counts.get(name, 0) + 1
        after, factor = rules.tired_after, rules.tired_factor
        return {name: factor ** (count - after + 1) for name, count in counts.items() if count >= after}

    def outcomes(self, events: Sequence[EventRow]) -> list[OutcomeRow]:
        """The outcome that each event is of the latest list that had its item, within `outcome_days` after it.

        All lists before them are on the disk when this returns, so that no outcome is there without its list.
        """
        self.flush()
        window = int(self._rules.outcome_days * DAY)
        found = []
        for event in events:
            lists = [row for row in self._of(event.user, event.time) if event.item in row.items]
            lists = [row for row in lists if 0 <= event.time - row.time <= window]
            if lists:
                latest = max(lists, key=lambda row: row.time)
                found.append(OutcomeRow(latest.id, event.item, event.kind, event.time, event.weight))
        return found

    def _of(self, user: str, now: int) -> list[ExposureRow]:
        """The lists that a user was shown of late."""
        with self._changing:
            read, shown = self._shown.get(user, (0.0, None))
            if shown is not None and time.monotonic() - read < _FRESH_S:
                self._shown.move_to_end(user)
                return list(shown)
            unwritten = [row for row in self._unwritten.values() if row.user == user]
        moment = time.monotonic()
        stored = {row.id: row for row in self._store.shown_to(user, now - int(self._kept_days * DAY))}
        with self._changing:
            later = [row for row in self._unwritten.values() if row.user == user]
            shown = list({**{row.id: row for row in unwritten}, **stored, **{row.id: row for row in later}}.values())
            self._shown[user] = (moment, shown)
            if len(self._shown) > _REMEMBERED:
                self._shown.popitem(last=False)
            return list(shown)

    def _write(self) -> None:
        """What the thread does: write all that came within a moment together, until it is told to end."""
        ending = False
        while not ending:
            rows = [self._queue.get()]
            self._hurry.wait(_TOGETHER_S)
            while len(rows) < _BATCH and not self._queue.empty():
                rows.append(self._queue.get())
            lists = [row for row in rows if row is not None]
            ending = len(lists) < len(rows)
            try:
                with self._store.transaction() as tx:
                    tx.add_exposures(lists)
            except Exception as error:  # told to the next one who records; the thread must go on
                self._error = error
            with self._changing:
                for row in lists:
                    self._unwritten.pop(row.id, None)  # an id that came twice is gone already
            for _ in rows:
                self._queue.task_done()

    def _raise(self) -> None:
        if self._error is not None:
            error, self._error = self._error, None
            raise error
