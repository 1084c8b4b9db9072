"""`triptych export`: what a machine needs that only serves."""

from __future__ import annotations

from pathlib import Path

import click

from triptych_apps.options import bundle_argument, json_option


@click.command(short_help="Copy what answering needs, and nothing else.")
@bundle_argument
@click.option(
    "--output", type=click.Path(path_type=Path, file_okay=False), required=True, metavar="DIR", help="A new directory."
)
@json_option
def export(bundle: str, output: Path, as_json: bool) -> None:
    """Copy what answering needs, and nothing else.

    The copy holds the variant in service with its indexes and the report. It answers without torch, on a machine with
    the packages of requirements/serve.txt; it cannot be compressed again, for the trained model stays behind.
    """
    from triptych import slim
    from triptych.compression.measure import size_mb
    from triptych_apps.outcomes import ExportOutcome
    from triptych_apps.output import print_json, print_text

    directory = slim.export(bundle, output)
    outcome = ExportOutcome(bundle=str(output), size_mb=round(size_mb(directory), 2))
    if as_json:
        print_json(outcome)
    else:
        print_text(f"{outcome.bundle}: {outcome.size_mb:.1f} MB\ntriptych ask {output} ...")
