"""Schemathesis over everything that a real server describes: its own routes, and those of plugins."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from runpy import run_path
from typing import Any, ClassVar

import httpx
import pytest

from tests.apps.conftest import ROOT
from tests.apps.server.conftest import Process

pytest.importorskip("schemathesis", reason="schemathesis is not installed")
fuzz = run_path(str(ROOT / "tools" / "fuzz_server.py"))["fuzz"]
EXAMPLES = 2


def test_every_answer_is_one_that_was_described(start: Callable[..., Process], customer_service: Path):
    """The other verticals' routes are tried in the same way by `tools/fuzz_server.py`, which takes minutes."""
    process = start(str(customer_service))
    url = process.url
    process.wait_for("ready", 2)
    document = httpx.get(f"{url}/openapi.json").json()
    found = fuzz(url, examples=EXAMPLES, seed=7)
    assert not found.problems, "\n\n".join(f"{what}\n{how}" for what, how in found.problems.items())
    described = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    assert set(found.operations) == described
    assert all(found.operations.values())
    assert found.statuses[200] > 20
    assert not [status for status in found.statuses if status >= 500]
    assert not process.events("bug")
    assert httpx.post(f"{url}/v1/desk/answer", json={"text": "red"}).json()["answer"] == "It is red"


class Liar(BaseHTTPRequestHandler):
    """Describes an answer with a word, and gives what the test says."""

    answer: ClassVar[tuple[int, bytes]]

    def do_GET(self) -> None:
        status, body = self.answer
        if self.path == "/openapi.json":
            word = {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]}
            responses = {"200": {"description": "A word.", "content": {"application/json": {"schema": word}}}}
            paths: dict[str, Any] = {"/word": {"get": {"responses": responses}}}
            document = {"openapi": "3.1.0", "info": {"title": "Liar", "version": "1"}, "paths": paths}
            status, body = 200, json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Not to standard error."""


@contextmanager
def liar(status: int, body: bytes) -> Iterator[str]:
    handler = type("Handler", (Liar,), {"answer": (status, body)})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "body", "check"),
    [(500, b"{}", "not_a_server_error"), (418, b"{}", "status_code_conformance"),
     (200, b'{"word": 7}', "response_schema_conformance")],
)  # fmt: skip
def test_what_was_not_described_is_found(status: int, body: bytes, check: str):
    with liar(status, body) as url:
        found = fuzz(url, examples=1, seed=7, phases=("fuzzing",))
    assert any(check in what for what in found.problems), found.problems
