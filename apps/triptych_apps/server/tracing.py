"""Traces in the way of OpenTelemetry, where they are configured: a call, its wait, its batch, and the model within.

They are sent where OTEL_EXPORTER_OTLP_ENDPOINT says, by OTLP over HTTP; without it, nothing of OpenTelemetry is
imported and every function here returns at once. Spans hold routes, states, sizes and names of variants: no text, no
key, no address and no path of a client.
"""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import triptych
from triptych_apps.server.logs import log

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_QUIET = ("/health/", "/metrics")  # asked every few seconds
_CARRIED = ("traceparent", "tracestate")  # W3C; its baggage could be about a person, and nobody reads it here
_NOTED = ("vertical", "release", "variant", "fallback", "items", "failed")  # of what the log tells of a call
_active: _Tracing | None = None

Seat = tuple[Any, int]
"""Where something waits: the context of its call, and when it came, in nanoseconds."""


def set_up(provider: Any = None) -> bool:
    """Begin to trace, with a provider of spans or the one that the environment describes; False where it has none."""
    global _active
    if provider is None:
        if not any(os.environ.get(name) for name in _ENDPOINTS):
            return False
        if importlib.util.find_spec("opentelemetry") is None or not _has_exporter():
            log.warning("no traces", extra={"fields": {"reason": "pip install 'triptych[otel]'"}})
            return False
        provider = _provider()
    _active = _Tracing(provider)
    return True


def close() -> None:
    """Send what is left, and end."""
    global _active
    if _active is not None:
        _active.provider.shutdown()
        _active = None


def traced(app: ASGIApp) -> ASGIApp:
    """`app` with a span around every call, as a child of what the caller's `traceparent` names."""

    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        tracing = _active
        if tracing is None or scope["type"] != "http" or scope["path"].startswith(_QUIET):
            await app(scope, receive, send)
            return
        with tracing.call(scope) as span:

            async def told(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", message["status"])
                    if message["status"] >= 500:
                        span.set_status(tracing.failed)
                await send(message)

            await app(scope, receive, told)

    return run


def seat() -> Seat | None:
    """Where the call of this task is, for what it lets wait; None where it is not traced."""
    return None if _active is None else _active.seat()


def batch(name: str, seats: Sequence[Seat | None]) -> AbstractContextManager[Any]:
    """A span for what is answered together, linked with the calls that waited; for each of them, one for its wait."""
    taken = [seat for seat in seats if seat is not None]
    return nullcontext() if _active is None or not taken else _active.batch(name, len(seats), taken)


def step(name: str) -> AbstractContextManager[Any]:
    """A span for a part of a batch."""
    return nullcontext() if _active is None else _active.step(name)


class _Tracing:
    """What is needed of OpenTelemetry, imported here alone."""

    def __init__(self, provider: Any) -> None:
        from opentelemetry import context, trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self.provider = provider
        self.failed = trace.Status(trace.StatusCode.ERROR)
        self._context, self._trace = context, trace
        self._tracer = provider.get_tracer("triptych", triptych.__version__)
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def call(self, scope: Scope) -> Iterator[Any]:
        headers = Headers(scope=scope)
        carrier = {name: value for name in _CARRIED if (value := headers.get(name)) is not None}
        parent = self._propagator.extract(carrier, context=self._context.Context())
        with self._tracer.start_as_current_span(
            scope["method"], context=parent, kind=self._trace.SpanKind.SERVER, record_exception=False
        ) as span:
            span.set_attribute("http.request.method", scope["method"])
            try:
                yield span
            finally:
                route = getattr(scope.get("route"), "path", "")
                if route:
                    span.update_name(f"{scope['method']} {route}")
                    span.set_attribute("http.route", route)
                self._note(span, scope.get("triptych", {}))

    def _note(self, span: Any, told: dict[str, Any]) -> None:
        """What the log's line of the call tells, the id with which to find it included; but not the key."""
        if "request" in told:
            span.set_attribute("triptych.request", told["request"])
        for name in _NOTED:
            if name in told:
                span.set_attribute(f"triptych.{name}", told[name])

    def seat(self) -> Seat | None:
        context = self._context.get_current()
        sampled = self._trace.get_current_span(context).get_span_context().trace_flags.sampled
        return (context, time.time_ns()) if sampled else None

    @contextmanager
    def batch(self, name: str, size: int, seats: Sequence[Seat]) -> Iterator[None]:
        links = [self._trace.Link(self._trace.get_current_span(context).get_span_context()) for context, _ in seats]
        nobody = self._context.Context()  # a batch has many parents, which are its links
        with self._tracer.start_as_current_span(
            f"batch {name}", context=nobody, links=links, record_exception=False
        ) as span:
            span.set_attribute("triptych.vertical", name)
            span.set_attribute("triptych.batch_size", size)
            here, now = self._trace.Link(span.get_span_context()), time.time_ns()
            for context, came in seats:
                self._tracer.start_span("wait", context=context, start_time=came, links=[here]).end(now)
            yield

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        if not self._trace.get_current_span().is_recording():  # nothing that is traced goes on here
            yield
            return
        with self._tracer.start_as_current_span(name, record_exception=False):
            yield


def _has_exporter() -> bool:
    try:
        return importlib.util.find_spec("opentelemetry.exporter.otlp.proto.http.trace_exporter") is not None
    except ModuleNotFoundError:
        return False


def _provider() -> Any:
    """What the standard variables of OpenTelemetry say: where to, how many, and under which name (`triptych`)."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    name = os.environ.get("OTEL_SERVICE_NAME", "triptych")
    resource = Resource.create({"service.name": name, "service.version": triptych.__version__})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider
