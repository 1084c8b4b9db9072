"""The monitor: one effect for each item, whatever the cuts, copies, clocks, symbols and failures."""

from __future__ import annotations

import dataclasses
import itertools
import random
import resource
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.plugins.finance.crash import Settings, Words, contents
from tests.plugins.finance.stores import place, server
from triptych.errors import ConfigError, MissingError
from triptych_finance.alerts.silence import silence
from triptych_finance.alerts.verdicts import judge
from triptych_finance.language.entities import Company, Gazetteer
from triptych_finance.monitor.engine import Monitor, Processed
from triptych_finance.monitor.memory import BOARD, COUNTERS, UNKNOWN, Memory
from triptych_finance.scoring import Scores
from triptych_finance.signal.settings import SignalSettings
from triptych_finance.store.store import Store
from triptych_finance.stream.item import Item, key
from triptych_finance.stream.settings import StreamSettings
from triptych_finance.stream.source import Poll

__all__ = ["place", "server"]  # fixtures
START = datetime(2026, 3, 2, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
COMPANIES = Gazetteer(
    [
        Company("TVNA", "Torvenna", "Industrials"),
        Company("SKQ", "Skelvoort", "Industrials"),
        Company("QLMR", "Quellmar", "Energy"),
    ]
)
LIVELY = Settings(signal=SignalSettings(warmup_buckets=2, budget_per_week=1.2, refractory_hours=48.0))
SAID = ("raises its forecast", "wins an order", "cuts jobs", "loses a lawsuit", "names a new chairman", "opens a plant")
SEEN = ("item", "item_entity", "reading", "alert", "notice", "state")


def item(number: int, text: str = "Torvenna wins an order", hours: float = 0.0, **more: Any) -> Item:
    published = START + hours * HOUR
    values: dict[str, Any] = {"id": f"n{number}", "source": "wire", "text": text, "published": published}
    return Item(**{"arrived": published, **values, **more})


def news(seed: int, count: int = 120, days: float = 30) -> list[Item]:
    """Items as they come in the worst case: in bursts, late, dated ahead, copied, with clocks that go back."""
    chance = random.Random(seed)
    moments = sorted(chance.uniform(0, days * 24) for _ in range(count))
    items: list[Item] = []
    for number, hours in enumerate(moments):
        burst = chance.random() < 0.3
        who = "Torvenna" if burst else chance.choice(["Torvenna", "Skelvoort", "Quellmar", "Nobody"])
        what = chance.choice(SAID[2:4]) if burst else chance.choice(SAID)
        text = f"{who} {what}, report {number} {chance.choice('abcdefgh') * 3} {chance.choice('klmnopq') * 4}"
        if items and chance.random() < 0.1:
            text = chance.choice(items).text
        arrived = START + hours * HOUR
        published = arrived
        if chance.random() < 0.1:
            published -= chance.uniform(0, 60) * HOUR
        if chance.random() < 0.05:
            published += chance.uniform(0, 24) * HOUR
        if chance.random() < 0.05:
            arrived -= chance.uniform(0, 40) * HOUR
        hint = ("TVNA", "WHAT") if chance.random() < 0.1 else ()
        items.append(item(number, text, published=published, arrived=arrived, entities=hint))
    return items


def monitor(store: Store, **more: Any) -> Monitor:
    values: dict[str, Any] = {"scorer": Words(), "gazetteer": COMPANIES, "settings": LIVELY, **more}
    return Monitor(store, **values)


def polls(items: Sequence[Item], size: int) -> Iterator[Poll]:
    for start in range(0, len(items), size):
        last = min(start + size, len(items))
        yield Poll(list(items[start:last]), str(last), last == len(items), [])


def watch(path: Path | str, items: Sequence[Item], size: int = 50, restarts: bool = False) -> dict[str, Any]:
    """What the store holds after the items."""
    with Store.open(path, writer=True) as store:
        one = monitor(store)
        for poll in polls(items, size):
            if restarts:
                one = monitor(store)
            one.process("wire", poll)
    return contents(str(path))


@settings(deadline=None, max_examples=6)
@given(st.integers(0, 10_000), st.sampled_from([1, 7, 50]), st.booleans())
def test_how_a_stream_is_cut_and_restarted_changes_nothing(seed: int, size: int, restarts: bool) -> None:
    items = news(seed)
    with tempfile.TemporaryDirectory() as folder:
        whole = watch(Path(folder) / "whole.sqlite3", items, len(items))
        cut = watch(Path(folder) / "cut.sqlite3", items, size, restarts)
    for table in SEEN:
        assert cut[table] == whole[table]


def test_the_news_of_these_tests_bring_alerts_copies_and_late_items(tmp_path: Path) -> None:
    found = watch(tmp_path / "s.sqlite3", news(1))
    assert len(found["alert"]) >= 3
    assert len(found["notice"]) >= 3
    assert len(found["reading"]) > 100
    assert len([row for row in found["item"] if row[11] is not None]) >= 5


@settings(deadline=None, max_examples=5)
@given(st.integers(0, 10_000), st.integers(30, 110))
def test_what_comes_later_changes_nothing_before_it(seed: int, first: int) -> None:
    items = news(seed)
    later = items[first:]
    random.Random(seed).shuffle(later)
    moments = [one.arrived for one in items[first:]]
    shuffled = [dataclasses.replace(one, arrived=at) for one, at in zip(later, moments, strict=True)]
    since = max(one.arrived for one in items[:first])
    with tempfile.TemporaryDirectory() as folder:
        as_it_was = before(Path(folder) / "a.sqlite3", items, since)
        other = before(Path(folder) / "b.sqlite3", [*items[:first], *shuffled], since)
    assert as_it_was == other


def before(path: Path, items: Sequence[Item], until: datetime) -> list[Any]:
    """Readings, alerts as they fired, and notices that there were at a moment."""
    watch(path, items, 40)
    with Store.open(path, writer=False) as store, store.reading() as tx:
        lateness = timedelta(hours=LIVELY.signal.lateness_hours)
        readings = [row for row in tx.readings() if row.end + lateness <= until]
        fired = [(a.id, a.fired, a.json.get("evidence")) for a in tx.alerts() if a.fired and a.fired <= until]
        said = [(n.id, n.created, n.payload) for n in tx.notices() if n.created <= until]
    return [readings, fired, said]


def test_each_item_is_stored_with_what_the_model_made_of_it(place: str) -> None:
    with Store.open(place, writer=True) as store:
        done = monitor(store).process("wire", Poll([item(1, "Torvenna wins. Skelvoort cuts jobs.")], "7", False, []))
        with store.reading() as tx:
            (row,) = tx.items()
            assert tx.cursor("wire") == "7"
    assert (done.counts["items"], done.counts["known"]) == (1, 0)
    assert {(e.entity, e.score > 0) for e in row.entities} == {("TVNA", True), ("SKQ", False)}
    assert row.vector is not None
    assert row.probabilities is not None
    assert sum(row.probabilities) == pytest.approx(1.0, abs=1e-3)


def test_an_item_that_is_given_again_has_no_second_effect(tmp_path: Path) -> None:
    items = news(2, 60)
    once = watch(tmp_path / "once.sqlite3", items, 20)
    with Store.open(tmp_path / "twice.sqlite3", writer=True) as store:
        one = monitor(store)
        for poll in polls(items, 20):
            one.process("wire", poll)
            again = one.process("wire", poll)
            assert (again.counts["items"], again.counts["known"], again.notices) == (0, len(poll.items), [])
    twice = contents(str(tmp_path / "twice.sqlite3"))
    for table in ("item", "item_entity", "reading", "alert", "notice"):
        assert twice[table] == once[table]


def test_an_item_twice_in_one_poll_is_one(tmp_path: Path) -> None:
    with Store.open(tmp_path / "s", writer=True) as store:
        done = monitor(store).process("wire", Poll([item(1), item(1)], "1", False, []))
    assert (done.counts["items"], done.counts["known"]) == (1, 1)


def test_a_copy_is_kept_and_does_not_move_the_index(tmp_path: Path) -> None:
    text = "Torvenna wins an order for twelve presses from a maker of cars"
    alone, copied = tmp_path / "alone", tmp_path / "copied"
    others = [item(n, f"Skelvoort opens plant {n} in the north", hours=24 * n) for n in range(2, 6)]
    watch(alone, [item(1, text), *others])
    watch(copied, [item(1, text), item(9, text.upper(), source="post", hours=3), *others])
    found = contents(str(copied))
    assert found["reading"] == contents(str(alone))["reading"]
    assert [row[11] for row in found["item"]] == [None, key(item(1)), *[None] * 4]


def test_a_copy_is_known_as_one_after_a_restart(tmp_path: Path) -> None:
    text = "Torvenna wins an order for twelve presses from a maker of cars"
    items = [item(1, text), item(2, text, hours=1, source="post")]
    assert watch(tmp_path / "s", items, 1, restarts=True)["item"][1][11] == key(items[0])


def test_unknown_symbols_are_counted_and_harm_nothing(tmp_path: Path) -> None:
    with Store.open(tmp_path / "s", writer=True) as store:
        done = monitor(store).process("wire", Poll([item(1, entities=("WHAT", "skq"))], "1", False, []))
        with store.reading() as tx:
            (row,) = tx.items()
            assert tx.states(UNKNOWN) == {"WHAT": {"count": 1}}
            assert tx.states(COUNTERS)["wire"]["unknown"] == 1
    assert done.counts["unknown"] == 1
    assert {e.entity for e in row.entities} == {"TVNA", "SKQ"}


def test_counters_go_on_over_restarts(tmp_path: Path) -> None:
    for number in (1, 2):
        with Store.open(tmp_path / "s", writer=True) as store:
            monitor(store).process("wire", Poll([item(number)], str(number), False, ["row 3: no text"]))
            with store.reading() as tx:
                assert tx.states(COUNTERS)["wire"]["items"] == number
                assert tx.states(COUNTERS)["wire"]["problems"] == number


def test_an_article_of_ten_megabytes_is_an_item_like_any_other(tmp_path: Path) -> None:
    text = "Torvenna wins an order. " + "It is long and says nothing at all. " * 290_000
    assert len(text) > 10_000_000
    with Store.open(tmp_path / "s", writer=True) as store:
        monitor(store).process("wire", Poll([item(1, text), item(2, text, hours=1)], "2", False, []))
        with store.reading() as tx:
            first, second = tx.items()
    assert (first.text, second.duplicate_of) == (text.strip(), first.key) or first.text == text
    assert [e.entity for e in first.entities] == ["TVNA"]


def test_a_date_in_the_future_closes_no_bucket_early(tmp_path: Path) -> None:
    ahead = item(1, published=START + 900 * DAY, arrived=START)
    with Store.open(tmp_path / "s", writer=True) as store:
        one = monitor(store)
        assert one.process("wire", Poll([ahead], "1", False, [])).readings == 0
        one.process("wire", Poll([item(2, "Torvenna cuts jobs again", hours=24)], "2", False, []))
        with store.reading() as tx:
            assert tx.states(BOARD)["board"]["clock"]["future"] == 1
            assert all(row.end <= START + DAY for row in tx.readings())


def test_a_clock_that_goes_back_loses_nothing(tmp_path: Path) -> None:
    back = item(2, "Skelvoort opens a plant", published=START + 49 * HOUR, arrived=START + 2 * HOUR)
    with Store.open(tmp_path / "s", writer=True) as store:
        monitor(store).process("wire", Poll([item(1, hours=50), back], "2", False, []))
        with store.reading() as tx:
            assert [row.arrived for row in tx.items()] == [START + 50 * HOUR] * 2
            assert tx.states(BOARD)["board"]["clock"]["backwards"] == 1


def fired(store: Store) -> list[Any]:
    with store.reading() as tx:
        return [a for a in tx.alerts() if a.fired]


def test_a_verdict_moves_the_calibration_once_and_survives_a_restart(tmp_path: Path) -> None:
    with Store.open(tmp_path / "s", writer=True) as store:
        one = monitor(store)
        for poll in polls(news(1), 50):
            one.process("wire", poll)
        alert = fired(store)[-1]
        account = f"series:{alert.entity}"
        with store.posting() as tx:
            judge(tx, alert.id, confirmed=True, analyst="Ada", now=START)
        with store.reading() as tx:
            unmoved = tx.states(BOARD)[account]
        assert one.attend().verdicts == 1
        with store.reading() as tx:
            moved = tx.states(BOARD)[account]
            assert tx.alerts(ids=[alert.id])[0].json["verdict"]["verdict"] == "confirmed"
        assert moved != unmoved
        assert one.attend() == monitor(store).attend() == Processed()
        with store.reading() as tx:
            assert tx.states(BOARD)[account] == moved


def test_evidence_names_the_items_that_moved_the_bucket(tmp_path: Path) -> None:
    with Store.open(tmp_path / "s", writer=True) as store:
        one = monitor(store)
        for poll in polls(news(1), 50):
            one.process("wire", poll)
        evidence = [a.json["evidence"] for a in fired(store)]
    assert all(one["items"] for one in evidence)
    assert any(one["moved"] and one["past"] for one in evidence)


def test_what_is_silenced_is_not_told(tmp_path: Path) -> None:
    with Store.open(tmp_path / "s", writer=True) as store:
        with store.posting() as tx:
            silence(tx, "*", START, START + 400 * DAY, analyst="Ada")
        one = monitor(store)
        told = [one.process("wire", poll).notices for poll in polls(news(1), 50)]
        assert fired(store)
    assert not any(told)


class Failing(Words):
    """Fails when it is asked the first time."""

    def __init__(self) -> None:
        self.failed = False

    def score(self, texts: Sequence[str]) -> Scores:
        if not self.failed:
            self.failed = True
            raise MemoryError("no room for the model")
        return super().score(texts)


def test_a_model_that_fails_leaves_the_poll_to_be_given_again(tmp_path: Path) -> None:
    items = news(3, 60)
    expected = watch(tmp_path / "expected", items, 20)
    with Store.open(tmp_path / "s", writer=True) as store:
        one = monitor(store, scorer=Failing())
        first, *rest = polls(items, 20)
        with pytest.raises(MemoryError):
            one.process("wire", first)
        for poll in [first, *rest]:
            one.process("wire", poll)
    assert contents(str(tmp_path / "s")) == expected


@contextmanager
def full_disk(more: int, *files: Path) -> Iterator[Callable[[], None]]:
    """No file can grow beyond the largest of these and some more bytes, until what it gives is called."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (max(f.stat().st_size for f in files if f.exists()) + more, hard))
    try:
        yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_a_clear_error_and_the_monitor_goes_on_when_there_is_room(tmp_path: Path) -> None:
    items = news(4, 90)
    expected = watch(tmp_path / "expected", items, 30)
    path = tmp_path / "s"
    with Store.open(path, writer=True) as store:
        one = monitor(store)
        first, second, third = polls(items, 30)
        one.process("wire", first)
        kept = contents(str(path))
        with full_disk(4096, path, tmp_path / "s-wal"):
            for _ in range(2):
                with pytest.raises(MissingError, match="the disk is full"):
                    one.process("wire", second)
        assert contents(str(path)) == kept
        one.process("wire", second)
        one.process("wire", third)
    assert contents(str(path)) == expected


def test_a_transaction_that_was_committed_although_it_seemed_to_fail_is_not_repeated(tmp_path: Path) -> None:
    poll = Poll([item(1)], "1", False, ["row 2: no text"])
    with Store.open(tmp_path / "s", writer=True) as store:
        one = monitor(store)
        transaction = store.transaction

        @contextmanager
        def answer_lost() -> Iterator[Any]:
            with transaction() as tx:
                yield tx
            raise MissingError("the database does not answer")

        store.transaction = answer_lost  # type: ignore[method-assign]
        with pytest.raises(MissingError):
            one.process("wire", poll)
        store.transaction = transaction  # type: ignore[method-assign]
        assert one.process("wire", poll) == Processed()
        with store.reading() as tx:
            assert tx.states(COUNTERS)["wire"] == {"items": 1, "duplicates": 0, "known": 0, "unknown": 0, "problems": 1}


def test_a_second_monitor_on_one_store_is_refused(place: str) -> None:
    with Store.open(place, writer=True), pytest.raises(MissingError, match="another monitor"):
        Store.open(place, writer=True)


def test_what_is_older_than_it_shall_be_kept_goes(tmp_path: Path) -> None:
    chosen = LIVELY.model_copy(update={"stream": StreamSettings(keep_days=14)})
    items = [item(n, f"Torvenna opens plant {n} {'xyz'[n % 3] * 5}", hours=24 * n) for n in range(60)]
    with Store.open(tmp_path / "s", writer=True) as store:
        one = monitor(store, settings=chosen)
        for poll in polls(items, 5):
            one.process("wire", poll)
        with store.reading() as tx:
            left = [row.arrived for row in tx.items()]
    assert 14 * DAY <= left[-1] - left[0] <= 28 * DAY


def test_copies_are_not_looked_for_where_nothing_is_kept(tmp_path: Path) -> None:
    chosen = LIVELY.model_copy(update={"stream": StreamSettings(keep_days=1)})
    with Store.open(tmp_path / "s", writer=True) as store, pytest.raises(ConfigError, match="keep_days"):
        monitor(store, settings=chosen)


def test_sources_have_cursors_of_their_own(tmp_path: Path) -> None:
    with Store.open(tmp_path / "s", writer=True) as store:
        one = monitor(store)
        for number, source in itertools.product(range(3), ("wire", "post")):
            poll = Poll(
                [item(number, f"Quellmar opens {source} {number}", source=source)], f"{source}{number}", False, []
            )
            one.process(source, poll)
        assert [one.cursor(source) for source in ("wire", "post", "other")] == ["wire2", "post2", None]


# -- silence -----------------------------------------------------------------------------------------------------


def hours_after(items: Sequence[Item], count: int) -> list[datetime]:
    """Looks at the clock, an hour and a little more apart."""
    return [max(one.arrived for one in items) + n * timedelta(minutes=61) for n in range(count)]


def test_alerts_of_a_silent_stream_end_and_buckets_are_closed(tmp_path: Path):
    items = news(1)
    with Store.open(tmp_path / "s", writer=True) as store:
        one = monitor(store)
        assert one.beat(START + 9 * DAY) == Processed()  # nothing has come yet
        one.process("wire", Poll(items, "all", True, []))
        with store.reading() as tx:
            assert tx.alerts(states=("pending", "firing", "keep_firing"))
        before = len(store_readings(store))
        last = max(one.arrived for one in items)
        done = one.beat(last + 12 * DAY)
        assert done.readings == len(store_readings(store)) - before > 0
        assert one.beat(last + 12 * DAY) == Processed()  # of this hour all is done
        assert one.beat(last) == Processed()  # a clock that goes back
        with store.reading() as tx:
            assert not tx.alerts(states=("pending", "firing", "keep_firing"))


def store_readings(store: Store) -> list[Any]:
    with store.reading() as tx:
        return list(tx.readings())


def test_a_monitor_that_is_killed_while_nothing_comes_ends_with_the_same_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    items = news(1)
    looks = hours_after(items, 24 * 8)
    with Store.open(tmp_path / "once", writer=True) as store:
        one = monitor(store)
        one.process("wire", Poll(items, "all", True, []))
        for now in looks:
            one.beat(now)
    chance, save, lost = random.Random(0), Memory.save, 0

    def dies(self: Memory, tx: Any) -> None:
        save(self, tx)
        if chance.random() < 0.1:
            raise KeyboardInterrupt

    with Store.open(tmp_path / "killed", writer=True) as store:
        one = monitor(store)
        one.process("wire", Poll(items, "all", True, []))
        monkeypatch.setattr(Memory, "save", dies)
        for now in looks[:-1]:
            try:
                one.beat(now)
            except KeyboardInterrupt:
                lost += 1
                one = monitor(store)  # what was in memory is gone, and the next look is an hour later
        monkeypatch.setattr(Memory, "save", save)
        one.beat(looks[-1])
    assert lost > 5
    assert contents(str(tmp_path / "killed")) == contents(str(tmp_path / "once"))
