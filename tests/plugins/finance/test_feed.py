"""Feeds, against a real server on this machine."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.errors import ConfigError, DataError
from triptych_finance.sources import feed, fetch
from triptych_finance.sources.entries import _plain
from triptych_finance.sources.feed import Feed, FeedOptions
from triptych_finance.stream.item import Item
from triptych_finance.stream.source import Source

EVERY = 300.0
Reply = tuple[int, dict[str, str], bytes]


class Newspaper(ThreadingHTTPServer):
    """Answers each request with what `reply` gives for its headers, and keeps the headers."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Desk)
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.replies: dict[str, Callable[[dict[str, str]], Reply]] = {}
        self.truth: int | None = None  # the Content-Length that is sent instead of the true one

    def url(self, path: str = "/feed") -> str:
        return f"http://127.0.0.1:{self.server_address[1]}{path}"

    def publish(self, body: str | bytes, path: str = "/feed", status: int = 200, **headers: str) -> None:
        data = body.encode() if isinstance(body, str) else body
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.replies[path] = lambda asked: (status, named, data)


class Desk(BaseHTTPRequestHandler):
    server: Newspaper

    def do_GET(self) -> None:
        asked = {name.lower(): value for name, value in self.headers.items()}
        self.server.asked.append((self.path, asked))
        status, headers, body = self.server.replies[self.path](asked)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(self.server.truth or len(body)))
        self.end_headers()
        if status != 304:
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the name in the base class
        pass


class Clock:
    """A clock that moves only when somebody sleeps."""

    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.time += seconds


@pytest.fixture
def newspaper() -> Iterator[Newspaper]:
    server = Newspaper()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def source(newspaper: Newspaper, clock: Clock | None = None, path: str = "/feed", **options: Any) -> Feed:
    clock = clock or Clock()
    chosen = FeedOptions(every=EVERY, **options)
    return Feed(newspaper.url(path), name="s", options=chosen, clock=clock, sleep=clock.sleep)


def entry(number: int, *, guid: bool = True, hour: int | None = None, more: str = "") -> str:
    when = format_datetime(datetime(2024, 5, 30, number if hour is None else hour, tzinfo=UTC), usegmt=True)
    identity = f"<guid>n{number}</guid>" if guid else ""
    return f"<item>{identity}<title>News {number}</title><pubDate>{when}</pubDate>{more}</item>"


def rss(*entries: str) -> str:
    return f'<?xml version="1.0"?><rss version="2.0"><channel><title>T</title>{"".join(entries)}</channel></rss>'


ATOM = """<?xml version="1.0" encoding="utf-8"?>
<feed xmlns="http://www.w3.org/2005/Atom"><title>T</title><id>t</id><updated>2024-05-30T10:00:00Z</updated>
<entry><id>tag:news.example,2024:1</id><title type="html">Mills &amp;amp; Sons &lt;b&gt;up&lt;/b&gt;</title>
<link href="http://news.example/1"/><updated>2024-05-30T12:00:00+02:00</updated><author><name>A. Writer</name></author>
<category term="grain"/><category term="flour"/>
<summary>Short.</summary>
<content type="html">&lt;p&gt;Sales rose.&lt;/p&gt;&lt;p&gt;So did
 profit.&lt;/p&gt;&lt;script&gt;alert(1)&lt;/script&gt;</content></entry></feed>"""


def test_an_entry_of_atom_becomes_an_item(newspaper: Newspaper) -> None:
    newspaper.publish(ATOM, Content_Type="application/atom+xml")
    watched = source(newspaper)
    assert isinstance(watched, Source)
    poll = watched.poll(None, 10, 0.0)
    (item,) = poll.items
    assert (poll.problems, poll.ended) == ([], False)
    assert item.id == "tag:news.example,2024:1"
    assert item.title == "Mills & Sons up"
    assert item.text == "Mills & Sons up\nSales rose.\nSo did profit."
    assert item.published == datetime(2024, 5, 30, 10, tzinfo=UTC)
    assert item.url == "http://news.example/1"
    assert item.metadata == {"author": "A. Writer", "categories": "grain|flour"}


def test_entries_come_once_and_oldest_first(newspaper: Newspaper) -> None:
    newspaper.publish(rss(entry(3), entry(2), entry(1), entry(1)))
    clock = Clock()
    watched = source(newspaper, clock)
    first = watched.poll(None, 2, 0.0)
    second = watched.poll(first.cursor, 2, 0.0)
    assert [item.id for item in first.items + second.items] == ["n1", "n2", "n3"]
    newspaper.publish(rss(entry(4), entry(3), entry(2)))
    third = watched.poll(second.cursor, 10, EVERY)
    assert [item.id for item in third.items] == ["n4"]
    newspaper.publish(rss(entry(4), entry(1)))  # one that had gone is back
    assert watched.poll(third.cursor, 10, EVERY).items == []
    assert len(newspaper.asked) == 3


def test_an_unchanged_document_is_asked_for_by_its_tags(newspaper: Newspaper) -> None:
    def reply(asked: dict[str, str]) -> Reply:
        if asked.get("if-none-match") == '"v1"' and asked.get("if-modified-since") == "Thu, 30 May 2024 10:00:00 GMT":
            return 304, {}, b""
        headers = {"ETag": '"v1"', "Last-Modified": "Thu, 30 May 2024 10:00:00 GMT"}
        return 200, headers, rss(entry(1), entry(2)).encode()

    newspaper.replies["/feed"] = reply
    watched = source(newspaper)
    part = watched.poll(None, 1, 0.0)
    assert '"v1"' not in part.cursor  # a crash now must not lose the other entry
    whole = watched.poll(part.cursor, 1, 0.0)
    unchanged = watched.poll(whole.cursor, 1, EVERY)
    assert (unchanged.items, unchanged.problems) == ([], [])
    assert [("if-none-match" in asked) for _, asked in newspaper.asked] == [False, True]


def test_the_interval_holds_between_polls_and_across_restarts(newspaper: Newspaper) -> None:
    newspaper.publish(rss(entry(1)))
    clock = Clock()
    watched = source(newspaper, clock)
    cursor = watched.poll(None, 10, 0.0).cursor
    for _ in range(5):
        cursor = watched.poll(cursor, 10, EVERY / 10).cursor
    assert len(newspaper.asked) == 1
    again = source(newspaper, clock)
    assert again.poll(cursor, 10, EVERY / 2).items == []
    assert len(newspaper.asked) == 1
    again.poll(cursor, 10, EVERY)
    assert len(newspaper.asked) == 2


def test_a_clock_that_went_backwards_costs_one_interval_at_most(
    newspaper: Newspaper, monkeypatch: pytest.MonkeyPatch
) -> None:
    newspaper.publish(rss(entry(1)))
    cursor = source(newspaper).poll(None, 10, 0.0).cursor
    monkeypatch.setattr(feed.time, "time", lambda: 0.0)
    source(newspaper).poll(cursor, 10, EVERY)
    assert len(newspaper.asked) == 2


def test_after_a_crash_the_rest_of_a_document_comes_again(newspaper: Newspaper) -> None:
    newspaper.publish(rss(entry(1), entry(2), entry(3)), ETag='"v1"')
    cursor = source(newspaper).poll(None, 2, 0.0).cursor
    assert [item.id for item in source(newspaper).poll(cursor, 10, EVERY).items] == ["n3"]
    assert [item.id for item in source(newspaper).poll(None, 10, EVERY).items] == ["n1", "n2", "n3"]


def test_failures_are_problems_and_the_pause_doubles_up_to_six_hours(newspaper: Newspaper) -> None:
    newspaper.publish("busy", status=503)
    clock = Clock()
    watched, cursor, pauses = source(newspaper, clock), None, []
    for number in range(9):
        before = clock.time
        poll = watched.poll(cursor, 10, 1e9)
        assert len(newspaper.asked) == number + 1
        assert "HTTP 503 Service Unavailable; next try in" in poll.problems[0]
        assert not poll.answered
        pauses.append(clock.time - before)
        cursor = poll.cursor
    assert pauses == [0, 600, 1200, 2400, 4800, 9600, 19200, 21600, 21600]
    newspaper.publish(rss(entry(1)))
    assert not watched.poll(cursor, 10, 0.0).answered  # in the pause
    recovered = watched.poll(cursor, 10, 1e9)
    assert len(recovered.items) == 1
    assert recovered.answered
    before = clock.time
    watched.poll(recovered.cursor, 10, 1e9)
    assert clock.time - before == EVERY


@pytest.mark.parametrize(("value", "pause"), [("7200", 7200), ("999999", 86_400), ("60", 600), ("soon", 600)])
def test_the_server_may_name_the_pause(newspaper: Newspaper, value: str, pause: float) -> None:
    newspaper.publish("", status=429, Retry_After=value)
    clock = Clock()
    watched = source(newspaper, clock)
    cursor = watched.poll(None, 10, 0.0).cursor
    watched.poll(cursor, 10, 1e9)
    assert clock.time == 1000.0 + pause


def test_a_date_as_retry_after_is_understood(newspaper: Newspaper) -> None:
    newspaper.publish("", status=503, Retry_After="Thu, 30 May 2124 10:00:00 GMT")
    clock = Clock()
    watched = source(newspaper, clock)
    watched.poll(watched.poll(None, 10, 0.0).cursor, 10, 1e9)
    assert clock.time == 1000.0 + 86_400


def test_a_feed_that_is_gone_is_asked_once_a_day(newspaper: Newspaper) -> None:
    newspaper.publish("", status=410)
    clock = Clock()
    watched = source(newspaper, clock)
    watched.poll(watched.poll(None, 10, 0.0).cursor, 10, 1e9)
    assert clock.time == 1000.0 + 86_400


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("<html><body>Please log in</body></html>", "neither RSS nor Atom"),
        ("", "the document is empty"),
        ("just words", "neither RSS nor Atom"),
        ("/etc/hostname", "neither RSS nor Atom"),
        (b"\x00\xff\xfe" * 100, "neither RSS nor Atom"),
    ],
)
def test_what_is_no_feed_is_a_problem(newspaper: Newspaper, body: str | bytes, words: str) -> None:
    newspaper.publish(body)
    poll = source(newspaper).poll(None, 10, 0.0)
    assert poll.items == []
    assert words in " ".join(poll.problems)


def test_of_a_malformed_feed_what_can_be_read_is_read(newspaper: Newspaper) -> None:
    newspaper.publish(rss(entry(1), entry(2)).replace("</channel></rss>", "<item><title>cut"))
    poll = source(newspaper).poll(None, 10, 0.0)
    assert [item.id for item in poll.items] == ["n1", "n2"]
    assert "the feed is malformed" in poll.problems[0]
    assert "no text" in poll.problems[1]


def test_bad_entries_are_problems_that_name_them_and_are_told_once(newspaper: Newspaper) -> None:
    newspaper.publish(
        rss(
            "<item><guid>a</guid><pubDate>Thu, 30 May 2024 10:00:00 GMT</pubDate></item>",
            "<item><guid>b</guid><title>B</title><pubDate>next week</pubDate></item>",
            "<item><guid>c</guid><title>C</title><pubDate>Thu, 30 May 2999 10:00:00 GMT</pubDate></item>",
            entry(1),
        )
    )
    watched = source(newspaper)
    poll = watched.poll(None, 10, 0.0)
    assert [item.id for item in poll.items] == ["n1"]
    place = newspaper.url()
    told = sorted(problem[: 60 + len(place)] for problem in poll.problems)
    assert told[0].startswith(f"{place}, entry 'a': no text")
    assert told[1].startswith(f"{place}, entry 'b': 'published': 'next week' is no time")
    assert told[2].startswith(f"{place}, entry 'c': 'published' is 2999")
    newspaper.publish(rss(entry(2)))
    assert watched.poll(poll.cursor, 10, EVERY).problems == []


def test_an_entry_without_a_date_is_published_when_it_is_first_seen(newspaper: Newspaper) -> None:
    newspaper.publish(rss("<item><guid>a</guid><title>A</title></item>"))
    (item,) = source(newspaper).poll(None, 10, 0.0).items
    assert item.published == item.arrived


def test_without_a_guid_the_link_is_the_id_and_without_both_a_hash(newspaper: Newspaper) -> None:
    newspaper.publish(rss(entry(2, guid=False, more="<link>http://n.example/2</link>"), entry(1, guid=False)))
    first, second = source(newspaper).poll(None, 10, 0.0).items
    assert second.id == "http://n.example/2"
    assert len(first.id) == 32
    assert source(newspaper).poll(None, 10, 0.0).items[0].id == first.id


def test_html_that_no_parser_takes_is_stripped(newspaper: Newspaper) -> None:
    assert _plain({"value": "<p>up <![foo[bar]]> down</p>"}).split() == ["up", "down"]


def test_relative_links_are_resolved_and_guids_are_no_links(newspaper: Newspaper) -> None:
    newspaper.publish(rss(entry(1, more="<link>/news/1</link>"), entry(2), entry(3, more="<link>http://[</link>")))
    items = source(newspaper).poll(None, 10, 0.0).items
    assert [item.url for item in items] == [newspaper.url("/news/1"), "", "http://["]


def test_a_document_beyond_the_limit_is_not_loaded(newspaper: Newspaper) -> None:
    newspaper.publish(rss(entry(1, more=f"<description>{'x' * 2_000_000}</description>")))
    poll = source(newspaper, max_mb=1).poll(None, 10, 0.0)
    assert poll.items == []
    assert "longer than 1,048,576 bytes" in poll.problems[0]


def test_a_document_that_is_cut_short_is_a_problem(newspaper: Newspaper) -> None:
    newspaper.publish(rss(entry(1)))
    newspaper.truth = 10_000
    poll = source(newspaper).poll(None, 10, 0.0)
    assert poll.items == []
    assert "cut short" in poll.problems[0]


def test_more_entries_than_allowed_are_counted(newspaper: Newspaper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "MOST_ENTRIES", 2)
    newspaper.publish(rss(entry(3), entry(2), entry(1)))
    poll = source(newspaper).poll(None, 10, 0.0)
    assert [item.id for item in poll.items] == ["n2", "n3"]
    assert "1 of 3 entries are left out" in poll.problems[0]


def test_redirects_on_the_web_are_followed(newspaper: Newspaper) -> None:
    newspaper.publish("", path="/old", status=301, Location="/feed")
    newspaper.publish(rss(entry(1)))
    assert len(source(newspaper, path="/old").poll(None, 10, 0.0).items) == 1


def test_redirects_elsewhere_are_not(newspaper: Newspaper, tmp_path: Path) -> None:
    secret = tmp_path / "feed.xml"
    secret.write_text(rss(entry(1)))
    for target in (f"file://{secret}", "ftp://127.0.0.1/feed", "data:text/xml,<rss/>"):
        newspaper.publish("", path="/old", status=302, Location=target)
        poll = source(newspaper, path="/old").poll(None, 10, 0.0)
        assert poll.items == []
        assert "HTTP 302" in poll.problems[0]


def test_redirects_in_a_circle_end(newspaper: Newspaper) -> None:
    newspaper.publish("", path="/a", status=302, Location="/b")
    newspaper.publish("", path="/b", status=302, Location="/a")
    poll = source(newspaper, path="/a").poll(None, 10, 0.0)
    assert len(poll.problems) == 1
    assert len(newspaper.asked) < 30


def test_a_server_that_is_not_there_is_a_problem_without_the_keys_in_the_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/feed"
    clock = Clock()
    watched = Feed(f"{url}?apikey=hush", name="s", clock=clock, sleep=clock.sleep)
    (problem,) = watched.poll(None, 10, 0.0).problems
    assert problem.startswith(f"{url}: no connection (Connection refused)")
    assert "hush" not in problem


def test_a_server_that_says_nothing_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        watched = Feed(f"http://127.0.0.1:{silent.getsockname()[1]}/feed", name="s")
        (problem,) = watched.poll(None, 10, 0.0).problems
    assert "no answer within 0.2 s" in problem


def test_a_document_that_trickles_in_is_given_up(newspaper: Newspaper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "PATIENCE_S", -1.0)
    newspaper.publish(rss(entry(1)))
    assert "did not arrive within" in source(newspaper).poll(None, 10, 0.0).problems[0]


def test_a_title_in_plain_text_keeps_its_signs(newspaper: Newspaper) -> None:
    body = ATOM.replace(
        '<title type="html">Mills &amp;amp; Sons &lt;b&gt;up&lt;/b&gt;', "<title>Debt &lt; cash, A&amp;B"
    )
    newspaper.publish(body)
    assert source(newspaper).poll(None, 10, 0.0).items[0].title == "Debt < cash, A&B"


def test_entities_that_multiply_are_not_expanded(newspaper: Newspaper) -> None:
    levels = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    newspaper.publish(
        f'<?xml version="1.0"?><!DOCTYPE r [<!ENTITY l0 "ha">{levels}]>'
        + rss("<item><guid>a</guid><title>&l9;</title></item>").partition("?>")[2]
    )
    poll = source(newspaper).poll(None, 10, 0.0)
    assert all(len(item.text) < 1000 for item in poll.items)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from([ATOM, rss(entry(1, more="<description>&lt;p&gt;a&lt;/p&gt;</description>"))]))
def test_no_document_stops_the_source(data: st.DataObject, document: str) -> None:
    content = document
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content)))
        piece = data.draw(
            st.sampled_from(["<", "]]>", "&#0;", "\x00", "<![foo[", "&lt;![foo[", "&lt;!x", "<!ENTITY"]) | st.text()
        )
        content = content[:place] + piece + content[place + data.draw(st.integers(0, 9)) :]
    problems: list[str] = []
    answer = fetch.Answer(200, content.encode("utf-8", "replace"), content_type="text/xml")
    for _, found in Feed("http://news.example/feed", name="s")._entries(answer, problems):
        assert isinstance(found, str) or found.text


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("feed:file:///etc/passwd", "address of the web"),
        ("feed:ftp://example.org/feed", "address of the web"),
        ("feed:news.xml", "address of the web"),
        ("feed:http:///feed", "address of the web"),
        ("feed:https://user:hush@example.org/feed", "user or password"),
        ("feed:https://example.org/feed#every=1", "'every'"),
        ("feed:https://example.org/feed#evry=600", "'evry'"),
    ],
)
def test_a_wrong_address_is_an_error_at_once(spec: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        Feed.open(spec, name="s", store=None)
    assert "hush" not in str(caught.value)


def test_a_query_belongs_to_the_feed_and_options_stand_behind_the_hash(newspaper: Newspaper) -> None:
    newspaper.publish(rss(entry(1)), path="/feed?desk=grain&x=1")
    watched = Feed.open(f"feed:{newspaper.url('/feed?desk=grain&x=1')}#every=60&future=clip", name="s", store=None)
    poll = watched.poll(None, 10, 0.0)
    assert [type(item) for item in poll.items] == [Item]
    assert newspaper.asked[0][0] == "/feed?desk=grain&x=1"


def test_a_foreign_cursor_is_refused(newspaper: Newspaper) -> None:
    for cursor in ("12@2024-01-01", "[]", '{"seen": [], "row": 1}'):
        with pytest.raises(DataError, match="no place in a feed"):
            source(newspaper).poll(cursor, 1, 0.0)
