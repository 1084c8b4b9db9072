"""What all pages share, in a real browser: the key, events, elements, plots, the theme, and the page of pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.apps.server.conftest import desk_bundle  # noqa: F401 - the fixture that `desk` asks for
from triptych_apps.server.keys import KeyStore


@pytest.fixture(scope="module")
def desk(desk_bundle: Path, serving: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:  # noqa: F811
    """The address of a server that asks for keys, and a key."""
    home = tmp_path_factory.mktemp("home")
    store = KeyStore(home / "keys.sqlite")
    _, key = store.add("somebody")
    store.close()
    plugins = {"desk": "tests.apps.server.desk", "more": "tests.apps.server.desk_routes"}
    return serving(desk_bundle, plugins=plugins, home=home), key


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page of a new guest; errors of scripts are looked at in the end."""
    context = browser.new_context(viewport={"width": 900, "height": 900}, color_scheme="light")
    context.set_default_timeout(60_000)
    found = context.new_page()
    errors: list[str] = []
    found.on("pageerror", lambda error: errors.append(str(error)))
    yield found
    context.close()
    assert errors == []


def test_the_key_is_asked_for_once_and_kept_for_the_tab(page: Any, desk: tuple[str, str]):
    url, key = desk
    page.goto(f"{url}/pages/desk/")
    field = page.get_by_label("API key")
    field.wait_for()  # asked for by the stream of the page
    field.fill("tt_wrong_key")
    page.keyboard.press("Enter")
    page.get_by_text("That key is wrong or revoked").wait_for()
    field.fill(key)
    page.keyboard.press("Enter")
    page.wait_for_selector("#ticks li:nth-child(4)")
    assert not field.is_visible()
    page.reload()
    page.wait_for_selector("#ticks li:nth-child(4)")
    assert page.evaluate("[localStorage.length, sessionStorage.length]") == [0, 1]
    page.get_by_role("button", name="Forget key").click()
    field.wait_for()
    assert page.evaluate("sessionStorage.length") == 0


def test_text_is_text_and_errors_are_told(page: Any, desk: tuple[str, str]):
    url, key = desk
    page.goto(url)
    page.evaluate("key => sessionStorage.setItem('triptych-key', key)", key)
    page.goto(f"{url}/pages/desk/")
    page.get_by_role("button", name="Ask").focus()
    page.keyboard.press("Enter")
    page.locator(".toast.bad", has_text="no drawer is called 'nowhere'").wait_for()
    assert page.locator("#said strong").inner_text() == "<b>bold</b>"
    page.wait_for_function("() => document.querySelector('#said img').naturalWidth > 0")
    page.get_by_role("button", name="Close").press("Enter")
    assert page.locator(".toast").count() == 0
    assert page.locator("#ticks li").count() == 4  # the page has left its stream then


def test_the_theme_changes_everything_plots_too(page: Any, desk: tuple[str, str]):
    url, key = desk
    page.goto(url)
    page.evaluate("key => sessionStorage.setItem('triptych-key', key)", key)
    page.goto(f"{url}/pages/desk/")
    page.wait_for_selector("body[data-ready=true]")
    colours = "() => [getComputedStyle(document.body.parentElement).backgroundColor, "
    colours += "document.querySelector('#plot .scatterlayer path.js-line').style.stroke]"
    light = page.evaluate(colours)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"light => ({colours})().every((colour, place) => colour !== light[place])", arg=light)
    button = page.get_by_role("button", name="Theme: system")
    button.click()
    page.wait_for_function(f"light => ({colours})().every((colour, place) => colour === light[place])", arg=light)
    page.reload()
    assert page.get_by_role("button", name="Theme: light").is_visible()


@pytest.mark.parametrize("how", ["mouse", "space", "let go elsewhere"])
def test_what_a_page_draws_by_itself_waits_for_the_end_of_a_click(page: Any, desk: tuple[str, str], how: str):
    url, key = desk
    page.goto(url)
    page.evaluate("key => sessionStorage.setItem('triptych-key', key)", key)
    page.goto(f"{url}/pages/desk/")
    button = page.get_by_role("button", name="Ask")
    button.hover()
    button.focus()
    page.evaluate("""async () => {
        const { live } = await import("/pages/_shared/live.js");
        window.said = [];
        document.addEventListener("click", () => window.said.push("click"));
        window.ask = () => void live("/v1/desk").then(() => window.said.push("answer"));
    }""")
    page.evaluate("window.ask()")
    page.wait_for_function("() => window.said.length === 1")  # at once while nothing is held
    if how == "space":
        page.keyboard.down(" ")
    else:
        page.mouse.down()
    with page.expect_response("**/v1/desk"):
        page.evaluate("window.ask()")
    page.wait_for_timeout(300)  # for one that would not wait
    assert page.evaluate("window.said") == ["answer"]
    if how == "space":
        page.keyboard.up(" ")
    elif how == "mouse":
        page.mouse.up()
    else:
        page.evaluate("dispatchEvent(new PointerEvent('pointermove', { buttons: 0 }))")
    page.wait_for_function("() => window.said.filter((one) => one === 'answer').length === 2")
    assert page.evaluate("window.said[1]") == ("answer" if how == "let go elsewhere" else "click")
    page.mouse.up()


def test_nothing_inline_is_run(page: Any, desk: tuple[str, str]):
    page.goto(desk[0])
    page.wait_for_selector("body[data-ready=true]")
    page.evaluate(
        "() => { const script = document.createElement('script'); script.textContent = 'window.ran = true'; "
        "document.body.append(script); }"
    )
    assert page.evaluate("window.ran === undefined")


def test_the_page_of_pages_fits_a_phone(page: Any, desk: tuple[str, str]):
    url, key = desk
    page.set_viewport_size({"width": 360, "height": 700})
    page.goto(url)
    page.wait_for_selector("body[data-ready=true]")
    assert page.get_by_text("small>large").count() == 0  # without a key, only what is public
    page.get_by_role("button", name="Give key").click()
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Use this key").click()
    page.get_by_text("small>large").wait_for()
    assert page.locator("#health").inner_text() == "ready"
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.get_by_role("main").get_by_role("link", name="Drawers").press("Enter")
    page.wait_for_url(f"{url}/pages/desk/")
    small = "all => all.filter(b => b.checkVisibility() && b.getBoundingClientRect().height < 44).length"
    assert page.eval_on_selector_all("button, header nav a", small) == 0
