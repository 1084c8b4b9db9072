"""Endpoints of plugins: read, run in threads, described, guarded by keys, and refused where they cannot be served."""

from __future__ import annotations

import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import BaseModel, ConfigDict

from tests.apps.server import desk, desk_routes
from tests.apps.server.conftest import Running, error_kind, run, wait
from triptych.errors import ConfigError, PluginError
from triptych.hookspecs import hookimpl
from triptych.host import Host
from triptych.routes import RouteContext
from triptych.types import Media, RouteSpec
from triptych_apps.server import own
from triptych_apps.server.access import Access
from triptych_apps.server.keys import KeyStore
from triptych_apps.server.service import Service
from triptych_apps.server.settings import Settings
from triptych_apps.server.site import Site


def host(**plugins: Any) -> Host:
    return Host({"desk": desk, **plugins}, installed=False)


class Verticals(BaseModel):
    names: list[str]


def own_route(context: own.ServerContext) -> Verticals:
    return Verticals(names=[service.name for service in context.site.services])


@pytest.fixture(scope="module", autouse=True)
def _own_routes() -> Iterator[None]:
    """One more of the server's own."""
    with pytest.MonkeyPatch.context() as patch:
        spec = RouteSpec("", "verticals", f"{__name__}:own_route", "What is served.")
        patch.setattr(own, "ROUTES", [*own.ROUTES, spec])
        yield


@pytest.fixture(scope="module")
def served(desk_bundle: Path, _own_routes: None) -> Iterator[Running]:
    """Here with the plugin."""
    settings = Settings(drain_seconds=0, answer_seconds=0.5)
    with run(desk_bundle, settings, host=host(more=desk_routes), local=True) as running:
        yield running


def test_a_query_is_read_and_the_function_runs_in_a_thread(ask: httpx.Client):
    query = {"words": "hello", "times": "2", "colours": ["red", "blue"]}
    found = ask.get("/v1/desk/echo", params=query)
    assert found.status_code == 200
    body = found.json()
    assert (body["words"], body["colours"], body["caller"]) == ("hello hello", ["red", "blue"], "local")
    assert body["vertical"] == "desk"
    assert body["thread"].startswith("route")
    assert found.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "query",
    ["", "words=a&words=b", "words=a&more=1", "words=a&times=many", "words=a&colours=green", "words=" + "a" * 101,
     "words=a&share=nan", "words=a&share=1e999"],
)  # fmt: skip
def test_a_query_that_is_wrong_is_told(ask: httpx.Client, query: str):
    found = ask.get(f"/v1/desk/echo?{query}")
    assert (found.status_code, error_kind(found)) == (422, "invalid")


def test_media_come_as_they_are(ask: httpx.Client):
    found = ask.get("/v1/desk/picture")
    assert found.content == desk_routes.PICTURE
    assert "sandbox" in found.headers["content-security-policy"]
    again = ask.get("/v1/desk/picture", headers={"if-none-match": found.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert (found.headers["content-type"], found.headers["x-content-type-options"]) == ("image/svg+xml", "nosniff")
    again = ask.get("/v1/desk/picture", headers={"If-None-Match": found.headers["etag"]})
    assert (again.status_code, again.content, found.headers["cache-control"]) == (304, b"", "private, no-cache")
    assert ask.get("/v1/desk/picture", headers={"If-None-Match": '"another"'}).status_code == 200


def test_a_body_and_a_path_are_one_query(ask: httpx.Client):
    found = ask.post("/v1/desk/drawers/left", json={"label": "pens", "inside": {"pen": 3}})
    assert found.json() == {"drawer": "left", "label": "pens"}
    assert ask.delete("/v1/desk/drawers/left%20one").json() == {"drawer": "left one", "label": ""}
    assert ask.delete("/v1/desk/drawers/..%2F..%2Fetc").status_code == 404


@pytest.mark.parametrize(
    ("label", "drawer", "status", "kind"),
    [("x", "nowhere", 404, "not_found"), ("secret", "a", 403, "refused"), ("wrong", "a", 422, "invalid"),
     ("boom", "a", 500, "internal"), ("late", "a", 500, "internal"), ("slow", "a", 503, "timeout"),
     ("lost", "a", 503, "unavailable")],
)  # fmt: skip
def test_errors_have_their_status(
    ask: httpx.Client, label: str, drawer: str, status: int, kind: str, caplog: pytest.LogCaptureFixture
):
    found = ask.post(f"/v1/desk/drawers/{drawer}", json={"label": label})
    assert (found.status_code, error_kind(found)) == (status, kind)
    assert "secret of" not in found.text
    assert ("retry-after" in found.headers) == (status == 503)
    assert "left" not in found.text  # the names that exist
    if kind == "unavailable":
        wait(lambda: "missing" in caplog.messages)
    elif status == 500:
        wait(lambda: "bug" in caplog.messages)
    else:
        assert "bug" not in caplog.messages


def test_a_body_that_is_wrong_is_told(ask: httpx.Client):
    url = "/v1/desk/drawers/left"
    assert ask.post(url, json={"label": "a", "drawer": "right"}).status_code == 422
    assert ask.post(url, json=["label"]).status_code == 422
    assert ask.post(url, content=b"{", headers={"content-type": "application/json"}).status_code == 400
    assert ask.post(url, data={"label": "a"}).status_code == 415


def test_only_routes_of_what_is_served_are_there(ask: httpx.Client):
    assert ask.get("/v1/shop/echo?words=a").status_code == 404
    assert ask.put("/v1/desk/echo?words=a").status_code == 405


def test_they_are_described(ask: httpx.Client):
    from openapi_spec_validator import validate

    document = ask.get("/openapi.json").json()
    validate(document)
    echo = document["paths"]["/v1/desk/echo"]["get"]
    assert echo["summary"] == "Say it again."
    assert {p["name"]: (p["in"], p["required"]) for p in echo["parameters"]} == {
        "words": ("query", True), "times": ("query", False), "colours": ("query", False), "share": ("query", False),
    }  # fmt: skip
    put = document["paths"]["/v1/desk/drawers/{drawer}"]["post"]
    assert [(p["name"], p["in"]) for p in put["parameters"]] == [("drawer", "path")]
    reference = put["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    assert set(document["components"]["schemas"][reference.rpartition("/")[2]]["properties"]) == {"label", "inside"}
    for path, kind in (("echo", "application/json"), ("ticks", "text/event-stream"), ("picture", "*/*")):
        assert list(document["paths"][f"/v1/desk/{path}"]["get"]["responses"]["200"]["content"]) == [kind]


def test_keys_allow_and_limit_them(desk_bundle: Path, tmp_path: Path):
    store = KeyStore(tmp_path / "keys.sqlite")
    (few, few_text), (_, other), (_, all_) = (
        store.add("few", verticals=("desk",), per_minute=2), store.add("other", verticals=("shop",)), store.add("all"),
    )  # fmt: skip
    with run(desk_bundle, host=host(more=desk_routes), access=Access(store)) as running, running.client() as ask:

        def get(path: str, key: str) -> httpx.Response:
            return ask.get(path, headers={"authorization": f"Bearer {key}"})

        assert ask.get("/v1/desk/picture").status_code == 401
        assert get("/v1/desk/picture", other).status_code == 403
        assert get("/v1/desk/echo?words=a", few_text).json()["caller"] == few.id
        assert get("/v1/_server/verticals", few_text).status_code == 403
        assert get("/v1/desk/picture", few_text).status_code == 200
        assert get("/v1/desk/picture", few_text).status_code == 429
        assert get("/v1/_server/verticals", all_).json() == {"names": ["desk"]}
        assert ask.get("/").status_code == 200  # pages need none


class Loose(BaseModel):
    name: str = ""


class Nested(BaseModel):
    model_config = ConfigDict(extra="forbid")
    inside: dict[str, int] = {}


def no_return(context: RouteContext):  # type: ignore[no-untyped-def]
    pass


def no_model(context: RouteContext, query: str) -> Media: ...


def loose(context: RouteContext, query: Loose) -> Media: ...


def nested(context: RouteContext, query: Nested) -> Media: ...


def no_parameters() -> Media: ...


def fine(context: RouteContext) -> Media: ...


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (RouteSpec("desk", "a", f"{__name__}:no_return", "."), "annotated to return"),
        (RouteSpec("desk", "a", f"{__name__}:no_model", "."), "pydantic model as the annotation of 'query'"),
        (RouteSpec("desk", "a", f"{__name__}:loose", "."), 'extra="forbid"'),
        (RouteSpec("desk", "a", f"{__name__}:nested", "."), "'inside' no URL can hold"),
        (RouteSpec("desk", "a/{b}", f"{__name__}:nested", ".", method="POST"), "no field 'b' of the path"),
        (RouteSpec("desk", "a/{b}", f"{__name__}:fine", "."), "takes no query"),
        (RouteSpec("desk", "a", f"{__name__}:no_parameters", "."), "0 parameters"),
        (RouteSpec("desk", "answer", f"{__name__}:fine", ".", method="POST"), "the server has one already"),
    ],
)
def test_what_cannot_be_served_is_told_at_the_start(desk_bundle: Path, spec: RouteSpec, said: str):
    offering = types.SimpleNamespace(triptych_routes=hookimpl(lambda: [spec]))
    service = Service(str(desk_bundle), desk.Desk(), Settings(), host=host(more=offering))
    with pytest.raises(ConfigError, match=said):
        Site([service], Settings())


def test_a_route_that_two_claim_names_both(desk_bundle: Path):
    def offering(name: str) -> Any:
        spec = RouteSpec("desk", f"drawers/{{{name}}}", f"{__name__}:fine", ".")
        return types.SimpleNamespace(triptych_routes=hookimpl(lambda: [spec]))

    service = Service(str(desk_bundle), desk.Desk(), Settings(), host=host(one=offering("a"), two=offering("b")))
    with pytest.raises(PluginError, match="one and two"):
        Site([service], Settings())
