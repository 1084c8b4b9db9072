"""`triptych recommendation events`: what people do while the bundle serves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from triptych_recommendation.surface.options import bundle_option, json_option, store_option

if TYPE_CHECKING:
    from triptych_recommendation.catalogue.schema import EventRow
    from triptych_recommendation.data.events import Events


@click.group(short_help="Add what people do.")
def events() -> None:
    """Add events; they count from the next list on. Nothing is trained again."""


@events.command()
@click.argument("file", type=click.Path(path_type=Path))
@bundle_option
@store_option
@json_option
def add(file: Path, bundle: str, store: str | None, as_json: bool) -> None:
    """Add the events of FILE; one that is there already counts once.

    FILE is a CSV, TSV, JSONL or Parquet table with user, item and time, and maybe type, weight and value (of a
    rating), in columns that are called as in the data of the bundle.
    """
    from triptych.errors import DataError
    from triptych.printing import print_json, say
    from triptych_recommendation.data.events import read_events
    from triptych_recommendation.surface.opening import open_shop

    with open_shop(bundle, store) as (shop, recommender):
        found = read_events(file.expanduser(), shop.settings.data)
        if not found.timed:
            raise DataError(
                f"no column is called {shop.settings.data.columns.time!r}, and an event that is added needs a time",
                file=file,
            )
        changed = recommender.add_events(event_rows(found))
    notes = [*found.notes(), *changed.notes]
    if as_json:
        print_json({"added": changed.count, "notes": notes, "skipped": found.skipped})
        return
    for note in notes:
        say(f"note: {note}")
    click.echo(f"Added: {changed.count:,} of {len(found):,} events, of {len(found.users):,} users.")


def event_rows(events: Events) -> list[EventRow]:
    """The events of a file as the store keeps them."""
    from triptych_recommendation.catalogue.schema import EventRow

    return [
        EventRow(events.users[user], events.items[item], events.kinds[kind], time, weight)
        for user, item, kind, time, weight in zip(
            events.user.tolist(),
            events.item.tolist(),
            events.kind.tolist(),
            events.time.tolist(),
            events.weight.tolist(),
            strict=True,
        )
    ]
