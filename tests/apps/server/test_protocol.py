"""What is written in one turn of the event loop leaves as one piece, in its order, and nothing waits longer."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

from tests.apps.server.conftest import Running
from triptych_apps.server import protocol
from triptych_apps.server.protocol import Joined


class Sink:
    """A transport that remembers."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.ended = ""

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def close(self) -> None:
        self.ended = "closed"

    def abort(self) -> None:
        self.ended = "aborted"

    def is_closing(self) -> bool:
        return bool(self.ended)


def joined(work: Callable[[Joined, Sink], Awaitable[None]]) -> None:
    async def main() -> None:
        sink = Sink()
        await work(Joined(sink, asyncio.get_running_loop()), sink)  # type: ignore[arg-type]

    asyncio.run(main())


def test_a_head_and_its_body_are_one_write():
    async def work(transport: Joined, sink: Sink) -> None:
        for answer in (b"1", b"2"):
            transport.write(b"head " + answer)
            transport.write(b" body " + answer)
            await asyncio.sleep(0)
        assert sink.written == [b"head 1 body 1", b"head 2 body 2"]

    joined(work)


def test_much_is_written_now():
    async def work(transport: Joined, sink: Sink) -> None:
        large = bytes(protocol._MOST_HELD)
        transport.write(b"head")
        transport.write(large)
        assert sink.written == [b"head" + large]
        transport.write(b"more")
        await asyncio.sleep(0)
        assert sink.written[1:] == [b"more"]

    joined(work)


def test_a_client_that_has_said_all_gets_its_answer(served: Running):
    """It closes its half of the connection with its request, as `nc -N` and probes of balancers do."""
    call = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", served.port), timeout=10) as client:
            client.sendall(call)
            client.shutdown(socket.SHUT_WR)
            assert client.recv(65_536).startswith(b"HTTP/1.1 200")


def test_closing_writes_what_is_held_and_aborting_does_not():
    async def work(transport: Joined, sink: Sink) -> None:
        transport.write(b"last words")
        transport.close()
        assert (sink.written, sink.ended, transport.is_closing()) == ([b"last words"], "closed", True)
        transport.write(b"too late")
        transport.abort()
        await asyncio.sleep(0)
        assert (sink.written, sink.ended) == ([b"last words"], "aborted")

    joined(work)
