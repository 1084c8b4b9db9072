"""One vertical in service: the opened versions of its bundle, and which of them answers whom."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
from collections.abc import Callable, Container, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from triptych.host import Host, default_host
from triptych.predictor import Predictor
from triptych.vertical import Request, Vertical
from triptych_apps.server.cache import Cache, content_key, content_keys
from triptych_apps.server.logs import log
from triptych_apps.server.problems import Problem
from triptych_apps.server.redaction import Redactor, redacted_text
from triptych_apps.server.release import Answered, Release, settled
from triptych_apps.server.release_following import Follower
from triptych_apps.server.settings import Settings
from triptych_apps.server.shapes import Shape, shape_of

if TYPE_CHECKING:
    from triptych_apps.server.decisions import Recorder

__all__ = ["Answered", "Service"]
_HOOKS = {"triptych_before_answer", "triptych_after_answer"}
_LARGEST_CACHED = 65_536  # bytes of an answer


class Service:
    """Made at once, for its types shape the routes; `open` brings the model, which takes seconds.

    `on_batch(name, size, seconds)` is told of every batch, in the thread that answered it. With a `recorder`, set
    before `open`, answers are written down; a `redactor`, set likewise, is called before the plugins' hook
    `triptych_redact`.
    """

    recorder: Recorder | None = None
    redactor: Redactor | None = None

    def __init__(
        self,
        source: str,
        vertical: Vertical[Any, Any],
        settings: Settings,
        *,
        host: Host | None = None,
        device: str = "auto",
    ) -> None:
        self.source, self.vertical, self.settings = source, vertical, settings
        self.name = vertical.name
        self.shape: Shape = shape_of(vertical)
        self.on_batch: Callable[[str, int, float], None] = lambda name, size, seconds: None
        self.host = host or default_host()
        self.device = device
        self.release: Release | None = None  # in service
        self.canary: Release | None = None
        self.share = 0.0  # of the requests that the canary answers
        self.others: dict[str, Release] = {}  # open, and asked by nobody
        self._follower = Follower(self)
        self._cache: Cache[Answered] | None = None

    async def open(self) -> None:
        """Open the bundle, try it, and start to answer. Raises what `triptych.load` raises."""
        if self.settings.cache and self._may_cache():
            self._cache = Cache(self.settings.cache)
        await self._follower.start()

    async def close(self) -> None:
        """Answer what waits, and stop."""
        await self._follower.close()

    @property
    def releases(self) -> list[Release]:
        """All that are open, the one in service first."""
        named = [self.release, self.canary, *self.others.values()]
        return [release for release in named if release is not None]

    @property
    def in_memory(self) -> tuple[Any, ...]:
        """What is in memory, to be compared with what was."""
        return (*(release.version for release in self.releases), *self._follower.in_memory)

    @property
    def predictor(self) -> Predictor | None:
        """The one of the release in service."""
        return None if self.release is None else self.release.predictor

    @property
    def state(self) -> str:
        """Starting, ready, full (no request would get a place) or broken."""
        if self.release is None:
            return "starting"
        if not all(release.alive for release in (self.release, self.canary) if release is not None):
            return "broken"
        return "full" if self.release.full else "ready"

    @property
    def variant(self) -> str:
        """The row of the ledger that answers."""
        return "" if self.release is None else self.release.predictor.session.variant

    @property
    def fallback(self) -> str | None:
        """The row of the ledger that answers when too many wait."""
        cheaper = None if self.release is None else self.release.cheaper
        return None if cheaper is None else cheaper.session.variant

    @property
    def max_batch(self) -> int:
        """How many requests are answered together at most."""
        return 1 if self.release is None else self.release.max_batch

    @property
    def threads(self) -> int:
        """How many batches are answered at once."""
        return 1 if self.release is None else self.release.threads

    @property
    def currency(self) -> str:
        """Of all prices."""
        return "" if self.release is None else self.release.currency

    @property
    def depth(self) -> int:
        """How many requests wait."""
        return sum(release.depth for release in self.releases)

    @property
    def caches(self) -> bool:
        """Whether answers are remembered."""
        return self._cache is not None

    def price(self, variant: str) -> float | None:
        """What a million answers of a variant cost by the ledger, None where it has no row for it."""
        return None if self.release is None else self.release.prices.get(variant)

    def check_open(self) -> None:
        """Raises `Problem` while the bundle is being opened."""
        if self.release is None:
            raise Problem(503, f"{self.name} is starting", kind="starting", retry_after=2)

    def redact(self, text: str) -> str:
        """A note or the like without what must not be kept. Raises `Problem` and `RefusedError`."""
        self.check_open()
        assert self.predictor is not None
        return redacted_text(self.predictor, text, self.redactor)

    def serve(self, release: Release) -> None:
        """Let a release that is loaded answer from now on."""
        release.recorder, release.redactor = self.recorder, self.redactor
        release.on_batch = lambda size, seconds: self.on_batch(self.name, size, seconds)
        release.start()

    async def answer(self, requests: Sequence[Request]) -> list[Answered | Exception]:
        """One result for each request, in the order given.

        Raises `Problem` where none of them can be answered: the queue is full, or the time was up.
        """
        self.check_open()
        if self._cache is None:
            found = await self._settled(requests, self._shared_out(requests))
        else:
            found = await self._recalled_or_settled(requests, self._cache)
        results = [found[place] for place in range(len(requests))]
        self._follower.shadow(requests, results)
        return results

    async def _settled(
        self, requests: Sequence[Request], shares: Sequence[tuple[Release, list[int]]], found: Container[int] = ()
    ) -> dict[int, Answered | Exception]:
        """The results of those that are not found yet, by their places."""
        futures = self._submitted(shares, requests, found)
        return await settled(futures, self.settings.answer_seconds)

    async def _recalled_or_settled(
        self, requests: Sequence[Request], cache: Cache[Answered]
    ) -> dict[int, Answered | Exception]:
        """All results by their places; what was asked before, or is asked twice in the same call, is not computed."""
        contents = await content_keys(requests)
        shares = self._shared_out(requests)
        keys = _keys(shares, contents)
        known = {place: cache.get(key) for place, key in keys.items()}
        found: dict[int, Answered | Exception] = {place: a for place, a in known.items() if a is not None}
        twins = _twins({place: key for place, key in keys.items() if place not in found})
        new = await self._settled(requests, shares, found.keys() | twins.keys())
        found |= new
        for place, first in twins.items():
            answered = found[first]
            found[place] = _recalled(answered) if isinstance(answered, Answered) else answered
        for place, answered in new.items():
            self._remember(keys[place], answered)
        return found

    def _shared_out(self, requests: Sequence[Request]) -> list[tuple[Release, list[int]]]:
        """Which release answers which requests."""
        assert self.release is not None
        if self.canary is None or self.share <= 0:
            return [(self.release, list(range(len(requests))))]
        places: dict[bool, list[int]] = {False: [], True: []}
        for place, request in enumerate(requests):
            places[lot(self.vertical, request, self.canary.version) < self.share].append(place)
        return [(self.release, places[False]), (self.canary, places[True])]

    def _submitted(
        self, shares: Sequence[tuple[Release, list[int]]], requests: Sequence[Request], found: Container[int]
    ) -> dict[int, asyncio.Future[Answered]]:
        """All of those that are not found yet, or none; before anything else happens, such as a change of releases."""
        futures: dict[int, asyncio.Future[Answered]] = {}
        try:
            for release, places in shares:
                new = [place for place in places if place not in found]
                futures |= zip(new, release.submit([requests[place] for place in new]), strict=True)
        except Problem:
            for future in futures.values():
                future.cancel()
            raise
        return futures

    def _remember(self, key: bytes, answered: Answered | Exception) -> None:
        if self._cache is None or isinstance(answered, Exception) or answered.fallback:
            return
        if len(answered.body) <= _LARGEST_CACHED:
            self._cache.put(key, _recalled(answered))

    def _may_cache(self) -> bool:
        """Not where an answer leaves a trace, nor where a plugin wants to see every request or every answer."""
        listening = [info.name for info in self.host.plugins() if _HOOKS & set(info.hooks)]
        reason = ""
        if self.vertical.answers_depend_on_state:
            reason = "its answers depend on state"
        elif listening:
            reason = f"the plugin {listening[0]!r} sees every answer"
        if reason:
            log.warning("not cached", extra={"fields": {"vertical": self.name, "reason": reason}})
        return not reason


def _keys(shares: Sequence[tuple[Release, list[int]]], contents: Sequence[bytes]) -> dict[int, bytes]:
    """Of the cache, by the place of the request: a release remembers its own answers."""
    return {place: release.version.encode() + contents[place] for release, places in shares for place in places}


def _twins(keys: Mapping[int, bytes]) -> dict[int, int]:
    """Places whose request was made before in the same call, with the place where that was."""
    first: dict[bytes, int] = {}
    return {place: first[key] for place, key in keys.items() if first.setdefault(key, place) != place}


def _recalled(answered: Answered) -> Answered:
    """An answer that is given once more."""
    return dataclasses.replace(answered, cost=0.0, cached=True, recalled={})


def lot(vertical: Vertical[Any, Any], request: Request, version: str) -> float:
    """From 0 up to 1, always the same for the same request and canary: below its share, the canary answers.

    It is drawn for the request's `Vertical.sticky_field`, and for its whole content where it has none: who was given
    to the canary stays with it when its share grows.
    """
    field = vertical.sticky_field
    value = None if field is None else getattr(request, field, None)
    content = content_key(request) if value is None else str(value).encode("utf-8", "surrogatepass")
    digest = hashlib.sha256(version.encode() + b"\0" + content).digest()
    return int.from_bytes(digest[:8]) / 2**64
