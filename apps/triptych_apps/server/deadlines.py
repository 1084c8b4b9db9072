"""Time limits of calls, all of them watched by one timer.

A timer of its own for each call, set and taken back, costs a tenth of what a call costs that a small model answers.
"""

from __future__ import annotations

import asyncio
from types import TracebackType

_LOOK_SECONDS = 0.1


class Limit:
    """`with Limit(deadline):` raises `TimeoutError` soon after `deadline` (of the loop's clock) is past.

    For code of a task of the running event loop, as `asyncio.timeout_at`.
    """

    __slots__ = ("_before", "_deadline", "_expired", "_task", "_watch")

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._expired = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None, "a limit is for a task"
        self._before = task.cancelling()
        self._task, self._watch = task, _watch_of(task.get_loop())
        self._watch.add(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watch.limits.discard(self)
        # somebody else may have cancelled the task too: then it ends
        if self._expired and self._task.uncancel() <= self._before and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def check(self, now: float) -> None:
        """Interrupt what takes too long."""
        if now >= self._deadline:
            self._watch.limits.discard(self)
            self._expired = True
            self._task.cancel()


class _Watch:
    """All limits of one event loop. It looks only while there are any."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.limits: set[Limit] = set()
        self._looking = False

    def add(self, limit: Limit) -> None:
        """Watch a limit until it is discarded."""
        self.limits.add(limit)
        if not self._looking:
            self._looking = True
            self._loop.call_later(_LOOK_SECONDS, self._look)

    def _look(self) -> None:
        now = self._loop.time()
        for limit in list(self.limits):
            limit.check(now)
        self._looking = bool(self.limits)
        if self._looking:
            self._loop.call_later(_LOOK_SECONDS, self._look)


_watches: dict[asyncio.AbstractEventLoop, _Watch] = {}


def _watch_of(loop: asyncio.AbstractEventLoop) -> _Watch:
    found = _watches.get(loop)
    if found is None:
        for known in [known for known in _watches if known.is_closed()]:
            del _watches[known]
        found = _watches[loop] = _Watch(loop)
    return found
