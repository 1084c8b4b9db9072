"""`triptych index stats` and `verify`: what is there, and whether it is whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from triptych_apps.index.options import location_argument
from triptych_apps.options import json_option

if TYPE_CHECKING:
    from triptych_apps.outcomes import IndexStatsOutcome


@click.command(short_help="Show what an index holds and how it is searched.")
@location_argument
@json_option
def stats(location: str, as_json: bool) -> None:
    """Show what an index holds and how it is searched. It may be in use by others meanwhile."""
    from triptych_apps.index.places import described, opened, shown
    from triptych_apps.outcomes import IndexStatsOutcome
    from triptych_apps.output import print_json

    with opened(location, read_only=True) as index:
        outcome = IndexStatsOutcome(
            location=shown(location),
            items=len(index),
            fields=described(list(index.fields.values())),
            details=index.stats(),
        )
    if as_json:
        print_json(outcome)
    else:
        _print(outcome)


def _print(outcome: IndexStatsOutcome) -> None:
    from triptych_apps.index.places import field_lines
    from triptych_apps.output import print_pairs

    print_pairs("", {"index": outcome.location, "items": f"{outcome.items:,}", "vectors": field_lines(outcome.fields)})
    shown_above = {"location", "path", "items"}
    details = {name: value for name, value in outcome.details.items() if name not in shown_above}
    fields = details.pop("fields", None)
    print_pairs("Details", {name.replace("_", " "): _in_words(value) for name, value in details.items()})
    for name, about in fields.items() if isinstance(fields, dict) else ():
        known = {"name", "dim", "metric", "source"}
        rest = {key.replace("_", " "): _in_words(value) for key, value in about.items() if key not in known}
        print_pairs(f"Field {name}", rest)


def _in_words(value: Any) -> Any:
    """Whole numbers with thousands apart; the rest as it is."""
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else value


@click.command(short_help="Check everything that is stored.")
@location_argument
@json_option
@click.pass_context
def verify(ctx: click.Context, /, location: str, as_json: bool) -> None:
    """Check everything that is stored: hashes, the log, and that both agree.

    Problems are listed, and the exit code is then 3. It reads all files, and the index may be in use by others
    meanwhile.
    """
    from triptych_apps.errors import say_error
    from triptych_apps.index.places import opened, shown
    from triptych_apps.outcomes import IndexVerifyOutcome
    from triptych_apps.output import print_json, print_text

    with opened(location, read_only=True) as index:
        outcome = IndexVerifyOutcome(location=shown(location), items=len(index), problems=index.verify())
    if as_json:
        print_json(outcome)
        ctx.exit(3 if outcome.problems else 0)
    for problem in outcome.problems:
        say_error(problem)
    if not outcome.problems:
        print_text(f"{outcome.location}: all is well (items: {outcome.items:,}).")
    ctx.exit(3 if outcome.problems else 0)
