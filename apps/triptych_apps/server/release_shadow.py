"""A version that answers what clients asked, after they have their answer, and for nobody: it is only compared.

What the answer took from elsewhere, such as earlier turns, it is handed (`triptych.trace.Trace`), so that it looks
nothing up and writes nothing; a vertical that writes all the same finds an empty state that is thrown away. It answers
one request at a time, at the lowest priority, and only while nobody waits. What comes too fast for it is dropped.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import queue
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from triptych.host import Host
from triptych.predictor import Predictor, load
from triptych.trace import Trace
from triptych.vertical import Request, Response
from triptych_apps.server.logs import describe, log
from triptych_apps.server.redaction import answer_clean, redacted
from triptych_apps.server.release import Answered

if TYPE_CHECKING:
    from triptych_apps.server.service import Service

_MOST_WAITING = 32
_PATIENCE_SECONDS = 1.0  # for a moment in which nobody waits
_LOOK_SECONDS = 0.002


@dataclass(slots=True)
class Compared:
    """Sums over the requests that a shadow answered. Money is None where a ledger does not know it."""

    answers: int = 0
    agreed: int = 0  # the same `answer`
    failed: int = 0  # the shadow had no answer where the release in service had one
    dropped: int = 0  # not put to the shadow, for it was too slow or the server too busy
    shadow_seconds: float = 0.0
    service_seconds: float = 0.0
    shadow_cost: float = 0.0
    service_cost: float = 0.0


class Shadow:
    """Made in a thread by `load`; `offer` belongs to the event loop's thread."""

    def __init__(self, predictor: Predictor, service: Service, state: tempfile.TemporaryDirectory[str]) -> None:
        self._predictor, self._service, self._state = predictor, service, state
        rows = predictor.bundle.manifest.ledger.get("variants", [])
        self._prices = {row["name"]: row["cost_per_million"] / 1e6 for row in rows}
        self._queue: queue.Queue[tuple[Request, Answered] | None] = queue.Queue(_MOST_WAITING)
        self._compared = Compared()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"shadow-{service.name}", daemon=True)
        self._thread.start()

    @classmethod
    def load(cls, path: Path, service: Service) -> Self:
        """Open a version with an empty state of its own. Raises what `triptych.load` raises."""
        state = tempfile.TemporaryDirectory(prefix="triptych-shadow-", ignore_cleanup_errors=True)
        try:
            predictor = load(path, device=service.device, host=service.host, state=state.name)
        except BaseException:
            state.cleanup()
            raise
        predictor.host = _Unheard(predictor.host)  # type: ignore[assignment]
        return cls(predictor, service, state)

    @property
    def version(self) -> str:
        """The id of the bundle's version."""
        return self._predictor.bundle.version

    def offer(self, requests: Sequence[Request], results: Sequence[Answered | Exception]) -> None:
        """What was answered by the release in service, to be answered again where there is room."""
        current = self._service.release
        for request, answered in zip(requests, results, strict=True):
            if not isinstance(answered, Answered) or current is None or answered.release != current.version:
                continue
            if answered.cached or answered.fallback:
                continue  # nothing to compare with
            try:
                self._queue.put_nowait((request, answered))
            except queue.Full:
                self._add(Compared(dropped=1))

    def take(self) -> Compared:
        """What was compared since this was last called."""
        with self._lock:
            found, self._compared = self._compared, Compared()
        return found

    async def close(self) -> None:
        """Drop what waits, and stop."""
        self._stopping.set()
        with suppress(queue.Full):
            self._queue.put_nowait(None)  # a full queue wakes the thread without it
        await asyncio.to_thread(self._thread.join)
        await asyncio.to_thread(self._state.cleanup)

    def _add(self, found: Compared) -> None:
        with self._lock:
            for field in dataclasses.fields(Compared):
                total = getattr(self._compared, field.name) + getattr(found, field.name)
                setattr(self._compared, field.name, total)

    def _work(self) -> None:
        with suppress(OSError, AttributeError):  # a thread of its own in Linux
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
        while (waiting := self._queue.get()) is not None and not self._stopping.is_set():
            try:
                self._add(self._compare(*waiting) if self._idle() else Compared(dropped=1))
            except Exception as error:  # whatever it is, the next request is compared again
                log.error("shadow", extra={"fields": {"vertical": self._service.name, **describe(error)}})

    def _idle(self) -> bool:
        """Wait for a moment in which nobody is being answered; whether there was one."""
        end = time.monotonic() + _PATIENCE_SECONDS
        while any(release.busy or release.depth for release in self._service.releases):
            if time.monotonic() > end or self._stopping.wait(_LOOK_SECONDS):
                return False
        return True

    def _compare(self, request: Request, answered: Answered) -> Compared:
        started = time.perf_counter()
        response = self._answer(request, answered)
        seconds = time.perf_counter() - started
        found = Compared(1, shadow_seconds=seconds, service_seconds=answered.seconds, service_cost=answered.cost or 0.0)
        if isinstance(response, Exception):
            found.failed = 1
            return found
        found.agreed = int(response.answer == json.loads(answered.body).get("answer"))
        if not found.agreed and self._service.recorder is not None and answered.decision is not None:
            self._service.recorder.disagreed(answered.decision, self.version, response.answer)
        found.shadow_cost = self._prices.get(response.variant, 0.0)
        return found

    def _answer(self, request: Request, answered: Answered) -> Response | Exception:
        clean = redacted(self._predictor, request, self._service.redactor)  # as it was answered
        return answer_clean(self._predictor, [clean], [Trace(answered.recalled)])[0]


class _Unheard:
    """A host whose plugins are not told of answers, for nobody gets them; all else is as it was."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def __getattr__(self, name: str) -> Any:
        return getattr(self._host, name)

    def after_answer(self, vertical: str, request: Request, response: Response) -> Response:
        """The response as it is."""
        return response
