"""One bundle in service: its predictor, its queue, the cheaper variant for bad times, and what answers cost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from triptych.host import Host, default_host
from triptych.predictor import Predictor, load
from triptych.vertical import Request, Response, Vertical
from triptych_apps.server.batching import Batcher
from triptych_apps.server.cache import Cache, content_key
from triptych_apps.server.logs import log
from triptych_apps.server.probing import best_batch
from triptych_apps.server.problems import Problem
from triptych_apps.server.settings import Settings
from triptych_apps.server.shapes import Shape, shape_of

_HOOKS = {"triptych_before_answer", "triptych_after_answer"}
_FALLBACK_KINDS = ("classification", "multilabel")  # of other heads, the vectors of two variants cannot be compared
_LARGEST_CACHED = 65_536  # bytes of an answer


@dataclass(frozen=True, slots=True)
class Answered:
    """A response as JSON, and what has to be told beside it. `cost` is money, None where it is not known."""

    body: bytes
    variant: str
    confidence: float
    cost: float | None
    fallback: bool = False
    cached: bool = False


class Service:
    """Made at once, for its types shape the routes; `open` brings the model, which takes seconds.

    `on_batch(name, size, seconds)` is told of every batch, in the thread that answered it.
    """

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
        self._host = host or default_host()
        self._device = device
        self.predictor: Predictor | None = None
        self.cheaper: Predictor | None = None
        self.max_batch = 1
        self._prices: dict[str, float] = {}
        self.currency = ""
        self._batcher: Batcher[Request, Answered] | None = None
        self._cache: Cache[Answered] | None = None

    async def open(self) -> None:
        """Open the bundle, try it, and start to answer. Raises what `triptych.load` raises."""
        await asyncio.to_thread(self._load)
        if self.settings.cache and self._may_cache():
            self._cache = Cache(self.settings.cache)
        self._batcher = Batcher(
            self._answer, max_batch=self.max_batch, max_queue=self.settings.max_queue, name=self.name
        )

    async def close(self) -> None:
        """Answer what waits, and stop."""
        if self._batcher is not None:
            await self._batcher.close()

    @property
    def state(self) -> str:
        """Starting, ready, full (no request would get a place) or broken."""
        if self._batcher is None:
            return "starting"
        if not self._batcher.alive:
            return "broken"
        return "full" if self._batcher.depth >= self._batcher.max_queue else "ready"

    @property
    def variant(self) -> str:
        """The row of the ledger that answers."""
        return "" if self.predictor is None else self.predictor.session.variant

    @property
    def fallback(self) -> str | None:
        """The row of the ledger that answers when too many wait."""
        return None if self.cheaper is None else self.cheaper.session.variant

    @property
    def depth(self) -> int:
        """How many requests wait."""
        return 0 if self._batcher is None else self._batcher.depth

    @property
    def caches(self) -> bool:
        """Whether answers are remembered."""
        return self._cache is not None

    def price(self, variant: str) -> float | None:
        """What a million answers of a variant cost by the ledger, None where it has no row for it."""
        return self._prices.get(variant)

    def check_open(self) -> None:
        """Raises `Problem` while the bundle is being opened."""
        if self._batcher is None:
            raise Problem(503, f"{self.name} is starting", kind="starting", retry_after=2)

    async def answer(self, requests: Sequence[Request]) -> list[Answered | Exception]:
        """One result for each request, in the order given.

        Raises `Problem` where none of them can be answered: the queue is full, or the time was up.
        """
        self.check_open()
        assert self._batcher is not None
        if self._cache is None:
            return await self._answered(self._batcher, requests)
        keys = [content_key(request) for request in requests]
        known = [self._cache.get(key) for key in keys]
        new = await self._answered(self._batcher, [r for r, k in zip(requests, known, strict=True) if k is None])
        found: list[Answered | Exception] = []
        for key, answered in zip(keys, known, strict=True):
            found.append(new.pop(0) if answered is None else answered)
            if answered is None:
                self._remember(key, found[-1])
        return found

    async def _answered(
        self, batcher: Batcher[Request, Answered], requests: Sequence[Request]
    ) -> list[Answered | Exception]:
        futures = batcher.submit(requests)
        try:
            async with asyncio.timeout(self.settings.answer_seconds):
                return [await _settled(future) for future in futures]
        except TimeoutError as error:
            for future in futures:
                future.cancel()
            seconds = self.settings.answer_seconds
            raise Problem(503, f"no answer within {seconds:g} seconds", kind="timeout", retry_after=1) from error

    def _remember(self, key: bytes, answered: Answered | Exception) -> None:
        if self._cache is None or isinstance(answered, Exception) or answered.fallback:
            return
        if len(answered.body) <= _LARGEST_CACHED:
            copy = Answered(answered.body, answered.variant, answered.confidence, 0.0, cached=True)
            self._cache.put(key, copy)

    def _answer(self, requests: list[Request], behind: int) -> list[Answered | Exception]:
        """In the thread of the batcher."""
        assert self.predictor is not None
        started = time.perf_counter()
        busy = behind >= self.settings.fallback_at * self.settings.max_queue
        predictor, fallback = (self.cheaper, True) if busy and self.cheaper is not None else (self.predictor, False)
        cost = self._prices.get(predictor.session.variant)
        each = None if cost is None else cost / 1e6
        found = [_told(result, each, fallback) for result in predictor.answer_each(requests)]
        self.on_batch(self.name, len(requests), time.perf_counter() - started)
        return found

    def _load(self) -> None:
        predictor = load(self.source, device=self._device, host=self._host)
        rows = predictor.bundle.manifest.ledger.get("variants", [])
        self._prices = {row["name"]: row["cost_per_million"] for row in rows}
        self.currency = next((row["currency"] for row in rows), "")
        self.max_batch = best_batch(predictor, self.settings.max_batch)
        self.cheaper = _cheaper(predictor, self._prices)
        self.predictor = predictor

    def _may_cache(self) -> bool:
        """Not where an answer leaves a trace, nor where a plugin wants to see every request or every answer."""
        listening = [info.name for info in self._host.plugins() if _HOOKS & set(info.hooks)]
        reason = ""
        if self.vertical.answers_depend_on_state:
            reason = "its answers depend on state"
        elif listening:
            reason = f"the plugin {listening[0]!r} sees every answer"
        if reason:
            log.warning("not cached", extra={"fields": {"vertical": self.name, "reason": reason}})
        return not reason


async def _settled(future: asyncio.Future[Answered]) -> Answered | Exception:
    try:
        return await future
    except Exception as error:
        return error


def _told(result: Response | Exception, cost: float | None, fallback: bool) -> Answered | Exception:
    if isinstance(result, Exception):
        return result
    try:
        body = result.model_dump_json().encode()
    except Exception as error:  # a field of a plugin's own that has no JSON
        return error
    return Answered(body, result.variant, result.confidence, cost, fallback)


def _cheaper(predictor: Predictor, prices: dict[str, float]) -> Predictor | None:
    """The next cheaper variant of the ledger that the bundle holds, as the first stage of a cascade; None without one.

    It is opened and warm then: one that is damaged shows itself at the start.
    """
    ledger = predictor.bundle.manifest.ledger
    ours = prices.get(predictor.session.variant)
    if ours is None or predictor.session.kind not in _FALLBACK_KINDS:
        return None
    for name in sorted(prices, key=lambda name: -prices[name]):
        if prices[name] < ours and name not in ledger.get("refused", {}) and predictor.holds(name):
            cheaper = predictor.with_variant(name)
            best_batch(cheaper, 2)
            return cheaper
    return None
