"""`triptych info`: what a bundle holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from triptych_apps.options import bundle_argument, json_option

if TYPE_CHECKING:
    from triptych_apps.outcomes import InfoOutcome


@click.command(short_help="Show what a bundle holds and how good it is.")
@bundle_argument
@json_option
def info(bundle: str, as_json: bool) -> None:
    """Show what a bundle holds and how good it is.

    Every file is checked against its hash first; a bundle that was changed is an error.
    """
    from triptych_apps.output import print_json

    outcome = describe(bundle)
    if as_json:
        print_json(outcome)
    else:
        _print(outcome)


def describe(bundle: str) -> InfoOutcome:
    """The manifest of a bundle, with its size. Raises `BundleError`."""
    from triptych.bundle import open_bundle, resolve_bundle
    from triptych_apps.outcomes import InfoOutcome

    opened = open_bundle(resolve_bundle(bundle))
    manifest = opened.manifest.model_dump(mode="json")
    fields = {name: manifest[name] for name in InfoOutcome.model_fields if name in manifest and name != "files"}
    return InfoOutcome(
        bundle=str(opened.path), size_mb=round(opened.size_mb, 2), files=len(manifest["files"]), **fields
    )


def _print(outcome: InfoOutcome) -> None:
    from triptych_apps.output import print_pairs
    from triptych_apps.render import print_ledger, print_metrics

    print_pairs(
        "",
        {
            "bundle": outcome.bundle,
            "vertical": f"{outcome.vertical} (version {outcome.vertical_version})",
            "created": outcome.created,
            "size": f"{outcome.size_mb:.1f} MB in {outcome.files} files",
            "built with": f"triptych {outcome.triptych_version}, "
            + ", ".join(f"{name} {version}" for name, version in outcome.versions.items()),
        },
    )
    print_pairs("Data", outcome.data)
    print_metrics(outcome.metrics)
    print_ledger(outcome.ledger)
    print_pairs("Licences", {entry["name"]: entry["licence"] for entry in outcome.licences})
