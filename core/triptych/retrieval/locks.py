"""Many readers or one writer."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from types import TracebackType


class ReadWriteLock:
    """Readers share, a writer is alone. A waiting writer goes before new readers, so that it is not starved.

    Not reentrant: a reader must not write, nor enter again.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._readers = 0
        self._writers_waiting = 0
        self._writing = False
        self._reader, self._writer = _Reading(self), _Writing(self)

    def reading(self) -> AbstractContextManager[None]:
        """Share."""
        return self._reader

    def writing(self) -> AbstractContextManager[None]:
        """Be alone."""
        return self._writer


class _Reading(AbstractContextManager[None]):
    """A class and no generator: a search enters it, and is over in fractions of a millisecond."""

    def __init__(self, lock: ReadWriteLock) -> None:
        self._lock = lock

    def __enter__(self) -> None:
        lock = self._lock
        with lock._changed:
            while lock._writing or lock._writers_waiting:
                lock._changed.wait()
            lock._readers += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        lock = self._lock
        with lock._changed:
            lock._readers -= 1
            if not lock._readers and lock._writers_waiting:
                lock._changed.notify_all()


class _Writing(AbstractContextManager[None]):
    def __init__(self, lock: ReadWriteLock) -> None:
        self._lock = lock

    def __enter__(self) -> None:
        lock = self._lock
        with lock._changed:
            lock._writers_waiting += 1
            try:
                while lock._writing or lock._readers:
                    lock._changed.wait()
                lock._writing = True
            finally:
                lock._writers_waiting -= 1
                if not lock._writing:  # interrupted while waiting: readers that gave way may go on
                    lock._changed.notify_all()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        lock = self._lock
        with lock._changed:
            lock._writing = False
            lock._changed.notify_all()
