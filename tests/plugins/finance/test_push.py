"""The endpoint, over real connections and with a real store."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from triptych.errors import ConfigError, DataError, MissingError
from triptych_finance.sources import push
from triptych_finance.sources.push import Push
from triptych_finance.store.store import Store
from triptych_finance.stream.item import Item
from triptych_finance.stream.source import Source

LINES = "application/x-ndjson"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store.sqlite", writer=True) as found:
        yield found


@pytest.fixture
def endpoint(store: Store) -> Iterator[Push]:
    found = Push.open("push:127.0.0.1:0", name="s", store=store)
    yield found
    found.close()


def record(number: int, **more: Any) -> str:
    return json.dumps({"id": f"n{number}", "text": f"News {number}", "published": "2024-05-30", **more})


def post(
    endpoint: Push | int, body: str | bytes, kind: str | None = "application/json", path: str = "/items", **headers: str
) -> tuple[int, Any]:
    """Status and content of the answer."""
    port = endpoint if isinstance(endpoint, int) else endpoint.port
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if kind is not None:
        named["Content-Type"] = kind
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", path, body.encode() if isinstance(body, str) else body, named)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def waiting(store: Store) -> list[str]:
    with store.reading() as tx:
        return [row.item.id for row in tx.inbox(0, 10_000)]


def ids(items: list[Item]) -> list[str]:
    return [item.id for item in items]


def test_one_item_is_kept_answered_polled_and_dropped(endpoint: Push, store: Store) -> None:
    assert isinstance(endpoint, Source)
    assert post(endpoint, record(1, title="Mills", entities="A|B", desk="grain")) == (202, {"ids": ["n1"]})
    poll = endpoint.poll(None, 10, 0.0)
    (item,) = poll.items
    assert (item.source, item.text, item.entities, item.metadata) == ("s", "News 1", ("A", "B"), {"desk": "grain"})
    assert (poll.problems, poll.ended) == ([], False)
    endpoint.acknowledge(poll.cursor)
    assert waiting(store) == []
    again = endpoint.poll(poll.cursor, 10, 0.0)
    assert (again.items, again.cursor) == ([], poll.cursor)


def test_items_come_one_a_line_and_in_order(endpoint: Push) -> None:
    body = "\n".join([record(1), "", record(2), record(3)]) + "\n"
    assert post(endpoint, body, LINES) == (202, {"ids": ["n1", "n2", "n3"]})
    first = endpoint.poll(None, 2, 0.0)
    second = endpoint.poll(first.cursor, 2, 0.0)
    assert (ids(first.items), ids(second.items)) == (["n1", "n2"], ["n3"])


def test_numbers_go_on_after_the_inbox_was_emptied(endpoint: Push) -> None:
    cursor = None
    for number in range(3):
        post(endpoint, record(number))
        poll = endpoint.poll(cursor, 10, 0.0)
        assert ids(poll.items) == [f"n{number}"]
        endpoint.acknowledge(poll.cursor)
        cursor = poll.cursor


def test_a_poll_waits_for_a_request(endpoint: Push) -> None:
    found: list[Item] = []
    thread = threading.Thread(target=lambda: found.extend(endpoint.poll(None, 10, 60.0).items))
    thread.start()
    post(endpoint, record(1))
    thread.join(60.0)
    assert ids(found) == ["n1"]


def test_without_an_id_the_same_request_is_the_same_item(endpoint: Push) -> None:
    body = json.dumps({"text": "x", "published": "2024-05-30"})
    assert post(endpoint, body) == post(endpoint, body)


def test_two_endpoints_on_one_store_keep_to_their_own(endpoint: Push, store: Store) -> None:
    other = Push.open("push:127.0.0.1:0", name="other", store=store)
    try:
        post(endpoint, record(1))
        post(other, record(2))
        poll = other.poll(None, 10, 0.0)
        assert ids(poll.items) == ["n2"]
        other.acknowledge(poll.cursor)
        assert waiting(store) == ["n1"]
    finally:
        other.close()


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        ("{broken", "application/json", "item: not valid JSON"),
        ("[]", "application/json", "item: must be a JSON object"),
        (b'{"text": "caf\xe9"}', "application/json", "item: not UTF-8"),
        ("", "application/json", "item: not valid JSON"),
        ("\n\n", LINES, "holds no item"),
        (f"{record(1)}\n{{}}\n", LINES, "line 2: no text"),
        (f"{record(1)}\n\n{record(2, published='soon')}", LINES, "line 3: 'published': 'soon' is no time"),
        (record(1, published="2999-01-01"), "application/json", "item: 'published' is 2999"),
        (record(1, id="x" * 501), "application/json", "item: 'id' is longer"),
    ],
)
def test_a_bad_request_names_line_and_field_and_nothing_of_it_is_kept(
    endpoint: Push, store: Store, body: str | bytes, kind: str, words: str
) -> None:
    status, content = post(endpoint, body, kind)
    assert status == 400
    assert words in content["problem"]
    assert waiting(store) == []


def test_too_many_items_are_refused(endpoint: Push, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push, "MOST_ITEMS", 2)
    status, content = post(endpoint, "\n".join(map(record, range(3))), LINES)
    assert (status, "3 items, and 2 are allowed" in content["problem"]) == (400, True)


def test_a_request_beyond_the_limit_is_answered_413(store: Store) -> None:
    small = Push.open("push:0?max_mb=1", name="s", store=store)
    try:
        status, content = post(small, record(1, text="x" * (8 << 20)))
        assert status == 413
        assert "1,048,576 are allowed" in content["problem"]
        assert post(small, record(1, text="x" * 1_000_000))[0] == 202
    finally:
        small.close()


def test_ten_megabytes_of_text_are_taken(endpoint: Push) -> None:
    assert post(endpoint, record(1, text="x" * (10 << 20)))[0] == 202
    assert post(endpoint, record(2, text="x" * ((10 << 20) + 1)))[0] == 400


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_what_a_browser_could_send_unasked_is_refused(endpoint: Push, store: Store, kind: str | None) -> None:
    assert post(endpoint, record(1), kind)[0] == 415
    assert waiting(store) == []


def test_other_paths_and_methods_have_nothing(endpoint: Push) -> None:
    assert post(endpoint, record(1), path="/")[0] == 404
    connection = http.client.HTTPConnection("127.0.0.1", endpoint.port, timeout=60)
    connection.request("GET", "/items")
    assert connection.getresponse().status == 501
    connection.close()


def raw(endpoint: Push, request: bytes) -> bytes:
    """The answer to bytes as they are; the sender then says no more."""
    with socket.create_connection(("127.0.0.1", endpoint.port), timeout=60) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := connection.recv(65_536):
            answer += piece
    return answer


HEAD = b"POST /items HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (HEAD + b"\r\n{}", b"411"),
        (HEAD + b"Content-Length: many\r\n\r\n{}", b"411"),
        (HEAD + b"Content-Length: -1\r\n\r\n{}", b"411"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", b"411"),
        (HEAD + b"Content-Length: 99999999999999999999\r\n\r\n{}", b"413"),
        (HEAD + b"Content-Length: 100\r\n\r\n{}", b"400"),
    ],
)
def test_a_request_of_unknown_length_is_refused(endpoint: Push, store: Store, request_: bytes, status: bytes) -> None:
    assert raw(endpoint, request_).startswith(b"HTTP/1.1 " + status)
    assert waiting(store) == []


def test_with_a_token_nothing_goes_without_it(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEWS_TOKEN", "hush")
    guarded = Push.open("push:0?token_env=NEWS_TOKEN", name="s", store=store)
    try:
        assert post(guarded, record(1))[0] == 401
        for wrong in ("Bearer", "Bearer ", "Bearer hus", "Bearer hushh", "Basic hush", "hush", "Bearer h\xfcsh"):
            assert post(guarded, record(1), Authorization=wrong)[0] == 401
        assert waiting(store) == []
        assert post(guarded, record(1), Authorization="bearer hush")[0] == 202
    finally:
        guarded.close()


def test_when_the_store_cannot_write_the_sender_is_told_to_try_again(endpoint: Push, store: Store) -> None:
    with store.transaction() as tx:
        tx.connection.exec_driver_sql(
            "CREATE TRIGGER full BEFORE INSERT ON inbox BEGIN SELECT RAISE(ABORT, 'full'); END"
        )
    status, content = post(endpoint, record(1))
    assert status == 503
    assert "could not be kept" in content["problem"]
    with store.transaction() as tx:
        tx.connection.exec_driver_sql("DROP TRIGGER full")
    assert post(endpoint, record(1))[0] == 202
    assert waiting(store) == ["n1"]


def test_many_senders_at_a_time_lose_nothing(endpoint: Push, store: Store) -> None:
    answers: list[int] = []

    def send(sender: int) -> None:
        for number in range(5):
            answers.append(post(endpoint, record(sender * 10 + number))[0])

    threads = [threading.Thread(target=send, args=(sender,)) for sender in range(2 * push.MOST_REQUESTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [202] * len(threads) * 5
    assert sorted(waiting(store)) == sorted(f"n{s * 10 + n}" for s in range(len(threads)) for n in range(5))


def test_a_closed_endpoint_takes_nothing(store: Store) -> None:
    closed = Push.open("push:0", name="s", store=store)
    port = closed.port
    closed.close()
    with pytest.raises(ConnectionRefusedError):
        post(port, record(1))
    with pytest.raises(MissingError, match="closing"):
        closed.keep([])


SERVE = """
import sys, time
from triptych_finance.sources.push import Push
from triptych_finance.store.store import Store
store = Store.open(sys.argv[1], writer=True)
print(Push.open("push:0", name="s", store=store).port, flush=True)
time.sleep(600)
"""


def test_what_was_answered_202_survives_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "killed.sqlite"
    with subprocess.Popen([sys.executable, "-c", SERVE, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        accepted = [post(port, record(number))[1]["ids"][0] for number in range(5)]
        process.send_signal(signal.SIGKILL)
        process.wait()
    with Store.open(path, writer=True) as store:
        again = Push.open("push:0", name="s", store=store)
        assert ids(again.poll(None, 10, 0.0).items) == accepted
        again.close()


@pytest.mark.parametrize(
    ("spec", "error", "words"),
    [
        ("push:localhost", ConfigError, "needs a port"),
        ("push:127.0.0.1:99999", ConfigError, "needs a port"),
        ("push:0.0.0.0:8765", ConfigError, "open to others"),
        ("push:[::]:8765", ConfigError, "open to others"),
        ("push:8765?tokenenv=X", ConfigError, "'tokenenv'"),
        ("push:8765?token_env=MISSING_ONE", MissingError, "MISSING_ONE.*not set"),
    ],
)
def test_a_wrong_address_is_an_error_at_once(store: Store, spec: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        Push.open(spec, name="s", store=store)


def test_a_port_that_is_taken_is_named(store: Store, endpoint: Push) -> None:
    with pytest.raises(MissingError, match=f"cannot listen on 127.0.0.1:{endpoint.port}"):
        Push.open(f"push:127.0.0.1:{endpoint.port}", name="t", store=store)


def test_without_a_store_there_is_no_endpoint() -> None:
    with pytest.raises(ConfigError, match="store"):
        Push.open("push:0", name="s", store=None)


def test_a_foreign_cursor_is_refused(endpoint: Push) -> None:
    with pytest.raises(DataError, match="no place in an inbox"):
        endpoint.poll("12@2024-01-01", 1, 0.0)


def test_it_listens_on_this_machine_alone_unless_told_otherwise(endpoint: Push) -> None:
    assert endpoint._server.server_address[0] == "127.0.0.1"
