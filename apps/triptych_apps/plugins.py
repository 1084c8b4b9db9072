"""`triptych plugins`: what is installed, what it offers, and what is broken."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from triptych.host import default_host
from triptych_apps.options import json_option

if TYPE_CHECKING:
    from triptych_apps.outcomes import PluginOutcome


@click.command(short_help="List plugins and what they offer.")
@json_option
def plugins(as_json: bool) -> None:
    """List plugins and what they offer.

    A plugin that could not be loaded is listed with the reason, and is not in use.
    """
    from triptych_apps.outcomes import NamedOutcome, PluginOutcome, PluginsOutcome

    found = []
    for info in default_host().plugins():
        offers = [
            NamedOutcome(kind="vertical", name=v.name, target=v.target, summary=v.summary) for v in info.verticals
        ]
        offers += [NamedOutcome(kind="command", name=c.name, target=c.target, summary=c.summary) for c in info.commands]
        offers += [NamedOutcome(kind="route", name=r.name, target=r.target, summary=r.help) for r in info.routes]
        offers += [NamedOutcome(kind="page", name=p.name, target=p.package, summary=p.help) for p in info.pages]
        offers += [NamedOutcome(kind=p.kind, name=p.name, target=p.target, summary=p.summary) for p in info.parts]
        hooks = list(info.hooks)
        found.append(PluginOutcome(name=info.name, version=info.version, offers=offers, hooks=hooks, error=info.error))
    outcome = PluginsOutcome(plugins=found, problems=_clashes(found))
    if as_json:
        from triptych_apps.output import print_json

        print_json(outcome)
        return
    from triptych_apps.errors import say_error
    from triptych_apps.output import print_table, print_text

    for plugin in found:
        print_table(
            f"{plugin.name} {plugin.version}",
            ("kind", "name", ""),
            [(o.kind, o.name, o.summary) for o in plugin.offers],
        )
        if plugin.error is not None:
            print_text(f"{plugin.name} {plugin.version}\n  not in use: {plugin.error}\n")
        elif not plugin.offers:
            print_text(f"{plugin.name} {plugin.version}\n  hooks: {', '.join(plugin.hooks) or 'none'}\n")
    for problem in outcome.problems:
        say_error(problem)


def _clashes(found: list[PluginOutcome]) -> list[str]:
    """Names that more than one plugin claims, and commands that are triptych's own."""
    from triptych_apps.cli import COMMANDS

    claims: dict[tuple[str, str], list[str]] = {}
    for plugin in found:
        for offer in plugin.offers:
            claims.setdefault((offer.kind, offer.name), []).append(plugin.name)
    problems = []
    for (kind, name), claimants in claims.items():
        if len(claimants) > 1:
            problems.append(f"the {kind} {name!r} cannot be used: {' and '.join(claimants)} claim it; remove one")
        if kind == "command" and name in COMMANDS:
            problems.append(f"the command {name!r} of {claimants[0]} cannot be used: triptych has one of that name")
    return problems
