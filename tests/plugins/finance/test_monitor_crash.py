"""Kills, stops, failing sources and real streams: what the loop makes of them."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.plugins.finance import test_streams
from tests.plugins.finance.crash import Words, contents, delivered, fuzz
from tests.plugins.finance.test_engine import COMPANIES, LIVELY, full_disk, item, monitor, news, watch
from triptych.errors import ConfigError, MissingError
from triptych_finance.alerts.delivery import Deliverer, LogChannel
from triptych_finance.monitor import feeder, loop
from triptych_finance.monitor.engine import Monitor
from triptych_finance.monitor.loop import Progress, run, stop_on_signals
from triptych_finance.sources.streams import Stream
from triptych_finance.store.store import Store
from triptych_finance.stream.item import Item
from triptych_finance.stream.settings import StreamSettings
from triptych_finance.stream.source import Poll

QUICK = LIVELY.model_copy(update={"stream": StreamSettings(chunk=10, wait_seconds=0.05)})


class Listed:
    """A source over a list; `fails` numbers the polls that raise."""

    def __init__(
        self, items: Sequence[Item], name: str = "wire", *, ends: bool = True, fails: Sequence[int] = ()
    ) -> None:
        self.name, self.items, self.ends, self.fails = name, list(items), ends, set(fails)
        self.polls = 0
        self.acknowledged: list[str] = []
        self.largest_lead = 0

    def poll(self, cursor: str | None, limit: int, wait_s: float) -> Poll:
        self.polls += 1
        if self.polls in self.fails:
            raise OSError("the line is cut")
        start = int(cursor or 0)
        last = min(start + limit, len(self.items))
        self.largest_lead = max(self.largest_lead, last - int(self.acknowledged[-1] if self.acknowledged else 0))
        return Poll(self.items[start:last], str(last), self.ends and last == len(self.items), [])

    def acknowledge(self, cursor: str) -> None:
        self.acknowledged.append(cursor)

    def close(self) -> None:
        pass


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeder, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(loop, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(loop, "DELIVER_S", 0.05)


def kept(path: Path) -> dict[str, Any]:
    return {name: rows for name, rows in contents(str(path)).items() if name != "cursor"}


@pytest.mark.slow
def test_kills_at_any_moment_leave_the_store_as_if_there_had_been_none(tmp_path: Path) -> None:
    tally = fuzz(lambda number: str(tmp_path / str(number)), tmp_path, kills=8, seed=11)
    assert tally.differing == []
    assert tally.kills == 8
    assert tally.expected["notice"] > 20


def test_a_run_takes_all_acknowledges_it_and_reports(tmp_path: Path) -> None:
    items, seen = news(1), []
    source = Listed(items)
    with Store.open(tmp_path / "s", writer=True) as store:
        done = run(monitor(store, settings=QUICK), [source], progress=lambda p: seen.append(p.counts["items"]))
    assert done.ended
    assert done.counts["items"] == len(items) == seen[-1] == int(source.acknowledged[-1])
    assert seen == sorted(seen)
    assert done.notices > 0
    assert kept(tmp_path / "s") == {k: v for k, v in watch(tmp_path / "e", items, 10).items() if k != "cursor"}


def test_a_run_that_was_stopped_goes_on_where_it_was(tmp_path: Path) -> None:
    items = news(1)
    expected = watch(tmp_path / "expected", items, 10)
    rounds, ended = 0, False
    while not ended:
        stop, progress = until(1)
        with Store.open(tmp_path / "s", writer=True) as store:
            ended = run(monitor(store, settings=QUICK), [Listed(items)], stop=stop, progress=progress).ended
        rounds += 1
    assert rounds > 5
    assert contents(str(tmp_path / "s")) == expected


def test_a_slow_store_bounds_what_is_read_ahead(tmp_path: Path) -> None:
    source = Listed(news(1))
    with Store.open(tmp_path / "s", writer=True) as store:
        run(monitor(store, settings=QUICK), [source])
    assert source.largest_lead <= 5 * QUICK.stream.chunk


def test_several_sources_are_taken_to_their_ends(tmp_path: Path) -> None:
    sources = [
        Listed([item(n, f"Quellmar opens plant {n} {name}", hours=n, source=name) for n in range(35)], name)
        for name in ("wire", "post", "blog")
    ]
    with Store.open(tmp_path / "s", writer=True) as store:
        done = run(monitor(store, settings=QUICK), sources)
    assert done.counts["items"] == 105
    assert [source.acknowledged[-1] for source in sources] == ["35"] * 3


def test_two_sources_of_one_name_are_refused(tmp_path: Path) -> None:
    with Store.open(tmp_path / "s", writer=True) as store:
        with pytest.raises(ConfigError, match="'wire'"):
            run(monitor(store), [Listed([]), Listed([])])
        with pytest.raises(ConfigError, match="no source"):
            run(monitor(store), [])


def until(items: int) -> tuple[threading.Event, Callable[[Progress], None]]:
    """An event, and a callback that sets it once so many items are in."""
    stop = threading.Event()

    def watch_progress(done: Progress) -> None:
        if done.counts["items"] >= items:
            stop.set()

    return stop, watch_progress


def test_a_source_that_fails_is_named_once_and_tried_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sources = [Listed(news(1, 40), ends=False, fails=(2, 3, 4)), Listed([item(1, source="post")], "post", ends=False)]
    stop, progress = until(41)
    with Store.open(tmp_path / "s", writer=True) as store:
        done = run(monitor(store, settings=QUICK), sources, stop=stop, until_ended=False, progress=progress)
    assert done.counts["items"] == 41
    assert [r.getMessage() for r in caplog.records if "the line is cut" in r.getMessage()] == [
        "wire fails and is tried again: the line is cut"
    ]


def test_an_error_of_a_source_ends_a_replay(tmp_path: Path) -> None:
    with Store.open(tmp_path / "s", writer=True) as store:
        with pytest.raises(OSError, match="the line is cut"):
            run(monitor(store, settings=QUICK), [Listed(news(1, 40), fails=[2])])
        with store.reading() as tx:
            assert tx.cursor("wire") in ("10", None)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_and_keeps_what_is_committed(tmp_path: Path, number: int) -> None:
    with Store.open(tmp_path / "s", writer=True) as store, stop_on_signals() as stop:
        done = run(
            monitor(store, settings=QUICK),
            [Listed(news(1), ends=False)],
            stop=stop,
            until_ended=False,
            progress=lambda _: os.kill(os.getpid(), number),
        )
        assert stop.is_set()
        assert not done.ended
        with store.reading() as tx:
            assert len(tx.items()) == done.counts["items"] == int(tx.cursor("wire") or 0) > 0
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_notices_are_delivered_beside_the_run_each_once(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    with Store.open(tmp_path / "s", writer=True) as store:
        one = monitor(store, settings=QUICK)
        run(one, [Listed(news(1))], deliverer=Deliverer(store, {"log": LogChannel(log)}, one.now))
        with store.reading() as tx:
            assert sorted(delivered(log)) == sorted(row.id for row in tx.notices())
            assert {row.sent is None for row in tx.notices()} == {False}


def test_a_full_disk_ends_a_replay_with_a_clear_error_and_the_next_goes_on(tmp_path: Path) -> None:
    items = news(4)
    expected = watch(tmp_path / "expected", items, 10)
    path = tmp_path / "s"
    with (
        Store.open(path, writer=True) as store,
        full_disk(20_000, path, tmp_path / "s-wal"),
        pytest.raises(MissingError, match="the disk is full"),
    ):
        run(monitor(store, settings=QUICK), [Listed(items)])
    with Store.open(path, writer=True) as store:
        with store.reading() as tx:
            assert len(tx.items()) == int(tx.cursor("wire") or 0) < len(items)
        run(monitor(store, settings=QUICK), [Listed(items)])
    assert contents(str(path)) == expected


def test_a_live_monitor_waits_for_room_and_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    items = news(4)
    expected = watch(tmp_path / "expected", items, 10)
    path = tmp_path / "s"
    stop, progress = until(len(items))
    with Store.open(path, writer=True) as store:
        one = monitor(store, settings=QUICK)
        with full_disk(20_000, path, tmp_path / "s-wal") as free:

            class Watching(logging.Handler):
                def emit(self, record: logging.LogRecord) -> None:
                    if "nothing can be written" in record.getMessage():
                        free()

            handler = Watching()
            loop.log.addHandler(handler)
            try:
                run(one, [Listed(items, ends=False)], stop=stop, until_ended=False, progress=progress)
            finally:
                loop.log.removeHandler(handler)
    assert [r.getMessage()[:23] for r in caplog.records if r.levelno == logging.ERROR] == ["nothing can be written,"]
    assert contents(str(path)) == expected


def test_verdicts_are_taken_up_while_no_items_come(tmp_path: Path) -> None:
    from triptych_finance.alerts.verdicts import judge

    stop = threading.Event()

    def judge_all(done: Progress) -> None:
        if done.verdicts:
            stop.set()
        elif done.counts["items"] == 120:
            with store.posting() as tx:
                fired = [alert for alert in tx.alerts() if alert.fired]
                judge(tx, fired[-1].id, confirmed=False, analyst="Ada", now=datetime.now(UTC))

    with Store.open(tmp_path / "s", writer=True) as store:
        source = Listed(news(1), ends=False)
        done = run(monitor(store, settings=QUICK), [source], stop=stop, until_ended=False, progress=judge_all)
    assert done.verdicts == 1


def test_while_no_items_come_event_time_goes_on_with_the_clock(tmp_path: Path) -> None:
    items = news(1)
    last = max(one.arrived for one in items)
    stop = threading.Event()

    def progress(done: Progress) -> None:
        if done.counts["items"] == len(items) and done.readings > known:
            stop.set()

    known = len(watch(tmp_path / "e", items, 10)["reading"])
    with Store.open(tmp_path / "s", writer=True) as store:
        one, source = monitor(store, settings=QUICK), Listed(items, ends=False)
        nine_days_on = last + timedelta(days=9)
        run(one, [source], stop=stop, until_ended=False, progress=progress, clock=lambda: nine_days_on)
        assert one.now() == last.replace(minute=0, second=0, microsecond=0) + timedelta(days=9)


@pytest.mark.parametrize("raises", [True, False])
def test_a_source_that_does_not_answer_holds_event_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raises: bool
) -> None:
    monkeypatch.setattr(feeder, "LONGEST_PAUSE_S", 0.05)
    items = news(1)
    all_in, progress = until(len(items))
    stop, looks = threading.Event(), iter(range(8))
    asked: list[datetime] = []

    class Cut(Listed):
        def poll(self, cursor: str | None, limit: int, wait_s: float) -> Poll:
            if all_in.is_set() and next(looks, None) is None:
                stop.set()
            if raises:
                raise OSError("the line is cut")
            return Poll([], "", False, [], answered=False)

    def clock() -> datetime:
        asked.append(datetime.now(UTC))
        return asked[-1]

    sources = [Listed(items, ends=False), Cut([], "post")]
    with Store.open(tmp_path / "s", writer=True) as store:
        one = monitor(store, settings=QUICK)
        run(one, sources, stop=stop, until_ended=False, progress=progress, clock=clock)
    assert asked == []
    assert kept(tmp_path / "s") == {k: v for k, v in watch(tmp_path / "e", items, 10).items() if k != "cursor"}


needs_redis = test_streams.pytestmark


@needs_redis
def test_what_redis_gives_again_after_a_crash_has_no_second_effect(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder = tmp_path / "redis"
    folder.mkdir()
    redis = test_streams.Server(folder)
    redis.start()
    request.addfinalizer(redis.kill)
    with redis.client() as client:
        for number in range(40):
            fields: Any = {
                "id": f"n{number}",
                "text": f"Torvenna opens plant {number} {'klm'[number % 3] * 4}",
                "published": f"2024-05-{1 + number // 2:02d}T10:00:00Z",
            }
            client.xadd("news", fields)
        with Store.open(tmp_path / "s", writer=True) as store:
            one = Monitor(store, Words(), COMPANIES, QUICK)
            first = Stream.open(redis.url(consumer="c"), name="wire", store=store)
            poll = first.poll(None, 25, 0.0)
            assert one.process("wire", poll).counts["items"] == 25
            first.close()  # a crash between the commit and the acknowledgement
            again = Stream.open(redis.url(consumer="c"), name="wire", store=store)
            stop, progress = until(15)
            done = run(
                Monitor(store, Words(), COMPANIES, QUICK), [again], stop=stop, until_ended=False, progress=progress
            )
            again.close()
            assert (done.counts["items"], done.counts["known"]) == (15, 25)
            with store.reading() as tx:
                assert [row.id for row in tx.items()] == [f"n{number}" for number in range(40)]
        assert client.xpending("news", "g")["pending"] == 0
