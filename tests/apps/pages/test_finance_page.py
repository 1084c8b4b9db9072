"""The finance page in a real browser: a server on one side of the store, a monitor that writes on the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.apps.pages.finance_bundle import START, Newsroom, write_finance
from triptych_finance.store.store import Store
from triptych_finance.surface.opening import STORE

DAY = timedelta(days=1)
PARTS = {"finance_parts": "tests.apps.pages.finance_parts"}


@dataclass
class Desk:
    """A server, the store that it reads, and the monitor that writes it: here, in another process."""

    url: str
    store: Store
    room: Newsroom

    def alert(self, entity: str, kind: str) -> str:
        with self.store.reading() as tx:
            return next(one.id for one in reversed(tx.alerts(entity=entity)) if one.kind == kind)

    def verdicts(self) -> list[tuple[str, bool, str, str]]:
        with self.store.reading() as tx:
            return [(one.alert, one.confirmed, one.analyst, one.note) for one in tx.verdicts()]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finance")
    prices = folder / "prices.csv"
    lines = [f"TVNA,{(START + day * DAY).date()},50,50,50,{50 + day % 5},{50 + day % 5},1000" for day in range(40)]
    lines = [line.replace(",50,50,50,", ",50,55,45,") for line in lines]
    prices.write_text("symbol,date,open,high,low,close,adj_close,volume\n" + "\n".join(lines) + "\n")
    return write_finance(folder / "bundle", folder / "work", prices)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store") / "news.sqlite3"


@pytest.fixture(scope="module")
def url(bundle: Path, place: Path, serving: Callable[..., str]) -> str:
    return serving(bundle, plugins=PARTS, variables={STORE: str(place)})


@pytest.fixture(scope="module")
def desk(url: str, place: Path) -> Iterator[Desk]:
    with Store.open(place, writer=True) as store:
        room = Newsroom(store)
        room.calm(0, 12)
        yield Desk(url, store, room)


@pytest.fixture
def open_page(url: str, browser: Any) -> Iterator[Callable[..., Any]]:
    """Open a view; what pages said on the console and whom they called is looked at in the end."""
    said: list[str] = []
    hosts: set[str] = set()
    contexts = []

    def open_page(view: str, width: int = 1200, height: int = 900) -> Any:
        context = browser.new_context(viewport={"width": width, "height": height}, reduced_motion="reduce")
        context.set_default_timeout(60_000)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
        page.goto(f"{url}/pages/finance/#/{view}")
        page.wait_for_selector("body[data-ready=true]")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert said == []
    assert hosts - {""} == {urlsplit(url).netloc}


def test_without_a_store_the_page_says_which_command_makes_one(open_page: Any, place: Path):
    assert not place.exists()  # this test comes before the monitor starts
    page = open_page("overview")
    assert page.locator(".empty code").first.inner_text().startswith("triptych finance monitor")
    page.locator("#pulse", has_text="No store yet").wait_for()


def test_alerts_appear_while_items_are_written_and_are_judged(open_page: Any, desk: Desk):
    page = open_page("alerts")
    page.get_by_role("button", name="Keep-firing").wait_for()
    page.locator("#pulse", has_text="Live").wait_for()
    desk.room.burst(12, "Torvenna")
    desk.room.calm(13, 15)
    mine = desk.alert("TVNA", "negative")
    page.locator(f'.alerts li[data-alert="{mine}"] a').click()  # it is there, and nothing was reloaded
    page.get_by_role("heading", name="Negative turn: Torvenna Machinery").wait_for()
    assert page.locator("mark.bad").count() >= 2
    page.get_by_role("heading", name="Like it in the past").wait_for()
    page.get_by_label("Note").first.fill("profit warning")
    page.get_by_label("Signed by").fill("Ann")
    page.get_by_role("button", name="Confirm").click()
    page.locator(".said", has_text="confirmed by Ann").wait_for()
    assert desk.verdicts() == [(mine, True, "Ann", "profit warning")]
    assert desk.room.monitor.attend().verdicts == 1
    page.locator(".said", has_text="in the calibration").wait_for()
    other = desk.alert("sector:Industrials", "negative")
    page.locator(f'.alerts li[data-alert="{other}"] a').click()
    page.get_by_role("heading", name="Negative turn: Industrials").wait_for()
    page.get_by_role("button", name="Dismiss").click()
    page.locator(".said", has_text="dismissed by Ann").wait_for()
    assert desk.verdicts()[1:] == [(other, False, "Ann", "")]


def test_a_click_is_not_lost_when_the_list_is_drawn_anew_meanwhile(open_page: Any, desk: Desk):
    page = open_page("alerts")
    page.locator("#pulse", has_text="Live").wait_for()
    name = desk.alert("sector:Industrials", "negative")
    page.locator(f'.alerts li[data-alert="{name}"] a').hover()
    page.mouse.down()
    with page.expect_response(lambda response: "/alerts?state=open" in response.url):
        desk.room.calm(15, 16)
    page.wait_for_timeout(300)  # for a page that would draw it at once
    page.mouse.up()
    page.get_by_role("heading", name="Negative turn: Industrials").wait_for()


def test_a_list_that_is_opened_by_the_space_bar_does_not_stop_the_page(open_page: Any, desk: Desk):
    page = open_page("overview")
    page.locator('tr[data-entity="TVNA"]').wait_for()
    page.get_by_label("Sector").focus()
    for key in (" ", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    chosen = page.get_by_label("Sector").input_value()
    assert chosen
    page.wait_for_function("() => document.querySelectorAll('.board tbody tr').length < 3")


def test_an_entity_has_its_plot_and_items_goes_on_live_and_is_silenced(open_page: Any, desk: Desk):
    page = open_page("overview")
    page.get_by_role("searchbox").fill("torv")
    page.locator('tr[data-entity="SKQ"]').wait_for(state="detached")
    page.get_by_role("link", name="Torvenna Machinery").click()
    page.wait_for_selector(".chart .main-svg")
    drawn = "document.querySelector('.chart').data.map(trace => trace.name)"
    assert {"index", "usual range", "volume", "price", "negative turn"} <= set(page.evaluate(drawn))
    spoken = page.locator(".chart").get_attribute("aria-label")
    assert page.locator(".item").count() > 5
    desk.room.calm(16, 18)
    page.locator(f'.chart:not([aria-label="{spoken}"])').wait_for()
    page.get_by_role("button", name="1M").click()
    page.locator('.segment[aria-pressed="true"]', has_text="1M").wait_for()
    page.get_by_label("Note").fill("known")
    page.get_by_role("button", name="Silence").click()
    page.get_by_text("until", exact=False).locator("visible=true").first.wait_for()
    page.locator(".silence li", has_text="known").wait_for()
    with desk.store.reading() as tx:
        assert [(one.pattern, one.note) for one in tx.silences()] == [("TVNA", "known")]
    page.get_by_role("button", name="End it").click()
    page.locator(".silence li").wait_for(state="detached")


def test_a_sentence_is_read_for_each_company_by_keyboard_alone(open_page: Any, desk: Desk):
    page = open_page("overview")
    page.locator('.tabs a[href="#/try"]').focus()
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Try a sentence").wait_for()
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.name") == "text":
            break
    page.keyboard.type("Torvenna wins an order. Quellmar warns of a loss.")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    found = page.locator(".items .item")
    found.nth(1).wait_for()
    told = found.all_inner_texts()
    assert any("Torvenna" in text and "+" in text for text in told)
    assert any("Quellmar" in text and "−" in text for text in told)
    assert page.locator(".reading mark").count() == 2


def test_nothing_scrolls_sideways_on_a_phone(open_page: Any, desk: Desk):
    page = open_page("overview", width=390, height=844)
    views = {
        "overview": ".board",
        "entity/TVNA": ".chart .main-svg",
        "alerts": ".alerts li",
        f"alerts/{desk.alert('TVNA', 'negative')}": "article",
        "try": ".examples",
        "health": ".tiles",
    }
    for view, drawn in views.items():
        page.goto(f"{desk.url}/pages/finance/#/{view}")
        page.locator(drawn).first.wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, view
    page.get_by_text("False-alarm budget").wait_for()
    page.get_by_role("cell", name="wire").first.wait_for()
