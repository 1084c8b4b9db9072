"""`triptych index compact`: no bytes of deleted items, and a search that fits what is there."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from triptych_apps.index.options import location_argument
from triptych_apps.options import json_option

if TYPE_CHECKING:
    from triptych.retrieval.base import Index


@click.command(short_help="Make the space of deleted items free.")
@location_argument
@json_option
def compact(location: str, as_json: bool) -> None:
    """Make the space of deleted items free, leave no trace of them, and fit the search to what is there.

    A writer does this by itself when enough has been deleted; the command does it now.
    """
    started = time.perf_counter()
    from triptych_apps.index.places import opened, shown
    from triptych_apps.outcomes import IndexCompactOutcome
    from triptych_apps.output import print_json, print_text

    with opened(location) as index:
        before = _size(index)
        index.compact()
        after = _size(index)
        outcome = IndexCompactOutcome(
            location=shown(location),
            items=len(index),
            bytes_before=before,
            bytes_after=after,
            seconds=round(time.perf_counter() - started, 2),
        )
    if as_json:
        print_json(outcome)
        return
    sizes = "" if before is None or after is None else f"{before / 1e6:,.2f} MB -> {after / 1e6:,.2f} MB, "
    print_text(f"{outcome.location}: {sizes}items: {outcome.items:,}")


def _size(index: Index) -> int | None:
    """Bytes on disk, by the name that the backend has for them."""
    stats = index.stats()
    found: int | None = stats.get("disk_bytes")
    return found
