"""What a careless or hostile request, a damaged file or an early signal may not do."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import Field

from tests.apps.conftest import START, Call
from tests.apps.server import desk
from tests.apps.server.conftest import Process, Running, error_kind, run, wait
from tests.apps.server.test_launch import SLOW_START
from triptych.errors import DataError
from triptych.vertical import Request
from triptych_apps.server import cache
from triptych_apps.server.access import Access
from triptych_apps.server.cache import content_key, content_keys
from triptych_apps.server.keys import KeyStore
from triptych_apps.server.parsing import MAX_DEPTH, check_numbers, parse_json
from triptych_apps.server.problems import Problem
from triptych_apps.server.settings import Settings

MOST = 1_000


def status_of(content: bytes) -> int:
    with pytest.raises(Problem) as raised:
        parse_json(content, MOST)
    return raised.value.status


@pytest.mark.parametrize(
    "content",
    [b"[" + b"0," * MOST + b"0,0]", b"[" + b"[]," * MOST + b"[]]", b"{" + b'"a":0,' * (MOST + 1) + b'"b":0}',
     b"[" + b'"",' * 5 * MOST + b'""]', b'["\\\\",' + b"{}," * MOST + b"0]", b'["\\"",' + b"{}," * MOST + b"0]"],
)  # fmt: skip
def test_json_of_too_many_values_is_refused_unread(content: bytes, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("triptych_apps.server.parsing.pydantic_core.from_json", pytest.fail)
    assert status_of(content) == 413


@pytest.mark.parametrize("text", ["," * 5_000, "[{" * 5_000, '\\"' * 5_000, "\\\\" * 5_000, '\\\\\\",' * 2_000])
def test_marks_within_a_text_are_no_values(text: str):
    assert parse_json(b'{"text": "' + text.encode() + b'", "more": [1, 2]}', MOST)["more"] == [1, 2]


def test_json_may_be_nested_so_deep_and_no_deeper():
    assert parse_json(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH, MOST)
    for depth in (MAX_DEPTH + 1, 100, 900):
        assert status_of(b"[" * depth + b"]" * depth) == 400


@pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN", "Infinity"])
def test_no_number_is_infinite(number: str):
    assert status_of(b'{"a": [{"b": %s}]}' % number.encode()) in (400, 422)


def test_nor_by_way_of_a_text():
    class Priced(Request):
        price: float = 0.0
        more: list[dict[str, float]] = Field(default=[])

    check_numbers(Priced(price=1.0, more=[{"a": 1.0}]))
    for wrong in ({"price": "nan"}, {"price": "inf"}, {"more": [{"a": "-inf"}]}):
        with pytest.raises(Problem, match="NaN or infinite"):
            check_numbers(Priced.model_validate(wrong))


def test_a_reason_does_not_repeat_a_long_name(ask: httpx.Client):
    response = ask.post("/v1/desk/answer", json={"n" * 100_000: 1})
    assert (response.status_code, error_kind(response)) == (422, "invalid")
    assert len(response.content) < 3_000


class Nested(Request):
    parts: dict[str, Any] = Field(default={})


def test_bytes_at_any_depth_count_for_the_cache():
    values: list[Any] = [
        {}, {"a": b"\xff"}, {"a": b"\xfe"}, {"a": [b"\xff"]}, {"a": {"b": b"\xff"}}, {"a": "/w=="}, {"a": ["x", "y"]},
        {"a": ["x"], "b": "y"}, {"a": [["x"], "y"]}, {"a": [["x", "y"]]}, {"a": [b"xy"]}, {"a": [b"x", b"y"]}, {"a": 1},
        {"a": "1"}, {"a": True}, {"a": None}, {"a": 1.5},
    ]  # fmt: skip
    keys = [content_key(Nested(parts=value)) for value in values]
    assert len(set(keys)) == len(values)
    assert content_key(Nested(parts={"a": 1, "b": 2})) == content_key(Nested(parts={"b": 2, "a": 1}))


def test_much_is_hashed_beside_the_event_loop(monkeypatch: pytest.MonkeyPatch):
    apart: list[int] = []
    to_thread = asyncio.to_thread

    async def watched(work: Callable[[], Any]) -> Any:
        apart.append(1)
        return await to_thread(work)

    monkeypatch.setattr(cache.asyncio, "to_thread", watched)
    small, large = desk.DeskRequest(text="red"), desk.DeskRequest(image=b"x" * 50_000)
    for requests, expected in (([small], 0), ([large], 1), ([small, small], 1), ([desk.DeskRequest(tags=["a"])], 1)):
        apart.clear()
        assert asyncio.run(content_keys(requests)) == [content_key(request) for request in requests]
        assert len(apart) == expected


def test_what_is_asked_twice_in_one_call_is_answered_once(desk_bundle: Path):
    with run(desk_bundle, Settings(cache=9, drain_seconds=0)) as running, running.client() as client:
        words = ["red", "blue", "red", "red", "boom", "boom"]
        found = client.post("/v1/desk/answers", json={"requests": [{"text": word} for word in words]}).json()["answers"]
        value = running.site.metrics.registry.get_sample_value
        assert value("triptych_batch_size_sum", {"vertical": "desk"}) == 3
        assert [one.get("answer") or one["error"]["kind"] for one in found] == [
            "It is red", "It is blue", "It is red", "It is red", "internal", "internal",
        ]  # fmt: skip
        told = client.get("/metrics").text.splitlines()
        assert sum(float(line.split()[-1]) for line in told if 'mode="cache"' in line and "_total" in line) == 2


@pytest.fixture
def guarded(desk_bundle: Path, tmp_path: Path) -> Iterator[tuple[Running, Path, str]]:
    path = tmp_path / "keys.sqlite"
    store = KeyStore(path)
    _, key = store.add("shop")
    with run(desk_bundle, access=Access(store)) as running:
        yield running, path, key


def test_keys_that_cannot_be_read_are_no_fault_of_the_client(guarded: tuple[Running, Path, str]):
    running, path, key = guarded
    with running.client(headers={"authorization": f"Bearer {key}"}) as client:
        assert client.get("/v1/desk").status_code == 200
        with closing(sqlite3.connect(path)) as other:
            other.execute("ALTER TABLE keys RENAME TO gone")
            other.commit()
            response = client.get("/v1/desk")
            assert (response.status_code, error_kind(response)) == (503, "unavailable")
            assert "gone" not in response.text
            other.execute("ALTER TABLE gone RENAME TO keys")
            other.commit()
        assert client.get("/v1/desk").status_code == 200


def test_no_error_of_sqlite_gets_out_of_the_store(tmp_path: Path):
    damaged = tmp_path / "damaged.sqlite"
    damaged.write_bytes(b"this is no database" * 100)
    with pytest.raises(DataError, match="damaged"):
        KeyStore(damaged)
    store = KeyStore(tmp_path / "keys.sqlite")
    key, _ = store.add("shop")
    with closing(sqlite3.connect(store.path)) as other:
        other.execute("UPDATE keys SET verticals = 'no JSON'")
        other.commit()
        with pytest.raises(DataError, match="cannot be read"):
            store.all()
        other.execute("DROP TABLE keys")
        other.execute("CREATE TABLE keys (other TEXT)")
        other.commit()
    for change in (lambda: store.add("two"), lambda: store.revoke(key.id), lambda: store.charge({key.id: 1.0})):
        with pytest.raises(DataError, match="cannot be written"):
            change()
    store.close()


def test_a_proxy_does_not_open_the_door(call: Call, desk_plugin: Path, desk_bundle: Path, monkeypatch: Any):
    monkeypatch.syspath_prepend(str(desk_plugin))
    done = call("serve", desk_bundle, "--proxy", "127.0.0.1", "--port", "0")
    assert done.code == 2
    assert "reaches the proxy" in done.err
    for wrong in ("*", "proxy.example", "10.0.0.1/8"):
        done = call("serve", desk_bundle, "--proxy", wrong, "--port", "0")
        assert done.code == 2
        assert f"--proxy {wrong}" in done.err


def test_only_probes_are_quiet(served: Running, ask: httpx.Client, caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO", "triptych.server")
    for path in ("/health/live", "/metrics", "/health/other", "/metricsmore", "/health/live/"):
        ask.get(path)
    wait(lambda: served.site.edge.open == 0)
    assert len([record for record in caplog.records if record.message == "call"]) == 3


def test_a_signal_while_it_starts_ends_it_as_soon_as_a_bundle_is_open(
    start: Callable[..., Process], customer_service: Path
):
    process = start(str(customer_service), "--drain", "0", code=SLOW_START + START.format(program="triptych"))
    assert process.url
    process.process.send_signal(signal.SIGTERM)
    assert process.end() == 0
    assert len(process.events("ready")) <= 1
    assert process.events("stopping")


def test_a_second_signal_ends_it_at_once(start: Callable[..., Process]):
    process = start("--drain", "30", code=SLOW_START + START.format(program="triptych"))
    assert process.url
    process.process.send_signal(signal.SIGTERM)
    wait(lambda: bool(process.events("stopping")))
    process.process.send_signal(signal.SIGTERM)
    assert process.end() == 128 + signal.SIGTERM
