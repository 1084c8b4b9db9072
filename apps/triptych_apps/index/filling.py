"""Items into an index, batch by batch: what was added when it is stopped, stays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from triptych.data.items import NewItem, NewItems, none_usable
from triptych.data.sources import SkippedRow
from triptych.errors import DataError
from triptych_apps.progress import Event, Moment

if TYPE_CHECKING:
    from triptych.embedding import Embedder
    from triptych.retrieval.base import Index, VectorField

BATCH = 128  # items; each batch is acknowledged by itself


@dataclass(frozen=True, slots=True)
class Filled:
    """How many items were added, how many were passed over as known, and the rows that cannot be used."""

    added: int
    known: int
    skipped: list[SkippedRow]


def fill(
    index: Index,
    new: NewItems,
    embedder: Embedder | None,
    report: Callable[[Moment], None],
    *,
    new_only: bool = False,
) -> Filled:
    """Encode and add all items. Raises `DataError` where not one of them can be used.

    With `new_only` items whose id is there are passed over. An item that cannot be encoded or is refused is listed
    with its reason, and the rest goes on.
    """
    added = known = 0
    skipped = list(new.skipped)
    for start in range(0, len(new.items), BATCH):
        items = new.items[start : start + BATCH]
        if new_only:
            items = [item for item in items if item.id not in index]
            known += min(BATCH, len(new.items) - start) - len(items)
        if items:
            bad = _add(index, items, embedder, new.source)
            skipped += bad
            added += len(items) - len(bad)
        done = min(start + BATCH, len(new.items))
        report(Event("index", done, len(new.items), f"cannot be used: {len(skipped):,}" if skipped else ""))
    fit = getattr(index, "fit", None)  # what a database does in its own time
    if added and fit is not None:
        report(Event("fit", 0, 1, "fitting the search"))
        fit()
        report(Event("fit", 1, 1, "done"))
    skipped.sort(key=lambda row: row.row)
    if not added and not known:
        raise none_usable(new.source, skipped)
    return Filled(added, known, skipped)


def _add(index: Index, items: Sequence[NewItem], embedder: Embedder | None, source: str) -> list[SkippedRow]:
    """Add a batch, or, where that is refused, its items one by one; returns those that cannot be used."""
    try:
        _add_all(index, items, embedder)
    except DataError as error:
        if len(items) > 1:
            return [row for item in items for row in _add(index, [item], embedder, source)]
        return [SkippedRow(source, items[0].row, str(error))]
    return []


def _add_all(index: Index, items: Sequence[NewItem], embedder: Embedder | None) -> None:
    ids, contents = [item.id for item in items], [item.content for item in items]
    vectors: dict[str, Any] = {} if embedder is None else dict(embedder.encode(contents, ids=ids))
    for name in {name for item in items for name in item.vectors}:
        vectors[name] = [item.vectors.get(name) for item in items]
    encoder = {} if embedder is None else embedder.fingerprints
    index.add(ids, vectors, [item.metadata for item in items], contents=contents, encoder=encoder)


def print_filled(
    location: str, items: int, filled: Filled, fields: Sequence[VectorField], seconds: float, *, as_json: bool
) -> None:
    """What `build` and `add` leave; `items` are in the index now."""
    from triptych_apps.index.places import described, field_lines, shown
    from triptych_apps.outcomes import IndexAddOutcome, SkippedRowOutcome
    from triptych_apps.output import print_json, print_pairs
    from triptych_apps.render import print_skipped

    outcome = IndexAddOutcome(
        location=shown(location),
        items=items,
        added=filled.added,
        known=filled.known,
        fields=described(fields),
        skipped=[SkippedRowOutcome(file=s.file, row=s.row, reason=s.reason) for s in filled.skipped],
        seconds=round(seconds, 2),
    )
    if as_json:
        print_json(outcome)
        return
    pairs = {
        "index": outcome.location,
        "items": f"{outcome.items:,}",
        "added": f"{outcome.added:,}",
        "known already": f"{outcome.known:,}" if outcome.known else None,
        "rows not used": f"{len(outcome.skipped):,}" if outcome.skipped else None,
        "vectors": field_lines(outcome.fields),
        "seconds": outcome.seconds,
    }
    print_pairs("", pairs)
    print_skipped(outcome.skipped)
