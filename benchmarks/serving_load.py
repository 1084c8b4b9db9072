"""The load generator of `serving.py`: plain HTTP over kept connections, in a process of its own.

    python benchmarks/serving_load.py PORT PATH TEXTS closed --connections 16 --seconds 5
    python benchmarks/serving_load.py PORT PATH TEXTS open --rate 200 --seconds 5

TEXTS is a JSON file with a list of messages. `closed`: each connection asks again as soon as it is answered. `open`:
requests come at random moments (Poisson) at `--rate` a second whatever the server does, and a time counts from the
moment at which the request was due, so that a server that stalls cannot hide it. One JSON object is printed.

It shares the cores with the server, so it does little: one thread, plain sockets, no streams and no tasks.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import select
import socket
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

MOST = 2_000  # connections at once: more than a server takes, fewer than the files that this process may open
UNSENT = -1  # the status of a request for which there was no connection
BROKEN = 0  # the status where a connection broke or stayed silent
PATIENCE_S = 120.0  # for answers that are still due when all is sent
Answer = tuple[float, int, float]  # seconds after the start, status, seconds that it took


class Connection:
    """One request at a time; opened at the first, and again after it broke."""

    __slots__ = ("_got", "asking", "due", "last", "socket")

    def __init__(self) -> None:
        self.socket: socket.socket | None = None
        self.asking = False
        self.last = False  # the server closes after this answer
        self.due = 0.0
        self._got = b""

    def ask(self, port: int, message: bytes) -> None:
        """Raises `OSError` where it cannot be sent."""
        if self.socket is None:
            self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
            self.socket.settimeout(None)  # it is read when there is something to read
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._got = b""
        self.socket.sendall(message)

    def read(self) -> int | None:
        """The status of the answer, or None where some of it is still to come. Raises `OSError`, `ValueError`."""
        assert self.socket is not None
        if not (data := self.socket.recv(65536)):
            raise ConnectionError("closed before the answer")
        self._got += data
        head, end, body = self._got.partition(b"\r\n\r\n")
        if not end:
            return None
        head = head.lower()
        if len(body) < int(head.partition(b"content-length:")[2].partition(b"\r\n")[0]):
            return None
        self.last = b"connection: close" in head
        return int(head[9:12])

    def close(self) -> None:
        """The next request opens a new one."""
        if self.socket is not None:
            self.socket.close()
            self.socket = None


class Generator:
    """Sends messages, reads what comes back, and keeps a list of answers; a time is a moment of `perf_counter`."""

    def __init__(self, port: int, path: str, bodies: list[bytes]) -> None:
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: "
        self._messages = [head.encode() + str(len(body)).encode() + b"\r\n\r\n" + body for body in bodies]
        self._port = port
        self._poll = select.epoll()
        self._watched: dict[int, Connection] = {}  # by the number of the socket
        self._asking = 0  # connections
        self.found: list[Answer] = []
        self.start = time.perf_counter()
        self._turn = 0

    def send(self, connection: Connection, due: float) -> bool:
        """The next message; whether it could be sent."""
        connection.due = due
        message = self._messages[self._turn % len(self._messages)]
        self._turn += 1
        try:
            connection.ask(self._port, message)
        except OSError:
            self._end(connection, BROKEN)
            return False
        assert connection.socket is not None
        number = connection.socket.fileno()
        if self._watched.get(number) is not connection:
            self._poll.register(number, select.EPOLLIN)
            self._watched[number] = connection
        connection.asking = True
        self._asking += 1
        return True

    def wait(self, until: float, done: Callable[[Connection], None]) -> None:
        """Sleep until then or until something comes; `done` gets each connection that has its answer.

        `select` waits for microseconds, `epoll` alone for whole milliseconds.
        """
        select.select([self._poll.fileno()], [], [], max(0.0, until - time.perf_counter()))
        for number, _ in self._poll.poll(0):
            connection = self._watched[number]
            if not connection.asking:  # the server closes what nobody uses
                self._forget(connection)
                continue
            try:
                status = connection.read()
            except (OSError, ValueError):
                status = BROKEN
            if status is not None:
                self._end(connection, status)
                done(connection)

    def finish(self) -> None:
        """Wait for what is still to come."""
        end = time.perf_counter() + PATIENCE_S
        while self._asking and time.perf_counter() < end:
            self.wait(end, lambda connection: None)
        for connection in list(self._watched.values()):
            if connection.asking:
                self._end(connection, BROKEN)

    def _end(self, connection: Connection, status: int) -> None:
        self.found.append((connection.due - self.start, status, time.perf_counter() - connection.due))
        self._asking -= connection.asking
        connection.asking = False
        if status == BROKEN or connection.last:
            self._forget(connection)

    def _forget(self, connection: Connection) -> None:
        if connection.socket is not None:
            self._watched.pop(connection.socket.fileno(), None)
            connection.close()


def closed(generator: Generator, connections: int, seconds: float) -> None:
    """Every connection as fast as it is answered."""
    end = generator.start + seconds

    def again(connection: Connection) -> None:
        while (now := time.perf_counter()) < end and not generator.send(connection, now):
            pass

    for _ in range(connections):
        again(Connection())
    while time.perf_counter() < end:
        generator.wait(end, again)


def opened(generator: Generator, rate: float, seconds: float) -> None:
    """At a rate of our own, over as many connections as that takes, up to `MOST`."""
    idle = [Connection() for _ in range(MOST)]
    chance, due = random.Random(7), generator.start
    end = generator.start + seconds
    while due < end:
        generator.wait(due, idle.append)
        if time.perf_counter() < due:
            continue
        if idle:
            connection = idle.pop()
            if not generator.send(connection, due):
                idle.append(connection)
        else:
            generator.found.append((due - generator.start, UNSENT, 0.0))
        due += chance.expovariate(rate)


def summary(found: list[Answer], seconds: float) -> dict[str, Any]:
    """Of the requests after the first fifth of the time, in which caches and batches settle.

    The rate is of what was answered within the time: what waits in a queue until after it is none.
    """
    ends = [at + took for at, status, took in found if status == 200]
    kept = [one for one in found if one[0] >= seconds / 5]
    times = sorted(took for _, status, took in kept if status == 200)
    at = lambda share: 1000 * times[min(len(times) - 1, int(share * len(times)))] if times else None  # noqa: E731
    return {
        "sent": sum(status != UNSENT for _, status, _ in found),
        "statuses": dict(Counter(str(status) for _, status, _ in found if status != UNSENT)),
        "per_s": sum(seconds / 5 <= end <= seconds for end in ends) / (0.8 * seconds),
        "p50_ms": at(0.5),
        "p99_ms": at(0.99),
    }


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("path")
    parser.add_argument("texts", type=Path)
    parser.add_argument("mode", choices=["closed", "open"])
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--rate", type=float, default=100.0)
    parser.add_argument("--seconds", type=float, default=5.0)
    asked = parser.parse_args()
    bodies = [json.dumps({"text": text}).encode() for text in json.loads(asked.texts.read_text(encoding="utf-8"))]
    gc.disable()  # nothing here goes round in circles, and a collection would look like a slow server
    generator = Generator(asked.port, asked.path, bodies)
    if asked.mode == "closed":
        closed(generator, asked.connections, asked.seconds)
    else:
        opened(generator, asked.rate, asked.seconds)
    generator.finish()
    print(json.dumps(summary(generator.found, asked.seconds)))


if __name__ == "__main__":
    main()
