"""Options made from a request type."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest

from tests.apps.shop import ShopRequest
from triptych_apps.fields import RequestCommand, field_options, given_fields


def parse(*args: str, bundle: str = "shop") -> dict[str, object]:
    caught: dict[str, object] = {}

    @click.command(cls=RequestCommand)
    @click.argument("bundle")
    @click.option("--device")
    def command(bundle: str, device: str | None, **fields: object) -> None:
        caught.update(given_fields(fields), device_option=device)

    command.main([bundle, *args], standalone_mode=False)
    return caught


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (("--text", "hello"), {"text": "hello"}),
        (("--image", "a b.png"), {"image": Path("a b.png")}),
        (("--audio", "a.wav"), {"audio": Path("a.wav")}),
        (("--conversation", "c1"), {"conversation": "c1"}),
        (("--channel", "mail"), {"channel": "mail"}),
        (("--language", "zh"), {"language": "zh"}),
        (("--limit", "7"), {"limit": 7}),
        (("--discount", "0.5"), {"discount": 0.5}),
        (("--regular",), {"regular": True}),
        (("--no-regular",), {"regular": False}),
        (("--tags", "a", "--tags", "b"), {"tags": ["a", "b"]}),
        (("--address", '{"city": "Zürich"}'), {"address": {"city": "Zürich"}}),
        (("--request-device", "phone"), {"device": "phone"}),
        ((), {}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
@pytest.mark.usefixtures("call")
def test_a_field_of_every_kind(args, expected):
    given = parse(*args)
    assert given.pop("device_option") is None
    assert given == expected
    assert ShopRequest.model_validate(given)


@pytest.mark.usefixtures("call")
def test_an_option_of_the_command_keeps_its_name():
    assert parse("--device", "cpu") == {"device_option": "cpu"}


@pytest.mark.parametrize(
    "args", [("--limit", "many"), ("--channel", "fax"), ("--address", "{")], ids=lambda value: value[0]
)
@pytest.mark.usefixtures("call")
def test_a_value_of_another_kind_is_wrong_usage(args):
    with pytest.raises(click.BadParameter):
        parse(*args)


@pytest.mark.usefixtures("call")
def test_a_bundle_that_is_unknown_offers_what_every_vertical_has():
    assert parse("--text", "hello", bundle="nowhere") == {"text": "hello", "device_option": None}
    with pytest.raises(click.NoSuchOption):
        parse("--conversation", "c1", bundle="nowhere")


def test_the_help_of_a_field_is_its_description():
    options = {option.name: option for option in field_options(ShopRequest, set())}
    assert options["field_conversation"].help == "The conversation that this message belongs to."


def test_help_with_a_bundle_shows_the_fields_of_its_request(call):
    done = call("ask", "shop", "--help")
    assert done.code == 0
    assert "--conversation" in done.out
    assert "[en|zh]" in done.out
    assert "--request-device" in done.out


def test_chat_takes_the_fields_that_stay(call):
    done = call("chat", "shop", "--help")
    assert "--conversation" in done.out
    assert "--image" not in done.out


def test_the_fields_of_one_bundle_do_not_stay_for_the_next(call):
    assert "--conversation" in call("ask", "shop", "--help").out
    assert "--conversation" not in call("ask", "--help").out


def test_words_given_twice_are_wrong_usage(call):
    done = call("ask", "shop", "hello", "--text", "hello", "--json")
    assert done.code == 2
    assert "twice" in json.loads(done.out)["error"]["message"]


def test_nothing_to_ask_is_wrong_usage(call):
    done = call("ask", "shop")
    assert done.code == 2
    assert "--image" in done.err
