"""Reading ahead: each source is asked in a thread of its own, and what it gives waits its turn in a short queue."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from dataclasses import dataclass

from triptych_finance.stream.source import Poll, Source

log = logging.getLogger(__name__)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 300.0  # between two tries of a source that fails
_LOOK_S = 0.1  # between two looks whether it shall stop


@dataclass(frozen=True, slots=True)
class Given:
    """What a source has given, or the error that it ended with."""

    feeder: Feeder
    poll: Poll | None
    error: Exception | None = None


class Feeder:
    """One source and its thread, which alone calls it.

    It holds one poll while the queue is full, so memory is bounded. A source that fails is named once and tried again,
    after ever longer pauses; with `fatal` its error is handed over instead, and it is over.
    """

    def __init__(
        self, source: Source, cursor: str | None, into: queue.Queue[Given], *, limit: int, wait_s: float, fatal: bool
    ) -> None:
        self.source = source
        self._cursor, self._into = cursor, into
        self._limit, self._wait_s, self._fatal = limit, wait_s, fatal
        self._committed: deque[str] = deque()
        self._stop = threading.Event()
        self._failures = 0
        self.quiet = False  # it has nothing for now: when last asked, it answered and gave nothing
        self._thread = threading.Thread(target=self._work, name=f"source {source.name}", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def acknowledge(self, cursor: str) -> None:
        """Everything up to the cursor is committed; the source is told so before it is asked again."""
        self._committed.append(cursor)

    def stop(self) -> None:
        """Ask it to end; `join` waits for it."""
        self._stop.set()

    def join(self) -> None:
        """Wait until the source has been told what is committed."""
        self._thread.join(self._wait_s + 30.0)  # of which a slow server may take some
        if self._thread.is_alive():
            log.warning("%s does not answer; it is left behind", self.source.name)

    def _work(self) -> None:
        ended = False
        while not self._stop.is_set():
            try:
                self._confirm()
                ended = ended or self._read()
            except Exception as error:
                if self._fatal:
                    self._put(Given(self, None, error))
                    return
                self._failed(error)
            else:
                self._recovered()
            if ended:
                self._stop.wait(_LOOK_S)
        try:
            self._confirm()
        except Exception as error:
            log.warning("%s was not told what is committed: %s", self.source.name, error)

    def _read(self) -> bool:
        """Ask once. Returns whether nothing will ever follow."""
        began = time.monotonic()
        poll = self.source.poll(self._cursor, self._limit, self._wait_s)
        if poll.items or poll.problems or poll.ended or poll.cursor != (self._cursor or ""):
            self.quiet = False
            self._put(Given(self, poll))
            self._cursor = poll.cursor
            self.quiet = poll.ended
        else:
            self.quiet = poll.answered
            self._stop.wait(max(0.0, began + self._wait_s - time.monotonic()))  # for a source that does not wait
        return poll.ended

    def _confirm(self) -> None:
        while self._committed:
            self.source.acknowledge(self._committed[0])
            self._committed.popleft()

    def _put(self, given: Given) -> None:
        while not self._stop.is_set():
            try:
                self._into.put(given, timeout=_LOOK_S)
                return
            except queue.Full:
                pass

    def _failed(self, error: Exception) -> None:
        self.quiet = False
        if not self._failures:
            log.warning("%s fails and is tried again: %s", self.source.name, error or type(error).__name__)
        self._stop.wait(min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(self._failures, 20)))
        self._failures += 1

    def _recovered(self) -> None:
        if self._failures:
            log.warning("%s answers again", self.source.name)
        self._failures = 0
