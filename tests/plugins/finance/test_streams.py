"""Streams, against a real server of Redis (or Valkey) on this machine."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from triptych.errors import ConfigError, DataError, MissingError
from triptych_finance.sources import streams
from triptych_finance.sources.streams import Stream
from triptych_finance.store.store import Store
from triptych_finance.stream.item import Item
from triptych_finance.stream.source import Source

PROGRAM = next((found for name in ("redis-server", "valkey-server") if (found := shutil.which(name))), None)
pytestmark = pytest.mark.skipif(
    PROGRAM is None, reason="no redis-server and no valkey-server on this machine; install one to test streams"
)
LONG_S = 60.0  # more than anything here takes


class Server:
    """A server with a folder of its own that writes each command to the disk before it answers."""

    def __init__(self, folder: Path, *options: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = int(free.getsockname()[1])
        self.folder, self.options = folder, options
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert PROGRAM is not None
        settings = {
            "port": str(self.port), "bind": "127.0.0.1", "dir": str(self.folder), "appendonly": "yes",
            "appendfsync": "always", "save": "", "daemonize": "no",
        }  # fmt: skip
        command = [PROGRAM, *(word for name, value in settings.items() for word in (f"--{name}", value)), *self.options]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + LONG_S
        while True:
            try:
                with self.client() as client:
                    client.ping()  # it takes connections before it has read its file
                return
            except redis.AuthenticationError:
                return
            except redis.RedisError:
                assert self.process.poll() is None, "the server did not start"
                assert time.monotonic() < until, "the server did not start in time"
                time.sleep(0.02)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def url(self, **options: Any) -> str:
        more = "".join(f"&{name}={value}" for name, value in options.items())
        return f"redis://127.0.0.1:{self.port}/0?stream=news&group=g{more}"

    def client(self, **options: Any) -> redis.Redis:
        return redis.Redis(port=self.port, **options)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    found = Server(tmp_path)
    found.start()
    yield found
    found.kill()


@pytest.fixture
def news(server: Server) -> Iterator[redis.Redis]:
    with server.client() as client:
        yield client


def add(client: redis.Redis, *numbers: int, **more: str) -> None:
    for number in numbers:
        fields: Any = {"id": f"n{number}", "text": f"News {number}", "published": "2024-05-30T10:00:00Z", **more}
        client.xadd("news", fields)


def source(server: Server, **options: Any) -> Stream:
    return Stream.open(server.url(**{"consumer": "c", **options}), name="s", store=None)


def ids(items: list[Item]) -> list[str]:
    return [item.id for item in items]


def pending(client: redis.Redis) -> int:
    return int(client.xpending("news", "g")["pending"])


def test_entries_come_in_order_and_leave_the_server_when_acknowledged(server: Server, news: redis.Redis) -> None:
    stream = source(server)
    assert isinstance(stream, Source)
    assert stream.poll(None, 10, 0.0).items == []  # the stream and the group are made
    add(news, 1, 2, 3, entities="A|B", desk="grain")
    first = stream.poll(None, 2, 0.0)
    assert ids(first.items) == ["n1", "n2"]
    assert (first.items[0].entities, dict(first.items[0].metadata)) == (("A", "B"), {"desk": "grain"})
    second = stream.poll(first.cursor, 2, 0.0)
    assert (ids(second.items), second.ended) == (["n3"], False)
    assert pending(news) == 3
    stream.acknowledge(first.cursor)
    assert pending(news) == 1
    stream.acknowledge(second.cursor)
    assert pending(news) == 0
    empty = stream.poll(second.cursor, 2, 0.0)
    assert (empty.items, empty.cursor) == ([], second.cursor)


def test_acknowledging_a_later_cursor_covers_the_earlier_polls(server: Server, news: redis.Redis) -> None:
    add(news, 1, 2, 3)
    stream, cursor = source(server), None
    for _ in range(3):
        cursor = stream.poll(cursor, 1, 0.0).cursor
    stream.acknowledge(cursor or "")
    assert pending(news) == 0


def test_a_new_group_begins_at_the_beginning_of_the_stream(server: Server, news: redis.Redis) -> None:
    add(news, 1, 2)
    assert ids(source(server).poll(None, 10, 0.0).items) == ["n1", "n2"]


def test_a_poll_waits_for_an_entry(server: Server, news: redis.Redis) -> None:
    stream = source(server)
    stream.poll(None, 1, 0.0)
    writer = subprocess.Popen(
        [
            sys.executable, "-c",
            "import redis, sys, time; time.sleep(0.3); redis.Redis(port=int(sys.argv[1]))"
            ".xadd('news', {'text': 'x', 'published': '2024-01-01'})",
            str(server.port),
        ]
    )  # fmt: skip
    assert len(stream.poll(None, 1, LONG_S).items) == 1
    assert writer.wait() == 0


def test_an_entry_without_an_id_takes_that_of_the_stream(server: Server, news: redis.Redis) -> None:
    number: Any = news.xadd("news", {"text": "x", "published": "2024-01-01"})
    assert ids(source(server).poll(None, 1, 0.0).items) == [number.decode()]


def test_bad_entries_are_problems_and_are_acknowledged_too(server: Server, news: redis.Redis) -> None:
    first: Any = news.xadd("news", {"headline": "x"})
    second: Any = news.xadd("news", {"text": b"caf\xe9", "published": "2024-01-01"})
    add(news, 3)
    stream = source(server)
    poll = stream.poll(None, 10, 0.0)
    where = f"redis://127.0.0.1:{server.port}/0, stream 'news', entry"
    assert ids(poll.items) == ["n3"]
    assert poll.problems[0].startswith(f"{where} {first.decode()}: no text")
    assert poll.problems[1] == f"{where} {second.decode()}: not UTF-8 (byte 0xe9)"
    stream.acknowledge(poll.cursor)
    assert pending(news) == 0


def test_an_engine_that_goes_back_gets_the_same_entries_again(server: Server, news: redis.Redis) -> None:
    add(news, 1, 2, 3, 4)
    stream = source(server)
    first = stream.poll(None, 1, 0.0)
    second = stream.poll(first.cursor, 2, 0.0)
    assert ids(second.items) == ["n2", "n3"]
    again, cursor = [], first.cursor  # the second was not committed
    for _ in range(4):
        poll = stream.poll(cursor, 2, 0.0)
        again, cursor = again + ids(poll.items), poll.cursor
    assert again == ["n2", "n3", "n4"]
    stream.acknowledge(cursor)
    assert pending(news) == 0


CONSUMER = """
import sys, time
from triptych_finance.sources.streams import Stream
stream = Stream.open(sys.argv[1], name="s", store=None)
cursor = None
for _ in range(int(sys.argv[2])):
    poll = stream.poll(cursor, 2, 60.0)
    cursor = poll.cursor
    stream.acknowledge(cursor)
poll = stream.poll(cursor, 2, 60.0)
print(*(item.id for item in poll.items), flush=True)
time.sleep(600)
"""


def kill_between_poll_and_acknowledge(url: str, acknowledged: int) -> list[str]:
    """What a consumer had in its hands when it was killed, after so many polls that it acknowledged."""
    with subprocess.Popen(
        [sys.executable, "-c", CONSUMER, url, str(acknowledged)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        held = process.stdout.readline().split()
        process.send_signal(signal.SIGKILL)
        process.wait()
    return held


def test_a_consumer_that_is_killed_gets_its_entries_again_first(server: Server, news: redis.Redis) -> None:
    add(news, *range(7))
    held = kill_between_poll_and_acknowledge(server.url(consumer="c"), 1)
    assert held == ["n2", "n3"]
    stream = source(server)
    first = stream.poll("whatever the store says", 3, 0.0)
    second = stream.poll(first.cursor, 10, 0.0)
    assert ids(first.items) == held
    assert ids(second.items) == ["n4", "n5", "n6"]
    stream.acknowledge(second.cursor)
    assert pending(news) == 0


def test_entries_of_a_dead_consumer_are_taken_over(server: Server, news: redis.Redis) -> None:
    add(news, *range(5))
    held = kill_between_poll_and_acknowledge(server.url(consumer="dead"), 0)
    assert held == ["n0", "n1"]
    assert ids(source(server, claim_after=3600).poll(None, 2, 0.0).items) == ["n2", "n3"]
    time.sleep(0.1)  # what it held has been idle for longer than the 50 ms below
    heir = source(server, consumer="heir", claim_after=0.05)
    poll = heir.poll(None, 10, 0.0)
    assert ids(poll.items)[:2] == held
    heir.acknowledge(poll.cursor)
    assert {"n0", "n1"}.isdisjoint(ids(source(server, consumer="dead").poll(None, 10, 0.0).items))


def test_entries_of_a_dead_consumer_that_are_deleted_are_told(server: Server, news: redis.Redis) -> None:
    add(news, 1, 2)
    held = source(server, consumer="dead").poll(None, 1, 0.0)
    news.xdel("news", held.cursor)
    time.sleep(0.05)  # longer than the 10 ms below
    poll = source(server, consumer="heir", claim_after=0.01).poll(None, 10, 0.0)
    assert ids(poll.items) == ["n2"]
    assert f"entry {held.cursor}: it was deleted" in poll.problems[0]


def test_what_is_in_our_own_hands_is_not_claimed(server: Server, news: redis.Redis) -> None:
    add(news, 1, 2)
    stream = source(server, claim_after=0.01)
    first = stream.poll(None, 1, 0.0)
    time.sleep(0.05)
    second = stream.poll(first.cursor, 10, 0.0)
    time.sleep(0.05)
    assert ids(second.items) == ["n2"]
    assert stream.poll(second.cursor, 10, 0.0).items == []


def test_two_consumers_share_the_entries(server: Server, news: redis.Redis) -> None:
    one, two = source(server, consumer="one"), source(server, consumer="two")
    add(news, *range(6))
    a = one.poll(None, 2, 0.0)
    b = two.poll(None, 2, 0.0)
    c = one.poll(a.cursor, 2, 0.0)
    assert ids(a.items + b.items + c.items) == [f"n{n}" for n in range(6)]


def test_entries_that_were_deleted_before_they_were_read_are_told(server: Server, news: redis.Redis) -> None:
    add(news, 1, 2)
    held = source(server).poll(None, 1, 0.0)
    news.xdel("news", held.cursor)
    stream = source(server)
    poll = stream.poll(None, 1, 0.0)
    assert poll.items == []
    assert "deleted from the stream before it was read" in poll.problems[0]
    stream.acknowledge(poll.cursor)
    assert pending(news) == 0


def test_a_server_that_is_killed_comes_back_with_all_that_it_had(server: Server, news: redis.Redis) -> None:
    add(news, 1, 2, 3)
    stream = source(server)
    first = stream.poll(None, 1, 0.0)
    second = stream.poll(first.cursor, 1, 0.0)
    server.kill()
    stream.acknowledge(first.cursor)  # cannot be told now
    away = stream.poll(second.cursor, 10, 0.0)
    assert (away.items, away.cursor, len(away.problems)) == ([], second.cursor, 1)
    assert "not reachable" in away.problems[0]
    still = stream.poll(second.cursor, 10, 0.3)
    assert (still.problems, still.answered) == ([], False)
    server.start()
    third = stream.poll(second.cursor, 10, LONG_S)
    assert (ids(third.items), third.answered) == (["n3"], True)
    assert pending(news) == 2  # the first was acknowledged as soon as the server was back
    stream.acknowledge(third.cursor)
    assert pending(news) == 0


def test_killing_server_and_consumer_loses_nothing(server: Server, news: redis.Redis) -> None:
    add(news, *range(6))
    held = kill_between_poll_and_acknowledge(server.url(consumer="c"), 1)
    server.kill()
    server.start()
    stream = source(server)
    assert held == ["n2", "n3"]
    first = stream.poll(None, 10, LONG_S)
    second = stream.poll(first.cursor, 10, 0.0)
    assert (ids(first.items), ids(second.items)) == (held, ["n4", "n5"])


def test_a_server_that_starts_later_is_waited_for(tmp_path: Path) -> None:
    server = Server(tmp_path)
    stream = source(server)
    assert len(stream.poll(None, 1, 0.0).problems) == 1
    server.start()
    try:
        with server.client() as client:
            add(client, 1)
        assert ids(stream.poll(None, 1, LONG_S).items) == ["n1"]
    finally:
        server.kill()


def test_an_answer_that_is_lost_loses_no_entry(server: Server, news: redis.Redis) -> None:
    stream = source(server)
    stream.poll(None, 1, 0.0)
    add(news, 1, 2)
    news.xreadgroup("g", "c", {"news": ">"}, count=1)  # given to us, though the answer never arrived
    stream._lost(redis.ConnectionError("broken"))
    poll = stream.poll(None, 1, LONG_S)
    assert ids(poll.items) == ["n1"]
    assert ids(stream.poll(poll.cursor, 1, 0.0).items) == ["n2"]


def test_a_stream_that_was_removed_is_made_again(server: Server, news: redis.Redis) -> None:
    stream = source(server)
    stream.poll(None, 1, 0.0)
    news.delete("news")
    assert len(stream.poll(None, 1, 0.0).problems) == 1
    add(news, 1)
    assert ids(stream.poll(None, 1, LONG_S).items) == ["n1"]


def test_something_else_under_the_name_is_an_error(server: Server, news: redis.Redis) -> None:
    news.set("news", "x")
    with pytest.raises(DataError, match="something else than a stream"):
        source(server).poll(None, 1, 0.0)


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Server]:
    found = Server(tmp_path, "--requirepass", "hush/word")
    found.start()
    yield found
    found.kill()


def test_the_password_comes_from_the_address_or_the_environment(
    guarded: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with guarded.client(password="hush/word") as client:
        add(client, 1, 2)
    monkeypatch.setenv("NEWS_PASSWORD", "hush/word")
    by_name = source(guarded, password_env="NEWS_PASSWORD")
    assert ids(by_name.poll(None, 1, 0.0).items) == ["n1"]
    address = guarded.url(consumer="c").replace("redis://", "redis://:hush%2Fword@")
    assert ids(Stream.open(address, name="s", store=None).poll(None, 1, 0.0).items) == ["n1"]


def test_no_message_shows_the_password(guarded: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    address = guarded.url().replace("redis://", "redis://someone:wr0ng@")
    refused = Stream.open(address, name="s", store=None)
    with pytest.raises(MissingError, match="refuses the password") as caught:
        refused.poll(None, 1, 0.0)
    assert "wr0ng" not in str(caught.value)
    with pytest.raises(MissingError, match="refuses"):
        source(guarded).poll(None, 1, 0.0)
    for broken in (
        "redis://:wr0ng/x@host/0?stream=news",
        "redis://:wr0ng?x@host/0?stream=news",
        "redis://:wr0ng@host:x/0?stream=n",
    ):
        with pytest.raises(ConfigError) as shown:
            Stream.open(broken, name="s", store=None)
        assert "wr0ng" not in str(shown.value)
        assert shown.value.__cause__ is None


@pytest.mark.parametrize(
    ("spec", "error", "words"),
    [
        ("redis://localhost/0", ConfigError, "'stream'"),
        ("redis://localhost/0?stream=", ConfigError, "'stream'"),
        ("redis://localhost/0?stream=news&grp=x", ConfigError, "'grp'"),
        ("http://localhost/0?stream=news", ConfigError, "redis://, rediss://, valkey://, valkeys://"),
        ("redis://localhost/0?stream=news&password_env=MISSING_ONE", MissingError, "MISSING_ONE.*not set"),
    ],
)
def test_a_wrong_address_is_an_error_at_once(spec: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        Stream.open(spec, name="s", store=None)


def test_an_address_of_valkey_is_understood(server: Server, news: redis.Redis) -> None:
    add(news, 1)
    spec = server.url().replace("redis://", "valkey://")
    assert ids(Stream.open(spec, name="s", store=None).poll(None, 1, 0.0).items) == ["n1"]


def test_without_the_package_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(MissingError, match=r"triptych\[redis\]"):
        Stream.open("redis://localhost/0?stream=news", name="s", store=None)


def test_a_consumer_keeps_its_name_and_shares_it_with_no_other_store(
    server: Server, news: redis.Redis, tmp_path: Path
) -> None:
    add(news, 1, 2, 3)
    for file in ("one.sqlite", "one.sqlite", "two.sqlite"):
        with Store.open(tmp_path / file, writer=True) as store:
            Stream.open(server.url(), name="wire", store=store).poll(None, 1, 0.0)
    names = [consumer["name"].decode() for consumer in news.xinfo_consumers("news", "g")]
    assert len(names) == 2
    assert all(name.startswith(f"{socket.gethostname()}-wire-") for name in names)


def test_the_timeout_is_longer_than_a_read_that_waits() -> None:
    assert streams.TIMEOUT_S > 2 * streams.BLOCK_S
