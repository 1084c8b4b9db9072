"""The live route of the finance page: new and changed alerts, new buckets and new items, as they are stored.

However many pages are open, one look a second at the store serves them all, and none is taken while no page is.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel

from triptych.errors import TriptychError
from triptych.predictor import Predictor
from triptych.routes import RouteContext
from triptych_finance.store.transaction import Transaction
from triptych_finance.surface import questions
from triptych_finance.surface.shelf import Shelf, shelf_of
from triptych_finance.surface.told import AlertLine, Teller, silences_now

PERIOD_S = 1.0  # between two looks at the store
_PAUSE_S = 0.25  # between two looks whether anything has come, or the stream is to end
_LATEST = 100  # alerts, open or not, that are watched; of those that are open, all are
_KEPT = 200  # happenings that a slow page may be behind


class Happening(BaseModel):
    """What the stream tells.

    "hello" comes first, and again where a page fell behind: read all anew. "alerts" are new or changed, "index" says
    that buckets were closed, "items" that items have come, "absent" that there is no store that can be read.
    """

    kind: Literal["hello", "alerts", "index", "items", "absent"]
    alerts: list[AlertLine] = []
    end: datetime | None = None  # of the latest bucket
    items: int = 0  # that were ever stored


class Watcher:
    """Looks at the store for all streams, in the thread of one of them. For any thread."""

    def __init__(self, predictor: Predictor, shelf: Shelf) -> None:
        self._predictor, self._shelf = predictor, shelf
        self._lock = threading.Lock()
        self._looked = -PERIOD_S
        self._marks: tuple[Any, ...] | None = None
        self._alerts: dict[str, AlertLine] = {}
        self._end: datetime | None = None
        self._items = 0
        self._happenings: deque[tuple[int, Happening]] = deque(maxlen=_KEPT)
        self._version = 0
        self._there: bool | None = None

    def since(self, version: int | None) -> tuple[int, list[Happening]]:
        """The version now, and what has happened since an earlier one; None: begin."""
        with self._lock:
            if time.monotonic() - self._looked >= PERIOD_S:
                self._look()
                self._looked = time.monotonic()
            told = [happening for number, happening in self._happenings if version is not None and number > version]
            if version is None or self._version - version > len(told):
                told = [self._now()]
            return self._version, told

    def _now(self) -> Happening:
        if not self._there:
            return Happening(kind="absent")
        return Happening(kind="hello", end=self._end, items=self._items)

    def _look(self) -> None:
        try:
            with self._shelf.reading() as tx:
                silenced = tuple(row.id for row in silences_now(tx))
                marks = (*questions.marks(tx), silenced)
                if marks == self._marks:
                    return
                alerts = self._watched(tx)
                last = questions.last_bucket(tx)
                items = dict(marks[0]).get("item", 0)
        except TriptychError:
            self._lost()
            return
        new, self._there, self._marks = not self._there, True, marks
        changed = [line for key, line in alerts.items() if self._alerts.get(key) != line]
        end = None if last is None else last[0]
        before, self._end = self._end, end
        known, self._items = self._items, items
        self._alerts = alerts
        if new:
            self._tell(self._now())
            return
        if changed:
            self._tell(Happening(kind="alerts", alerts=changed, end=end, items=items))
        if end != before:
            self._tell(Happening(kind="index", end=end, items=items))
        if items != known:
            self._tell(Happening(kind="items", end=end, items=items))

    def _watched(self, tx: Transaction) -> dict[str, AlertLine]:
        """The open alerts, the latest ones, and those that were open a moment ago."""
        teller = Teller(tx, self._predictor)
        rows = {row.id: row for row in teller.opened}
        rows |= {row.id: row for row in questions.alerts(tx, questions.LISTED, None, None, 0, _LATEST)}
        gone = [key for key, line in self._alerts.items() if line.ended is None and key not in rows]
        rows |= {row.id: row for row in tx.alerts(ids=gone)}
        return {line.id: line for line in teller.lines(list(rows.values()))}

    def _lost(self) -> None:
        if self._there is not False:
            self._there, self._marks = False, None
            self._alerts, self._end, self._items = {}, None, 0
            self._tell(self._now())

    def _tell(self, happening: Happening) -> None:
        self._version += 1
        self._happenings.append((self._version, happening))


def live(context: RouteContext) -> Iterator[Happening]:
    """What happens from now on, until the server stops or the page is closed."""
    predictor = context.predictor
    watcher = predictor.cached("finance watcher", lambda: Watcher(predictor, shelf_of(predictor)))
    version: int | None = None
    while not context.stopping():
        version, told = watcher.since(version)
        yield from told
        if not told:
            time.sleep(_PAUSE_S)
