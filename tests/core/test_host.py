"""The host: plugins are found, checked, isolated and looked up by name."""

from __future__ import annotations

import types
from typing import Any

import pytest

from triptych.errors import PluginError, RefusedError, UnknownNameError
from triptych.hookspecs import hookimpl
from triptych.host import Host
from triptych.types import CommandSpec, PageSpec, Part, RouteSpec, VerticalSpec
from triptych.vertical import Request, Response


def plugin(**hooks: Any) -> types.SimpleNamespace:
    return types.SimpleNamespace(**{name: hookimpl(function) for name, function in hooks.items()})


def offering(*parts: Part) -> types.SimpleNamespace:
    return plugin(triptych_parts=lambda: list(parts))


def info_of(host: Host, name: str):
    return next(info for info in host.plugins() if info.name == name)


def test_the_core_offers_its_own_parts_through_the_same_hook():
    host = Host(installed=False)
    assert [info.name for info in host.plugins()] == ["triptych"]
    assert "gated" in [part.name for part in host.parts("fusion")]


def test_every_part_of_the_core_resolves():
    host = Host(installed=False)
    for part in host.parts():
        assert isinstance(part.load(), type), part


def test_the_installed_customer_service_is_found():
    assert "customer-service" in [spec.name for spec in Host().verticals()]


def test_a_part_is_found_by_name_and_loaded_when_used():
    host = Host({"mine": offering(Part("fusion", "mine", "collections:OrderedDict", "."))}, installed=False)
    import collections

    assert host.load_part("fusion", "mine") is collections.OrderedDict


def test_an_unknown_name_lists_the_known_ones_and_the_nearest():
    with pytest.raises(UnknownNameError, match=r"Did you mean 'gated'\?") as caught:
        Host(installed=False).part("fusion", "gatd")
    assert "attention" in caught.value.known


def test_a_full_name_wins_over_its_family():
    host = Host(
        {"mine": offering(Part("encoder", "a", "builtins:int", "."), Part("encoder", "a:b", "builtins:str", "."))},
        installed=False,
    )
    assert host.load_family("encoder", "a:b") == (str, "")
    assert host.load_family("encoder", "a:other") == (int, "other")


def test_a_name_claimed_twice_is_an_error_that_names_both_plugins():
    one = offering(Part("fusion", "mine", "builtins:int", "."))
    two = offering(Part("fusion", "mine", "builtins:str", "."), Part("fusion", "fine", "builtins:str", "."))
    host = Host({"one": one, "two": two}, installed=False)
    with pytest.raises(PluginError, match="one and two"):
        host.load_part("fusion", "mine")
    assert host.load_part("fusion", "fine") is str


def test_a_misspelt_hook_is_reported_with_the_right_spelling():
    host = Host({"wrong": plugin(triptych_verticls=lambda: ["florist"])}, installed=False)
    assert "triptych_verticals" in str(info_of(host, "wrong").error)


def test_a_plugin_that_raises_is_listed_and_the_rest_goes_on():
    def explode():
        raise RuntimeError("no licence")

    host = Host(
        {"broken": plugin(triptych_parts=explode), "fine": offering(Part("fusion", "fine", "builtins:str", "."))},
        installed=False,
    )
    assert info_of(host, "broken").error == "RuntimeError: no licence"
    assert host.load_part("fusion", "fine") is str


def test_records_of_the_wrong_type_are_refused():
    host = Host({"wrong": plugin(triptych_parts=lambda: ["gated"])}, installed=False)
    assert "Part records" in str(info_of(host, "wrong").error)


def test_code_that_cannot_be_imported_is_reported_with_the_plugin():
    host = Host({"mine": offering(Part("fusion", "gone", "no_such_module:Gone", "."))}, installed=False)
    with pytest.raises(PluginError, match=r"'mine'.*no_such_module"):
        host.load_part("fusion", "gone")


def test_commands_and_verticals_are_listed_by_name():
    host = Host(
        {
            "mine": plugin(
                triptych_commands=lambda: [CommandSpec("florist", "x:y", "Flowers.")],
                triptych_verticals=lambda: [VerticalSpec("florist", "x:z", "Flowers.")],
            )
        },
        installed=False,
    )
    assert [c.name for c in host.commands()] == ["florist"]
    assert [v.name for v in host.verticals()] == ["florist"]
    assert info_of(host, "mine").hooks == ("triptych_commands", "triptych_verticals")


def test_requests_pass_through_every_plugin():
    def upper(vertical, request):
        return request.model_copy(update={"text": request.text.upper()})

    host = Host({"upper": plugin(triptych_before_answer=upper)}, installed=False)
    assert host.before_answer("any", Request(text="hello")).text == "HELLO"


def test_a_guardrail_refuses():
    def refuse(request):
        raise RefusedError("no card numbers, please")

    host = Host({"guard": plugin(triptych_before_answer=refuse)}, installed=False)
    with pytest.raises(RefusedError, match="no card numbers") as caught:
        host.before_answer("any", Request(text="4111"))
    assert caught.value.plugin == "guard"


def test_a_guardrail_that_fails_refuses_as_well():
    def fail(request):
        raise ValueError("out of order")

    host = Host({"guard": plugin(triptych_before_answer=fail)}, installed=False)
    with pytest.raises(RefusedError, match=r"failed \(ValueError\)$"):  # a client sees it
        host.before_answer("any", Request(text="hello"))


def test_an_annotation_that_fails_leaves_the_answer(caplog):
    def fail(vertical, request, response):
        raise ValueError("out of order")

    def annotate(response):
        return response.model_copy(update={"answer": response.answer + "!"})

    host = Host(
        {"bad": plugin(triptych_after_answer=fail), "good": plugin(triptych_after_answer=annotate)}, installed=False
    )
    response = host.after_answer("any", Request(text="hello"), Response(answer="hi", confidence=1.0))
    assert response.answer == "hi!"
    assert "out of order" in caplog.text


def test_plugins_are_called_in_the_order_that_pluggy_promises():
    def adding(letter):
        return lambda request: request.model_copy(update={"text": request.text + letter})

    first = types.SimpleNamespace(triptych_before_answer=hookimpl(adding("1"), tryfirst=True))
    host = Host(
        {
            "first": first,
            "a": plugin(triptych_before_answer=adding("a")),
            "b": plugin(triptych_before_answer=adding("b")),
        },
        installed=False,
    )
    assert host.before_answer("any", Request(text="")).text == "1ba"


def test_a_wrapper_is_refused_with_the_reason():
    def around(vertical, request):
        yield

    host = Host({"mine": types.SimpleNamespace(triptych_before_answer=hookimpl(around, wrapper=True))}, installed=False)
    assert "cannot be a wrapper" in str(info_of(host, "mine").error)


def test_routes_and_pages_are_those_of_one_vertical():
    spec = RouteSpec("florist", "flowers", "builtins:len", "Flowers.")
    page = PageSpec("florist", "The shop", "some.package", "Flowers.")
    other = RouteSpec("baker", "bread", "builtins:len", "Bread.")
    host = Host({"mine": plugin(triptych_routes=lambda: [spec, other], triptych_pages=lambda: [page])}, installed=False)
    assert host.routes("florist") == [spec]
    assert host.load_route(spec) is len
    assert host.page("florist") == page
    assert (host.routes("nobody"), host.page("nobody"), host.page("baker")) == ([], None, None)
    assert info_of(host, "mine").routes == (spec, other)


def test_a_route_and_a_page_claimed_twice_name_both_plugins_and_leave_the_rest():
    def offering(name: str) -> types.SimpleNamespace:
        routes = [RouteSpec("florist", f"flowers/{{{name}}}", "builtins:len", ".")]
        return plugin(
            triptych_routes=lambda: [*routes, RouteSpec("baker", name, "builtins:len", ".")],
            triptych_pages=lambda: [PageSpec("florist", name, "some.package", ".")],
        )

    host = Host({"one": offering("a"), "two": offering("b")}, installed=False)
    with pytest.raises(PluginError, match="one and two"):
        host.routes("florist")
    with pytest.raises(PluginError, match="one and two"):
        host.page("florist")
    assert [route.path for route in host.routes("baker")] == ["a", "b"]


def test_one_path_has_several_methods():
    specs = [RouteSpec("florist", "flowers", "builtins:len", ".", method=method) for method in ("GET", "POST")]
    assert len(Host({"mine": plugin(triptych_routes=lambda: specs)}, installed=False).routes("florist")) == 2


def test_a_route_that_cannot_be_imported_names_its_plugin():
    spec = RouteSpec("florist", "flowers", "no_such_module:flowers", ".")
    host = Host({"mine": plugin(triptych_routes=lambda: [spec])}, installed=False)
    with pytest.raises(PluginError, match=r"'mine'.*no_such_module"):
        host.load_route(spec)


@pytest.mark.parametrize(
    ("vertical", "path", "method"),
    [("florist", "/flowers", "GET"), ("florist", "flowers/", "GET"), ("florist", "../keys", "GET"),
     ("florist", "a b", "GET"), ("florist", "", "GET"), ("florist", "{id:path}", "GET"), ("florist", "x", "PATCH"),
     ("", "flowers", "GET")],
)  # fmt: skip
def test_a_route_that_is_none_takes_its_plugin_out(vertical: str, path: str, method: str):
    host = Host(
        {"wrong": plugin(triptych_routes=lambda: [RouteSpec(vertical, path, "builtins:len", ".", method=method)])},
        installed=False,
    )
    assert "ValueError" in str(info_of(host, "wrong").error)


def test_a_redaction_changes_what_goes_on_and_one_that_fails_refuses():
    def redact(request):
        return request.model_copy(update={"text": request.text.replace("Ann", "[name]")})

    def fail(vertical, request):
        raise ValueError("out of order")

    host = Host({"names": plugin(triptych_redact=redact)}, installed=False)
    assert host.redact("any", Request(text="I am Ann")).text == "I am [name]"
    broken = Host({"names": plugin(triptych_redact=fail)}, installed=False)
    with pytest.raises(RefusedError, match=r"'names' failed \(ValueError\)$"):
        broken.redact("any", Request(text="I am Ann"))
