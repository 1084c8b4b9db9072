"""What waits is answered together: one pass through the model for many clients.

Nothing waits for company. What one turn of the event loop brings is answered at once where a thread is idle; what comes
while all threads work is shared among them as they get ready, in batches. Of those with the same key, such as the turns
of a conversation, one is answered after the other in the order in which they came.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Generic, TypeVar

from triptych_apps.server import tracing
from triptych_apps.server.problems import Problem

In = TypeVar("In")
Out = TypeVar("Out")
_SLOWER = 0.2  # weight of the newest batch in the running mean of seconds


class _Waiting(Generic[In, Out]):
    __slots__ = ("content", "future", "key", "seat")

    def __init__(
        self, content: In, future: asyncio.Future[Out], seat: tracing.Seat | None, key: Hashable | None
    ) -> None:
        self.content, self.future, self.seat, self.key = content, future, seat, key


class Batcher(Generic[In, Out]):
    """`answer(contents, behind)` gives one result for each content; `behind` is how many more wait.

    It runs in `threads` threads, so several batches at once where that is more than one; contents with the same `key`
    (None: none) are never in two of them. A result that is an exception goes to the one that waits for it, and an
    exception that it raises goes to all of its batch. All other methods belong to the event loop's thread.
    """

    def __init__(
        self,
        answer: Callable[[list[In], int], Sequence[Out | Exception]],
        *,
        max_batch: int,
        max_queue: int,
        name: str,
        threads: int = 1,
        key: Callable[[In], Hashable | None] = lambda content: None,
    ) -> None:
        self._answer, self._name, self._key = answer, name, key
        self.max_batch, self.max_queue = max_batch, max_queue
        self._queue: deque[_Waiting[In, Out]] = deque()
        self._answering: set[Hashable] = set()  # keys
        self._changed = threading.Condition(threading.Lock())  # of the queue, the keys, and whether it is closed
        self._seconds_each = 0.01 / threads  # from one content to the next, a running mean
        self._closed = False
        self._waking = False
        self._loop = asyncio.get_running_loop()
        self._threads = [
            threading.Thread(target=self._work, name=f"answers-{name}-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def depth(self) -> int:
        """How many wait."""
        return len(self._queue)

    @property
    def alive(self) -> bool:
        """Whether its threads still work."""
        return all(thread.is_alive() for thread in self._threads)

    def submit(self, contents: Sequence[In]) -> list[asyncio.Future[Out]]:
        """All of them or none. Raises `Problem` where the queue has no room or is closed."""
        if self._closed:
            raise Problem(503, "the server is stopping", kind="stopping", retry_after=1)
        if self.depth + len(contents) > self.max_queue:
            seconds = min(60.0, self.depth * self._seconds_each)
            raise Problem(503, "too many requests wait already", kind="overloaded", retry_after=seconds)
        seat = tracing.seat()
        waiting = [_Waiting(content, self._loop.create_future(), seat, self._key(content)) for content in contents]
        with self._changed:
            self._queue.extend(waiting)
        if not self._waking:
            self._waking = True
            self._loop.call_soon(self._wake)
        return [one.future for one in waiting]

    def _wake(self) -> None:
        self._waking = False
        with self._changed:
            self._changed.notify()

    async def close(self) -> None:
        """Take nothing more, answer what waits, end the threads."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            await asyncio.to_thread(thread.join)

    def _work(self) -> None:
        while (batch := self._next()) is not None:
            wanted = [waiting for waiting in batch if not waiting.future.cancelled()]
            try:
                if wanted:
                    self._loop.call_soon_threadsafe(_deliver, wanted, self._results(wanted))
            finally:
                self._let_go(batch)

    def _next(self) -> list[_Waiting[In, Out]] | None:
        """At least one that waits, and as many more as wait now; None when all is done."""
        with self._changed:
            while not (batch := self._taken()):
                if self._closed and not self._queue:
                    return None
                self._changed.wait()
            if self._queue:
                self._changed.notify()  # another thread may begin with what is left
            return batch

    def _taken(self) -> list[_Waiting[In, Out]]:
        """A thread's share of the queue, without those whose key is being answered by another thread."""
        batch: list[_Waiting[In, Out]] = []
        left: list[_Waiting[In, Out]] = []
        share = min(self.max_batch, -(-len(self._queue) // len(self._threads)))
        while self._queue and len(batch) < share:
            waiting = self._queue.popleft()
            (left if waiting.key in self._answering else batch).append(waiting)
        self._queue.extendleft(reversed(left))
        self._answering.update(waiting.key for waiting in batch if waiting.key is not None)
        return batch

    def _let_go(self, batch: Sequence[_Waiting[In, Out]]) -> None:
        keys = {waiting.key for waiting in batch if waiting.key is not None}
        if keys:
            with self._changed:
                self._answering -= keys
                self._changed.notify_all()

    def _results(self, batch: list[_Waiting[In, Out]]) -> Sequence[Out | Exception]:
        started = time.perf_counter()
        try:
            with tracing.batch(self._name, [waiting.seat for waiting in batch]):
                results = self._answer([waiting.content for waiting in batch], len(self._queue))
        except Exception as error:
            results = [error] * len(batch)
        each = (time.perf_counter() - started) / len(batch) / len(self._threads)
        self._seconds_each += _SLOWER * (each - self._seconds_each)
        return results


def _deliver(batch: Sequence[_Waiting[Any, Any]], results: Sequence[Any]) -> None:
    for waiting, result in zip(batch, results, strict=True):
        if waiting.future.done():  # its client gave up
            continue
        if isinstance(result, Exception):
            waiting.future.set_exception(result)
        else:
            waiting.future.set_result(result)
