"""The routes of the page, on a store that a monitor fills beside them."""

from __future__ import annotations

import dataclasses
import os
import re
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

import triptych_finance
from tests.apps.pages import finance_parts
from tests.apps.pages.finance_bundle import START, Newsroom, write_finance
from triptych.errors import DataError, MissingError, RefusedError, UnknownNameError
from triptych.host import Host
from triptych.predictor import load
from triptych.routes import RouteContext
from triptych_finance.signal.calibration import Account
from triptych_finance.store.schema import AlertRow
from triptych_finance.store.store import Store
from triptych_finance.surface import questions, routes_live
from triptych_finance.surface.opening import STORE
from triptych_finance.surface.routes import ItemsQuery, OverviewQuery, SeriesQuery, items, overview, series
from triptych_finance.surface.routes_alerts import (
    AlertQuery,
    AlertsQuery,
    SilenceId,
    SilenceQuery,
    VerdictQuery,
    alert,
    alerts,
    expire,
    silence,
    silences,
    verdict,
)
from triptych_finance.surface.routes_health import health, state
from triptych_finance.surface.routes_live import live

DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finance")
    return write_finance(folder / "bundle", folder / "work")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where commands and page look for the store; nothing is there yet."""
    monkeypatch.setenv(STORE, str(tmp_path / "news.sqlite3"))
    return tmp_path / "news.sqlite3"


@pytest.fixture
def context(bundle: Path, place: Path, tmp_path: Path) -> RouteContext:
    host = Host({"finance": triptych_finance, "finance_parts": finance_parts}, installed=False)
    return RouteContext(load(bundle, host=host, state=tmp_path / "state"), "local", lambda: False)


@pytest.fixture
def store(place: Path) -> Iterator[Store]:
    with Store.open(place, writer=True) as opened:
        yield opened


@pytest.fixture
def room(store: Store) -> Newsroom:
    """A monitor that has seen twelve calm days, bad news of one company, and two days more."""
    found = Newsroom(store)
    found.calm(0, 12)
    found.burst(12, "Torvenna")
    found.calm(13, 15)
    return found


def fired(context: RouteContext, entity: str = "TVNA") -> Any:
    return alerts(context, AlertsQuery(state="all", entity=entity)).alerts[0]


def test_without_a_store_the_page_names_the_command_and_finds_it_when_it_comes(context: RouteContext, place: Path):
    told = state(context)
    assert not told.there
    assert told.command in told.message
    assert told.command.startswith("triptych finance monitor")
    with pytest.raises(DataError, match="There is no store yet"):
        overview(context, OverviewQuery())
    stream = live(context)
    assert next(stream).kind == "absent"
    with Store.open(place, writer=True) as store:
        Newsroom(store).calm(0, 3)
    assert next(stream).kind == "hello"
    assert state(context).there
    place.unlink()
    with Store.open(place, writer=True):
        assert overview(context, OverviewQuery()).rows == []  # another store lies there now


def test_a_file_that_is_no_store_is_told_of_and_not_taken_for_an_empty_one(context: RouteContext, place: Path):
    place.write_text("this is no database")
    told = state(context)
    assert not told.there
    assert told.message.startswith("The store cannot be read")


def test_a_database_that_does_not_answer_is_no_fault_of_the_question(
    context: RouteContext, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(STORE, "postgresql://ann:s3cret@127.0.0.1:1/none")
    told = state(context)
    assert not told.there
    assert told.message.startswith("The store cannot be read")
    assert "s3cret" not in told.message
    with pytest.raises(MissingError, match="does not answer"):
        overview(context, OverviewQuery())


def test_the_overview_has_all_and_is_narrowed_and_ordered(context: RouteContext, room: Newsroom):
    found = overview(context, OverviewQuery(order="index", down=False))
    assert (found.hours, found.bucket_hours, found.found) == (168, 24, 3)
    assert found.rows[0].entity == "TVNA"
    assert found.rows[0].index == min(row.index for row in found.rows) < 0
    assert found.rows[0].spark[-1] == pytest.approx(found.rows[0].index)
    assert found.rows[0].volume == pytest.approx(4 + 7 - 1)  # a burst of four, and one item on each of six days
    assert [row.entity for row in overview(context, OverviewQuery(find="quell")).rows] == ["QLMR"]
    assert [row.entity for row in overview(context, OverviewQuery(sector="Energy")).rows] == ["QLMR"]
    assert {row.name for row in overview(context, OverviewQuery(what="sectors")).rows} == {"Energy", "Industrials"}
    assert "TVNA" in {row.entity for row in overview(context, OverviewQuery(state="any")).rows}
    part = overview(context, OverviewQuery(order="name", down=False, skip=1, limit=1))
    assert ([row.name for row in part.rows], part.found) == (["Skelvoort Rail"], 3)


def test_the_series_has_one_value_a_bucket_and_what_was_usual_before_it(context: RouteContext, room: Newsroom):
    room.calm(15, 45)
    whole = series(context, SeriesQuery(entity="tvna"))
    lists = (whole.ends, whole.index, whole.change, whole.volume, whole.low, whole.high)
    assert len({len(one) for one in lists}) == 1
    assert whole.low[0] is None
    assert whole.low[-1] is not None
    assert whole.high[-1] is not None
    assert min(whole.index) < whole.low[-1] <= whole.high[-1]
    assert "negative" in {one.kind for one in whole.alerts}
    latest = series(context, SeriesQuery(entity="TVNA", days=10))
    assert len(latest.ends) == 10
    assert latest.index == whole.index[-10:]
    assert latest.low == whole.low[-10:]  # what came before the range still counts
    with pytest.raises(UnknownNameError):
        series(context, SeriesQuery(entity="NONE"))


def test_items_come_latest_first_and_copies_of_one_story_are_one(context: RouteContext, room: Newsroom):
    room.tell(START + 15 * DAY, *["Torvenna wins a contract for 40 trains in the north"] * 3)
    first = items(context, ItemsQuery(entity="TVNA", limit=6))
    assert (first.items[0].copies, first.items[0].sources) == (2, ["wire"])
    assert first.items[0].score > 0
    assert first.items[0].sentence in first.items[0].text
    rest = items(context, ItemsQuery(entity="TVNA", limit=200, before=first.next))
    assert rest.next is None
    keys = [one.key for one in (*first.items, *rest.items)]
    assert len(keys) == len(set(keys))
    sector = items(context, ItemsQuery(entity="sector:Industrials", limit=50)).items
    assert {one.entity for one in sector} == {"TVNA", "SKQ"}


def test_an_address_that_is_none_of_the_web_is_not_linked():
    from triptych_finance.surface.told import safe_url

    assert safe_url("javascript:alert(1)") == ""
    assert safe_url("https://wire.example/1") == "https://wire.example/1"


def test_an_alert_has_its_evidence_and_a_verdict_moves_the_calibration_once(context: RouteContext, room: Newsroom):
    name = next(
        one.id for one in alerts(context, AlertsQuery(state="all", entity="TVNA")).alerts if one.kind == "negative"
    )
    page = alert(context, AlertQuery(id=name))
    assert page.moved
    assert sum(one.share or 0 for one in page.moved) == pytest.approx(1, abs=0.01)
    assert page.past
    before = account(room, "TVNA")
    judged = verdict(context, VerdictQuery(id=name, verdict="confirmed", note="profit warning", analyst="Ann"))
    assert judged.new
    assert judged.alert.verdict is not None
    assert (judged.alert.verdict.analyst, judged.alert.verdict.settled) == ("Ann", False)
    assert not verdict(context, VerdictQuery(id=name, verdict="confirmed")).new
    assert room.monitor.attend().verdicts == 1
    assert account(room, "TVNA").balance > before.balance
    settled = alert(context, AlertQuery(id=name)).verdict
    assert settled is not None
    assert settled.settled
    spent = next(one for one in health(context).accounts if one.entity == "TVNA")
    assert spent.confirmed >= 1


def test_a_verdict_and_a_silence_outlive_a_process_that_is_killed_when_it_has_answered(
    context: RouteContext, room: Newsroom, store: Store
):
    with store.reading() as tx:
        name = tx.alerts(states=questions.OPEN)[0].id
    child = os.fork()
    if child == 0:
        try:
            verdict(context, VerdictQuery(id=name, verdict="dismissed", note="a rumour", analyst="Ben"))
            silence(context, SilenceQuery(pattern="TVNA", length="1d", analyst="Ben"))
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    with store.reading() as tx:
        assert [(one.alert, one.confirmed, one.note) for one in tx.verdicts()] == [(name, False, "a rumour")]
        assert [one.pattern for one in tx.silences()] == ["TVNA"]


def test_who_judges_with_a_key_is_named_with_it(context: RouteContext, room: Newsroom):
    named = RouteContext(context.predictor, "k-7", lambda: False)
    name = fired(context).id
    assert (
        verdict(named, VerdictQuery(id=name, verdict="confirmed", analyst="Ann")).alert.verdicts[-1].analyst
        == "Ann (k-7)"
    )
    assert verdict(named, VerdictQuery(id=name, verdict="dismissed")).alert.verdicts[-1].analyst == "k-7"


def test_what_must_not_be_kept_is_taken_out_of_notes(context: RouteContext, room: Newsroom):
    cleaning = dataclasses.replace(context, redact=lambda text: text.replace("Ada", "[name]"))
    name = fired(context).id
    judged = verdict(cleaning, VerdictQuery(id=name, verdict="dismissed", note="Ada said so"))
    assert judged.alert.verdicts[-1].note == "[name] said so"
    assert silence(cleaning, SilenceQuery(pattern="TVNA", length="1d", note="ask Ada")).note == "ask [name]"


def test_what_cannot_be_judged_or_silenced_is_refused(context: RouteContext, store: Store):
    with store.transaction() as tx:
        tx.put_alerts([AlertRow("waits", "TVNA", "negative", "pending", START)])
    with pytest.raises(RefusedError, match="has not fired"):
        verdict(context, VerdictQuery(id="waits", verdict="confirmed"))
    with pytest.raises(UnknownNameError):
        verdict(context, VerdictQuery(id="none", verdict="confirmed"))
    with pytest.raises(DataError, match="no length of time"):
        silence(context, SilenceQuery(pattern="TVNA", length="soon"))
    with pytest.raises(DataError, match="pattern"):
        silence(context, SilenceQuery(pattern="entity=", length="1d"))
    with pytest.raises(UnknownNameError):
        expire(context, SilenceId(id="none"))


def test_a_silence_hushes_the_open_alerts_it_is_about_until_it_is_ended(
    context: RouteContext, room: Newsroom, store: Store
):
    with store.reading() as tx:
        row = next(one for one in tx.alerts(states=questions.OPEN) if one.entity.startswith("sector:"))
    made = silence(context, SilenceQuery(pattern=row.entity, length="2h", note="known", analyst="Ann"))
    found = alerts(context, AlertsQuery(state="silenced"))
    assert row.id in {one.id for one in found.alerts}
    assert found.counts["silenced"] == len(found.alerts)
    assert "silenced by Ann" in alert(context, AlertQuery(id=row.id)).reason
    assert [one.id for one in silences(context).silences] == [made.id]
    assert expire(context, SilenceId(id=made.id)).silences == []
    assert alert(context, AlertQuery(id=row.id)).hushed != "silenced"


def test_the_stream_tells_of_alerts_buckets_items_and_verdicts_once(
    context: RouteContext, store: Store, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(routes_live, "PERIOD_S", 0.0)
    room = Newsroom(store)
    room.calm(0, 12)
    ended = False
    one = live(RouteContext(context.predictor, "local", lambda: ended))
    assert next(one).kind == "hello"
    room.burst(12, "Torvenna")
    room.calm(13, 15)
    told = [next(one) for _ in range(3)]
    assert [happening.kind for happening in told] == ["alerts", "index", "items"]
    (mine,) = (line for line in told[0].alerts if (line.entity, line.kind) == ("TVNA", "negative"))
    verdict(context, VerdictQuery(id=mine.id, verdict="confirmed"))
    changed = next(one)
    assert [(line.id, line.verdict and line.verdict.verdict) for line in changed.alerts] == [(mine.id, "confirmed")]
    ended = True
    assert list(one) == []


def test_reading_does_not_wait_for_the_monitor(context: RouteContext, room: Newsroom, store: Store):
    with store.transaction() as tx:
        tx.set_cursor("wire", "elsewhere")
        assert overview(context, OverviewQuery()).rows
        assert health(context).sources[0].source == "wire"


def test_no_question_walks_through_all_items_or_readings(context: RouteContext, room: Newsroom, place: Path):
    asked: list[tuple[str, Any]] = []

    def listen(connection: Any, cursor: Any, statement: str, parameters: Any, *rest: Any) -> None:
        asked.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", listen)
    try:
        overview(context, OverviewQuery())
        series(context, SeriesQuery(entity="TVNA", days=10))
        items(context, ItemsQuery(entity="sector:Industrials", before=40))
        alert(context, AlertQuery(id=fired(context).id))
        health(context)
        next(live(context))
    finally:
        event.remove(Engine, "before_cursor_execute", listen)
    selects = [(text, values) for text, values in asked if text.startswith("SELECT")]
    assert len(selects) > 20
    with closing(sqlite3.connect(place)) as file:
        for text, values in selects:
            plans = [row[3] for row in file.execute(f"EXPLAIN QUERY PLAN {text}", values)]
            walks = [plan for plan in plans if re.match(r"SCAN (item|item_entity|reading)\b", plan)]
            assert not walks or "LIMIT" in text, (text, walks)


def account(room: Newsroom, entity: str) -> Account:
    with room.monitor.store.reading() as tx:
        return Account.load(questions.accounts(tx, [entity])[entity])
