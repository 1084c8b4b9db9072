"""`triptych index search`: by words, by vectors, or by both."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from triptych.errors import DataError
from triptych_apps.index.options import location_argument
from triptych_apps.options import device_option, json_option

if TYPE_CHECKING:
    from triptych.retrieval.base import Hit, Index
    from triptych_apps.outcomes import IndexSearchOutcome

_SHOWN = 100  # characters of a text


@click.command(short_help="Find items by words, by vectors, or by both.")
@location_argument
@click.argument("text", required=False)
@click.option("--image", metavar="FILE", help="A picture to search by.")
@click.option("--audio", metavar="FILE", help="A sound to search by.")
@click.option("--vector", metavar="JSON", help="A vector that was made elsewhere, as [0.1, -0.2, ...].")
@click.option(
    "--by",
    type=click.Choice(["words", "vectors", "hybrid"]),
    help="By default hybrid where there is a TEXT and vectors to compare it with.",
)
@click.option("-k", "k", type=click.IntRange(min=1), default=5, show_default=True, help="How many items.")
@click.option("--where", metavar="JSON", help='Only items whose metadata fit, as {"price": {"max": 20}}.')
@click.option("--field", metavar="FIELD", help="Compare vectors of this field alone, and no words.")
@device_option
@json_option
@click.pass_context
def search(
    ctx: click.Context,
    /,
    location: str,
    text: str | None,
    image: str | None,
    audio: str | None,
    vector: str | None,
    by: str | None,
    k: int,
    where: str | None,
    field: str | None,
    device: str | None,
    as_json: bool,
) -> None:
    """Find items by words, by vectors, or by both.

    Words are ranked by BM25; TEXT, picture and sound are encoded by what the index records. Several rankings are
    joined by rank, for scores of different kinds cannot be compared. docs/retrieval.md has the language of --where. The
    index may be in use by others meanwhile.
    """
    from triptych_apps.index.places import opened
    from triptych_apps.output import print_json

    content = {name: value for name, value in (("text", text), ("image", image), ("audio", audio)) if value}
    if not content and vector is None:
        raise click.UsageError("say what to search for: TEXT, --image, --audio or --vector", ctx)
    if by in ("words", "hybrid") and "text" not in content:
        raise click.UsageError(f"--by {by} needs a TEXT", ctx)
    condition = _parse(where, dict, "--where", 'an object, as {"colour": "red"}')
    numbers = _parse(vector, list, "--vector", "a list of numbers")
    with opened(location, read_only=True) as index:
        vectors = _vectors(index, content, numbers, field, device) if by != "words" else {}
        by = by or ("vectors" if "text" not in content or field is not None else "hybrid" if vectors else "words")
        if by != "words" and not vectors:
            raise DataError(f"no field of the index can be searched by {', '.join(content)}: {_fields_of(index)}")
        hits = _hits(index, by, content.get("text"), vectors, k, condition)
        outcome = _outcome(location, by, index, hits)
    if as_json:
        print_json(outcome)
    else:
        _print(outcome)


def _parse(text: str | None, kind: type, option: str, wanted: str) -> Any:
    if text is None:
        return None
    try:
        value = json.loads(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is not JSON: {error}", param_hint=option) from error
    if not isinstance(value, kind):
        raise click.BadParameter(f"{text!r} is not {wanted}", param_hint=option)
    return value


def _vectors(
    index: Index, content: Mapping[str, str], numbers: list[Any] | None, name: str | None, device: str | None
) -> dict[str, tuple[Any, str]]:
    """For each field that is searched the query's vector, and the fingerprint of what made it."""
    from triptych.embedding import made_of, reopen
    from triptych.retrieval.checks import pick_field

    fields = list(index.fields.values()) if name is None else [pick_field(index.fields, name)]
    found: dict[str, tuple[Any, str]] = {}
    if numbers is not None:
        elsewhere = [field for field in fields if not field.source]
        if len(elsewhere) != 1:
            raise DataError(
                f"--vector is for one field of vectors made elsewhere; name it with --field: {_fields_of(index)}"
            )
        found[elsewhere[0].name] = (numbers, elsewhere[0].encoder)
    made = [field for field in fields if set(made_of(field)) & set(content)]
    if made:
        embedder = reopen(made, device=device or "auto")
        fingerprints = embedder.fingerprints
        for field, (vector,) in embedder.encode([content], ids=["the query"]).items():
            if vector is not None:
                found[field] = (vector, fingerprints[field])
    return found


def _fields_of(index: Index) -> str:
    return ", ".join(f"{field.name} ({field.source or 'made elsewhere'})" for field in index.fields.values())


def _hits(
    index: Index, by: str, text: str | None, vectors: Mapping[str, tuple[Any, str]], k: int, where: Any
) -> Sequence[Hit]:
    if by == "words":
        return index.search_text([text or ""], k, where=where)[0]
    if by == "vectors" and len(vectors) == 1:
        ((name, (vector, encoder)),) = vectors.items()
        return index.search([vector], k, field=name, where=where, encoder=encoder or None)[0]
    from triptych.retrieval.hybrid import hybrid

    found: Sequence[Hit] = hybrid(
        index,
        k,
        text=text if by == "hybrid" else None,
        vectors={name: vector for name, (vector, _) in vectors.items()},
        where=where,
        encoder={name: encoder for name, (_, encoder) in vectors.items() if encoder},
    )
    return found


def _outcome(location: str, by: str, index: Index, hits: Sequence[Hit]) -> IndexSearchOutcome:
    from triptych_apps.index.places import shown
    from triptych_apps.outcomes import IndexHitOutcome, IndexSearchOutcome

    items = index.get([hit.id for hit in hits])
    return IndexSearchOutcome(
        location=shown(location),
        by=by,
        hits=[
            IndexHitOutcome(
                id=hit.id, score=hit.score, metadata=hit.metadata, content={} if item is None else item.content
            )
            for hit, item in zip(hits, items, strict=True)
        ],
    )


def _print(outcome: IndexSearchOutcome) -> None:
    from triptych_apps.output import format_value, print_table, print_text

    if not outcome.hits:
        print_text("Nothing was found.")
        return
    rows = [[f"{h.score:.3f}", h.id, _brief(h.content), format_value(h.metadata)] for h in outcome.hits]
    used = [i for i in range(4) if any(row[i] for row in rows)]
    columns = ("score", "id", "content", "metadata")
    print_table(f"Found by {outcome.by}", [columns[i] for i in used], [[row[i] for i in used] for row in rows])


def _brief(content: Mapping[str, Any]) -> str:
    """The beginning of the text, or the path of the picture or the sound."""
    text = " ".join(str(content.get("text") or content.get("image") or content.get("audio") or "").split())
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
