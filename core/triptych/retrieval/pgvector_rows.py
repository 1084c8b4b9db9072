"""The rows of an index in PostgreSQL: written, removed, counted and checked, on a connection within a transaction."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from triptych.retrieval import pgvector_sql as sql
from triptych.retrieval.base import VectorField
from triptych.retrieval.checks import Batch

if TYPE_CHECKING:
    from triptych.retrieval.pgvector_pool import Connection

_FOLD_SHARE = 0.01  # of the writes sum up the totals, so that few rows are to be summed
_UNIT = 1e-3  # how far from 1 the length of a normalised vector may be
_PAGE = 1000  # rows that a check holds at once


class Totals(NamedTuple):
    """How many items there are, how many have a text, and how many words all texts have."""

    items: int
    texts: int
    words: int


def totals(connection: Connection, tables: sql.Tables) -> Totals:
    """The totals as the writes kept them."""
    row = connection.execute(tables.fill(sql.TOTALS)).fetchone()
    return Totals(*row) if row else Totals(0, 0, 0)


def insert(connection: Connection, tables: sql.Tables, batch: Batch, ids: Sequence[str]) -> None:
    """Write a batch under its storable ids, in place of what has these ids."""
    gone = _remove(connection, tables, ids)
    selected = connection.execute(sql.NEW_KEYS, {"items": tables.items, "count": len(ids)}).fetchall()
    keys = [row[0] for row in selected]
    texts = [content.get("text") for content in batch.contents]
    words = [None if text is None else sql.words_of(text) for text in texts]
    lengths = [None if found is None else found.total() for found in words]
    with connection.cursor() as cursor:
        with cursor.copy(tables.fill(sql.COPY_ITEMS)) as copy:
            for n in sorted(range(len(ids)), key=ids.__getitem__):  # in one order everywhere, as in sql.REMOVE
                kept, content = json.dumps(batch.metadata[n]), json.dumps(batch.contents[n])
                copy.write_row((keys[n], ids[n], lengths[n], kept, content, sql.facets(batch.metadata[n])))
        for name, found in batch.vectors.items():
            with cursor.copy(sql.COPY_FIELD.format(field=tables.fields[name])) as copy:
                copy.set_types(["int8", "vector"])
                for n, vector in zip(found.rows.tolist(), found.vectors, strict=True):
                    copy.write_row((keys[n], vector))
        with cursor.copy(tables.fill(sql.COPY_WORDS)) as copy:
            for key, counts in zip(keys, words, strict=True):
                for word, count in (counts or {}).items():
                    copy.write_row((word, key, count))
    known = [length for length in lengths if length is not None]
    new = Totals(len(ids), len(known), sum(known))
    _change_totals(connection, tables, Totals(*(a - b for a, b in zip(new, gone, strict=True))))


def delete(connection: Connection, tables: sql.Tables, ids: Sequence[str]) -> int:
    """Remove the rows of storable ids and say how many there were."""
    gone = _remove(connection, tables, ids)
    if gone.items:
        _change_totals(connection, tables, Totals(*(-number for number in gone)))
    return gone.items


def problems(connection: Connection, tables: sql.Tables, fields: Mapping[str, VectorField]) -> list[str]:
    """What is wrong in the tables, a sentence each."""
    found = [
        f"{count} rows where {sentence}, the first of key {key}"
        for sentence, statement in _checks(tables, fields)
        for count, key in connection.execute(statement).fetchall()
        if count
    ]
    counted = connection.execute(tables.fill(sql.COUNTS)).fetchone()
    kept = totals(connection, tables)
    if counted is not None and Totals(*counted) != kept:
        found.append(f"the totals are {kept._asdict()}, and counted are {Totals(*counted)._asdict()}")
    graphs = connection.execute(sql.BROKEN_GRAPHS, [tables.all]).fetchall()
    found += [f"the database index {name} is not valid; REINDEX it" for (name,) in graphs]
    return found + list(_unlike(connection, tables))


def _remove(connection: Connection, tables: sql.Tables, ids: Sequence[str]) -> Totals:
    gone = connection.execute(tables.fill(sql.REMOVE), {"ids": list(ids)}).fetchall()
    if gone:
        keys = [key for key, _ in gone]
        for table in (*tables.fields.values(), tables.words):
            connection.execute(sql.REMOVE_KEYS.format(table=table), {"keys": keys})
    lengths = [words for _, words in gone if words is not None]
    return Totals(len(gone), len(lengths), sum(lengths))


def _change_totals(connection: Connection, tables: sql.Tables, change: Totals) -> None:
    connection.execute(tables.fill(sql.CHANGE_TOTALS), change._asdict())
    if random.random() < _FOLD_SHARE:
        connection.execute(tables.fill(sql.FOLD_TOTALS))


def _checks(tables: sql.Tables, fields: Mapping[str, VectorField]) -> Iterator[tuple[str, str]]:
    for name, field in fields.items():
        table = tables.fields[name]
        yield f"a vector of {name!r} has no item", tables.fill(sql.ORPHANS, table=table)
        yield f"a vector of {name!r} has not {field.dim} numbers", sql.OTHER_DIM.format(table=table, dim=field.dim)
        if field.metric == "cosine":
            yield f"a vector of {name!r} is not normalised", sql.OTHER_NORM.format(table=table, unit=_UNIT)
    yield "a word has no item", tables.fill(sql.ORPHANS, table=tables.words)
    yield "the words of a text are not as many as it has", tables.fill(sql.OTHER_WORDS)
    vectors = " ".join(
        f"AND NOT EXISTS (SELECT FROM {table} f WHERE f.key = i.key)" for table in tables.fields.values()
    )
    yield "an item has neither a vector nor a text", tables.fill(sql.NOTHING, vectors=vectors)


def _unlike(connection: Connection, tables: sql.Tables) -> Iterator[str]:
    """Where what is searched is not what was given."""
    with connection.cursor(name="verify") as cursor:
        cursor.itersize = _PAGE
        cursor.execute(tables.fill("SELECT id, metadata, facets::text, content, words FROM {items} ORDER BY key"))
        for key, metadata, facets, content, words in cursor:
            if _numbers(sql.facets(metadata)) != _numbers(facets):
                yield f"item {sql.restored(key)!r} is filtered by other metadata than it has"
            text: Any = content.get("text")
            if (None if text is None else Counter(sql.words_of(text)).total()) != words:
                yield f"item {sql.restored(key)!r} is searched by other words than its text has"


def _numbers(text: str) -> Any:
    """JSON with its numbers as they are written: 1e300 comes back from the database with all its noughts."""
    return json.loads(text, parse_int=Decimal, parse_float=Decimal)
