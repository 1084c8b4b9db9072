"""Traces: what a call leaves behind, whose child it is, and that nothing of a client is in it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.apps.server.conftest import Running, run
from triptych_apps.server import tracing

pytest.importorskip("opentelemetry.sdk", reason="the extra otel is not installed")

SECRET = "my name is Ada Lovelace"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def spans() -> Iterator[Any]:
    """An exporter that keeps finished spans in memory."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    assert tracing.set_up(provider)
    yield exporter
    tracing.close()


@pytest.fixture
def traced(spans: Any, desk_bundle: Path) -> Iterator[Running]:
    with run(desk_bundle, local=True) as running:
        spans.clear()
        yield running


def named(spans: Any) -> dict[str, Any]:
    return {span.name: span for span in spans.get_finished_spans()}


def test_a_call_its_wait_its_batch_and_the_model(traced: Running, spans: Any):
    given = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "shop=1"}
    with traced.client() as client:
        assert client.get("/health/live").status_code == 200
        response = client.post("/v1/desk/answer", json={"text": f"red {SECRET}"}, headers=given)
    found = named(spans)
    assert set(found) == {"POST /v1/desk/answer", "wait", "batch desk", "model"}
    call, wait, batch, model = (found[n] for n in ("POST /v1/desk/answer", "wait", "batch desk", "model"))
    assert f"{call.context.trace_id:032x}" == TRACE
    assert f"{call.parent.span_id:016x}" == PARENT
    assert call.attributes["http.response.status_code"] == 200
    assert call.attributes["triptych.request"] == response.headers["request-id"]
    assert call.attributes["triptych.variant"] == "large"
    assert wait.parent.span_id == call.context.span_id
    assert wait.end_time >= wait.start_time >= call.start_time
    assert [link.context.span_id for link in batch.links] == [call.context.span_id]
    assert [link.context.span_id for link in wait.links] == [batch.context.span_id]
    assert batch.parent is None
    assert batch.attributes["triptych.batch_size"] == 1
    assert model.parent.span_id == batch.context.span_id
    for span in found.values():
        told = span.to_json()
        assert "Ada" not in told
        assert "127.0.0.1" not in told


def test_a_batch_is_linked_with_all_that_waited(traced: Running, spans: Any):
    with traced.client() as client:
        requests = [{"text": "red"}, {"text": "green"}, {"text": "boom"}]
        assert client.post("/v1/desk/answers", json={"requests": requests}).status_code == 200
    found = spans.get_finished_spans()
    batches = [span for span in found if span.name == "batch desk"]
    assert sum(span.attributes["triptych.batch_size"] for span in batches) == 3
    assert sum(len(span.links) for span in batches) == 3
    assert len([span for span in found if span.name == "wait"]) == 3


def test_what_the_caller_does_not_sample_leaves_nothing(traced: Running, spans: Any):
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-00"}
    with traced.client() as client:
        assert client.post("/v1/desk/answer", json={"text": "red"}, headers=headers).status_code == 200
    assert spans.get_finished_spans() == ()


def test_a_traceparent_that_is_none_begins_a_trace(traced: Running, spans: Any):
    with traced.client() as client:
        headers = {"traceparent": "00-zz-zz-zz"}
        assert client.post("/v1/desk/answer", json={"text": "boom"}, headers=headers).status_code == 500
    call = named(spans)["POST /v1/desk/answer"]
    assert call.parent is None
    assert not call.status.is_ok
    assert call.events == ()  # an exception's words could be a client's


def test_without_an_endpoint_nothing_of_it_is_imported():
    code = "import sys; from triptych_apps.server import tracing; print(tracing.set_up()); "
    code += "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    environment = {"PATH": "", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout == "False\n[]\n", done.stderr


def test_spans_are_sent_where_the_environment_says(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the extra otel is not installed")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")
    assert tracing.set_up()
    try:
        assert tracing._active is not None
        provider = tracing._active.provider
        assert provider.resource.attributes["service.name"] == "shop"
        (processor,) = provider._active_span_processor._span_processors
        assert processor.span_exporter._endpoint == "http://127.0.0.1:9/v1/traces"
    finally:
        tracing.close()
