"""The edge: what every call goes through, whatever its path.

Limits on how many calls are open, on the bytes of a body and on the time that it may take; an id, a line in the log
and a measurement for each call; and a plain answer for what nobody else caught.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from contextlib import suppress

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from triptych_apps.server.deadlines import Limit
from triptych_apps.server.headers import header
from triptych_apps.server.logs import log, log_call, tell
from triptych_apps.server.metrics import Metrics
from triptych_apps.server.problems import Problem, problem_of
from triptych_apps.server.settings import Settings

_LINGER_SECONDS = 2.0
# asked every few seconds: counted, not logged, never turned away
_QUIET = ("/health/live", "/health/ready", "/health/startup", "/metrics")


class Edge:
    """ASGI middleware. `draining()` says whether the server is about to stop: connections then end with the answer."""

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics, draining: Callable[[], bool]) -> None:
        self.app, self.settings, self.metrics, self.draining = app, settings, metrics, draining
        self.open = 0  # calls
        self.held = 0  # bytes of their bodies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            call = _Call(self, scope, receive, send)
            self.open += 1
            try:
                await call.run()
            finally:
                self.open -= 1
                self.held -= call.bytes


class _Call:
    def __init__(self, edge: Edge, scope: Scope, receive: Receive, send: Send) -> None:
        self._edge, self._scope, self._receive, self._send = edge, scope, receive, send
        self._started = time.perf_counter()
        self._deadline = asyncio.get_running_loop().time() + edge.settings.body_seconds
        self._id = f"{random.getrandbits(64):016x}"
        self._told = scope["triptych"] = {"request": self._id}  # what else the line in the log tells
        self._status = 0
        self._whole = False  # whether all of the body is there
        self.bytes = 0

    async def run(self) -> None:
        try:
            self._check()
            await self._edge.app(self._scope, self._receive_some, self._send_some)
        except Exception as error:
            if not isinstance(error, Problem):
                tell(error, request=self._id)
            if not self._status:
                await self._tell(problem_of(error))
        finally:
            self._measure()

    def _check(self) -> None:
        """Turn away what needs no reading. Raises `Problem`."""
        settings = self._edge.settings
        if self._edge.open > settings.max_open and self._scope["path"] not in _QUIET:
            raise Problem(503, "too many calls are open", kind="overloaded", retry_after=1)
        length = header(self._scope, b"content-length", "")
        if length.isdecimal() and int(length[:20]) > settings.max_body:
            raise self._too_large()

    def _too_large(self) -> Problem:
        return Problem(413, f"the body is larger than the {self._edge.settings.max_body:,} bytes that are allowed")

    async def _receive_some(self) -> Message:
        """The next piece of the body. Raises `Problem` where it is too much or too late."""
        if self._whole:
            return await self._receive()
        try:
            with Limit(self._deadline):
                message = await self._receive()
        except TimeoutError as error:
            seconds = self._edge.settings.body_seconds
            raise Problem(408, f"the body did not come within {seconds:g} seconds") from error
        if message["type"] == "http.disconnect":
            self._whole = True
            raise Problem(499, "the client hung up")  # nobody reads it: the log and the measurements do
        self._note(message)
        size = len(message.get("body", b""))
        self.bytes += size
        self._edge.held += size
        if self.bytes > self._edge.settings.max_body:
            raise self._too_large()
        if self._edge.held > self._edge.settings.max_bodies:
            raise Problem(503, "too many large calls are open", kind="overloaded", retry_after=1)
        return message

    def _note(self, message: Message) -> None:
        self._whole = not message.get("more_body", False)

    async def _send_some(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            added = [(b"request-id", self._id.encode()), (b"x-content-type-options", b"nosniff")]
            if self._edge.draining() or not (self._whole or self._bodiless()):
                added.append((b"connection", b"close"))
            message = {**message, "headers": [*message.get("headers", ()), *added]}
        elif not message.get("more_body", False) and not (self._whole or self._bodiless()):
            await self._send({**message, "more_body": True})
            await self._linger()
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._send(message)

    def _bodiless(self) -> bool:
        scope = self._scope
        return header(scope, b"content-length", "0") == "0" and header(scope, b"transfer-encoding", None) is None

    async def _linger(self) -> None:
        """Take what the client still sends, for a while: to hang up on it now would destroy the answer on its way."""
        with suppress(TimeoutError):
            async with asyncio.timeout(min(_LINGER_SECONDS, self._edge.settings.body_seconds)):
                while not self._whole:
                    self._note(await self._receive())

    async def _tell(self, problem: Problem) -> None:
        body = problem.json()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        headers += [(name.lower().encode(), value.encode()) for name, value in problem.headers.items()]
        await self._send_some({"type": "http.response.start", "status": problem.status, "headers": headers})
        await self._send_some({"type": "http.response.body", "body": body})

    def _measure(self) -> None:
        seconds = time.perf_counter() - self._started
        path = getattr(self._scope.get("route"), "path", "")
        route = f"{self._scope['method']} {path}" if path else "other"
        self._edge.metrics.call(route, self._status, seconds, self._told)
        if log.isEnabledFor(logging.INFO) and self._scope["path"] not in _QUIET:
            took = {"milliseconds": round(1000 * seconds, 2), "bytes": self.bytes}
            log_call({"route": route, "status": self._status, **took, **self._told})
