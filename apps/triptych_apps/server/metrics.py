"""What Prometheus reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from triptych_apps.server.service import Answered, Service

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_TENTHS = tuple(tenth / 10 for tenth in range(1, 11))
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """One registry for each server, so that several may live in one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._children: dict[tuple[Any, ...], Any] = {}
        self.calls = Counter(
            "triptych_calls", "Calls by route and status.", ["route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "triptych_call_seconds", "Time of a call.", ["route"], buckets=_SECONDS, registry=self.registry
        )
        self.batches = Histogram(
            "triptych_batch_size", "Requests answered together.", ["vertical"], buckets=_SIZES, registry=self.registry
        )
        self.batch_seconds = Histogram(
            "triptych_batch_seconds", "Time of a batch.", ["vertical"], buckets=_SECONDS, registry=self.registry
        )
        self.answers = Counter(
            "triptych_answers",
            "Answers by the variant that gave them; mode is model, fallback or cache.",
            ["vertical", "variant", "mode"],
            registry=self.registry,
        )
        self.confidence = Histogram(
            "triptych_confidence", "Confidence of answers.", ["vertical"], buckets=_TENTHS, registry=self.registry
        )
        self.cost = Counter(
            "triptych_cost", "Money spent on answers, by the ledger.", ["vertical", "currency"], registry=self.registry
        )

    def watch(self, services: Sequence[Service]) -> None:
        """Show how many requests of each service wait, and whether it is ready."""
        self.registry.register(_Queues(services))

    def call(self, route: str, status: int, seconds: float) -> None:
        """Count a call."""
        self._of(self.calls, route, str(status)).inc()
        self._of(self.seconds, route).observe(seconds)

    def batch(self, vertical: str, size: int, seconds: float) -> None:
        """Count a batch."""
        self._of(self.batches, vertical).observe(size)
        self._of(self.batch_seconds, vertical).observe(seconds)

    def answer(self, service: Service, answered: Answered) -> None:
        """Count an answer."""
        mode = "cache" if answered.cached else "fallback" if answered.fallback else "model"
        self._of(self.answers, service.name, answered.variant, mode).inc()
        self._of(self.confidence, service.name).observe(answered.confidence)
        if answered.cost:
            self._of(self.cost, service.name, service.currency).inc(answered.cost)

    def _of(self, metric: Any, *labels: str) -> Any:
        """The child with these labels, which are few, found without the checks that finding it takes."""
        key = (id(metric), *labels)
        if key not in self._children:
            self._children[key] = metric.labels(*labels)
        return self._children[key]

    def text(self) -> bytes:
        """In the text format of Prometheus."""
        return generate_latest(self.registry)


class _Queues(Collector):
    def __init__(self, services: Sequence[Service]) -> None:
        self._services = services

    def collect(self) -> list[GaugeMetricFamily]:
        """Read at the moment of asking."""
        waiting = GaugeMetricFamily("triptych_waiting", "Requests that wait.", labels=["vertical"])
        ready = GaugeMetricFamily("triptych_ready", "1 where a vertical answers.", labels=["vertical"])
        for service in self._services:
            waiting.add_metric([service.name], service.depth)
            ready.add_metric([service.name], float(service.state == "ready"))
        return [waiting, ready]
