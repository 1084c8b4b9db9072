"""The gallery of recommendations in a real browser, on a small bundle behind a real server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.plugins.recommendation.conftest import built  # noqa: F401 - the fixture that `shop` asks for
from tests.plugins.recommendation.tastes import save_picture, taste, user
from triptych.pipeline import RunResult

NAME, COLOUR = user(4)  # likes red
PICKS = "#list > li"


@pytest.fixture(scope="module")
def shop(built: RunResult, serving: Callable[..., Any]) -> str:  # noqa: F811
    """The address of a server with the bundle."""
    return str(serving(built.bundle))


@pytest.fixture
def page(shop: str, browser: Any) -> Iterator[Any]:
    """The page, opened by a new guest; what it said on the console and whom it called is looked at in the end."""
    context = browser.new_context(viewport={"width": 1200, "height": 900}, reduced_motion="reduce")
    context.set_default_timeout(60_000)
    found = context.new_page()
    said: list[str] = []
    hosts: set[str] = set()
    found.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    found.on("pageerror", lambda error: said.append(str(error)))
    found.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
    found.goto(f"{shop}/pages/recommendation/")
    settled(found)
    yield found
    context.close()
    assert said == []
    assert hosts - {""} == {urlsplit(shop).netloc}


def settled(page: Any) -> None:
    """Until the list is drawn."""
    page.wait_for_selector("body[data-ready=true]")
    page.wait_for_selector("#list[aria-busy=false]", state="attached")


def be(page: Any, name: str) -> None:
    page.fill("#who", name)
    page.get_by_role("option", name=name, exact=True).wait_for()
    page.press("#who", "ArrowDown")
    page.press("#who", "Enter")
    page.get_by_role("heading", name=f"For {name}").wait_for()
    settled(page)


def ids(page: Any) -> list[str]:
    found: list[str] = page.eval_on_selector_all(PICKS, "all => all.map(one => one.dataset.id)")
    return found


def width(page: Any, selector: str) -> int:
    """Of the first picture, in pixels of its own, when it has come."""
    image = page.locator(f'{selector}[src^="blob:"]').first
    image.wait_for()
    return int(image.evaluate("image => image.decode().then(() => image.naturalWidth)"))


def gone(page: Any, item: str) -> None:
    page.wait_for_selector(f'{PICKS}[data-id="{item}"]', state="detached")
    settled(page)


def history(shop: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{shop}/v1/recommendation/history", params={"user": name}, timeout=60).json()
    return found


def test_a_user_is_found_and_sees_pictures_reasons_and_what_he_did(page: Any):
    be(page, NAME)
    ranked = page.eval_on_selector_all(f"{PICKS}[data-origin=ranked]", "all => all.map(one => one.dataset.id)")
    assert sum(taste(item) == COLOUR for item in ranked[:4]) >= 3
    assert width(page, f"{PICKS} img") > 0
    assert page.locator(f"{PICKS} .drawn").count() > 0  # those without a picture have one drawn from the title
    assert "Because you" in page.locator(f"{PICKS} .why").all_inner_texts()[0]
    assert page.locator("#recent li").count() == 6


def test_a_click_is_stored_changes_the_list_and_can_be_taken_back(page: Any, shop: str):
    be(page, "user-6")
    first = ids(page)[0]
    before = history(shop, "user-6")["events"]
    page.locator(f"{PICKS} .title").first.click()
    page.locator("#item-dialog .alike-one").first.wait_for()
    assert "chose both" in page.locator("#item-dialog .alike-list").inner_text()
    page.keyboard.press("Escape")
    gone(page, first)
    now = history(shop, "user-6")
    assert (now["events"], now["recent"][0]["item"], now["recent"][0]["kind"]) == (before + 1, first, "click")
    page.get_by_role("button", name="Undo").click()
    page.wait_for_selector(f'{PICKS}[data-id="{first}"]')
    assert history(shop, "user-6")["events"] == before


def test_it_is_used_with_the_keyboard_alone(page: Any, shop: str):
    def tab_to(selector: str) -> None:
        for _ in range(120):
            page.keyboard.press("Tab")
            if page.evaluate("wanted => document.activeElement.matches(wanted)", selector):
                return
        raise AssertionError(f"no Tab leads to {selector}")

    tab_to("#who")
    page.keyboard.type("user-8")
    page.get_by_role("option", name="user-8", exact=True).wait_for()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="For user-8").wait_for()
    settled(page)
    first = ids(page)[0]
    tab_to(".act.like")
    page.keyboard.press("Enter")
    gone(page, first)
    second = ids(page)[0]
    assert page.evaluate("document.activeElement.matches('#list .title')")  # the focus is where it was in the list
    tab_to(".more summary")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    gone(page, second)
    found = history(shop, "user-8")
    assert (found["recent"][0]["item"], found["recent"][0]["kind"]) == (first, "like")
    assert [(one["item"], one["kind"]) for one in found["kept_out"]] == [(second, "dislike")]


def test_words_and_a_picture_are_asked_with_and_filters_hold(page: Any, tmp_path: Path):
    for words, colour in (("ripe tomato fire", "red"), ("clear sky and the ocean", "blue")):
        page.fill("#ask-text", words)
        page.press("#ask-text", "Enter")
        page.get_by_role("heading", name=words).wait_for()
        assert [taste(item) for item in ids(page)[:2]] == [colour, colour]
    page.fill("#ask-text", "")
    with page.expect_response("**/v1/recommendation/answer") as told:
        page.set_input_files("#ask-file", save_picture(tmp_path / "one.png", "red"))
    page.get_by_role("heading", name="this picture").wait_for()
    assert "and this picture: " in told.value.json()["answer"]
    assert [item["id"] for item in told.value.json()["items"]] == ids(page)
    page.get_by_role("button", name="Remove").click()
    page.get_by_role("heading", name="For guest-").wait_for()
    page.get_by_role("button", name="cool").click()
    page.fill("#most", "15")
    page.press("#most", "Enter")
    settled(page)
    assert set(ids(page)) == {"blue-0", "blue-1", "blue-2", "blue-4", "blue-5"}  # 3 is sold out


def test_an_item_with_a_picture_comes_is_found_and_goes(page: Any, tmp_path: Path):
    page.get_by_role("button", name="Add an item").click()
    page.fill("#add-form [name=title]", "Glacier kite")
    page.fill("#add-form [name=description]", "clear sky ocean ice")
    page.fill("#add-form [name=price]", "12.5")
    page.set_input_files("#add-form [name=picture]", save_picture(tmp_path / "kite.png", "blue"))
    page.click("#add-submit")
    page.locator("#item-dialog h2", has_text="Glacier kite").wait_for()
    assert width(page, "#item-dialog .item-shot img") > 0
    page.keyboard.press("Escape")
    page.fill("#ask-text", "glacier kite")
    page.press("#ask-text", "Enter")
    found = page.locator(PICKS, has=page.locator(".title", has_text="Glacier kite"))
    found.wait_for()
    assert "12.50" in found.inner_text()
    found.locator(".title").click()
    page.get_by_role("button", name="Remove from the shop").click()
    page.get_by_role("button", name="Remove it").click()
    found.wait_for(state="detached")


def test_a_phone_needs_no_scrolling_to_the_side(page: Any):
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate(wide) <= 0
    page.locator(f"{PICKS} .title").first.click()
    page.locator("#item-dialog .alike-one").first.wait_for()
    assert page.evaluate(wide) <= 0
    assert page.evaluate("(d => d.scrollWidth - d.clientWidth)(document.getElementById('item-dialog'))") <= 0
    page.keyboard.press("Escape")
    page.get_by_role("tab", name="Experiments").click()
    page.get_by_role("heading", name="No experiment runs").wait_for()
    assert page.evaluate(wide) <= 0
