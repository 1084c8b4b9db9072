"""Who may do what: keys, their scope, how often they are used and what they spend."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections import defaultdict
from contextlib import suppress
from functools import lru_cache

from starlette.datastructures import Headers
from starlette.types import Scope

from triptych.errors import DataError
from triptych_apps.server.headers import header
from triptych_apps.server.keys import Key, KeyStore
from triptych_apps.server.logs import log
from triptych_apps.server.problems import Problem

_FLUSH_SECONDS = 1.0


class Access:
    """Asks every call for a key of the store.

    What is spent is counted at once and written every second: a process that is killed forgets one second at most.
    """

    def __init__(self, store: KeyStore) -> None:
        self.store = store
        self._buckets: dict[str, _Bucket] = {}
        self._spent: dict[str, float] = defaultdict(float)  # since it was last written
        self._writer: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()

    def key(self, headers: Headers) -> Key:
        """The key of a call. Raises `Problem`."""
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not given:
            raise _unauthorized("a key is needed: send the header Authorization: Bearer KEY")
        try:
            key = self.store.find(given.strip())
        except DataError as error:  # ours, not the client's
            log.error("keys cannot be read", exc_info=error)
            raise Problem(503, "the keys cannot be read now", retry_after=5) from error
        if key is None:
            raise _unauthorized("the key is wrong or revoked")
        return key

    def admit(self, key: Key, requests: int, *, priced: bool) -> None:
        """Let a key ask so many requests now. Raises `Problem` where it may not, or has nothing left to spend."""
        if key.budget is not None:
            if not priced:
                message = "this key has a budget, and what this bundle's answers cost is not known"
                raise Problem(403, message, kind="not_priced")
            if key.spent + self._spent[key.id] >= key.budget:
                raise Problem(403, "the budget of this key is spent", kind="budget_spent")
        if key.per_minute is not None:
            bucket = self._buckets.setdefault(key.id, _Bucket(key.per_minute))
            wait = bucket.take(requests)
            if wait > 0:
                raise Problem(429, f"this key may ask {key.per_minute} requests a minute", retry_after=wait)

    def charge(self, key: Key, cost: float) -> None:
        """Count what an answer cost."""
        self._spent[key.id] += cost

    def start(self) -> None:
        """Begin to write down what is spent."""
        self._writer = asyncio.create_task(self._keep_writing())

    async def close(self) -> None:
        """Write down the rest."""
        self._stopping.set()
        if self._writer is not None:
            await self._writer
        await self._write()  # what was charged while it wrote
        self.store.close()

    async def _keep_writing(self) -> None:
        while not self._stopping.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), _FLUSH_SECONDS)
            await self._write()

    async def _write(self) -> None:
        amounts = {identity: amount for identity, amount in self._spent.items() if amount}
        if not amounts:
            return
        try:
            await asyncio.to_thread(self.store.charge, amounts)
        except DataError as error:  # a full disk: it stays counted, and is written when there is room
            log.error("spending was not written", exc_info=error)
            return
        for identity, amount in amounts.items():  # for a moment it counted twice, which is the safe side
            self._spent[identity] -= amount


class _Bucket:
    """A minute's requests that fill up again steadily."""

    def __init__(self, per_minute: int) -> None:
        self._size, self._left, self._at = float(per_minute), float(per_minute), time.monotonic()

    def take(self, count: int) -> float:
        """Zero, or the seconds until so many are there; a call with more than a minute's takes a whole minute's."""
        now = time.monotonic()
        self._left = min(self._size, self._left + (now - self._at) * self._size / 60)
        self._at = now
        wanted = min(float(count), self._size)
        if self._left >= wanted:
            self._left -= wanted
            return 0.0
        return (wanted - self._left) * 60 / self._size


@lru_cache(maxsize=256)
def is_loopback(host: str) -> bool:
    """Whether a name or an address, without brackets, is this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_local(scope: Scope) -> None:
    """For a server without keys on this machine: a web page elsewhere must not reach it through a browser here.

    Raises `Problem` for a call under a foreign name (DNS rebinding) or from a page of another site.
    """
    host = header(scope, b"host", "").lower()
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    if not is_loopback(name.removeprefix("[").removesuffix("]")):
        raise Problem(403, "without keys, this server answers under the name localhost alone")
    origin = header(scope, b"origin", None)
    if origin is not None and origin.partition("://")[2].lower() != host:
        raise Problem(403, "without keys, this server answers no page of another site")


def _unauthorized(message: str) -> Problem:
    return Problem(401, message, headers={"WWW-Authenticate": "Bearer"})
