"""What waits is answered together: one pass through the model for many clients.

Nothing waits for company. A request that comes when a thread is idle is answered by itself at once; those that come
while all threads work form the next batch.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from triptych_apps.server import tracing
from triptych_apps.server.problems import Problem

In = TypeVar("In")
Out = TypeVar("Out")
_SLOWER = 0.2  # weight of the newest batch in the running mean of seconds


class _Waiting(Generic[In, Out]):
    __slots__ = ("content", "future", "seat")

    def __init__(self, content: In, future: asyncio.Future[Out], seat: tracing.Seat | None) -> None:
        self.content, self.future, self.seat = content, future, seat


class Batcher(Generic[In, Out]):
    """`answer(contents, behind)` gives one result for each content; `behind` is how many more wait.

    It runs in `threads` threads, so several batches at once where that is more than one; a result that is an exception
    goes to the one that waits for it, and an exception that it raises goes to all of its batch. All other methods
    belong to the event loop's thread.
    """

    def __init__(
        self,
        answer: Callable[[list[In], int], Sequence[Out | Exception]],
        *,
        max_batch: int,
        max_queue: int,
        name: str,
        threads: int = 1,
    ) -> None:
        self._answer, self._name = answer, name
        self.max_batch, self.max_queue = max_batch, max_queue
        self._queue: queue.SimpleQueue[_Waiting[In, Out] | None] = queue.SimpleQueue()
        self._seconds_each = 0.01 / threads  # from one content to the next, a running mean
        self._closed = False
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
        return self._queue.qsize()

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
        futures: list[asyncio.Future[Out]] = []
        seat = tracing.seat()
        for content in contents:
            futures.append(self._loop.create_future())
            self._queue.put(_Waiting(content, futures[-1], seat))
        return futures

    async def close(self) -> None:
        """Take nothing more, answer what waits, end the threads."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
        for thread in self._threads:
            await asyncio.to_thread(thread.join)

    def _work(self) -> None:
        while (batch := self._next()) is not None:
            wanted = [waiting for waiting in batch if not waiting.future.cancelled()]
            if wanted:
                self._loop.call_soon_threadsafe(_deliver, wanted, self._results(wanted))

    def _next(self) -> list[_Waiting[In, Out]] | None:
        """At least one that waits, and as many more as wait now; None when all is done."""
        first = self._queue.get()
        if first is None:
            self._queue.put(None)  # the end, for the other threads
            return None
        batch = [first]
        while len(batch) < self.max_batch:
            try:
                more = self._queue.get_nowait()
            except queue.Empty:
                break
            if more is None:
                self._queue.put(None)  # the end, to be found again after this batch
                break
            batch.append(more)
        return batch

    def _results(self, batch: list[_Waiting[In, Out]]) -> Sequence[Out | Exception]:
        started = time.perf_counter()
        try:
            with tracing.batch(self._name, [waiting.seat for waiting in batch]):
                results = self._answer([waiting.content for waiting in batch], self._queue.qsize())
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
