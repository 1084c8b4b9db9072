"""The chat of customer service in a real browser, on a small bundle written by hand behind a real server."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from PIL import Image

from tests.apps.pages import chat_parts
from tests.apps.pages.chat_bundle import VARIANT, write_chat

CHARGED = "I was charged twice, where is my money? It is the payment of May"
CHAT = "pages/customer-service/"
DESK, PHONE = {"width": 1100, "height": 800}, {"width": 390, "height": 780}
SERIOUS = ("error", "warning")


@pytest.fixture(scope="module")
def chat(serving: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a server with the bundle."""
    folder = tmp_path_factory.mktemp("chat")
    bundle = write_chat(folder / "bundle", folder / "work")
    return str(serving(bundle, plugins={"chat_parts": chat_parts.__name__}, options=("--max-mb", "1")))


@pytest.fixture(scope="module")
def window(chat: str, browser: Any) -> Iterator[Any]:
    """One window for all tests, for opening one takes longer than most of them; it notes whom it called."""
    context = browser.new_context(viewport=DESK, accept_downloads=True, reduced_motion="reduce")
    context.grant_permissions(["microphone", "clipboard-read", "clipboard-write"], origin=chat)
    context.set_default_timeout(60_000)
    found = context.new_page()
    hosts: set[str] = set()
    found.said = []
    found.on("console", lambda message: found.said.append(message.text) if message.type in SERIOUS else None)
    found.on("pageerror", lambda error: found.said.append(str(error)))
    found.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
    found.goto(f"{chat}/{CHAT}")
    yield found
    context.close()
    assert hosts - {""} == {urlsplit(chat).netloc}


@pytest.fixture
def page(window: Any) -> Iterator[Any]:
    """The page as somebody new opens it; what it said on the console is looked at in the end."""
    window.set_viewport_size(DESK)
    window.evaluate("localStorage.clear(); sessionStorage.clear()")
    window.said.clear()
    opened(window)
    yield window
    window.context.set_offline(False)
    assert window.said == []


def opened(page: Any) -> None:
    """Load the page anew."""
    page.reload()
    page.wait_for_selector("body[data-ready=true]")


def until(page: Any, expression: str) -> None:
    """Until it is true. The page allows no `eval`, which Playwright's own function for this needs."""
    end = time.monotonic() + 60
    while not page.evaluate(expression):
        assert time.monotonic() < end, f"it never came true: {expression}"
        page.wait_for_timeout(50)


def answers(page: Any) -> Any:
    return page.locator("li.from-service")


def send(page: Any, words: str) -> Any:
    """Type it, press Enter, and give the card of the answer."""
    known = answers(page).count()
    page.locator("#words").fill(words)
    page.keyboard.press("Enter")
    return answered(page, known)


def answered(page: Any, known: int) -> Any:
    answers(page).nth(known).wait_for()
    return answers(page).nth(known)


def picture(colour: tuple[int, int, int] = (250, 30, 30), size: tuple[int, int] = (64, 48)) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, colour).save(stream, "PNG")
    return stream.getvalue()


def attach(page: Any, content: bytes, name: str = "receipt.png") -> None:
    page.set_input_files("#file", {"name": name, "mimeType": "image/png", "buffer": content})
    page.locator(".chip-image").wait_for()


def conversation(page: Any, chat: str) -> dict[str, Any]:
    """What the server keeps of the conversation that the page shows."""
    stored = page.evaluate("JSON.parse(localStorage.getItem('triptych.customer-service'))")
    found: dict[str, Any] = httpx.get(f"{chat}/v1/customer-service/conversations/{stored['current']}").json()
    return found


def test_an_answer_shows_how_sure_it_is_what_it_rests_on_and_what_it_costs(page: Any):
    card = send(page, CHARGED)
    assert card.locator(".sureness .word").inner_text() == "Sure"
    assert card.locator(".articles > li").count() == 3
    assert "charged twice" in card.locator(".articles > li.cited strong").inner_text()
    assert card.locator("mark").count() == 1
    assert "Source:" not in card.locator(".spoken").inner_text()
    assert card.locator(".shares").get_attribute("aria-label") == "What the answer rests on: Text 100 %"
    assert f"Model {VARIANT}" in card.locator(".made-by").inner_text()
    assert "0.013 EUR per 1,000 answers" in card.locator(".made-by").inner_text()
    assert page.locator("#said").inner_text().startswith("Answer: If the same amount")
    card.locator(".article").first.click()
    assert "three working days" in page.locator("dialog[open] .article-text").inner_text()
    page.keyboard.press("Escape")
    page.locator("dialog[open]").wait_for(state="detached")
    kept = page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
    assert "decision" in kept
    assert "charged" not in kept  # the browser remembers ids, not what was said


def test_a_conversation_goes_on_after_a_reload_and_is_gone_when_it_is_erased(page: Any, chat: str):
    send(page, CHARGED)
    send(page, "and where is my parcel")
    opened(page)
    assert page.locator("#title").inner_text() == CHARGED
    assert answers(page).count() == 2
    assert answers(page).first.locator(".articles > li").count() == 3
    send(page, "my password does not work")
    assert len(conversation(page, chat)["turns"]) == 6
    page.click("#new")
    assert answers(page).count() == 0
    page.click(".entry")
    answers(page).nth(2).wait_for()
    with page.expect_download() as download:
        page.click("#download")
    saved = Path(download.value.path()).read_text(encoding="utf-8")
    assert saved.index(CHARGED) < saved.index("where is my parcel") < saved.index("my password")
    page.click("#erase")
    page.get_by_role("button", name="Erase", exact=True).last.click()
    page.locator(".entry").wait_for(state="detached")
    stored = page.evaluate("localStorage.getItem('triptych.customer-service')")
    assert '"ids":[]' in stored


class Lists:
    """Requests for the list of conversations, which are let through only when it is said."""

    def __init__(self) -> None:
        self.held: list[Any] = []
        self.holding = True

    def take(self, route: Any) -> None:
        if self.holding:
            self.held.append(route)
        else:
            route.continue_()

    def let_through(self) -> None:
        self.holding = False
        while self.held:
            self.held.pop().continue_()


@pytest.fixture
def lists(page: Any) -> Iterator[Lists]:
    address, lists = re.compile(r"/conversations\?ids="), Lists()
    page.route(address, lambda route: lists.take(route))
    yield lists
    lists.let_through()
    page.unroute(address)


def test_the_next_message_need_not_wait_for_the_list_of_conversations(page: Any, lists: Lists):
    send(page, CHARGED)
    send(page, "and where is my parcel")
    assert page.locator(".entry").count() == 0


def test_a_list_that_comes_late_does_not_bring_back_what_was_erased(page: Any, lists: Lists):
    send(page, CHARGED)
    lists.let_through()
    page.locator(".entry", has_text=CHARGED).wait_for()
    lists.holding = True
    send(page, "and where is my parcel")
    while not lists.held:
        page.wait_for_timeout(50)
    late = lists.held.pop()
    answer = late.fetch()  # the conversation is still in it
    lists.let_through()
    page.click("#erase")
    page.get_by_role("button", name="Erase", exact=True).last.click()
    page.locator("#none").wait_for()
    late.fulfill(response=answer)
    page.wait_for_timeout(500)  # for a page that would draw it
    assert page.locator(".entry").count() == 0


def test_a_picture_and_a_voice_note_that_was_recorded_are_answered_and_come_back(page: Any):
    attach(page, picture())
    page.get_by_role("button", name="Remove the picture").click()
    assert page.locator(".chip-image").count() == 0
    attach(page, picture())
    page.click("#record")
    page.locator("#recording").wait_for()
    until(page, "Number(document.getElementById('level').getAttribute('aria-valuenow')) > 0")
    until(page, "document.getElementById('recording-time').textContent >= '0:01'")
    page.keyboard.press("Escape")
    player = page.locator(".chip-audio audio")
    player.wait_for()
    assert page.evaluate("document.activeElement.id") == "words"
    page.keyboard.press("Enter")
    card = answered(page, 0)
    readings = page.locator(".from-customer .readings").inner_text()
    assert "Heard: “a parcel, for a while”" in readings
    assert "Read in the picture: “TOTAL 64.90 on 64 pixels”" in readings
    assert re.search(r"Picture \d+ %.*Voice \d+ %", card.locator(".shares").get_attribute("aria-label"))
    opened(page)
    until(page, "document.querySelector('.sent-picture').naturalWidth === 64")
    until(page, "document.querySelector('.from-customer audio').readyState >= 1")


def test_a_message_waits_for_the_recording_that_was_just_stopped_and_is_sent_once(page: Any):
    page.locator("#words").fill("a parcel")
    page.evaluate("""() => {
        const devices = navigator.mediaDevices;
        const open = devices.getUserMedia.bind(devices);
        window.opened = 0;
        devices.getUserMedia = (what) => ((window.opened += 1), open(what));
        for (const _ of [1, 2]) document.getElementById("record").click();
    }""")
    page.locator("#recording").wait_for()
    assert page.evaluate("window.opened") == 1
    until(page, "document.getElementById('recording-time').textContent >= '0:01'")
    sending = "document.getElementById('composer').requestSubmit();"
    page.evaluate(f"document.getElementById('stop').click(); {sending} {sending}")
    answered(page, 0)
    assert page.locator(".from-customer").count() == 1
    assert page.locator(".from-customer audio").count() == 1
    assert page.locator(".from-customer .words").inner_text() == "a parcel"


def test_a_recording_may_be_dropped_and_a_picture_pasted(page: Any):
    page.click("#record")
    page.locator("#recording").wait_for()
    dropped = "document.getElementById('drop-recording').click(); document.getElementById('send').disabled"
    assert page.evaluate(dropped)  # at once, though the microphone takes a moment
    assert page.locator(".chip-audio").count() == 0
    page.evaluate(
        """content => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(content)], "pasted.png", { type: "image/png" }));
            document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, cancelable: true }));
        }""",
        list(picture()),
    )
    assert page.locator(".chip-image .name").inner_text() == "pasted.png"
    page.evaluate(
        """() => {
            const data = new DataTransfer();
            data.items.add(new File(["words"], "letter.txt", { type: "text/plain" }));
            const area = document.querySelector(".talk");
            area.dispatchEvent(new DragEvent("dragenter", { dataTransfer: data, bubbles: true }));
            area.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
        }"""
    )
    assert "neither a picture nor a sound" in page.locator(".toast").inner_text()
    assert page.locator("#drop").is_hidden()


def test_a_question_back_has_buttons_and_a_person_takes_over_in_a_panel(page: Any, chat: str):
    card = send(page, "parcel payment")
    assert card.locator(".sureness .word").inner_text() == "Unsure"
    known = answers(page).count()
    card.get_by_role("button", name="A payment that was taken twice").click()
    assert "You chose" in answered(page, known).locator(".sureness").inner_text()
    assert page.locator(".offers").count() == 0
    panel = send(page, "I want to talk to a person").get_by_role("region", name="Handed to a person")
    reference = panel.locator(".copy").inner_text()
    assert re.fullmatch(r"H-[0-9A-F]{8}", reference)
    assert "You asked for a person." in panel.inner_text()
    assert "The whole conversation (6 messages)" in panel.inner_text()
    assert conversation(page, chat)["turns"][-1]["answer"]["handoff"]["reference"] == reference
    opened(page)
    assert page.locator(".hand-off .copy").inner_text() == reference


def test_an_opinion_is_kept_with_what_it_was_about(page: Any, chat: str):
    card = send(page, CHARGED)
    card.get_by_role("button", name="This helped").click()
    card.get_by_text("Thank you").wait_for()
    card.get_by_role("button", name="This did not help").click()
    card.get_by_label("It is wrong").check()
    card.get_by_label("What was the message about?").select_option("delivery_status")
    card.get_by_label("What should it have said?").fill("Where it is.")
    with page.expect_response(re.compile("/feedback$")) as told:
        card.get_by_role("button", name="Send", exact=True).click()
    assert told.value.status == 200
    said = conversation(page, chat)["turns"][1]["feedback"]
    assert (said["rating"], said["reason"], said["intent"]) == ("down", "wrong", "delivery_status")
    assert said["note"] == "Where it is."
    opened(page)
    assert answers(page).first.locator(".thumb[aria-pressed=true]").get_attribute("title") == "This did not help"


def test_what_is_too_large_or_cannot_be_read_is_told_at_the_message_and_nothing_is_lost(page: Any):
    trouble = page.locator(".trouble")
    page.locator("#words").fill("look at the payment")
    large, damaged = bytes(1_200_000), b"no picture"
    for content, told in ((large, "too large to send"), (damaged, "This could not be read. This is not a picture")):
        attach(page, content)
        page.keyboard.press("Enter")
        trouble.wait_for()
        assert told in trouble.inner_text()
        trouble.get_by_role("button", name="Change the message").click()
        assert page.locator("#words").input_value() == "look at the payment"
        page.get_by_role("button", name="Remove the picture").click()
    page.keyboard.press("Enter")
    answered(page, 0)
    assert all("413" in line or "415" in line for line in page.said), page.said
    page.said.clear()


def test_a_busy_server_and_no_network_are_told_and_the_message_is_sent_again(page: Any):
    body = '{"error": {"kind": "overloaded", "message": "busy"}}'
    path = "**/v1/customer-service/answer"
    page.route(path, lambda route: route.fulfill(status=503, headers={"Retry-After": "1"}, body=body), times=1)
    page.locator("#words").fill(CHARGED)
    page.keyboard.press("Enter")
    again = page.locator(".trouble .button").first
    again.wait_for()
    assert "Too many people are asking" in page.locator(".trouble").inner_text()
    page.locator(".trouble .button:enabled", has_text=re.compile("^Try again$")).wait_for()
    page.context.set_offline(True)
    assert page.locator("#offline").is_visible()
    again.click()
    page.get_by_text("You are offline. Your message is kept here").wait_for()
    opened_words = page.evaluate("sessionStorage.getItem('triptych.customer-service.draft')")
    assert opened_words == CHARGED
    page.context.set_offline(False)
    page.locator(".trouble .button").first.click()
    answered(page, 0)
    assert page.locator(".trouble").count() == 0
    assert all("503" in line or "ERR_INTERNET_DISCONNECTED" in line for line in page.said), page.said
    page.said.clear()


def test_an_answer_that_was_lost_on_its_way_is_shown_and_not_asked_for_twice(page: Any, chat: str):
    def lose(route: Any) -> None:
        route.fetch()
        route.abort()

    page.route("**/v1/customer-service/answer", lose, times=1)
    page.locator("#words").fill(CHARGED)
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Try again").click()
    answered(page, 0)
    assert len(conversation(page, chat)["turns"]) == 2
    assert all("ERR_FAILED" in line for line in page.said), page.said
    page.said.clear()


def test_the_keyboard_alone_is_enough(page: Any):
    until(page, "document.activeElement.id === 'words'")
    page.keyboard.type("where is")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("my parcel")
    page.keyboard.press("Enter")
    answered(page, 0)
    assert page.locator(".from-customer .words").inner_text() == "where is\nmy parcel"
    until(page, "document.activeElement.id === 'words'")
    page.keyboard.type("x")
    until(page, "!document.getElementById('send').disabled")
    order = []
    for _ in range(3):
        page.keyboard.press("Tab")
        order.append(page.evaluate("document.activeElement.id"))
    assert order == ["attach", "record", "send"]
    page.locator(".article").first.wait_for()
    for _ in range(60):
        page.keyboard.press("Shift+Tab")
        if page.evaluate("document.activeElement.className") == "article":
            break
    page.keyboard.press("Enter")
    page.locator("dialog[open]").wait_for()
    page.keyboard.press("Escape")
    page.locator("dialog[open]").wait_for(state="detached")
    until(page, "document.activeElement.className === 'article'")


def test_on_a_phone_nothing_is_wider_than_the_screen(page: Any):
    page.set_viewport_size(PHONE)
    send(page, "https://example.org/" + "long" * 40 + " payment charged money")
    attach(page, picture(size=(900, 300)), name="a-very-long-name-of-a-file-" * 4 + ".png")
    send(page, "I want to talk to a person")
    answers(page).first.get_by_role("button", name="This did not help").click()
    width = "document.documentElement.scrollWidth"
    assert page.evaluate(width) <= PHONE["width"]
    assert page.evaluate("document.getElementById('scroll').scrollWidth") <= PHONE["width"]
    page.click("#show-mine")
    page.locator(".entry").wait_for()
    assert page.evaluate(width) <= PHONE["width"]
    page.locator(".entry").first.click()
    assert page.locator("#mine").is_hidden()
    assert page.locator("#words").is_visible()
