"""The command in a process of its own: how it starts, what it needs, and how it stops."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.apps.conftest import START, Call
from tests.apps.server.conftest import Process, wait
from triptych_apps.server.access import is_loopback


def test_sigterm_under_load_leaves_no_request_without_its_answer(start: Callable[..., Process]):
    process = start("--drain", "0.3")
    url = process.ready()
    port = int(url.rpartition(":")[2])
    body = b'{"text": "sleep 5 red"}'
    request = b"POST /v1/desk/answer HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    request += b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    asked, answered, silent = [0] * 8, [0] * 8, [0] * 8

    def client(number: int) -> None:
        """Ask on one connection until the server says that it ends, as a well-behaved client does."""
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection, connection.makefile("rb") as file:
            while True:
                connection.sendall(request)
                asked[number] += 1
                status = file.readline()
                if not status:
                    silent[number] += 1
                    return
                headers = {}
                while line := file.readline().strip().lower():
                    name, _, value = line.partition(b": ")
                    headers[name] = value
                assert len(file.read(int(headers[b"content-length"]))) == int(headers[b"content-length"])
                assert status.split()[1] == b"200"
                answered[number] += 1
                if headers.get(b"connection") == b"close":
                    return

    threads = [threading.Thread(target=client, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    wait(lambda: sum(answered) > 20)
    process.process.send_signal(signal.SIGTERM)
    for thread in threads:
        thread.join(60)
    assert process.end() == 0
    assert asked == answered
    assert sum(silent) == 0
    logged = [line for line in process.events("call") if line["route"] == "POST /v1/desk/answer"]
    assert len(logged) == sum(answered)
    with pytest.raises(httpx.ConnectError):
        httpx.get(url + "/health/live")


def test_while_it_stops_it_says_so_and_still_answers(start: Callable[..., Process]):
    process = start("--drain", "2")
    url = process.ready()
    with httpx.Client(base_url=url) as client:
        assert client.get("/health/ready").status_code == 200
        process.process.send_signal(signal.SIGTERM)
        wait(lambda: bool(process.events("stopping")))
        assert client.get("/health/ready").status_code == 503
        response = client.post("/v1/desk/answer", json={"text": "red"})
        assert (response.status_code, response.headers["connection"]) == (200, "close")
    assert process.end() == 0


def test_a_long_answer_is_waited_for(start: Callable[..., Process]):
    process = start("--drain", "0")
    url = process.ready()
    found: list[int] = []
    ask = {"json": {"text": "sleep 1500 red"}, "timeout": 30}
    thread = threading.Thread(target=lambda: found.append(httpx.post(url + "/v1/desk/answer", **ask).status_code))  # type: ignore[arg-type]
    thread.start()
    time.sleep(0.7)
    process.process.send_signal(signal.SIGINT)
    thread.join(30)
    assert (found, process.end()) == ([200], 0)


SLOW_START = """
import time
from triptych import predictor
load = predictor.load
def slow(*args, **options):
    time.sleep(2)
    return load(*args, **options)
predictor.load = slow
"""


def test_the_probes_tell_when_it_is_not_ready_yet(start: Callable[..., Process]):
    process = start(code=SLOW_START + START.format(program="triptych"))
    with httpx.Client(base_url=process.url) as client:
        found = {name: client.get(f"/health/{name}").status_code for name in ("live", "startup", "ready")}
        early = client.post("/v1/desk/answer", json={"text": "red"})
        assert client.get("/openapi.json").status_code == 200
        if not process.events("ready"):
            assert found == {"live": 200, "startup": 503, "ready": 503}
            assert (early.status_code, early.json()["error"]["kind"]) == (503, "starting")
            assert int(early.headers["retry-after"]) >= 1
        process.ready()
        assert client.get("/health/startup").status_code == 200
        assert client.post("/v1/desk/answer", json={"text": "red"}).status_code == 200


def test_the_log_knows_nothing_personal(start: Callable[..., Process]):
    process = start()
    url = process.ready()
    with httpx.Client(base_url=url, headers={"user-agent": "Someone's browser", "x-note": "privately"}) as client:
        client.post("/v1/desk/answer", json={"text": "my number is 4711 red"})
        client.post("/v1/desk/answer", json={"text": "boom 4711"})
        client.post("/v1/desk/answer", json={"text": "wrong 4711"})
        client.get("/v1/4711?token=4711")
    process.process.send_signal(signal.SIGTERM)
    assert process.end() == 0
    text = "".join(process.raw)
    for private in ("4711", "browser", "privately", "a secret of the client"):
        assert private not in text
    assert len(process.lines) == len(process.raw)  # JSON to the last line
    calls = process.events("call")
    assert [(c["route"], c["status"]) for c in calls] == [
        ("POST /v1/desk/answer", 200), ("POST /v1/desk/answer", 500), ("POST /v1/desk/answer", 422), ("other", 404),
    ]  # fmt: skip
    assert {"time", "level", "request", "milliseconds", "bytes", "variant"} <= set(calls[0])
    bugs = process.events("bug")
    assert [bug["error"] for bug in bugs] == ["RuntimeError"]
    assert bugs[0]["request"] == calls[1]["request"]
    assert any("desk.py" in place for place in bugs[0]["trace"])


NO_TORCH = """
import sys
class Forbidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "transformers", "sentence_transformers", "timm", "sklearn"):
            raise AssertionError(f"{name} was imported")
sys.meta_path.insert(0, Forbidden())
"""


def test_serving_an_exported_bundle_imports_neither_torch_nor_transformers(start: Callable[..., Process]):
    process = start(code=NO_TORCH + START.format(program="triptych"))
    url = process.ready()
    for body in ({"text": "red"}, {"text": "blue", "count": 2}):
        assert httpx.post(url + "/v1/desk/answer", json=body).status_code == 200
    process.process.send_signal(signal.SIGTERM)
    assert process.end() == 0


WITHOUT = """
import sys
class Without:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {package!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Without())
"""


@pytest.mark.parametrize("package", ["fastapi", "python_multipart"])
def test_without_the_extra_one_line_says_how_to_get_it(start: Callable[..., Process], package: str):
    process = start(code=WITHOUT.format(package=package) + START.format(program="triptych"))
    assert process.end() == 6
    said = "".join(process.raw)
    assert said == f"error: serving needs the package {package}: pip install 'triptych[serve]'\n"


def test_keys_can_be_kept_without_the_extra(call: Call):
    made = call("keys", "add", "shop", "--vertical", "shop", "--per-minute", "5", "--budget", "2.5", "--json")
    assert made.code == 0
    key = json.loads(made.out)
    assert key["key"].startswith(f"tt_{key['id']}_")
    listed = call("keys", "list", "--json")
    assert json.loads(listed.out)["keys"] == [{name: value for name, value in key.items() if name != "key"}]
    assert key["key"] not in listed.out
    assert call("keys", "revoke", key["id"]).out == f"{key['id']} (shop) is revoked.\n"
    assert json.loads(call("keys", "list", "--json").out)["keys"][0]["revoked"]
    assert call("keys", "revoke", "nobody").code == 2
    assert call("keys", "add", "shop").out.startswith("tt_")
    assert "shop" in call("keys", "list").out


def test_to_revoke_the_last_key_does_not_open_the_door(start: Callable[..., Process], call: Call):
    key = json.loads(call("keys", "add", "shop", "--json").out)
    call("keys", "revoke", key["id"])
    url = start().ready()
    assert httpx.post(url + "/v1/desk/answer", json={"text": "red"}).status_code == 401


def test_an_open_door_to_the_network_is_refused(call: Call, desk_plugin: Path, desk_bundle: Path, monkeypatch: Any):
    monkeypatch.syspath_prepend(str(desk_plugin))
    done = call("serve", desk_bundle, "--host", "0.0.0.0", "--port", "0")
    assert done.code == 2
    assert "triptych keys add" in done.err
    assert "--no-auth" in done.err


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False),
     ("192.168.1.4", False), ("localhost.evil.example", False), ("", False)],
)  # fmt: skip
def test_what_is_this_machine_alone(host: str, loopback: bool):
    assert is_loopback(host) is loopback


def test_with_a_key_it_may_listen_to_the_network(start: Callable[..., Process], call: Call):
    key = call("keys", "add", "shop").out.strip()
    process = start("--host", "0.0.0.0")
    port = process.ready().rpartition(":")[2]
    url = f"http://127.0.0.1:{port}/v1/desk/answer"
    assert httpx.post(url, json={"text": "red"}).status_code == 401
    assert httpx.post(url, json={"text": "red"}, headers={"authorization": f"Bearer {key}"}).status_code == 200
    process.process.send_signal(signal.SIGTERM)
    assert process.end() == 0
    assert key.split("_", 2)[2] not in "".join(process.raw)


def test_what_keeps_it_from_serving_is_told_with_its_exit_code(
    call: Call, desk_plugin: Path, desk_bundle: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.syspath_prepend(str(desk_plugin))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = call("serve", desk_bundle, "--port", taken.getsockname()[1])
    assert done.code == 6
    assert "give another --host or --port" in done.err
    done = call("serve", desk_bundle, desk_bundle, "--port", 0)
    assert done.code == 2
    assert "two bundles of the vertical 'desk'" in done.err
    assert call("serve", "nothing", "--port", 0).code == 4


def test_a_damaged_bundle_ends_it(start: Callable[..., Process], desk_bundle: Path, tmp_path: Path):
    damaged = tmp_path / "damaged"
    shutil.copytree(desk_bundle, damaged)
    next(damaged.rglob("cascade.json")).write_text("{}")
    process = start(bundle=damaged)
    assert process.end() == 4
    assert "hash mismatch" in process.raw[-1]


def test_only_named_proxies_are_believed(start: Callable[..., Process]):
    """Behind a proxy that was named, the address of the client is the one that the proxy tells."""
    process = start(
        "--no-auth", "--proxy", "127.0.0.1", code=textwrap.dedent(TELLING) + START.format(program="triptych")
    )  # fmt: skip
    url = process.ready()
    headers = {"x-forwarded-for": "203.0.113.9", "x-forwarded-proto": "https"}
    httpx.get(url + "/health/live", headers=headers)
    wait(lambda: any("203.0.113.9" in line for line in process.raw))
    assert "https 203.0.113.9\n" in process.raw


TELLING = """
    import sys
    from triptych_apps.server import edge
    call = edge.Edge.__call__
    async def telling(self, scope, receive, send):
        if scope["type"] == "http":
            print(scope["scheme"], scope["client"][0], file=sys.stderr, flush=True)
        await call(self, scope, receive, send)
    edge.Edge.__call__ = telling
"""
