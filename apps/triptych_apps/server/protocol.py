"""HTTP as uvicorn speaks it, with clocks for slow clients and our own words for what is no HTTP."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from triptych_apps.server.problems import Problem

_MOST_HEAD = 65_536  # bytes
_MOST_HELD = 65_536  # bytes that wait for the end of a turn of the loop


class Joined:
    """A transport that writes at once what is written in one turn of the event loop.

    uvicorn writes the head of an answer by itself: two system calls here, two packets on the way, and a client that
    wakes twice. Whatever else is asked of it, the transport does.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._held: list[bytes] = []
        self._size = 0

    def write(self, data: bytes) -> None:
        """In this turn of the loop; now, where it is much, for the transport alone can tell its writer to wait."""
        if not self._held:
            self._loop.call_soon(self.flush)
        self._held.append(data)
        self._size += len(data)
        if self._size >= _MOST_HELD:
            self.flush()

    def flush(self) -> None:
        """Write what is held."""
        if self._held:
            held, self._held, self._size = self._held, [], 0
            self._transport.write(b"".join(held))

    def close(self) -> None:
        """After what was written."""
        self.flush()
        self._transport.close()

    def abort(self) -> None:
        """Whatever was written."""
        self._held, self._size = [], 0
        self._transport.abort()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class Protocol(HttpToolsProtocol):
    """One connection. A head that does not come in time gets a 408; a client that does not read is cut off."""

    header_seconds = 10.0
    write_seconds = 30.0
    _late: asyncio.TimerHandle | None = None
    _stuck: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _begun = False  # a head has begun and is not whole yet
    _begun_now = False  # it began with the bytes at hand, so that what is before it may be a body

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The first head has to come."""
        self._joined = Joined(transport, self.loop)
        super().connection_made(self._joined)  # type: ignore[arg-type]
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """Every byte comes through here; a head that is not whole yet has its clock."""
        self._begun_now = False
        super().data_received(data)
        if self._answering():
            self._forget_clock()
            self._head_bytes = self._head_bytes + len(data) if self._begun and not self._begun_now else 0
            if self._head_bytes > _MOST_HEAD:
                self.transport.abort()  # words of ours would come amid the answer that is due
            return
        self._head_bytes += len(data)
        if self._head_bytes > _MOST_HEAD:
            self._hang_up(Problem(400, f"the head of the request is larger than {_MOST_HEAD:,} bytes"))
        elif self._late is None:
            self._await_head()

    def on_message_begin(self) -> None:
        """The first byte of a head."""
        self._begun = self._begun_now = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._begun = False
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """The clock of a head that began while the request before it was answered starts now."""
        super().on_response_complete()
        if self._begun and not self._answering():
            self._unset_keepalive_if_required()
            self._await_head()

    def eof_received(self) -> None:
        """The client sends no more: the event loop closes the connection after this, so that what is held goes now."""
        self._joined.flush()
        super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """No clock outlives its connection."""
        self._forget_clock()
        self._forget_stuck()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client does not read what it was sent."""
        super().pause_writing()
        self._forget_stuck()
        self._stuck = self.loop.call_later(self.write_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """It reads again."""
        self._forget_stuck()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP gets an answer in the shape of all others."""
        del msg
        self._hang_up(Problem(400, "this is not a valid HTTP request"))

    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _await_head(self) -> None:
        if not self.transport.is_closing():
            self._late = self.loop.call_later(self.header_seconds, self._give_up)

    def _give_up(self) -> None:
        self._late = None
        if not self._answering():
            self._hang_up(Problem(408, f"the head of the request did not come within {self.header_seconds:g} seconds"))

    def _hang_up(self, problem: Problem) -> None:
        if self.transport.is_closing():
            return
        body = problem.json()
        head = f"HTTP/1.1 {problem.status} {problem.kind}\r\nContent-Type: application/json\r\n"
        self.transport.write(f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
        self.transport.close()

    def _forget_clock(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _forget_stuck(self) -> None:
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None
