"""Commands of a vertical's own console script: the general ones, with the vertical filled in."""

from __future__ import annotations

import copy
import functools
from dataclasses import dataclass

import click

from triptych_apps.lazy import Lazy


@dataclass(frozen=True, slots=True)
class Bound:
    """A lazy command without its argument VERTICAL; its argument BUNDLE becomes the option `--bundle`."""

    lazy: Lazy
    vertical: str

    @property
    def summary(self) -> str:
        """The command's line in the list of commands."""
        return self.lazy.summary

    def load(self) -> click.Command:
        """A copy of the command, bound."""
        command = copy.copy(self.lazy.load())
        command.params = []
        for parameter in self.lazy.load().params:
            if parameter.name == "vertical" and command.callback is not None:
                command.callback = functools.partial(command.callback, vertical=self.vertical)
            elif parameter.name == "bundle":
                command.params.append(_bundle_option(self.vertical))
            else:
                command.params.append(parameter)
        return command


def _bundle_option(vertical: str) -> click.Option:
    return click.Option(
        ["--bundle"],
        default=vertical,
        show_default=False,
        metavar="PATH",
        help="A bundle's directory; without it, the newest bundle of this application.",
    )
