"""`triptych index migrate`: all items embedded anew, by another encoder or a newer version of the same one."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from triptych.errors import ConfigError
from triptych_apps.index.options import encoder_option, location_argument
from triptych_apps.options import device_option, json_option

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from triptych.retrieval.base import VectorField


@click.command(short_help="Embed all items anew with another encoder.")
@location_argument
@encoder_option(required=True)
@click.option("--metric", type=click.Choice(["cosine", "dot", "l2"]), help="By default as it is.")
@click.option("--drop", multiple=True, metavar="FIELD", help="A field that shall be gone afterwards; may be repeated.")
@device_option
@json_option
def migrate(
    location: str, encoders: tuple[str, ...], metric: Any, drop: tuple[str, ...], device: str | None, as_json: bool
) -> None:
    """Embed all items anew with another encoder.

    Name every encoder that the index shall have. The items are encoded from the texts and files that they were added
    with; searches go on meanwhile with the vectors of before, which are replaced in one step at the end. A migration
    that was stopped goes on where it was when the same command is given again.
    """
    started = time.perf_counter()
    from triptych.embedding import open_embedder
    from triptych_apps.index.places import described, field_lines, opened, shown
    from triptych_apps.outcomes import IndexMigrateOutcome
    from triptych_apps.output import print_json, print_pairs
    from triptych_apps.progress import Event, progress

    with opened(location) as index, progress() as report:
        run = getattr(index, "migrate", None)
        if run is None:
            raise ConfigError("an index in a database is not migrated; build another one under a new name beside it")
        report(Event("encoder", 0, 1, ", ".join(encoders)))
        before = list(index.fields.values())
        embedder = open_embedder(encoders, metric=metric or before[0].metric, device=device or "auto")
        _refuse_loss(index.fields, embedder.fields, drop)
        click.get_current_context().obj.when_stopped = (
            "stopped; the index is as it was. Give the same command again to continue"
        )
        run(
            embedder.fields,
            embedder.encode,
            progress=lambda done, total: report(Event("migrate", done, total, "")),
        )
        outcome = IndexMigrateOutcome(
            location=shown(location),
            items=len(index),
            before=described(before),
            fields=described(embedder.fields),
            seconds=round(time.perf_counter() - started, 2),
        )
    if as_json:
        print_json(outcome)
        return
    pairs = {
        "index": outcome.location,
        "items": f"{outcome.items:,}",
        "before": field_lines(outcome.before),
        "now": field_lines(outcome.fields),
        "seconds": outcome.seconds,
    }
    print_pairs("", pairs)


def _refuse_loss(before: Mapping[str, VectorField], after: Sequence[VectorField], drop: Sequence[str]) -> None:
    """Raise `ConfigError` for a field that would be gone without having been named, and for a name that is no field."""
    kept = {field.name for field in after}
    wrong = [name for name in drop if name not in before or name in kept]
    if wrong:
        raise ConfigError(f"--drop {wrong[0]}: that field is not there, or stays; the fields are {', '.join(before)}")
    for name, field in before.items():
        if name not in kept and name not in drop:
            way = f"name its encoder as well (--encoder {field.source})" if field.source else "it was made elsewhere"
            raise ConfigError(f"the field {name!r} would be gone: {way}, or say --drop {name}")
