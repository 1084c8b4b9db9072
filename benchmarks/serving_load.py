"""The load generator of `serving.py`: plain HTTP over kept connections, in a process of its own.

    python benchmarks/serving_load.py PORT PATH TEXTS closed --connections 16 --seconds 5
    python benchmarks/serving_load.py PORT PATH TEXTS open --rate 200 --seconds 5

TEXTS is a JSON file with a list of messages. `closed`: each connection asks again as soon as it is answered. `open`:
requests come at random moments (Poisson) at `--rate` a second whatever the server does, and a time counts from the
moment at which the request was due, so that a server that stalls cannot hide it. One JSON object is printed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

MOST = 2_000  # connections at once: more than a server takes, fewer than the files that this process may open
UNSENT = -1  # the status of a request for which there was no connection
Answer = tuple[float, int, float]  # seconds after the start, status (0: none came), seconds that it took


class Connection:
    """One request at a time."""

    def __init__(self, port: int, path: str) -> None:
        self._port = port
        self._head = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: ".encode()
        )
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, body: bytes) -> int:
        """The status, 0 where the connection broke without an answer."""
        try:
            if self._streams is None:
                self._streams = await asyncio.open_connection("127.0.0.1", self._port)
            reader, writer = self._streams
            writer.write(self._head + str(len(body)).encode() + b"\r\n\r\n" + body)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)
            if b"connection: close" in head:
                self.close()
            return int(head[9:12])
        except (OSError, EOFError, ValueError):
            self.close()
            return 0

    def close(self) -> None:
        """The next request opens a new one."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def closed(asked: argparse.Namespace, bodies: list[bytes]) -> list[Answer]:
    """Every connection as fast as it is answered."""
    start = time.perf_counter()

    async def client(number: int) -> list[Answer]:
        connection, found = Connection(asked.port, asked.path), []
        turn = number
        while (begun := time.perf_counter()) < start + asked.seconds:
            status = await connection.ask(bodies[turn % len(bodies)])
            found.append((begun - start, status, time.perf_counter() - begun))
            turn += asked.connections
        connection.close()
        return found

    return [one for found in await asyncio.gather(*map(client, range(asked.connections))) for one in found]


async def opened(asked: argparse.Namespace, bodies: list[bytes]) -> list[Answer]:
    """At a rate of our own, over as many connections as that takes, up to `MOST`."""
    idle = [Connection(asked.port, asked.path) for _ in range(MOST)]  # each opened at its first request
    found: list[Answer] = []

    async def one(due: float, body: bytes) -> None:
        if not idle:
            found.append((due - start, UNSENT, 0.0))
            return
        connection = idle.pop()
        status = await connection.ask(body)
        found.append((due - start, status, time.perf_counter() - due))
        idle.append(connection)

    tasks: list[asyncio.Task[None]] = []
    loop = asyncio.get_running_loop()

    def begin(due: float) -> None:
        tasks.append(loop.create_task(one(due, bodies[len(tasks) % len(bodies)])))

    def call() -> None:
        """In a thread, which wakes in time: asyncio rounds up to a millisecond, as if the server had taken it."""
        chance, due = random.Random(7), start
        while due < start + asked.seconds:
            time.sleep(max(0.0, due - time.perf_counter()))
            loop.call_soon_threadsafe(begin, due)
            due += chance.expovariate(asked.rate)

    start = time.perf_counter()
    await asyncio.to_thread(call)
    await asyncio.gather(*tasks)
    for connection in idle:
        connection.close()
    return found


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
    found = asyncio.run((closed if asked.mode == "closed" else opened)(asked, bodies))
    print(json.dumps(summary(found, asked.seconds)))


if __name__ == "__main__":
    main()
