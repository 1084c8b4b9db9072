"""`triptych rollback`: the bundle before the newest one."""

from __future__ import annotations

import click

from triptych.errors import ConfigError
from triptych_apps.options import bundle_argument, json_option


@click.command(short_help="Go back to the bundle before the newest one.")
@bundle_argument
@json_option
def rollback(bundle: str, as_json: bool) -> None:
    """Go back to the bundle before the newest one.

    A bundle keeps the version before the one in use. It is checked before it is put in service; the version that is
    left stays on disk until the next run. Where `triptych release` decides what servers answer with, `triptych release
    rollback` goes back.
    """
    from triptych import bundle as bundles
    from triptych_apps.outcomes import RollbackOutcome
    from triptych_apps.output import print_json, print_text

    output = bundles.resolve_bundle(bundle)
    plan = bundles.read_plan(output)
    if plan is not None and plan.managed:
        raise ConfigError(
            f"servers answer with the releases of {output}; go back with: triptych release rollback {bundle}"
        )
    outcome = RollbackOutcome(bundle=str(bundles.rollback(output)))
    if as_json:
        print_json(outcome)
    else:
        print_text(f"In use from now on: {outcome.bundle}")
