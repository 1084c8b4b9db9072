"""Options made from the fields of a vertical's request type, so that no surface knows a vertical."""

from __future__ import annotations

import datetime
import enum
import json
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Union

import click

from triptych.errors import TriptychError

if TYPE_CHECKING:
    from triptych.vertical import Request

    _ParamType = click.ParamType[Any]
else:  # click knows the type argument from 8.5 on
    _ParamType = click.ParamType

_PREFIX = "field_"  # of parameter names, so that a field may be called like one of the command's own options
_HELP = {
    "text": "The words of the request; the same as TEXT.",
    "image": "A picture.",
    "audio": "A sound, as a voice note.",
}


class RequestCommand(click.Command):
    """A command with one more option for each field of the request type of the bundle that it is given.

    Which bundle that is must be known before the line can be parsed: the options that are unknown so far are passed
    over once, to find it. `without` names fields that the command fills in by itself.
    """

    def __init__(self, *args: Any, without: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.without = tuple(without)
        self._fields: list[click.Option] = []

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """The command's own parameters, the fields, and `--help`."""
        own = super().get_params(ctx)
        return [*own[:-1], *self._fields, *own[-1:]] if self._fields else own

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Find the bundle, add its vertical's fields, then parse as click does."""
        self._fields = []
        taken = {flag for parameter in self.get_params(ctx) for flag in parameter.opts}
        request_type = _request_type(self._bundle(ctx, args))
        self._fields = [option for option in field_options(request_type, taken) if option.name not in self._hidden()]
        return super().parse_args(ctx, args)

    def _hidden(self) -> set[str]:
        return {_PREFIX + name for name in self.without}

    def _bundle(self, ctx: click.Context, args: list[str]) -> str | None:
        parser = self.make_parser(ctx)
        parser.ignore_unknown_options = True
        try:
            given = parser.parse_args(list(args))[0].get("bundle")
        except click.UsageError:  # it is told when the whole line is parsed
            return None
        default = next(p.default for p in self.params if p.name == "bundle")
        return given if isinstance(given, str) else default if isinstance(default, str) else None


def field_options(request_type: type[Request], taken: set[str]) -> list[click.Option]:
    """One option for each field; one whose flag is in `taken` is called `--request-...`."""
    options = []
    for name, info in request_type.model_fields.items():
        flag = f"--{name.replace('_', '-')}"
        if flag in taken:
            flag = f"--request-{name.replace('_', '-')}"
        kind, multiple = _click_type(info.annotation)
        options.append(
            click.Option(
                [f"{flag}/--no-{flag[2:]}" if kind is click.BOOL and not multiple else flag, _PREFIX + name],
                type=kind,
                multiple=multiple,
                default=None,
                metavar="FILE" if isinstance(kind, click.Path) else None,
                help=info.description or _HELP.get(name),
            )
        )
    return options


def given_fields(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that the user gave, by the request type's own names."""
    given = {key.removeprefix(_PREFIX): value for key, value in parameters.items() if key.startswith(_PREFIX)}
    given = {key: value for key, value in given.items() if value not in (None, ())}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in given.items()}


class _Json(_ParamType):
    """A value of a kind that the command line has no word for, as JSON."""

    name = "json"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except json.JSONDecodeError as error:
            self.fail(f"{value!r} is not valid JSON: {error}", param, ctx)


def _click_type(annotation: Any) -> tuple[click.ParamType[Any], bool]:
    """The type of an option for a field's annotation, and whether the option may be repeated."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _click_type(arguments[0])
    if origin in (Union, types.UnionType):
        members = [member for member in arguments if member is not types.NoneType]
        if Path in members:  # a picture: a path on the command line, bytes only in a program
            return click.Path(path_type=Path), False
        return _click_type(members[0]) if len(members) == 1 else (_Json(), False)
    if origin in (list, tuple, set, frozenset):
        inner, nested = _click_type(arguments[0]) if arguments else (click.STRING, False)
        return (_Json(), False) if nested else (inner, True)
    if origin is Literal and all(isinstance(value, str) for value in arguments):
        return click.Choice(list(arguments)), False
    return _simple_type(annotation), False


def _simple_type(annotation: Any) -> click.ParamType[Any]:
    if not isinstance(annotation, type):
        return _Json()
    if issubclass(annotation, enum.Enum):
        return click.Choice([str(member.value) for member in annotation])
    for kind, option_type in (
        (bool, click.BOOL),
        (int, click.INT),
        (float, click.FLOAT),
        (str, click.STRING),
        (datetime.date, click.STRING),  # the request type reads it
    ):
        if issubclass(annotation, kind):
            return option_type
    return click.Path(path_type=Path) if issubclass(annotation, Path) else _Json()


def _request_type(bundle: str | None) -> type[Request]:
    from triptych.vertical import Request

    if bundle is None:
        return Request
    from triptych.host import default_host
    from triptych_apps.bundles import vertical_of

    try:
        found: type[Request] = default_host().vertical(vertical_of(bundle)).request_type
    except TriptychError:  # it is told, with its exit code, when the bundle is opened
        return Request
    return found
