"""Server-sent events: what a route yields, as long as somebody listens.

An iterator runs in a thread of its own and is asked for its next event when the one before was sent, so that a client
that reads slowly slows down its own stream alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from triptych_apps.server.headers import header
from triptych_apps.server.logs import describe, log, tell
from triptych_apps.server.problems import Problem, is_own, problem_of

MEDIA_TYPE = "text/event-stream"
_MOST = 64  # streams of routes, each with a thread
_BEAT_SECONDS = 15.0
_FIRST_SECONDS = 0.25  # to fail with a status: afterwards an error is an event
_BEAT = b": \n\n"


def wanted(call: Request) -> bool:
    """Whether a client asks for events in place of one answer."""
    return header(call.scope, b"accept", "").partition(";")[0].strip().lower() == MEDIA_TYPE


def event(name: str, data: bytes, identity: str | None = None) -> bytes:
    """One event. `data` is JSON, which has no line break."""
    first = b"" if identity is None else b"id: " + identity.encode() + b"\n"
    return first + b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"


class Streams:
    """The streams of one server's routes. `draining()` says whether it is about to stop."""

    def __init__(self, draining: Callable[[], bool]) -> None:
        self._draining = draining
        self.open = 0  # whose threads have not ended

    async def of(self, make: Callable[[Callable[[], bool]], Iterator[BaseModel]]) -> EventStream:
        """A stream of what `make(stopping)` yields. Raises `Problem` where there are too many, and its first error."""
        if self._draining():
            raise Problem(503, "the server is stopping", kind="stopping", retry_after=1)
        if self.open >= _MOST:
            raise Problem(503, f"{_MOST} streams are open, and more are not allowed", kind="overloaded", retry_after=5)
        self.open += 1  # now, for others are asked for before this one has begun
        return await EventStream.opened(self._events(make))

    async def _events(self, make: Callable[[Callable[[], bool]], Iterator[BaseModel]]) -> AsyncIterator[bytes]:
        source = _Source(make, self._draining)
        try:
            while (data := await source.next()) is not None:
                yield event("message", data)
        finally:
            source.leave().add_done_callback(self._ended)

    def _ended(self, _closing: asyncio.Future[None]) -> None:
        self.open -= 1


class _Source:
    """An iterator in its thread. All methods but those with an underscore belong to the event loop's."""

    def __init__(self, make: Callable[[Callable[[], bool]], Iterator[BaseModel]], draining: Callable[[], bool]) -> None:
        self._make, self._draining = make, draining
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="stream")
        self._items: Iterator[BaseModel] | None = None
        self._left = False

    async def next(self) -> bytes | None:
        """The next event's data, None when there are no more. Raises what the iterator raises."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._next)

    def leave(self) -> asyncio.Future[None]:
        """Nobody listens any more. What it returns is done when the thread has ended its work."""
        self._left = True
        closing = asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown(wait=False)
        return closing

    def _stopping(self) -> bool:
        return self._left or self._draining()

    def _next(self) -> bytes | None:
        if self._items is None:
            self._items = iter(self._make(self._stopping))
        item = next(self._items, None)
        return None if item is None else item.model_dump_json().encode()

    def _close(self) -> None:
        close = getattr(self._items, "close", None)
        if close is not None:
            try:
                close()
            except Exception as error:
                log.error("a stream failed while it ended", extra={"fields": describe(error)})


class EventStream(Response):
    """Sends events until there are no more or the client leaves; a comment every 15 seconds keeps proxies patient."""

    media_type = MEDIA_TYPE

    def __init__(self, events: AsyncIterator[bytes], first: asyncio.Future[bytes]) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._events, self._pending = events, first

    @classmethod
    async def opened(cls, events: AsyncIterator[bytes]) -> EventStream:
        """Raises what `events` raises at once: that has a status of its own, and no stream begins."""
        first = _next(events)
        await asyncio.wait({first}, timeout=_FIRST_SECONDS)
        if first.done() and not isinstance(first.exception(), StopAsyncIteration | None):
            first.result()
        return cls(events, first)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        listening = asyncio.ensure_future(_left(receive))
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await send({"type": "http.response.body", "body": _BEAT, "more_body": True})
            while (piece := await self._piece(listening, scope)) is not None:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            listening.cancel()
            self._pending.cancel()
            with suppress(asyncio.CancelledError, StopAsyncIteration, Exception):
                await self._pending
            await self._events.aclose()  # type: ignore[attr-defined]

    async def _piece(self, listening: asyncio.Future[None], scope: Scope) -> bytes | None:
        """What is to be sent next; None at the end."""
        if self._pending.cancelled():
            return None
        waited: list[asyncio.Future[Any]] = [listening, self._pending]
        await asyncio.wait(waited, timeout=_BEAT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if listening.done():
            return None
        if not self._pending.done():
            return _BEAT
        try:
            piece = self._pending.result()
        except StopAsyncIteration:
            return None
        except Exception as error:
            if is_own(error):
                tell(error, **scope["triptych"])
            piece = event("error", problem_of(error).json())
        self._pending = _next(self._events)
        return piece


def _next(events: AsyncIterator[bytes]) -> asyncio.Future[bytes]:
    return asyncio.ensure_future(anext(events))


async def _left(receive: Receive) -> None:
    """Until the client has hung up."""
    with suppress(Problem):
        while (await receive())["type"] != "http.disconnect":
            pass
