"""Server-sent events: of routes, and of answers that wait."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.apps.server import desk_routes
from tests.apps.server.conftest import Running, error_kind, run, wait
from tests.apps.server.test_plugin_routes import host
from triptych_apps.server import streams
from triptych_apps.server.problems import Problem
from triptych_apps.server.settings import Settings

EVENTS = {"accept": "text/event-stream"}


@pytest.fixture(scope="module")
def served(desk_bundle: Path) -> Iterator[Running]:
    settings = Settings(threads=1, drain_seconds=0, max_batch=1)  # who waits, waits alone
    with run(desk_bundle, settings, host=host(more=desk_routes), local=True) as running:
        yield running


def events_of(response: httpx.Response) -> list[tuple[str, Any]]:
    found = []
    for piece in response.text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in piece.splitlines() if not line.startswith(":"))
        if lines:
            found.append((lines["event"], json.loads(lines["data"])))
    return found


def test_a_stream_has_an_event_for_each_model(ask: httpx.Client):
    found = ask.get("/v1/desk/ticks?most=3")
    assert found.headers["content-type"].startswith("text/event-stream")
    assert found.headers["cache-control"] == "no-store"
    assert events_of(found) == [("message", {"number": number}) for number in range(3)]


def test_what_fails_at_once_has_a_status_and_what_fails_later_is_an_event(ask: httpx.Client):
    early = ask.get("/v1/desk/ticks?fail=first")
    assert (early.status_code, error_kind(early)) == (422, "invalid")
    assert ask.get("/v1/desk/ticks?most=many").status_code == 422
    late = events_of(ask.get("/v1/desk/ticks?fail=later"))
    assert [name for name, _ in late] == ["message", "message", "error"]
    assert late[-1][1] == {"error": {"kind": "invalid", "message": "it stopped ticking"}}


def test_a_client_that_leaves_ends_its_stream(served: Running, ask: httpx.Client):
    open_streams = served.site.plugin_routes._streams
    desk_routes.ENDED.clear()
    with ask.stream("GET", "/v1/desk/ticks", params={"fail": "never"}) as response:
        pieces = response.iter_text()
        while "data" not in next(pieces):
            pass
        assert open_streams.open == 1
    wait(lambda: open_streams.open == 0)
    assert desk_routes.ENDED == ["never"]


def test_there_are_only_so_many(served: Running, ask: httpx.Client, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(streams, "_MOST", 1)
    with ask.stream("GET", "/v1/desk/ticks"):
        refused = ask.get("/v1/desk/ticks")
        assert (refused.status_code, error_kind(refused)) == (503, "overloaded")
        assert int(refused.headers["retry-after"]) >= 5
    wait(lambda: served.site.plugin_routes._streams.open == 0)
    assert ask.get("/v1/desk/ticks?most=1").status_code == 200


def test_those_that_come_at_once_are_counted_too(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(streams, "_MOST", 2)

    async def refused() -> list[int]:
        many = streams.Streams(lambda: False)
        found = await asyncio.gather(*(many.of(lambda _: iter([])) for _ in range(5)), return_exceptions=True)
        while many.open:
            await asyncio.sleep(0.001)
        return [one.status for one in found if isinstance(one, Problem)]

    assert asyncio.run(refused()) == [503] * 3


def test_a_comment_keeps_a_silent_stream_alive(ask: httpx.Client, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(streams, "_BEAT_SECONDS", 0.005)
    assert ask.get("/v1/desk/ticks?most=3").text.count(":") > ask.get("/v1/desk/ticks?most=0").text.count(":") + 9


def test_a_server_that_stops_ends_its_streams(desk_bundle: Path):
    with run(desk_bundle, host=host(more=desk_routes), local=True) as running, running.client() as ask:
        with ask.stream("GET", "/v1/desk/ticks") as response:
            pieces = response.iter_text()
            next(pieces)
            running.site.draining = True
            assert "data" in "".join(pieces)  # it ends
        refused = ask.get("/v1/desk/ticks")
        assert (refused.status_code, error_kind(refused)) == (503, "stopping")


def test_an_answer_can_come_as_events(ask: httpx.Client):
    plain = ask.post("/v1/desk/answer", json={"text": "red"}).json()
    (first, waiting), (second, answer) = events_of(ask.post("/v1/desk/answer", json={"text": "red"}, headers=EVENTS))
    assert (first, waiting) == ("waiting", {"before": 0})
    assert second == "answer"
    assert {**answer, "milliseconds": 0} == {**plain, "milliseconds": 0}


def test_an_answer_that_fails_is_an_event_and_a_request_that_is_wrong_a_status(ask: httpx.Client):
    found = events_of(ask.post("/v1/desk/answer", json={"text": "wrong"}, headers=EVENTS))
    assert found[-1] == ("error", {"error": {"kind": "invalid", "message": "this cannot be answered"}})
    bug = events_of(ask.post("/v1/desk/answer", json={"text": "boom"}, headers=EVENTS))
    assert bug[-1][1]["error"]["kind"] == "internal"
    assert "secret" not in json.dumps(bug)
    assert ask.post("/v1/desk/answer", json={"count": 99}, headers=EVENTS).status_code == 422
    assert ask.post("/v1/desk/answer", json={"text": "red"}, headers={"accept": "*/*"}).json()["answer"] == "It is red"


def test_who_waits_is_told_how_many_are_before(served: Running, ask: httpx.Client):
    def slow() -> None:
        httpx.post(f"{served.url}/v1/desk/answer", json={"text": "sleep 500 red"}, timeout=60)

    threads = [threading.Thread(target=slow) for _ in range(4)]
    for thread in threads:
        thread.start()
    wait(lambda: served.site.services[0].depth >= 2)
    found = events_of(ask.post("/v1/desk/answer", json={"text": "red"}, headers=EVENTS))
    assert found[0][0] == "waiting"
    assert 1 <= found[0][1]["before"] <= 3
    assert found[-1][0] == "answer"
    for thread in threads:
        thread.join()
