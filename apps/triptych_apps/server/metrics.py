"""What Prometheus reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from triptych_apps.server.live import Live
from triptych_apps.server.service import Answered, Service

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_TENTHS = tuple(tenth / 10 for tenth in range(1, 11))
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """One registry for each server, so that several may live in one process; `live` has the last minutes."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.live = Live()
        self._asked: dict[str, str] = {}  # verticals by the routes that ask them
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
            "Answers by the release and the variant that gave them; mode is model, fallback or cache.",
            ["vertical", "release", "variant", "mode"],
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
        for service in services:
            self._asked |= {f"POST /v1/{service.name}/{end}": service.name for end in ("answer", "answers")}

    def call(self, route: str, status: int, seconds: float, told: Mapping[str, Any]) -> None:
        """Count a call; `told` is what its line in the log tells."""
        self._of(self.calls, route, str(status)).inc()
        self._of(self.seconds, route).observe(seconds)
        vertical = self._asked.get(route)
        if vertical is not None:
            self.live.call(vertical, status)
            if "release" in told and "items" not in told:  # one answer, and how long its client waited
                self.live.latency(vertical, told["release"], seconds)

    def batch(self, vertical: str, size: int, seconds: float) -> None:
        """Count a batch."""
        self._of(self.batches, vertical).observe(size)
        self._of(self.batch_seconds, vertical).observe(seconds)
        self.live.batch(vertical, size)

    def answer(self, service: Service, answered: Answered) -> None:
        """Count an answer."""
        mode = "cache" if answered.cached else "fallback" if answered.fallback else "model"
        self._of(self.answers, service.name, answered.release, answered.variant, mode).inc()
        self._of(self.confidence, service.name).observe(answered.confidence)
        if answered.cost:
            self._of(self.cost, service.name, service.currency).inc(answered.cost)
        self.live.answer(
            service.name,
            answered.release,
            variant=answered.variant,
            mode=mode,
            confidence=answered.confidence,
            cost=answered.cost,
        )

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

    def collect(self) -> list[Metric]:
        """Read at the moment of asking."""
        waiting = GaugeMetricFamily("triptych_waiting", "Requests that wait.", labels=["vertical"])
        ready = GaugeMetricFamily("triptych_ready", "1 where a vertical answers.", labels=["vertical"])
        for service in self._services:
            waiting.add_metric([service.name], service.depth)
            ready.add_metric([service.name], float(service.state == "ready"))
        return [waiting, ready, *self._releases()]

    def _releases(self) -> list[Metric]:
        """Of those that are open; the sums begin when one is opened."""
        labels = ["vertical", "release"]
        share = GaugeMetricFamily("triptych_release_share", "Share of requests that a release answers.", labels=labels)
        failed = CounterMetricFamily("triptych_release_failed", "Requests that failed.", labels=labels)
        seconds = CounterMetricFamily("triptych_release_seconds", "Time spent on batches.", labels=labels)
        for service in self._services:
            shares = {service.release: 1 - service.share, service.canary: service.share}
            for release in service.releases:
                names = [service.name, release.version]
                share.add_metric(names, shares.get(release, 0.0))
                failed.add_metric(names, release.tally.failed)
                seconds.add_metric(names, release.tally.seconds)
        return [share, failed, seconds]
