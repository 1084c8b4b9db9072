"""Every answer is written down before it is told: the question, the answer, the bundle, and what it rests on."""

from __future__ import annotations

import hashlib
import itertools
import random
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from pydantic_core import to_json

import triptych
from triptych.bundle.files import MANIFEST
from triptych.errors import RefusedError, TriptychError
from triptych.files import sha256
from triptych.indexing import EXAMPLES, EXTENSION
from triptych.predictor import Predictor
from triptych.trace import Trace
from triptych.types import Prediction
from triptych.vertical import Request, Response
from triptych_apps.server.decision_store import DecisionStore, NewBatch, new_batch
from triptych_apps.server.logs import describe, log
from triptych_apps.server.problems import Problem
from triptych_apps.server.stored import request_json

SCORES_KEPT = 5  # labels, the most probable ones
_INDEX = EXAMPLES.partition("/")[0]
_UPKEEP_S = 2.0  # between two moves of the log into the file
_AGE_S = 3600.0  # between two looks for what is too old
_DAY_MS = 86_400_000


class Recorder:
    """Writes decisions into the file at `path`; several releases in several threads may share one.

    `keep_days` is how long those without a verdict are kept. Raises what `DecisionStore` raises.
    """

    def __init__(self, path: Path | None = None, *, keep_days: float = 90.0) -> None:
        self.store = DecisionStore(path)
        self._keep_ms = int(keep_days * _DAY_MS)
        self._lock = threading.Lock()  # of the store's connection
        self._releases: WeakKeyDictionary[Predictor, int] = WeakKeyDictionary()
        self._stop = threading.Event()
        self._upkeep: threading.Thread | None = None

    def start(self) -> None:
        """Begin to remove what is too old, and to move the log into the file, in a thread of its own."""
        self._upkeep = threading.Thread(target=self._keep_up, name="decisions", daemon=True)
        self._upkeep.start()

    def close(self) -> None:
        """End the thread and close the file; what was recorded is in it."""
        self._stop.set()
        if self._upkeep is not None:
            self._upkeep.join()
        with self._lock:
            self.store.close()

    def record(
        self,
        predictor: Predictor,
        requests: Sequence[Request | RefusedError],
        results: Sequence[Response | Exception],
        traces: Sequence[Trace],
        *,
        fallback: bool,
        cost: float | None,
    ) -> list[str | None]:
        """Ids, one for each result; the batch is committed when it returns. `cost` is of one answer.

        Requests are as `redacted` gave them: of one that could not be redacted, nothing is kept but that. Raises
        `Problem` (503) where nothing could be written: the answers must not be told then.
        """
        if not results:
            return []
        try:
            with self._lock:
                release = self._release(predictor)
            batch = new_batch()
            made = _Row(predictor, batch, len(results), release, fallback, cost)
            blobs: list[tuple[int, str, bytes]] = []
            rows = []
            for place, (request, result, trace) in enumerate(zip(requests, results, traces, strict=True)):
                text, media = request_json(request) if isinstance(request, Request) else (None, {})
                blobs += [(place, digest, content) for digest, content in media.items()]
                rows.append(made.of(place, text, result, trace))
            with self._lock:
                self.store.add(NewBatch(rows, blobs))
        except Exception as error:
            log.error("not recorded", extra={"fields": {"error": type(error).__name__, "reason": _reason(error)}})
            raise Problem(
                503, "the answer could not be written down, so it is not given", kind="unrecorded", retry_after=5
            ) from error
        return [f"{batch}-{place}" for place in range(len(rows))]

    def disagreed(self, decision: str, version: str, answer: str) -> None:
        """Note that another version of the bundle answers otherwise. What cannot be written is logged and left."""
        try:
            with self._lock:
                self.store.add_disagreement(decision, version, answer)
        except TriptychError as error:
            log.warning("decisions", extra={"fields": {"reason": _reason(error)}})

    def _release(self, predictor: Predictor) -> int:
        """The row of the bundle and variant that answer."""
        if predictor not in self._releases:
            self._releases[predictor] = self.store.release(release_values(predictor))
        return self._releases[predictor]

    def _keep_up(self) -> None:
        """With a connection of its own, so that nobody who answers waits for the disk."""
        aged = 0.0
        store: DecisionStore | None = None
        while not self._stop.is_set():
            try:
                store = store or DecisionStore(self.store.path)
                if time.monotonic() >= aged:
                    store.erase_before(time.time_ns() // 1_000_000 - self._keep_ms)
                    aged = time.monotonic() + _AGE_S
                store.move_log()
            except TriptychError as error:  # another time
                log.warning("decisions", extra={"fields": {"reason": _reason(error)}})
            self._stop.wait(_UPKEEP_S)
        if store is not None:
            store.close()


class _Row:
    """What all rows of a batch have in common."""

    def __init__(
        self, predictor: Predictor, batch: str, size: int, release: int, fallback: bool, cost: float | None
    ) -> None:
        self._vertical = predictor.vertical
        task = predictor.vertical.task(predictor.settings)
        self._classes = task.kind == "classification"
        self._batch, self._size, self._release, self._fallback, self._cost = batch, size, release, fallback, cost

    def of(self, place: int, request: str | None, result: Response | Exception, trace: Trace) -> tuple[Any, ...]:
        """The values of `DECISION`."""
        said, recalled = trace.prediction, to_json(trace.recalled).decode()
        about = (self._batch, place, self._size, self._release, int(self._fallback), self._cost)
        lot = random.random()
        in_scope = None if said is None or not self._classes else int(said.in_scope)
        kept = (request, scores_json(said), recalled)
        try:
            response = None if isinstance(result, Exception) else result.model_dump_json()
        except Exception as error:  # a field of a plugin's own that has no JSON; the client gets the error as well
            result, response = error, None
        if isinstance(result, Exception):
            text = refusal_text(result) if request is None else error_text(result)
            return (*about, None, None, None, in_scope, lot, None, None, text, kept[0], None, *kept[1:])
        label, attention = self._judged(result, said)
        numbers = (result.milliseconds, result.confidence, margin_of(said), in_scope, lot)
        return (*about, *numbers, label, attention, None, kept[0], response, *kept[1:])

    def _judged(self, result: Response, said: Prediction | None) -> tuple[str | None, str | None]:
        """What the vertical says for reviewers; where it fails, nothing, for the answer stands."""
        try:
            return self._vertical.decided(result, said), self._vertical.attention(result)
        except Exception as error:
            log.warning("not judged", extra={"fields": {"vertical": self._vertical.name, **describe(error)}})
            return None, None


def release_values(predictor: Predictor) -> tuple[str, ...]:
    """What identifies the bundle and the variant that answer, in the order of `RELEASE`."""
    bundle = predictor.bundle
    return (
        predictor.vertical.name,
        str(bundle.path.resolve()),
        bundle.version,
        sha256(bundle.path / MANIFEST),
        index_digest(bundle.manifest.files),
        bundle.manifest.data.fingerprint,
        bundle.manifest.vertical_version,
        triptych.__version__,
        predictor.session.variant,
        predictor.device,
    )


def index_digest(files: dict[str, str]) -> str:
    """One hash for all that is searched in a bundle: documents, examples, and the files of the vertical's own."""
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        if {EXTENSION, _INDEX} & set(name.split("/")):
            digest.update(f"{name} {content}\n".encode())
    return digest.hexdigest()


def scores_json(said: Prediction | None) -> str | None:
    """What the model said: the most probable labels, values of a regression, and how familiar the request was."""
    if said is None:
        return None
    labels = dict(itertools.islice(said.probabilities.items(), SCORES_KEPT))
    found = {"labels": labels, "values": dict(said.values), "scope": said.scope_score, "in_scope": bool(said.in_scope)}
    return to_json(found, inf_nan_mode="strings").decode()


def margin_of(said: Prediction | None) -> float | None:
    """How far the most probable label is before the next one, 0 to 1."""
    if said is None or len(said.probabilities) < 2:
        return None
    first, second = itertools.islice(said.probabilities.values(), 2)
    return float(first - second)


def error_text(error: Exception) -> str:
    """An error as it is kept. The words of a bug are not: they may hold anything."""
    name = type(error).__name__
    return f"{name}: {error}" if isinstance(error, TriptychError) else name


def refusal_text(error: Exception) -> str:
    """An error of a request that must not be kept, without its words: they may quote what had to be taken out."""
    plugin = getattr(error, "plugin", None)
    return type(error).__name__ + (f" by the plugin {plugin!r}" if plugin else "")


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, TriptychError) else ""
