"""Notices as they are written down: once, whatever crashes in between, with their alerts as they stood."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.plugins.finance import desks
from tests.plugins.finance.desks import LATENESS, known, reading
from triptych_finance.alerts.desk import Desk
from triptych_finance.alerts.notices import STATE, notice_id, record, render
from triptych_finance.alerts.settings import AlertSettings
from triptych_finance.signal.board import SignalReading
from triptych_finance.store.schema import AlertRow, NoticeRow, SilenceRow
from triptych_finance.store.store import Store


class Crash(Exception):
    """The process dies before the transaction ends."""


@contextmanager
def new_store() -> Iterator[Store]:
    with tempfile.TemporaryDirectory() as folder, Store.open(Path(folder) / "news.sqlite3", writer=True) as store:
        yield store


def explain(one: SignalReading) -> dict[str, Any]:
    moved = {
        "share": 0.75,
        "sentence": "Acme fell.",
        "score": -0.9,
        "title": "Acme",
        "url": "",
        "published": "2026-03-02",
    }
    near = {"similarity": 0.8, "published": "2026-01-05", "sentence": "Acme slid.", "entity": one.entity}
    follow = {
        "index": {"before": 0.1, "after": -0.2, "days": 7},
        "price": {"change": -0.05, "volatility": -3.5, "days": 3},
    }
    return {"items": 3, "copies": 1, "moved": [moved], "past": [{**near, **follow}]}


def run(
    store: Store, calls: Sequence[tuple[list[SignalReading], Any]], chosen: dict[str, Any], crashes: Sequence[bool] = ()
) -> None:
    """A monitor in small: each call one transaction, the desk read from the store after each crash."""
    one: Desk | None = None
    for number, (some, now) in enumerate(calls):
        for crash in [True, False] if number < len(crashes) and crashes[number] else [False]:
            if one is None:
                with store.reading() as tx:
                    one = Desk.load(AlertSettings(**chosen), tx.states(STATE), lateness=LATENESS, sector=desks.sector)
            try:
                with store.transaction() as tx:
                    record(tx, one, some, now, explain)
                    if crash:
                        raise Crash
            except Crash:
                one = None


def written(store: Store) -> tuple[list[AlertRow], list[NoticeRow], dict[str, Any]]:
    with store.reading() as tx:
        return tx.alerts(), tx.notices(), tx.states(STATE)


def by_day(readings: Sequence[SignalReading]) -> list[tuple[list[SignalReading], Any]]:
    ends = sorted({r.end for r in readings})
    return [([r for r in readings if r.end == end], end + LATENESS) for end in ends]


@settings(deadline=None, max_examples=15)
@given(desks.streams(8), desks.chosen_settings, desks.silencing(), st.lists(st.booleans(), max_size=8), st.data())
def test_crashes_and_other_cuts_leave_the_same_alerts_and_notices(stream, chosen, silences, crashes, data):
    with new_store() as whole, new_store() as broken:
        for store in (whole, broken):
            add(store, silences)
        run(whole, [*by_day(stream), ([], known(20))], chosen)
        run(broken, desks.cut(data.draw, stream), chosen, crashes)
        assert written(broken)[:2] == written(whole)[:2]


def add(store: Store, silences: Sequence[SilenceRow]) -> None:
    with store.transaction() as tx:
        for row in {s.id: s for s in silences}.values():
            tx.add_silence(row)


def test_a_replay_on_the_same_store_says_nothing_twice():
    stream = [reading(day, alarm=day < 2) for day in range(6)]
    with new_store() as store:
        run(store, by_day(stream), {})
        alerts, notices, _ = written(store)
        with store.transaction() as tx:
            for notice in notices:
                tx.set_notice(notice.id, attempts=1, next_try=None, sent=known(9))
            tx.put_states(STATE, dict.fromkeys(tx.states(STATE)))
        run(store, by_day(stream), {})
        again = written(store)
        assert again[0] == alerts
        assert {n.id for n in again[1]} == {n.id for n in notices}
        assert all(n.sent == known(9) for n in again[1])


def test_a_notice_shows_its_alerts_as_they_stood_when_it_was_made():
    stream = [reading(0), *(reading(day, alarm=False) for day in range(1, 5))]
    with new_store() as store:
        run(store, [(stream, known(10))], {})
        (alert,), notices, _ = written(store)
        assert alert.state == "resolved"
        assert [n.payload["alerts"][0]["state"] for n in notices] == ["firing", "resolved"]
        assert [n.payload["event"] for n in notices] == ["firing", "resolved"]


def test_evidence_is_taken_when_an_alert_fires_and_stays():
    seen: list[SignalReading] = []

    def once(one: SignalReading) -> dict[str, Any]:
        seen.append(one)
        return explain(one)

    stream = [
        reading(0),
        reading(1),
        reading(2, alarm=False),
        reading(3),
        *(reading(d, alarm=False) for d in (4, 5, 6, 7)),
    ]
    with new_store() as store:
        one = desks.desk(for_buckets=1)
        for some, now in by_day(stream):
            with store.transaction() as tx:
                record(tx, one, some, now, once)
        (alert,), notices, _ = written(store)
    assert seen == [reading(1)]
    assert alert.state == "resolved"
    assert alert.json["evidence"] == explain(reading(1))
    assert all(n.payload["alerts"][0]["evidence"] == explain(reading(1)) for n in notices)


def test_a_notice_is_due_at_once_and_says_which_one_came_before():
    stream = [reading(0), *(reading(day, alarm=False) for day in range(1, 5))]
    with new_store() as store:
        run(store, by_day(stream), {})
        first, second = written(store)[1]
    assert (first.next_try, first.created, first.payload["after"]) == (known(0), known(0), None)
    assert second.payload["after"] == [first.alert, first.id]


def test_the_text_of_an_alert_has_what_moved_it_and_what_followed_the_like():
    with new_store() as store:
        run(store, by_day([reading(0)]), {})
        ((notice,),) = [written(store)[1]]
    assert notice.payload["subject"] == "[firing] negative turn of sentiment on ACME"
    text = notice.payload["text"]
    for part in (
        "FIRING: negative turn of sentiment on ACME, sector tech",
        "index -0.300 (-0.200), volume 5, surprise 9.0 bits where 4.0 are needed",
        "3 items, 1 copies left out",
        "75% 'Acme fell.' (score -0.90)",
        "0.80 2026-01-05 'Acme slid.'",
        "index +0.100, -0.200 after 7 days; ACME -5.0% in 3 trading days; log volatility -3.50",
    ):
        assert part in text


def test_an_alert_without_evidence_and_with_a_verdict_can_be_rendered():
    verdict = {"verdict": "dismissed", "analyst": "Ann", "note": "a rumour"}
    text = render(
        {"id": "a", "entity": "sector:tech", "kind": "volume", "state": "keep_firing", "started": "2026-03-02T00:00",
         "fired": None, "verdict": verdict}
    )  # fmt: skip
    assert text.splitlines() == [
        "KEEP-FIRING: unusual volume of news on sector:tech (alert a)",
        "  since 2026-03-02 00:00 UTC",
        "  dismissed by Ann: a rumour",
    ]


@pytest.mark.parametrize(
    "other", [("mail", "firing", ["+a"], 0), ("log", "repeat", ["+a"], 0), ("log", "firing", ["+b"], 0)]
)
def test_notices_of_other_content_have_other_ids(other):
    assert notice_id("log", "firing", ["+a"]) == notice_id("log", "firing", ["+a"])
    assert notice_id("log", "firing", ["+a"]) != notice_id(*other)


@desks.unhurried
@given(desks.streams(), desks.chosen_settings, desks.silencing())
def test_no_two_notices_have_one_id(stream, chosen, silences):
    said = desks.desk(**chosen).step(stream, known(30), silences)
    ids = [n.id for t in said for n in t.notices]
    assert len(ids) == len(set(ids))
