"""Options and arguments that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from triptych.types import VerticalSpec

    _ParamType = click.ParamType[str]
else:  # click knows the type argument from 8.5 on
    _ParamType = click.ParamType

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


class VerticalName(_ParamType):
    """The name of a vertical, or of whatever else may stand in its place; the shell completes it."""

    name = "vertical"

    def get_missing_message(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """What is added to "Missing argument": the names that exist."""
        return f"Verticals: {', '.join(spec.name for spec in _verticals()) or 'none'}."

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Names of verticals; where none fits, files, for a bundle may be a path as well."""
        fitting = [spec for spec in _verticals() if spec.name.startswith(incomplete)]
        items = [CompletionItem(spec.name, help=spec.summary) for spec in fitting]
        return items or [CompletionItem(incomplete, type="file")]


def vertical_argument(command: Decorated) -> Decorated:
    """The argument VERTICAL, which a vertical's own console script fills in."""
    return click.argument("vertical", type=VerticalName())(command)


def bundle_argument(command: Decorated) -> Decorated:
    """The argument BUNDLE, which becomes `--bundle` in a vertical's own console script."""
    return click.argument("bundle", type=VerticalName())(command)


def json_option(command: Decorated) -> Decorated:
    """`--json`."""
    text = "Print one JSON object on standard output instead of text."
    return click.option("--json", "as_json", is_flag=True, help=text)(command)


def device_option(command: Decorated) -> Decorated:
    """`--device`."""
    text = "auto, cpu, cuda, cuda:N or mps."
    return click.option("--device", metavar="DEVICE", help=text)(command)


def set_option(command: Decorated) -> Decorated:
    """`--set KEY=VALUE`, any number of times."""
    text = "Set one config key, as training.epochs=5; may be repeated."
    return click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help=text)(command)


def build_options(command: Decorated) -> Decorated:
    """What `run` and `train` have in common but `--data`."""
    for option in (
        json_option,
        device_option,
        click.option(
            "--output",
            type=click.Path(path_type=Path, file_okay=False),
            metavar="DIR",
            help="Where the bundle goes; by default under the home directory that `triptych doctor` names.",
        ),
        set_option,
        click.option(
            "--verdicts", is_flag=True, help="Learn from decisions of `triptych serve` that were reviewed, too."
        ),
        click.option("--config", metavar="FILE|NAME", help="A TOML file, or the name of a packaged config."),
    ):
        command = option(command)
    return command


def _verticals() -> list[VerticalSpec]:
    from triptych.host import default_host

    return default_host().verticals()
