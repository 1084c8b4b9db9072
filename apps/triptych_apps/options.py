"""Options and arguments that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def complete_verticals(_ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of verticals for the shell, and files, for a bundle may be a path as well."""
    from triptych.host import default_host

    names = [spec for spec in default_host().verticals() if spec.name.startswith(incomplete)]
    return [CompletionItem(spec.name, help=spec.summary) for spec in names] or [CompletionItem(incomplete, type="file")]


def vertical_argument(command: Decorated) -> Decorated:
    """The argument VERTICAL, which a vertical's own console script fills in."""
    return click.argument("vertical", shell_complete=complete_verticals)(command)


def bundle_argument(command: Decorated) -> Decorated:
    """The argument BUNDLE, which becomes `--bundle` in a vertical's own console script."""
    return click.argument("bundle", shell_complete=complete_verticals)(command)


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
        click.option("--config", metavar="FILE|NAME", help="A TOML file, or the name of a packaged config."),
    ):
        command = option(command)
    return command
