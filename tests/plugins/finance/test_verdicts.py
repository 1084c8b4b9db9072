"""Verdicts: each counts once, an opposite one takes the place of the former, and both say so."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tests.plugins.finance.desks import DAY, HOUR, START, desk, known, reading
from triptych.errors import ConfigError, RefusedError, UnknownNameError
from triptych_finance.alerts.notices import record
from triptych_finance.alerts.verdicts import judge, settle
from triptych_finance.store.schema import AlertRow, VerdictRow
from triptych_finance.store.store import Store

NOW = START + 9 * DAY


class Board:
    """What a board does with feedback: one state for each alarm."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, datetime, bool]] = []

    def feedback(self, entity: str, time: datetime, false_alarm: bool) -> None:
        self.calls.append((entity, time, false_alarm))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "news.sqlite3", writer=True) as opened:
        with opened.transaction() as tx:
            flapping = [reading(0), reading(1, alarm=False), reading(2)]
            record(tx, desk(), [*flapping, *(reading(d, alarm=False) for d in range(3, 8))], known(8))
        yield opened


@pytest.fixture
def alert(store: Store) -> AlertRow:
    with store.reading() as tx:
        (row,) = tx.alerts()
    return row


def test_a_verdict_is_kept_with_analyst_and_note(store, alert):
    with store.posting() as tx:
        judged = judge(tx, alert.id, confirmed=False, analyst="Ann", note="a rumour", now=NOW)
    assert (judged.new, judged.message) == (True, f"Alert {alert.id} on ACME is dismissed.")
    with store.reading() as tx:
        assert tx.verdicts() == [judged.verdict]
    assert (judged.verdict.analyst, judged.verdict.note, judged.verdict.given) == ("Ann", "a rumour", NOW)


def test_an_alert_may_be_named_by_its_beginning(store, alert):
    with store.posting() as tx:
        assert judge(tx, alert.id[:6], confirmed=True, analyst="Ann", now=NOW).verdict.alert == alert.id


def test_the_same_verdict_again_changes_nothing_and_says_whose_it_was(store, alert):
    with store.posting() as tx:
        judge(tx, alert.id, confirmed=True, analyst="Ann", now=NOW)
        judged = judge(tx, alert.id, confirmed=True, analyst="Ben", now=NOW + HOUR)
    assert not judged.new
    assert judged.message.endswith("is confirmed already, by Ann on 2026-03-11 00:00 UTC; nothing changed.")
    with store.reading() as tx:
        assert len(tx.verdicts()) == 1


def test_the_opposite_verdict_replaces_the_former_and_says_so(store, alert):
    with store.posting() as tx:
        judge(tx, alert.id, confirmed=True, analyst="Ann", now=NOW)
        judged = judge(tx, alert.id, confirmed=False, analyst="Ben", now=NOW + HOUR)
    assert judged.new
    assert "is dismissed; before, it was confirmed by Ann on 2026-03-11 00:00 UTC" in judged.message


def test_each_verdict_reaches_the_calibration_once_for_each_alarm_of_the_alert(store, alert):
    board = Board()
    with store.posting() as tx:
        judge(tx, alert.id, confirmed=False, analyst="Ann", now=NOW)
    for _ in range(3):
        with store.transaction() as tx:
            settle(tx, board.feedback)
    assert board.calls == [("ACME", START, True), ("ACME", START + 2 * DAY, True)]
    with store.posting() as tx:
        judge(tx, alert.id, confirmed=True, analyst="Ben", now=NOW)
    with store.transaction() as tx:
        settle(tx, board.feedback)
    assert board.calls[2:] == [("ACME", START, False), ("ACME", START + 2 * DAY, False)]


def test_a_crash_before_the_transaction_ends_takes_the_verdict_up_again(store, alert):
    board = Board()
    with store.posting() as tx:
        judge(tx, alert.id, confirmed=True, analyst="Ann", now=NOW)
    with contextlib.suppress(KeyboardInterrupt), store.transaction() as tx:
        settle(tx, board.feedback)
        raise KeyboardInterrupt
    with store.transaction() as tx:
        assert len(settle(tx, board.feedback)) == 1
        assert tx.alerts()[0].json["verdict"]["analyst"] == "Ann"


def test_the_last_verdict_stands_with_the_alert_and_its_evidence(store, alert):
    with store.posting() as tx:
        judge(tx, alert.id, confirmed=True, analyst="Ann", now=NOW)
        judge(tx, alert.id, confirmed=False, analyst="Ben", note="a rumour", now=NOW)
    with store.transaction() as tx:
        settle(tx, Board().feedback)
        (row,) = tx.alerts()
    assert (row.json["verdict"]["verdict"], row.json["verdict"]["note"]) == ("dismissed", "a rumour")
    assert {**row.json, "verdict": None} == {**alert.json, "verdict": None}


def test_what_cannot_be_judged_is_refused(store, alert):
    with store.transaction() as tx:
        tx.put_alerts([AlertRow("pending1", "OREX", "negative", "pending", START)])
    with store.posting() as tx:
        with pytest.raises(UnknownNameError, match=alert.id):
            judge(tx, "nothing", confirmed=True, analyst="Ann", now=NOW)
        with pytest.raises(RefusedError, match="has not fired"):
            judge(tx, "pending1", confirmed=True, analyst="Ann", now=NOW)
        with pytest.raises(ConfigError, match="name of the analyst"):
            judge(tx, alert.id, confirmed=True, analyst=" ", now=NOW)
        assert tx.verdicts() == []


def test_a_beginning_that_several_alerts_share_is_no_name(store):
    with store.transaction() as tx:
        tx.put_alerts([AlertRow(f"same{n}", "OREX", "negative", "firing", START, START) for n in (1, 2)])
    with store.posting() as tx, pytest.raises(UnknownNameError, match="same1, same2"):
        judge(tx, "same", confirmed=True, analyst="Ann", now=NOW)


def test_a_verdict_on_an_alert_that_retention_removed_is_passed_over(store):
    board = Board()
    with store.posting() as tx:
        tx.add_verdict(VerdictRow("gone", "ACME", True, "Ann", "", NOW))
    with store.transaction() as tx:
        assert len(settle(tx, board.feedback)) == 1
        assert settle(tx, board.feedback) == []
    assert board.calls == []
