"""One opened bundle: its predictor, the cheaper variant for bad times, what answers cost, and its queue."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from triptych.host import Host
from triptych.predictor import Predictor, load
from triptych.trace import Trace
from triptych.vertical import Request, Response
from triptych_apps.server import tracing
from triptych_apps.server.batching import Batcher
from triptych_apps.server.deadlines import Limit
from triptych_apps.server.probing import try_batches
from triptych_apps.server.problems import Problem
from triptych_apps.server.redaction import Redactor, answer_clean, redacted
from triptych_apps.server.settings import Settings, cores_of_a_thread, threads_of_this_machine

if TYPE_CHECKING:
    from triptych_apps.server.decisions import Recorder

_QUICK_SECONDS = 0.0004  # of a model for one answer; what Python does around it takes about as long
_FALLBACK_KINDS = ("classification", "multilabel")  # of other heads, the vectors of two variants cannot be compared


@dataclass(frozen=True, slots=True)
class Answered:
    """A response as JSON, and what has to be told beside it. `cost` is money, None where it is not known.

    `release` is the version of the bundle, `decision` the id under which the answer was written down.
    """

    body: bytes
    variant: str
    confidence: float
    cost: float | None
    fallback: bool = False
    cached: bool = False
    release: str = ""
    decision: str | None = None
    recalled: Mapping[str, Any] = field(default_factory=dict)  # what it took from elsewhere: `triptych.trace.Trace`
    seconds: float = 0.0  # of the batch, shared among its requests


@dataclass(slots=True)
class Tally:
    """What a release did since it was opened; only its own threads write it, one at a time."""

    answered: int = 0
    failed: int = 0
    seconds: float = 0.0  # of answering, batches counted once
    cost: float = 0.0


class Release:
    """Made in a thread by `load`, which tries it, and started by `start` in the event loop's thread.

    `on_batch(size, seconds)` is told of every batch, in the thread that answered it. A model that answers without torch
    is asked by as many threads as the settings say, or as pay: of a quick one most of the time is Python's, which runs
    one thread at a time. torch uses the cores, or the GPU, for one batch.
    """

    def __init__(self, predictor: Predictor, settings: Settings) -> None:
        rows = predictor.bundle.manifest.ledger.get("variants", [])
        predictor.observe = tracing.step
        self.predictor, self.settings = predictor, settings
        self.prices: dict[str, float] = {row["name"]: row["cost_per_million"] for row in rows}
        self.currency: str = next((row["currency"] for row in rows), "")
        self.max_batch, seconds = try_batches(predictor, settings.max_batch)
        self.threads = _threads(predictor, settings, seconds)
        self.cheaper = _cheaper(predictor, self.prices)
        self.recorder: Recorder | None = None
        self.redactor: Redactor | None = None
        self.on_batch: Callable[[int, float], None] = lambda size, seconds: None
        self.tally = Tally()
        self._answering = 0  # threads
        self._counting = threading.Lock()
        self._batcher: Batcher[Request, Answered] | None = None

    @classmethod
    def load(cls, path: str | Path, settings: Settings, *, host: Host, device: str) -> Self:
        """Open a bundle and try it. Raises what `triptych.load` raises."""
        cores = cores_of_a_thread(settings.threads or threads_of_this_machine())
        return cls(load(path, device=device, host=host, threads=cores), settings)

    @property
    def version(self) -> str:
        """The id of the bundle's version."""
        return self.predictor.bundle.version

    @property
    def alive(self) -> bool:
        """Whether its threads work."""
        return self._batcher is not None and self._batcher.alive

    @property
    def busy(self) -> bool:
        """Whether it is answering."""
        return self._answering > 0

    @property
    def depth(self) -> int:
        """How many requests wait."""
        return 0 if self._batcher is None else self._batcher.depth

    @property
    def full(self) -> bool:
        """Whether no request would get a place."""
        return self.depth >= self.settings.max_queue

    def start(self) -> None:
        """Begin to answer."""
        self._batcher = Batcher(
            self._answer,
            max_batch=self.max_batch,
            max_queue=self.settings.max_queue,
            name=self.predictor.vertical.name,
            threads=self.threads,
            key=self._key,
        )

    async def close(self) -> None:
        """Take nothing more, answer what waits, and stop."""
        if self._batcher is not None:
            await self._batcher.close()
            self._batcher = None  # it refers to this release, whose memory would wait for the garbage collector

    def submit(self, requests: Sequence[Request]) -> list[asyncio.Future[Answered]]:
        """All of them or none. Raises `Problem` where the queue has no room or is closed."""
        if self._batcher is None:
            raise Problem(503, "the server is stopping", kind="stopping", retry_after=1)
        return self._batcher.submit(requests)

    def _key(self, request: Request) -> str | None:
        """Requests of one conversation, or whatever the vertical keeps together, are answered one after the other."""
        field = self.predictor.vertical.sticky_field
        value = None if field is None else getattr(request, field, None)
        return None if value is None else str(value)

    def _answer(self, requests: list[Request], behind: int) -> list[Answered | Exception]:
        """In a thread of the batcher."""
        with self._counting:
            self._answering += 1
        try:
            return self._answers(requests, behind)
        finally:
            with self._counting:
                self._answering -= 1

    def _answers(self, requests: list[Request], behind: int) -> list[Answered | Exception]:
        started = time.perf_counter()
        busy = behind >= self.settings.fallback_at * self.settings.max_queue
        predictor, fallback = (self.cheaper, True) if busy and self.cheaper is not None else (self.predictor, False)
        price = self.prices.get(predictor.session.variant)
        cost = None if price is None else price / 1e6
        traces = [Trace() for _ in requests]
        clean = [redacted(predictor, request, self.redactor) for request in requests]
        results = answer_clean(predictor, clean, traces)
        decisions: list[str | None] = [None] * len(requests)
        if self.recorder is not None:
            decisions = self.recorder.record(predictor, clean, results, traces, fallback=fallback, cost=cost)
        seconds = time.perf_counter() - started
        told = _Told(self.version, cost, fallback, seconds / len(requests))
        found = [told.of(*row) for row in zip(results, decisions, traces, strict=True)]
        self._count(found, seconds)
        self.on_batch(len(requests), seconds)
        return found

    def _count(self, found: Sequence[Answered | Exception], seconds: float) -> None:
        given = [answered for answered in found if isinstance(answered, Answered)]
        with self._counting:
            self.tally.answered += len(given)
            self.tally.failed += len(found) - len(given)
            self.tally.seconds += seconds
            self.tally.cost += sum(answered.cost or 0.0 for answered in given)


@dataclass(frozen=True, slots=True)
class _Told:
    """What all answers of a batch have in common."""

    release: str
    cost: float | None
    fallback: bool
    seconds: float

    def of(self, result: Response | Exception, decision: str | None, trace: Trace) -> Answered | Exception:
        if isinstance(result, Exception):
            return result
        try:
            body = result.model_dump_json().encode()
        except Exception as error:  # a field of a plugin's own that has no JSON
            return error
        return Answered(
            body,
            result.variant,
            result.confidence,
            self.cost,
            self.fallback,
            release=self.release,
            decision=decision,
            recalled=trace.recalled,
            seconds=self.seconds,
        )


async def settled(futures: Mapping[int, asyncio.Future[Answered]], seconds: float) -> dict[int, Answered | Exception]:
    """The result of each. Raises `Problem` where the time was up; then all are given up."""
    try:
        with Limit(asyncio.get_running_loop().time() + seconds):
            return {place: await _settled(future) for place, future in futures.items()}
    except TimeoutError as error:
        for future in futures.values():
            future.cancel()
        raise Problem(503, f"no answer within {seconds:g} seconds", kind="timeout", retry_after=1) from error


async def _settled(future: asyncio.Future[Answered]) -> Answered | Exception:
    try:
        return await future
    except Exception as error:
        return error


def _threads(predictor: Predictor, settings: Settings, seconds: float) -> int:
    """How many batches are answered at once; `seconds` is what the model takes for one answer."""
    if predictor.needs_torch:
        return 1
    return settings.threads or (1 if seconds <= _QUICK_SECONDS else threads_of_this_machine())


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
            # beside torch it answers in one thread, which may use all cores
            cheaper = predictor.with_variant(name, threads=0 if predictor.needs_torch else None)
            try_batches(cheaper, 2)
            return cheaper
    return None
