"""`triptych index build`: a new index from a table."""

from __future__ import annotations

import shlex
import time
from typing import TYPE_CHECKING

import click

from triptych.errors import ConfigError, DataError
from triptych_apps.index.options import data_options, encoder_option, item_columns, location_argument

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from triptych.data.items import NewItems
    from triptych.embedding import Embedder
    from triptych.retrieval.base import Index, Metric, VectorField
    from triptych_apps.index.filling import Filled
    from triptych_apps.progress import Moment

VECTOR = "vector"  # the field of vectors that were made elsewhere
DEFAULT_ENCODER = "sentence:all-MiniLM-L6-v2"
KINDS = ("auto", "flat", "ivf-flat", "ivf-sq8", "ivf-pq", "ivf-rabitq", "hnsw")
WORDS = ("unicode", "porter", "trigram")


@click.command(short_help="Make an index from a table of items.")
@location_argument
@encoder_option(default=f" Without it, {DEFAULT_ENCODER} where there are words and no vectors.")
@click.option("--metric", type=click.Choice(["cosine", "dot", "l2"]), default="cosine", show_default=True)
@click.option("--kind", type=click.Choice(KINDS), help="How vectors are searched; by default what measures best.")
@click.option(
    "--recall",
    type=click.FloatRange(0, 1, min_open=True),
    help="The share of the ten nearest that a search has to find.  [default: 0.95]",
)
@click.option("--words", type=click.Choice(WORDS), help="How text is cut into words.  [default: unicode]")
@data_options
def build(
    location: str,
    data: str,
    encoders: tuple[str, ...],
    metric: Metric,
    kind: str | None,
    recall: float | None,
    words: str | None,
    device: str | None,
    as_json: bool,
    **columns: str | None,
) -> None:
    """Make an index from a table of items.

    Words, pictures and sounds are encoded; every other column is kept as metadata, to filter by and to show. Without
    a column of ids, the id of a row is a hash of what it holds. Rows that cannot be used are counted and listed.
    """
    started = time.perf_counter()
    from triptych.data.items import read_items
    from triptych_apps.index import filling, places
    from triptych_apps.progress import Event, progress

    places.refuse_existing(location)
    with progress() as report:
        report(Event("data", 0, 1, "reading"))
        new = read_items(data, item_columns(columns, {"vector": columns["vector_column"]}))
        report(Event("data", 1, 1, f"{len(new.items):,} items"))
        embedder = _embedder(new, encoders, metric, device, report)
        fields = _fields(new, embedder, metric)
        index = places.create(location, fields, kind=kind, recall=recall, words=words)
        try:
            click.get_current_context().obj.when_stopped = (
                "stopped; what was added is kept. To go on, with the same columns: "
                f"triptych index add {shlex.quote(places.shown(location))} --data {shlex.quote(data)} --new-only"
            )
            filled = _filled(index, new, embedder, report, location)
            items = len(index)
            report(Event("close", 0, 1, "writing to disk"))
        finally:
            index.close()
    filling.print_filled(location, items, filled, fields, time.perf_counter() - started, as_json=as_json)


def _filled(
    index: Index, new: NewItems, embedder: Embedder | None, report: Callable[[Moment], None], location: str
) -> Filled:
    from triptych_apps.index.filling import fill
    from triptych_apps.index.places import shown

    try:
        return fill(index, new, embedder, report)
    except DataError as error:
        if len(index):
            raise
        advice = f"{shown(location)} is an empty index now; mend the data and give it to `triptych index add`"
        raise DataError(f"{error}. {advice}") from error


def _embedder(
    new: NewItems, sources: Sequence[str], metric: Metric, device: str | None, report: Callable[[Moment], None]
) -> Embedder | None:
    """What encodes the items; None where all vectors were made elsewhere."""
    if not sources and VECTOR in new.parts:
        return None
    if not sources and "text" not in new.parts:
        found = ", ".join(new.parts)
        raise ConfigError(
            f"name what encodes the items ({found}), as --encoder timm:mobilenetv2_100 for pictures or --encoder yamnet"
        )
    from triptych.embedding import open_embedder
    from triptych_apps.progress import Event

    sources = sources or [DEFAULT_ENCODER]
    report(Event("encoder", 0, 1, ", ".join(sources)))
    return open_embedder(sources, metric=metric, device=device or "auto")


def _fields(new: NewItems, embedder: Embedder | None, metric: Metric) -> list[VectorField]:
    """The fields of the encoders, and the one of vectors that were made elsewhere."""
    from triptych.retrieval.base import VectorField

    fields = [] if embedder is None else list(embedder.fields)
    given = [item.vectors[VECTOR] for item in new.items if VECTOR in item.vectors]
    if given:
        fields.insert(0, VectorField(name=VECTOR, dim=len(given[0]), metric=metric))
    return fields
