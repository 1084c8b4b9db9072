"""The operator's page in a real browser, on a server with two versions of a bundle and some decisions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.apps.pages.operator_bundle import REFUSED, RIVAL, write_versions
from tests.apps.server.conftest import wait
from tests.core.toy import write_picture, write_sound

PAGE = "/pages/_operator/"
WORDS = ("red", "green", "blue", "red green", "what is this")


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    folder = tmp_path_factory.mktemp("operator")
    return folder / "bundle", write_versions(folder / "bundle", folder / "work")


@pytest.fixture(scope="module")
def url(serving: Callable[..., str], versions: tuple[Path, list[str]], tmp_path_factory: pytest.TempPathFactory) -> str:
    """A server that has answered a few words, a picture and a sound."""
    found = serving(versions[0], plugins={"desk": "tests.apps.server.desk"})
    media = tmp_path_factory.mktemp("media")
    write_picture(media / "a.png", "green", np.random.default_rng(0))
    write_sound(media / "a.wav", "green", np.random.default_rng(0))
    files = {"image": ("a.png", (media / "a.png").read_bytes()), "audio": ("a.wav", (media / "a.wav").read_bytes())}
    with httpx.Client(base_url=found, timeout=60) as client:
        for words in WORDS:
            assert client.post("/v1/desk/answer", json={"text": words}).status_code == 200
        assert client.post("/v1/desk/answer", data={"text": "hmm"}, files=files).status_code == 200
    return found


@pytest.fixture
def page(browser: Any, url: str) -> Iterator[Any]:
    """The page when it is drawn. Afterwards: nothing was complained of, and nothing asked of another host."""
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    found = context.new_page()
    found.set_default_timeout(60_000)
    complaints: list[str] = []
    asked: list[str] = []
    found.on(
        "console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None
    )
    found.on("pageerror", lambda error: complaints.append(str(error)))
    found.on("request", lambda request: asked.append(request.url))
    found.goto(url + PAGE)
    found.wait_for_selector("body[data-ready=true]")
    yield found
    context.close()
    answered = "Failed to load resource: the server responded with a status of 40"  # a refusal that a test asked for
    assert [complaint for complaint in complaints if not complaint.startswith(answered)] == []
    assert [address for address in asked if not address.startswith((url, "blob:", "data:"))] == []


def until(page: Any, expression: str, given: Any = None) -> None:
    """Until it is true in the page, whose policy allows no script but its own files."""
    wait(lambda: bool(page.evaluate(expression, given)))


def waits(page: Any) -> int:
    """How many decisions wait for a review."""
    found = re.match(r"(\d+) in the queue", page.locator("#review-count").inner_text())
    return int(found[1]) if found else 0


def test_health_ledger_and_plot_are_drawn(page: Any):
    assert page.locator("#server-state").inner_text() == "ready"
    tiles = page.locator("#tiles").inner_text()
    assert "0 of 256" in tiles
    assert "6 answers" in page.locator("#now").inner_text()
    rows = page.locator("#ledger tbody tr")
    assert rows.count() == 6
    assert "in service" in rows.filter(has_text="small>large").inner_text()
    assert "fallback" in rows.filter(has=page.get_by_text("small", exact=True)).inner_text()
    assert REFUSED in rows.filter(has_text="tiny").inner_text()
    assert "classical rival" in rows.filter(has_text=RIVAL).inner_text()
    page.wait_for_selector("#pareto .scatterlayer .point")
    assert page.locator("#pareto .scatterlayer .point").count() == 6
    names = page.evaluate(
        "document.getElementById('pareto').data.flatMap((t) => (t.customdata ?? []).map((c) => c[0]))"
    )
    assert sorted(names) == sorted(["large", "large+int8", "small>large", "small", "tiny", RIVAL])
    page.locator("#ledger-axis").select_option("size_mb")
    until(page, "document.getElementById('pareto').layout.xaxis.title.text === 'Size, MB'")


def test_a_decision_is_looked_at_and_reviewed(page: Any, url: str):
    before = waits(page)
    assert before >= 2
    card = page.locator("#review-card")
    first = card.get_attribute("aria-label")
    card.get_by_role("button", name="Wrong").click()
    until(page, "(was) => document.getElementById('review-card')?.getAttribute('aria-label') !== was", first)
    assert waits(page) == before - 1
    page.locator("#decisions .badge", has_text="wrong").wait_for()
    newest = httpx.get(f"{url}/v1/_server/decisions", params={"vertical": "desk"}).json()["decisions"]
    assert [decision["verdict"] for decision in newest].count("wrong") == 1
    page.locator("#find-id").fill(newest[0]["id"])
    page.get_by_role("button", name="Find").click()
    dialog = page.get_by_role("dialog", name="Decision")
    dialog.wait_for()
    picture = dialog.locator("img.asked")
    until(page, "document.querySelector('#decision img.asked').naturalWidth > 0")
    assert picture.count() == 1
    until(page, "document.querySelector('#decision audio').duration > 0")
    page.locator("#decision-close").click()
    page.locator("#find-id").fill("nothing")
    page.get_by_role("button", name="Find").click()
    page.locator(".toast.bad").wait_for()


def test_promote_and_roll_back(page: Any, versions: tuple[Path, list[str]], url: str):
    older, newer = versions[1]

    def in_service() -> str:
        response = httpx.post(f"{url}/v1/desk/answer", json={"text": "red"}, timeout=60)
        return str(response.headers["triptych-release"])

    assert in_service() == newer
    page.locator(f"#versions tr[data-version='{older}']").get_by_role("button", name="Promote").click()
    dialog = page.get_by_role("dialog", name="Promote")
    assert "answers everybody" in dialog.inner_text()
    dialog.get_by_role("button", name="Promote").click()
    dialog.locator("#confirm-error").wait_for()  # the gate was not asked
    assert "gate" in dialog.locator("#confirm-error").inner_text()
    assert in_service() == newer
    dialog.get_by_role("checkbox").check()
    dialog.get_by_role("button", name="Promote").click()
    dialog.wait_for(state="hidden")
    page.locator(f"#versions tr[data-version='{older}'] .badge", has_text="in service").wait_for()
    assert in_service() == older
    page.locator("#roll-back").click()
    page.get_by_role("dialog", name="Roll back").get_by_role("button", name="Roll back").click()
    page.locator(f"#versions tr[data-version='{newer}'] .badge", has_text="in service").wait_for()
    assert in_service() == newer


def test_with_the_keyboard_alone(page: Any):
    before = waits(page)
    page.locator("#review-card").focus()
    page.keyboard.press("s")
    until(page, "(was) => !document.getElementById('review-count').textContent.startsWith(`${was} `)", before)
    until(page, "document.activeElement.id === 'review-card'")
    page.keyboard.press("1")
    page.locator("#decisions .badge.accent").first.wait_for()
    page.locator("#decisions .link").first.focus()
    page.keyboard.press("Enter")
    page.get_by_role("dialog", name="Decision").wait_for()
    page.keyboard.press("Escape")
    assert not page.locator("#decision").is_visible()
    reached = set()
    page.evaluate("document.activeElement.blur(); document.getElementById('main').scrollTo(0, 0)")
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.textContent"))
    assert {"ledger-axis", "ledger-version", "find-id", "review-card"} <= reached


def test_it_fits_a_phone(page: Any):
    page.set_viewport_size({"width": 360, "height": 740})
    until(page, "document.documentElement.scrollWidth <= 360")
    assert page.locator("#ledger tbody tr").first.is_visible()
    small = page.evaluate(
        "[...document.querySelectorAll('main button, main select, main input')].filter((n) => n.offsetParent)"
        ".filter((n) => n.getBoundingClientRect().height < 44).map((n) => n.outerHTML)"
    )
    assert small == []


def test_the_routes_want_a_known_vertical(url: str):
    with httpx.Client(base_url=f"{url}/v1/_server", timeout=30) as client:
        assert client.get("/ledger", params={"vertical": "nobody"}).status_code == 404
        assert client.get("/decisions/nothing").status_code == 404
        assert (
            client.post("/versions", json={"vertical": "desk", "action": "promote", "version": "no"}).status_code == 404
        )
        share = {"vertical": "desk", "action": "canary", "share": 7}
        assert client.post("/versions", json=share).status_code == 422
        closed = client.post("/versions", json={"vertical": "desk", "action": "rollback"})
        assert (closed.status_code, closed.json()["error"]["kind"]) == (422, "invalid")
