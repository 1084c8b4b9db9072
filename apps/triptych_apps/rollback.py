"""`triptych rollback`: the bundle before the newest one."""

from __future__ import annotations

import click

from triptych_apps.options import bundle_argument, json_option


@click.command(short_help="Go back to the bundle before the newest one.")
@bundle_argument
@json_option
def rollback(bundle: str, as_json: bool) -> None:
    """Go back to the bundle before the newest one.

    A bundle keeps the version before the one in use. It is checked before it is put in service; the version that is
    left stays on disk until the next run.
    """
    from triptych import bundle as bundles
    from triptych_apps.outcomes import RollbackOutcome
    from triptych_apps.output import print_json, print_text

    outcome = RollbackOutcome(bundle=str(bundles.rollback(bundles.resolve_bundle(bundle))))
    if as_json:
        print_json(outcome)
    else:
        print_text(f"In use from now on: {outcome.bundle}")
