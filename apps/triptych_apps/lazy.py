"""A group of commands whose code is imported when one of them is used."""

from __future__ import annotations

import difflib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import click

from triptych.errors import PluginError
from triptych.host import default_host


@dataclass(frozen=True, slots=True)
class Lazy:
    """A command that is not imported yet: "module:name", and its line in the list of commands."""

    target: str
    summary: str

    def load(self) -> click.Command:
        """The command itself."""
        command: click.Command = pkgutil.resolve_name(self.target)
        return command


class LazyGroup(click.Group):
    """`lazy` are the group's own commands; with `plugins`, those that plugins offer come after them.

    A plugin cannot take the name of one of the group's own commands: the own one is used.
    """

    def __init__(self, *args: Any, lazy: Mapping[str, Lazy], plugins: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lazy = dict(lazy)
        self.plugins = plugins

    def own_commands(self) -> list[str]:
        """The names that no plugin can take, in the order of the help."""
        return list(self._lazy)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The group's own commands in their order, then those of plugins."""
        return [*self._lazy, *self._offered()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command. Raises `PluginError` when a plugin's cannot be imported or is claimed twice."""
        if cmd_name in self._lazy:
            return self._lazy[cmd_name].load()
        if cmd_name not in self._offered():
            return None
        command = default_host().load_part("command", cmd_name)
        if not isinstance(command, click.Command):
            plugin = next(i.name for i in default_host().plugins() if cmd_name in [c.name for c in i.commands])
            raise PluginError(plugin, f"the command {cmd_name!r} must be a click.Command, got {command!r}")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As in click; an unknown name is answered with the nearest one, or with what to do with a vertical's name."""
        name = args[0]
        if name.startswith("-") or ctx.resilient_parsing or self.get_command(ctx, name) is not None:
            return super().resolve_command(ctx, args)
        if self.plugins and name in [spec.name for spec in default_host().verticals()]:
            ctx.fail(f"{name!r} is a vertical, not a command. Did you mean `triptych ask {name} ...`?")
        near = difflib.get_close_matches(name, self.list_commands(ctx), n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        known = ", ".join(self.list_commands(ctx))
        raise click.UsageError(f"No command is called {name!r}.{hint} Known: {known}.", ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, without importing any of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, lazy.summary) for name, lazy in self._lazy.items()])
        offered = self._offered()
        if offered:
            with formatter.section("Commands of plugins"):
                formatter.write_dl(list(offered.items()))

    def _offered(self) -> dict[str, str]:
        """Name and summary of the plugins' commands."""
        if not self.plugins:
            return {}
        return {spec.name: spec.summary for spec in default_host().commands() if spec.name not in self._lazy}
