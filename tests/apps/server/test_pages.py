"""Web pages: what they may load, what they are made of, and what no path reaches."""

from __future__ import annotations

import http.client
import re
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.apps.server import desk, desk_routes
from tests.apps.server.conftest import Running, error_kind, run
from tests.apps.server.test_plugin_routes import host
from triptych.errors import ConfigError, PluginError
from triptych.hookspecs import hookimpl
from triptych.types import PageSpec
from triptych_apps.server import own
from triptych_apps.server.service import Service
from triptych_apps.server.settings import Settings
from triptych_apps.server.site import Site


@pytest.fixture(scope="module")
def served(desk_bundle: Path) -> Iterator[Running]:
    with run(desk_bundle, host=host(more=desk_routes), local=True) as running:
        yield running


def test_a_page_is_made_of_its_template_and_the_shared_one(ask: httpx.Client):
    page = ask.get("/pages/desk/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    for part in ('data-api="/v1/desk"', "Drawers of The desk", 'href="page.css"', 'aria-current="page"', "</html>"):
        assert part in page.text
    assert 'href="/pages/desk/"' in ask.get("/").text
    assert "What is in the desk" in ask.get("/").text


@pytest.mark.parametrize("path", ["/", "/pages/desk/", "/pages/desk/page.js", "/pages/_shared/site.js"])
def test_nothing_foreign_and_nothing_inline_is_run(ask: httpx.Client, path: str):
    found = ask.get(path)
    policy = dict(part.strip().split(" ", 1) for part in found.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'self'"  # and so no inline script, no eval, no other host
    assert "script-src" not in policy
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["object-src"] == "'none'"
    assert found.headers["x-content-type-options"] == "nosniff"
    assert found.headers["referrer-policy"] == "no-referrer"
    if found.headers["content-type"].startswith("text/html"):
        assert re.findall(r"<script(?![^>]*\bsrc=)[^>]*>", found.text) == []
        assert re.findall(r"\son\w+=", found.text) == []
        assert re.findall(r"(?:src|href)=\"(?!/|page\.|#)", found.text) == []


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/pages/desk/page.css", "text/css"), ("/pages/desk/page.js", "text/javascript"),
     ("/pages/_shared/theme.css", "text/css"), ("/pages/_shared/icon.svg", "image/svg+xml")],
)  # fmt: skip
def test_assets_have_their_type_and_are_not_sent_twice(ask: httpx.Client, path: str, kind: str):
    found = ask.get(path)
    assert found.status_code == 200
    assert found.headers["content-type"].startswith(kind)
    again = ask.get(path, headers={"if-none-match": found.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_what_is_large_is_packed_for_who_wants_it(ask: httpx.Client):
    packed = ask.get("/pages/_shared/site.js", headers={"accept-encoding": "gzip"})
    plain = ask.get("/pages/_shared/site.js", headers={"accept-encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.text == plain.text
    assert int(packed.headers["content-length"]) < int(plain.headers["content-length"]) / 2


@pytest.mark.parametrize(
    "path",
    ["/pages/desk/page.html", "/pages/desk/__init__.py", "/pages/desk/..%2F__init__.py", "/pages/desk/%2e%2e/desk.py",
     "/pages/..%2F..%2Fetc/passwd", "/pages/desk//etc/passwd", "/pages/_shared/../_base.html", "/pages/_base.html/",
     "/pages/shop/", "/pages/desk/page.js%00", "/pages/desk/..%5Cpage.js"],
)  # fmt: skip
def test_no_path_reaches_a_file(served: Running, path: str):
    connection = http.client.HTTPConnection("127.0.0.1", served.port)  # which leaves dots as they are
    connection.request("GET", path)
    assert connection.getresponse().status == 404
    connection.close()


def test_pages_are_no_part_of_the_api(ask: httpx.Client):
    assert not [path for path in ask.get("/openapi.json").json()["paths"] if path.startswith(("/pages", "/ "))]
    assert error_kind(ask.post("/pages/desk/")) == "method_not_allowed"


def offering(**fields: str) -> Any:
    spec = PageSpec(
        **{"vertical": "desk", "title": "A", "package": "tests.apps.server.desk_page", "help": ".", **fields}
    )
    return types.SimpleNamespace(triptych_pages=hookimpl(lambda: [spec]))


@pytest.mark.parametrize(
    ("package", "said"), [("tests.apps.nowhere", "nowhere"), ("tests.apps.server", "has no page.html")]
)
def test_a_page_without_files_is_told_at_the_start(desk_bundle: Path, package: str, said: str):
    service = Service(str(desk_bundle), desk.Desk(), Settings(), host=host(more=offering(package=package)))
    with pytest.raises(ConfigError, match=said):
        Site([service], Settings())


def test_a_template_that_is_wrong_is_told_at_the_start(
    desk_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "wrong_page").mkdir()
    (tmp_path / "wrong_page" / "page.html").write_text(
        "{% extends '_base.html' %}{% block main %}{{ nobody }}{% endblock %}"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    service = Service(str(desk_bundle), desk.Desk(), Settings(), host=host(more=offering(package="wrong_page")))
    with pytest.raises(ConfigError, match="'nobody' is undefined"):
        Site([service], Settings())


def test_what_a_plugin_says_is_text(desk_bundle: Path):
    """A title is no HTML."""
    service = Service(str(desk_bundle), desk.Desk(), Settings(), host=host(more=offering(title="<b>&")))
    pages = Site([service], Settings()).pages
    assert b"&lt;b&gt;&amp;" in pages.index.content
    assert b"<b>" not in pages.index.content


def test_two_pages_of_a_vertical_name_both_plugins(desk_bundle: Path):
    plugins = {"one": offering(), "two": offering()}
    service = Service(str(desk_bundle), desk.Desk(), Settings(), host=host(**plugins))
    with pytest.raises(PluginError, match="one and two"):
        Site([service], Settings())


def test_the_server_has_a_page_of_its_own(desk_bundle: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(own, "PAGES", [PageSpec("", "Operator", "tests.apps.server.desk_page", "How it does.")])
    with run(desk_bundle, local=True) as running, running.client() as ask:
        assert 'data-api="/v1/_server"' in ask.get("/pages/_operator/").text
        assert "/pages/_operator/" in ask.get("/").text
        assert "no page; programs ask it" in ask.get("/").text  # the desk
