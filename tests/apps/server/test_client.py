"""The Python client against running servers: all that OpenAPI describes, and what it does when told to wait."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.apps.server import desk_routes
from tests.apps.server.conftest import Running, run
from tests.apps.server.test_answers import picture
from tests.apps.server.test_plugin_routes import host
from triptych.errors import ConfigError
from triptych_apps.client import Client, ServerError
from triptych_apps.server.access import Access
from triptych_apps.server.keys import KeyStore


@pytest.fixture(scope="module")
def served(desk_bundle: Path) -> Iterator[Running]:
    with run(desk_bundle, host=host(more=desk_routes), local=True) as running:
        yield running


@pytest.fixture(scope="module")
def client(served: Running) -> Client:
    return Client(served.url, patience=0)


def sample(document: dict[str, Any], schema: dict[str, Any]) -> Any:
    """A value that a schema allows: of an object, what is required."""
    if "$ref" in schema:
        return sample(document, document["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    if "enum" in schema or "const" in schema:
        return schema.get("const", schema.get("enum", [None])[0])
    if "anyOf" in schema:
        return sample(document, schema["anyOf"][0])
    kind = schema["type"]
    if kind == "object":
        return {name: sample(document, schema["properties"][name]) for name in schema.get("required", ())}
    if kind == "array":
        return [sample(document, schema["items"])] * max(1, schema.get("minItems", 1))
    return {"string": "red", "integer": schema.get("minimum", 1), "number": 0.5, "boolean": True}[kind]


def test_every_operation_can_be_asked_and_answers_as_it_is_described(client: Client):
    document = client.call("/openapi.json")
    asked = []
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            given = {p["name"]: (p["in"], sample(document, p["schema"])) for p in operation.get("parameters", ())
                     if p["required"]}  # fmt: skip
            url = path.format(**{name: value for name, (place, value) in given.items() if place == "path"})
            query = {name: value for name, (place, value) in given.items() if place == "query"}
            content = operation.get("requestBody", {}).get("content", {})
            body = sample(document, content["application/json"]["schema"]) if content else None
            if path.endswith(("/answer", "/answers")):  # whose fields are all optional, and not all absent
                body = {"text": "red"} if path.endswith("/answer") else {"requests": [{"text": "red"}]}
            described = operation["responses"]["200"]["content"]
            if list(described) == ["text/event-stream"]:
                found = next(iter(client.stream(url, query=query, body=body)))
                assert found[0] == "message"
            else:
                status, found = outcome(client, url, method.upper(), query, body)
                assert str(status) in operation["responses"], (path, status, found)
                content = operation["responses"][str(status)]["content"]
                if "application/json" in content:
                    check(document, content["application/json"]["schema"], found)
                else:
                    assert isinstance(found, bytes)
            asked.append(operation["operationId"])
    assert len(set(asked)) == len(asked)
    assert {"about-desk", "answer-desk", "answers-desk", "metrics", "health-ready"} <= set(asked)
    assert {"get-desk-echo", "get-desk-picture", "post-desk-drawers-drawer", "get-desk-ticks"} <= set(asked)


def outcome(client: Client, url: str, method: str, query: Any, body: Any) -> tuple[int, Any]:
    """The status and the body, whatever came."""
    try:
        return 200, client.call(url, method=method, query=query, body=body)
    except ServerError as error:
        return error.status, {"error": {"kind": error.kind, "message": error.message}}


def check(document: dict[str, Any], schema: dict[str, Any], found: Any) -> None:
    jsonschema.Draft202012Validator({**schema, "components": document["components"]}).validate(found)


def test_an_answer_with_a_file(client: Client, tmp_path: Path):
    (tmp_path / "a.png").write_bytes(picture())
    answer = client.answer("desk", text="red", image=str(tmp_path / "a.png"), paper=b"abc", tags=["a"], options=None)
    assert answer["received"] == {"image": len(picture()), "paper": 3, "tags": ["a"], "count": 1, "options": None}
    assert client.about("desk")["vertical"] == "desk"


def test_several_answers_each_for_itself(client: Client):
    good, bad, last = client.answers("desk", [{"text": "red"}, {"text": "wrong"}, {"text": "green"}])
    assert isinstance(good, dict)
    assert isinstance(last, dict)
    assert (good["answer"], last["answer"]) == ("It is red", "It is green")
    assert isinstance(bad, ServerError)
    assert bad.message == "this cannot be answered"


def test_routes_and_streams(client: Client):
    assert client.call("/v1/desk/picture") == desk_routes.PICTURE
    echo = client.call("/v1/desk/echo", query={"words": "a & b", "colours": ["red", "blue"], "share": None})
    assert (echo["words"], echo["colours"]) == ("a & b", ["red", "blue"])
    events = list(client.stream("/v1/desk/ticks", query={"most": 3}))
    assert events == [("message", {"number": number}) for number in range(3)]
    (first, waiting), (last, answer) = client.answer_events("desk", text="red")
    assert (first, waiting, last, answer["answer"]) == ("waiting", {"before": 0}, "answer", "It is red")


def test_what_the_server_refuses_is_an_error(client: Client):
    with pytest.raises(ServerError, match="422") as caught:
        client.answer("desk", text="wrong")
    assert (caught.value.status, caught.value.kind) == (422, "invalid")
    with pytest.raises(ServerError, match="404"):
        client.about("nobody")
    with pytest.raises(ConfigError, match="no address"):
        Client("localhost:8000")
    with pytest.raises(OSError, match="refused"):
        Client("http://127.0.0.1:9").about("desk")


def test_it_sends_its_key(desk_bundle: Path, tmp_path: Path):
    store = KeyStore(tmp_path / "keys.sqlite")
    _, key = store.add("all")
    with run(desk_bundle, access=Access(store)) as running:
        assert Client(running.url, key=key).answer("desk", text="red")["answer"] == "It is red"
        with pytest.raises(ServerError, match="401"):
            Client(running.url).about("desk")


class Busy(BaseHTTPRequestHandler):
    """Has something else to do, twice."""

    asked = 0
    kinds = (429, 503)

    def do_GET(self) -> None:
        cls = type(self)
        status = cls.kinds[cls.asked] if cls.asked < len(cls.kinds) else 200
        cls.asked += 1
        body = b'{"vertical": "desk"}' if status == 200 else b"<html>"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if status != 200:
            self.send_header("Retry-After", "7")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


class Short(BaseHTTPRequestHandler):
    """Breaks off."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "10")
        self.end_headers()
        self.wfile.write(b"{")

    log_message = Busy.log_message


class Late(BaseHTTPRequestHandler):
    """Gives up on what it was asked."""

    def do_POST(self) -> None:
        body = b'{"error": {"kind": "timeout", "message": "no answer within 30 seconds"}}'
        self.send_response(503)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Retry-After", "1")
        self.end_headers()
        self.wfile.write(body)

    log_message = Busy.log_message


def test_what_may_have_been_done_is_not_asked_for_again():
    with HTTPServer(("127.0.0.1", 0), Late) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        with pytest.raises(ServerError, match="no answer within 30 seconds"):
            Client(f"http://127.0.0.1:{server.server_port}").answer("desk", text="hello")
        thread.join()


def test_what_breaks_off_is_a_connection_that_failed():
    with HTTPServer(("127.0.0.1", 0), Short) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        with pytest.raises(ConnectionError, match="IncompleteRead"):
            Client(f"http://127.0.0.1:{server.server_port}").about("desk")
        thread.join()


@pytest.mark.parametrize(("url", "port"), [("http://[::1]", 80), ("http://[::1]:8000", 8000), ("https://[::1]", 443)])
def test_an_address_in_brackets_is_whole(url: str, port: int, monkeypatch: pytest.MonkeyPatch):
    asked: list[tuple[str, int]] = []

    def connect(self: http.client.HTTPConnection) -> None:
        asked.append((self.host, self.port))
        raise ConnectionError("nobody there")

    monkeypatch.setattr(http.client.HTTPConnection, "connect", connect)
    monkeypatch.setattr(http.client.HTTPSConnection, "connect", connect)
    with pytest.raises(ConnectionError, match="nobody there"):
        Client(url).about("desk")
    assert asked == [("::1", port)]


def test_it_waits_as_long_as_it_is_told_and_no_longer_than_it_has_patience(monkeypatch: pytest.MonkeyPatch):
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    with HTTPServer(("127.0.0.1", 0), Busy) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        try:
            assert Client(url).about("desk") == {"vertical": "desk"}
            assert (waited, Busy.asked) == ([7.0, 7.0], 3)
            Busy.asked = 0
            with pytest.raises(ServerError, match="429") as caught:
                Client(url, patience=5).about("desk")
            assert (caught.value.retry_after, Busy.asked) == (7.0, 1)
        finally:
            server.shutdown()
            thread.join()
