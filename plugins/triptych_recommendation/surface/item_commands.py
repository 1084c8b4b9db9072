"""`triptych recommendation items`: items that come, change and go while the bundle serves."""

from __future__ import annotations

from pathlib import Path

import click

from triptych_recommendation.surface.options import bundle_option, json_option, store_option


@click.group(short_help="Add and remove items.")
def items() -> None:
    """Add items, also in place of those with their ids, and remove them. Nothing is trained again."""


@items.command()
@click.argument("file", type=click.Path(path_type=Path))
@bundle_option
@store_option
@json_option
def add(file: Path, bundle: str, store: str | None, as_json: bool) -> None:
    """Add the items of FILE, or put them in place of those with their ids.

    FILE is a CSV, TSV, JSONL or Parquet table with the column id and any of title, description, image, audio, category,
    price, stock and tags; pictures and sounds are paths below its folder. All of it is added, or nothing.
    """
    from triptych.printing import print_json, say
    from triptych_recommendation.data.items import read_items
    from triptych_recommendation.surface.opening import open_shop

    found = read_items(file.expanduser())
    with open_shop(bundle, store) as (_, recommender):
        changed = recommender.add_items(found)
    if as_json:
        print_json({"added": changed.ids, "notes": changed.notes})
        return
    for note in changed.notes:
        say(f"note: {note}")
    click.echo(f"Added: {changed.count:,} items.")


@items.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@bundle_option
@store_option
@json_option
def remove(ids: tuple[str, ...], bundle: str, store: str | None, as_json: bool) -> None:
    """Remove items: they are never recommended again, until they are added again."""
    from triptych.printing import print_json, say
    from triptych_recommendation.surface.opening import open_shop

    with open_shop(bundle, store) as (_, recommender):
        changed = recommender.remove_items(list(dict.fromkeys(ids)))
    if as_json:
        print_json({"removed": changed.ids, "notes": changed.notes})
        return
    for note in changed.notes:
        say(f"note: {note}")
    click.echo(f"Removed: {', '.join(changed.ids)}.")
