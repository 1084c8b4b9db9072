"""A loaded bundle that answers: all that an embedding system must know.

predictor = triptych.load("customer-service")
response = predictor.answer(text="I was charged twice")
"""

from __future__ import annotations

import copy
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
from pydantic import ValidationError

from triptych.bundle import Bundle, open_bundle, resolve_bundle, triptych_home
from triptych.config import check_section
from triptych.context import AnswerContext
from triptych.errors import BundleError, DataError
from triptych.evaluation.judge import judge_outputs
from triptych.evaluation.scope import Seen
from triptych.host import Host, default_host
from triptych.indexing import EXTENSION
from triptych.retrieval.index import VectorIndex
from triptych.runtime.base import Array, Outcome, Session, SpaceSession, answers_of, embeddings_of
from triptych.runtime.open import needs_torch, open_session, open_space, variant_path, variant_with_one_space
from triptych.runtime.space import Space
from triptych.trace import Trace
from triptych.types import Prediction, Sample
from triptych.vertical import Request, Response, Vertical

__all__ = ["AnswerContext", "Predictor", "load"]

T = TypeVar("T")


def load(
    path: str | Path,
    *,
    device: str = "auto",
    host: Host | None = None,
    state: str | Path | None = None,
    threads: int = 0,
) -> Predictor:
    """Open a bundle by its path or by the name of a vertical (its newest bundle).

    `state` is where the vertical keeps what must survive (conversations); by default beside the bundles, under
    `TRIPTYCH_HOME`. `threads` is how many cores one call of an exported model may use, 0 leaves it to the runtime; who
    asks from several threads at once shares the cores among them so. Raises `BundleError` for a bundle that is missing
    or damaged, `PluginError` when its vertical cannot be loaded, `ConfigError` for a device that is not there.
    """
    host = host or default_host()
    bundle = open_bundle(resolve_bundle(path))
    vertical = host.vertical(bundle.manifest.vertical)
    if vertical.version != bundle.manifest.vertical_version:
        raise BundleError(
            f"{bundle.path} was built for version {bundle.manifest.vertical_version} of {vertical.name!r}, and version "
            f"{vertical.version} is installed; build it again with: triptych run {vertical.name}"
        )
    session = open_session(bundle.path, str(bundle.manifest.ledger.get("chosen", "")), host, device, threads=threads)
    state = Path(state) if state else triptych_home() / "state" / vertical.name
    return Predictor(bundle, vertical, session, host, state, device, threads)


class Predictor:
    """Answers requests, one or many at a time, from any number of threads."""

    def __init__(
        self,
        bundle: Bundle,
        vertical: Vertical[Any, Any],
        session: Session,
        host: Host,
        state: Path,
        device: str = "auto",
        threads: int = 0,
    ) -> None:
        self.bundle = bundle
        self.vertical = vertical
        self.session = session
        self.host = host
        self.state = state
        self._device, self._threads = device, threads
        self.settings = check_section(vertical.settings_type, bundle.manifest.config["vertical"], "vertical.")
        self._indexes: dict[Path, VectorIndex] = {}
        self._cached: dict[str, Any] = {}
        self._lock = threading.RLock()
        self.observe: Callable[[str], AbstractContextManager[Any]] = lambda step: nullcontext()
        """Entered around the steps of an answer, "model" and "retrieval", for those who measure them."""
        self._parent: Predictor | None = None  # of one that answers with another variant, the one it was made from

    def answer(self, request: Request | None = None, **fields: Any) -> Response:
        """Answer one request, given whole or as its fields: `answer(text="...", image="photo.jpg")`.

        Raises `DataError` for a request that cannot be read and `RefusedError` where a guardrail refuses it.
        """
        return self.answer_batch([self.request(**fields) if request is None else request])[0]

    def request(self, **fields: Any) -> Request:
        """A request of this vertical from its fields. Raises `DataError` naming the field that is wrong."""
        try:
            request: Request = self.vertical.request_type.model_validate(fields)
        except ValidationError as error:
            problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise DataError(f"the request is not valid: {problems}") from error
        return request

    def answer_batch(self, requests: Sequence[Request]) -> list[Response]:
        """Answer several requests with one pass through the model, in the order given.

        Raises what `answer` raises for the first request that has no answer.
        """
        return self._answers(requests, _call, [Trace() for _ in requests])

    def answer_each(
        self, requests: Sequence[Request], *, traces: Sequence[Trace] | None = None
    ) -> list[Response | Exception]:
        """As `answer_batch`, for requests that have nothing to do with each other.

        One that fails has its exception in the place of its response, and the others are answered, each once.
        `traces`, one for each request, note what the answers rest on beside the request and the bundle; those of an
        earlier call give its answers again.
        """
        return self._answers(requests, _caught, [Trace() for _ in requests] if traces is None else traces)

    def _answers(self, requests: Sequence[Request], attempt: Callable[..., Any], traces: Sequence[Trace]) -> list[Any]:
        """Responses; `attempt` calls what may fail for one request, and what it gives for a failure takes its place."""
        clock = _Clock(len(requests))
        prepared = [attempt(self._prepared, row, request) for row, request in enumerate(requests)]
        samples = [p[1] for p in prepared if not isinstance(p, Exception) and p[1].modalities]
        outcomes = iter(self._outcomes([sample.only(self.session.modalities) for sample in samples], attempt))
        found = []
        for p, trace in zip(prepared, traces, strict=True):
            outcome = next(outcomes) if not isinstance(p, Exception) and p[1].modalities else None
            failed = next((x for x in (p, outcome) if isinstance(x, Exception)), None)
            found.append(attempt(self._response, *p, outcome, clock, trace) if failed is None else failed)
        return found

    def _prepared(self, row: int, request: Request) -> tuple[Request, Sample]:
        request = self.host.before_answer(self.vertical.name, request)
        return request, self._sample(row, request)

    def _outcomes(self, samples: list[Sample], attempt: Callable[..., Any]) -> list[Any]:
        """All samples in one pass; where that fails, each by itself, for only then it is known which one it was."""
        if not samples:
            return []
        with self.observe("model"):
            outcomes = attempt(self.session.run, samples)
        if not isinstance(outcomes, Exception):
            return list(outcomes)
        if len(samples) == 1:
            return [outcomes]
        return [self._outcomes([sample], attempt)[0] for sample in samples]

    def _response(
        self, request: Request, sample: Sample, outcome: Outcome | None, clock: _Clock, trace: Trace
    ) -> Response:
        trace.prediction = None if outcome is None else outcome.prediction
        context = AnswerContext(self, sample, outcome, trace)
        if outcome is None:
            response = self.vertical.answer_empty(request, context)
            update: dict[str, Any] = {}
        else:
            response = self.vertical.answer(request, outcome.prediction, context)
            update = {"attribution": outcome.prediction.attribution, "variant": outcome.variant}
        response = response.model_copy(update={**update, "milliseconds": clock.milliseconds})
        return self.host.after_answer(self.vertical.name, request, response)

    @property
    def device(self) -> str:
        """Where it was asked to answer: auto, cpu, cuda, cuda:N or mps."""
        return self._device

    def holds(self, variant: str) -> bool:
        """Whether the bundle holds an exported variant of this name."""
        return variant_path(self.bundle.path, variant).is_dir()

    @property
    def needs_torch(self) -> bool:
        """Whether some of its answers are computed by torch, which uses all cores, or the GPU, for one batch."""
        return needs_torch(self.bundle.path, self.session.variant)

    def with_variant(self, variant: str, *, threads: int | None = None) -> Predictor:
        """The same application, with the same state, answering with another variant of the ledger.

        `threads` is as for `load`; None: as this one was loaded.

        Raises `BundleError` where the bundle does not hold that variant.
        """
        if not self.holds(variant):
            raise BundleError(f"{self.bundle.path} does not hold the variant {variant!r}")
        other = copy.copy(self)
        other._threads = self._threads if threads is None else threads
        other.session = open_session(self.bundle.path, variant, self.host, self._device, threads=other._threads)
        other._parent = self
        return other

    def predict(self, samples: Sequence[Sample]) -> list[Prediction]:
        """What the model says of samples, without the vertical's rules."""
        return [outcome.prediction for outcome in self.session.run(self._enriched(samples))]

    def evaluate(self, samples: Sequence[Sample]) -> dict[str, Any]:
        """Metrics on labelled samples. Raises `DataError` for a label that the model does not know."""
        outside = self.vertical.task(self.settings).out_of_scope
        known = [s for s in samples if s.target != outside]
        unknown = [s for s in samples if s.target == outside]
        if not known:
            raise DataError("there is nothing to evaluate: no sample has a label that the model could predict")
        targets = [s.target for s in known]
        session, known, unknown = self.session, self._enriched(known), self._enriched(unknown)
        if isinstance(session, Space):
            return judge_outputs(
                session.kind,
                session.labels,
                session.seen(session.encode(known)),
                targets,
                scope=session.scope,
                outside=session.seen(session.encode(unknown)) if unknown else None,
            )
        return self._judge_outcomes(session.run(known), targets, session.run(unknown))

    def _judge_outcomes(self, known: list[Outcome], targets: list[Any], unknown: list[Outcome]) -> dict[str, Any]:
        """The same for a cascade, whose stages have scores of their own that cannot be compared."""
        labels = self.session.labels
        rows = [[outcome.prediction.probabilities[label] for label in labels] for outcome in known]
        metrics = judge_outputs(self.session.kind, labels, Seen(None, np.array(rows)), targets)
        metrics["answered_by"] = dict(Counter(outcome.variant for outcome in known))
        if unknown:
            accepted = float(np.mean([outcome.prediction.in_scope for outcome in unknown]))
            metrics["out_of_scope"] = {
                "recall_at_rate": 1 - accepted,
                "false_accept_rate": accepted,
                "in_scope_rejected": float(np.mean([not outcome.prediction.in_scope for outcome in known])),
                "in_scope": len(known),
                "out_of_scope": len(unknown),
            }
        return metrics

    def encode(self, samples: Sequence[Sample]) -> Array:
        """What the head answers to samples as they are, float32 [samples, outputs]: unit vectors, of an embedding.

        Nothing is read out of media (`Vertical.enrich`), as `AnswerContext.sample` had it done. Of a cascade, the last
        stage answers, as for `embed`. Raises `DataError` for a sample with nothing that the model can encode.
        """
        return answers_of(self._space(), samples)

    def embed(self, samples: Sequence[Sample]) -> Array:
        """The fused vectors of samples as they are, float32 [samples, dim], all in one space; raises as `encode`."""
        return embeddings_of(self._space(), samples)

    def _space(self) -> SpaceSession:
        if self._parent is not None:
            return self._parent._space()
        chosen = str(self.bundle.manifest.ledger.get("chosen", ""))
        if variant_with_one_space(self.bundle.path, chosen) == chosen:
            return cast("SpaceSession", self.session)
        return self.cached(
            "the last stage",
            lambda: open_space(self.bundle.path, chosen, self.host, self._device, threads=self._threads),
        )

    @property
    def files(self) -> Path:
        """The directory with what `Vertical.extend` put into the bundle."""
        return self.bundle.path / EXTENSION

    def cached(self, name: str, make: Callable[[], T]) -> T:
        """What `make` returned at the first call under this name; kept as long as the bundle is open."""
        with self._lock:
            if name not in self._cached:
                self._cached[name] = make()
            found: T = self._cached[name]
        return found

    def index(self, name: str, home: Path | None = None) -> VectorIndex | None:
        """An index in the space of a variant (`Outcome.home`; without it, the torch model's), opened at its first use.

        None where there is no such index.
        """
        path = (home or self.bundle.path) / name
        with self._lock:
            if path not in self._indexes and path.is_dir():
                self._indexes[path] = VectorIndex.load(path)
            return self._indexes.get(path)

    def _enriched(self, samples: Sequence[Sample]) -> list[Sample]:
        return [self.vertical.enrich(sample, self.settings).only(self.session.modalities) for sample in samples]

    def _sample(self, row: int, request: Request) -> Sample:
        text = request.text if request.text and request.text.strip() else None
        sample = Sample(id=str(row), text=text, image=request.image, audio=request.audio)
        if not sample.modalities:
            return sample
        sample = self.vertical.enrich(sample, self.settings)
        if not sample.only(self.session.modalities).modalities:
            known = ", ".join(self.session.modalities)
            given = ", ".join(sample.modalities)
            raise DataError(f"this bundle understands {known}, and the request has only {given}")
        return sample


class _Clock:
    """Time since the start of a batch, shared among its requests."""

    def __init__(self, requests: int) -> None:
        self._started, self._requests = time.perf_counter(), requests

    @property
    def milliseconds(self) -> float:
        return round(1000 * (time.perf_counter() - self._started) / self._requests, 2)


def _call(function: Callable[..., T], *arguments: Any) -> T:
    return function(*arguments)


def _caught(function: Callable[..., T], *arguments: Any) -> T | Exception:
    try:
        return function(*arguments)
    except Exception as error:  # one request's failure is its own, whatever it is
        return error
