from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.plugins.finance.stores import HOUR, START, alert, execute, item, notice, place, reading, server
from triptych.errors import DataError
from triptych_finance.store.schema import EntityRow, ItemRow, ReadingRow, SilenceRow, VerdictRow
from triptych_finance.store.store import Store
from triptych_finance.stream.item import Item, key

__all__ = ["place", "server"]  # fixtures


@pytest.fixture
def store(place: str) -> Iterator[Store]:
    with Store.open(place, writer=True) as found:
        yield found


def test_items_come_back_as_they_went_in(store: Store) -> None:
    rows = [item(1), item(2, duplicate_of="wire\x1f1", score=None, probabilities=None, vector=None, entities=())]
    with store.transaction() as tx:
        assert tx.add_items(rows) == [1, 2]
    with store.reading() as tx:
        found = tx.items()
    assert [row.number for row in found] == [1, 2]
    assert found == [replace(row, number=number) for number, row in enumerate(rows, start=1)]
    assert found[0].published.tzinfo is UTC
    assert found[0].vector is not None
    np.testing.assert_array_equal(found[0].vector, rows[0].vector)
    assert found[1].vector is None


def test_a_transaction_is_all_or_nothing(store: Store) -> None:
    def interrupted() -> None:
        with store.transaction() as tx:
            tx.add_items([item(1)])
            tx.set_cursor("wire", "1")
            tx.put_states("board", {"ACME": {"sum": 1}})
            raise KeyError("stop")

    with pytest.raises(KeyError):
        interrupted()
    with store.transaction() as tx:
        assert (tx.items(), tx.cursor("wire"), tx.states("board")) == ([], None, {})
        assert tx.add_items([item(1)]) == [1]


def test_an_item_is_added_once(store: Store) -> None:
    with store.transaction() as tx:
        tx.add_items([item(1)])
    with pytest.raises(DataError, match="already"), store.transaction() as tx:
        tx.add_items([item(2), item(1)])
    with store.transaction() as tx:
        assert [row.id for row in tx.items()] == ["1"]
        many = [f"wire\x1f{n}" for n in range(2_000)]
        assert tx.known([*many, "other\x1f1", "half \ud800"]) == {"wire\x1f1"}
        assert tx.known([]) == set()


def test_items_are_found_by_number_key_entity_and_time(store: Store) -> None:
    rows = [item(n, entities=(EntityRow("ACME" if n % 2 else "GLBX", 0.5, 1.0, "x"),)) for n in range(1_200)]
    with store.transaction() as tx:
        tx.add_items(rows)
        assert [row.id for row in tx.items(entity="ACME", since=START, until=START + 4 * HOUR)] == ["1", "3"]
        assert [row.id for row in tx.items(entity="GLBX", limit=2)] == ["1196", "1198"]
        assert [row.id for row in tx.items(since=START + 1_198 * HOUR)] == ["1198", "1199"]
        assert [row.id for row in tx.items(keys=[rows[7].key, rows[5].key, "no"])] == ["5", "7"]
        assert [row.number for row in tx.items(numbers=np.arange(3, 5).tolist())] == [3, 4]
        assert [row.number for row in tx.items(numbers=list(np.arange(3, 5)))] == [3, 4]
        assert len(tx.items(numbers=range(1, 1_101))) == 1_100
        assert [row.number for row in tx.items(numbers=range(1, 1_101), limit=2)] == [1_099, 1_100]
        assert tx.items(keys=[]) == []
        assert tx.items(limit=0) == []


def test_a_vector_is_kept_as_little_endian_float16(store: Store, place: str) -> None:
    with store.transaction() as tx:
        tx.add_items([item(1, vector=np.array([1.0, -2.0], dtype=np.float32))])
    assert bytes(execute(place, "SELECT vector FROM item")[0][0]) == b"\x00\x3c\x00\xc0"
    with pytest.raises(DataError, match="finite numbers"), store.transaction() as tx:
        tx.add_items([item(2, vector=np.array([1e6], dtype=np.float32))])


def test_times_are_microseconds_since_1970(store: Store, place: str) -> None:
    with store.transaction() as tx:
        tx.add_items([item(1, published=datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC))])
    assert execute(place, "SELECT published FROM item") == [(-1,)]


def test_a_time_without_a_zone_is_refused(store: Store) -> None:
    naive = datetime(2026, 3, 2)
    with pytest.raises(DataError, match="no time zone"), store.transaction() as tx:
        tx.add_items([item(1, published=naive)])
    with pytest.raises(DataError, match="no time zone"), store.transaction() as tx:
        tx.readings("ACME", since=naive)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.text(st.characters(), min_size=1),
    time=st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=-7))]), min_value=datetime(2, 1, 1)),
    score=st.floats(-1, 1),
)
def test_any_text_time_and_score_is_kept_exactly(store: Store, text: str, time: datetime, score: float) -> None:
    with store.transaction() as tx:
        number = len(tx.items()) + 1
        given = Item(f"{number}{text[:100]}", "any", f"x{text}", time, time, metadata={text: text})
        row = ItemRow.of(given, score=score, entities=(EntityRow(text, score, 1.0, text),))
        assert tx.add_items([row]) == [number]
        tx.add_inbox([given])
        (found,) = tx.items(keys=[key(given)])
        assert (found.text, found.metadata, found.published) == (given.text, given.metadata, time)
        assert (found.score, found.entities[0].score) == (score, score)
        assert tx.inbox(number - 1, 10)[0].item == given


def test_states_are_replaced_and_removed_by_key(store: Store) -> None:
    with store.transaction() as tx:
        tx.put_states("board", {"b": {"sum": 0.1 + 0.2, "list": [1, None]}, "a": {"sum": 1e300}})
        tx.put_states("desk", {"a": {}})
        tx.put_states("board", {"a": {"sum": 2}})
    with store.reading() as tx:
        assert tx.states("board") == {"a": {"sum": 2}, "b": {"sum": 0.1 + 0.2, "list": [1, None]}}
        assert tx.get_state("board", "b") == {"sum": 0.1 + 0.2, "list": [1, None]}
        assert tx.get_state("desk", "b") is None
    with store.transaction() as tx:
        tx.put_states("board", {"a": None, "c": {"x": 1}})
        assert set(tx.states("board")) == {"b", "c"}
    with pytest.raises(DataError, match="cannot be kept as JSON"), store.transaction() as tx:
        tx.put_states("board", {"a": {"sum": math.inf}})


def test_readings_come_back_by_entity_and_time(store: Store) -> None:
    odd = ReadingRow("sector:x", START, START + HOUR, 0.0, math.nan, 0.0, -math.inf, math.inf, False, 0)
    rows = [reading(n, entity) for n in range(3) for entity in ("ACME", "GLBX")]
    with store.transaction() as tx:
        tx.add_readings([*rows[::-1], odd])
        assert tx.readings("ACME", START + HOUR, START + 48 * HOUR) == [reading(1)]
        assert tx.readings("ACME") == [reading(0), reading(1), reading(2)]
        (found,) = tx.readings("sector:x")
        assert (math.isnan(found.change), found.statistic, found.threshold) == (True, -math.inf, math.inf)
        assert [row.entity for row in tx.readings()][:4] == ["sector:x", "ACME", "GLBX", "ACME"]  # ends first
    with pytest.raises(DataError, match="already"), store.transaction() as tx:
        tx.add_readings([reading(1)])


def test_alerts_are_replaced_by_id(store: Store) -> None:
    with store.transaction() as tx:
        tx.put_alerts([alert("a2", started=START + HOUR, entity="GLBX"), alert("a1", state="pending")])
        tx.put_alerts([alert("a1", fired=START + HOUR, json={"evidence": [1]})])
        assert tx.alerts() == [
            alert("a1", fired=START + HOUR, json={"evidence": [1]}),
            alert("a2", started=START + HOUR, entity="GLBX"),
        ]
        assert [row.id for row in tx.alerts(limit=1)] == ["a2"]
        assert [row.id for row in tx.alerts(ids=["a1", "x"], states=["firing"])] == ["a1"]
        assert [row.id for row in tx.alerts(entity="ACME", until=START + HOUR)] == ["a1"]
        assert tx.alerts(states=["pending"]) == []


def test_a_notice_is_due_until_it_is_sent_or_given_up(store: Store) -> None:
    with store.transaction() as tx:
        tx.add_notices([notice("n2"), notice("n1", next_try=START - HOUR), notice("n3", next_try=START + HOUR)])
        assert [row.id for row in tx.due_notices(START, 10)] == ["n1", "n2"]
        assert [row.id for row in tx.due_notices(START, 1)] == ["n1"]
        tx.set_notice("n1", attempts=1, next_try=None, sent=START)
        tx.set_notice("n2", attempts=1, next_try=START + 2 * HOUR, error="refused")
        tx.add_notices([notice("n1"), notice("n4", next_try=None)])  # n1 once more: a replay after a crash
        assert tx.due_notices(START, 10) == []
        due = tx.due_notices(START + 2 * HOUR, 10)
        assert [(row.id, row.attempts, row.error) for row in due] == [("n3", 0, ""), ("n2", 1, "refused")]
        assert due[1].payload == {"entity": "ACME", "items": [1, 2]}
        assert [row.id for row in tx.notices("a1")] == ["n1", "n2", "n3", "n4"]
        assert tx.notices("a2") == []
    with pytest.raises(DataError, match="no notice 'x'"), store.transaction() as tx:
        tx.set_notice("x", attempts=1, next_try=None)


def test_the_inbox_is_read_in_order_and_dropped_by_source(store: Store) -> None:
    items = [Item(str(n), "push" if n % 2 else "other", "Acme.", START, START, entities=("ACME",)) for n in range(6)]
    with store.posting() as tx:
        assert tx.add_inbox(items) == [1, 2, 3, 4, 5, 6]
        assert tx.add_inbox([]) == []
    with store.transaction() as tx:
        assert [row.item for row in tx.inbox(1, 2)] == items[1:3]
        assert [row.number for row in tx.inbox(0, 9, source="push")] == [2, 4, 6]
        tx.drop_inbox(4, source="push")
        assert [row.number for row in tx.inbox(0, 9)] == [1, 3, 5, 6]
        assert (tx.inbox_size(), tx.inbox_size("push")) == (4, 1)
        tx.drop_inbox(6)
        assert tx.add_inbox(items[:1]) == [7]


def test_what_is_posted_shows_up_in_the_order_of_its_numbers(store: Store) -> None:
    """Nobody who reads up to a number may miss a lower one that is committed later."""
    seen: list[int] = []

    def post() -> None:
        for n in range(10):
            with store.posting() as tx:
                tx.add_inbox([Item(str(n), "push", "Acme.", START, START)])

    threads = [threading.Thread(target=post) for _ in range(4)]
    for thread in threads:
        thread.start()
    running = True
    while running:
        running = any(thread.is_alive() for thread in threads)
        with store.transaction() as tx:
            seen += [row.number for row in tx.inbox(seen[-1] if seen else 0, 100)]
    assert seen == list(range(1, 41))


def test_verdicts_follow_each_other(store: Store) -> None:
    rows = [VerdictRow(f"a{n}", "ACME", n == 1, "ann", "seen", START + n * HOUR) for n in range(3)]
    with store.posting() as tx:
        assert [tx.add_verdict(row) for row in rows] == [1, 2, 3]
    with store.reading() as tx:
        assert [(row.number, row.alert, row.confirmed) for row in tx.verdicts(after=1)] == [
            (2, "a1", True),
            (3, "a2", False),
        ]
        assert [row.number for row in tx.verdicts(START + 2 * HOUR)] == [3]
        assert tx.verdicts()[0] == VerdictRow("a0", "ACME", False, "ann", "seen", START, number=1)


def test_a_silence_holds_from_its_start_until_just_before_its_end(store: Store) -> None:
    row = SilenceRow("s1", "sector:*", START, START + HOUR, "ann", "earnings day")
    with store.posting() as tx:
        tx.add_silence(row)
    with store.posting() as tx:
        assert tx.silences(START) == [row]
        assert tx.silences(START + HOUR) == []
        assert tx.expire_silence("s1", START + HOUR / 2)
        assert not tx.expire_silence("s1", START + HOUR / 2)
        assert not tx.expire_silence("s2", START)
        assert tx.silences(START + HOUR / 2) == []
        assert tx.silences()[0].ends == START + HOUR / 2
    with pytest.raises(DataError, match="already"), store.posting() as tx:
        tx.add_silence(row)
