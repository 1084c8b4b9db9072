"""`triptych index add`: more items, or other ones under the same ids."""

from __future__ import annotations

import shlex
import time
from typing import TYPE_CHECKING

import click

from triptych.errors import DataError
from triptych_apps.index.options import data_options, item_columns, location_argument

if TYPE_CHECKING:
    from collections.abc import Callable

    from triptych.data.items import NewItems
    from triptych.embedding import Embedder
    from triptych.retrieval.base import Index
    from triptych_apps.progress import Moment


@click.command(short_help="Add items, or replace those whose ids are there.")
@location_argument
@click.option("--new-only", is_flag=True, help="Pass over rows whose id is there already, instead of replacing items.")
@data_options
def add(location: str, data: str, new_only: bool, device: str | None, as_json: bool, **columns: str | None) -> None:
    """Add items, or replace those whose ids are there.

    The data has the columns that the index was built from. It is encoded by the encoders that the index records; where
    one of them is not the same any more, the command says so and changes nothing.
    """
    started = time.perf_counter()
    from triptych_apps.index import filling, places
    from triptych_apps.progress import Event, progress

    with places.opened(location) as index, progress() as report:
        report(Event("data", 0, 1, "reading"))
        new = _read(index, data, columns)
        report(Event("data", 1, 1, f"{len(new.items):,} items"))
        embedder = _embedder(index, new, device, report)
        click.get_current_context().obj.when_stopped = (
            "stopped; what was added is kept. To go on, with the same columns: "
            f"triptych index add {shlex.quote(places.shown(location))} --data {shlex.quote(data)} --new-only"
        )
        filled = filling.fill(index, new, embedder, report, new_only=new_only)
        items, fields = len(index), list(index.fields.values())
    filling.print_filled(location, items, filled, fields, time.perf_counter() - started, as_json=as_json)


def _read(index: Index, data: str, columns: dict[str, str | None]) -> NewItems:
    """The items; those of an index with vectors that were made elsewhere have to bring theirs."""
    from triptych.data.items import read_items

    elsewhere = [field.name for field in index.fields.values() if not field.source]
    vectors: dict[str, str | None] = dict.fromkeys(elsewhere)
    if columns["vector_column"] is not None:
        if len(elsewhere) != 1:
            reason = f"the fields with vectors made elsewhere are {', '.join(elsewhere) or 'none'}"
            raise DataError(f"--vector names the column of one field, and {reason}")
        vectors = {elsewhere[0]: columns["vector_column"]}
    new = read_items(data, item_columns(columns, vectors))
    missing = [name for name in elsewhere if name not in new.parts]
    if missing:
        raise DataError(
            f"the vectors of {', '.join(missing)} were made elsewhere, and no column holds them; name it with --vector",
            file=data,
        )
    return new


def _embedder(index: Index, new: NewItems, device: str | None, report: Callable[[Moment], None]) -> Embedder | None:
    """What encodes the items for the fields that record it; None where none does, or the data has nothing for them."""
    from triptych.embedding import made_of, reopen
    from triptych_apps.progress import Event

    fields = [field for field in index.fields.values() if set(made_of(field)) & set(new.parts)]
    if not fields:
        return None
    report(Event("encoder", 0, 1, ", ".join(dict.fromkeys(field.source for field in fields))))
    return reopen(fields, device=device or "auto")
