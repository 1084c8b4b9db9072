"""Erasing items, and proving that nothing of them is left in any file."""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from triptych.retrieval import log as truth
from triptych.retrieval.base import Item
from triptych.retrieval.engines.base import Floats
from triptych.retrieval.engines.graph import GraphEngine
from triptych.retrieval.engines.lists import ListsEngine

if TYPE_CHECKING:
    from triptych.retrieval.collection import Collection

_SHORTEST = 8  # bytes; what is shorter stands in files by chance


class Trace(NamedTuple):
    """Bytes that would betray an item, and what they are; `text` is what they say, None for vectors."""

    what: str
    data: bytes
    text: str | None


def erase(collection: Collection, ids: list[str]) -> dict[str, Any]:
    """Delete, compact, and look into every file; see `Collection.erase`."""
    items = [item for item in collection.get(ids) if item is not None]
    traces = [trace for item in items for trace in _traces(item, collection)]
    collection.delete(item.id for item in items)
    collection.compact()
    traces += [trace for item in items for trace in _codes(item, collection)]  # as the new engines would round them
    left = [trace for trace in traces if not _explained(collection, trace)]
    found, files, size = [], 0, 0
    for path in sorted(p for p in collection.path.rglob("*") if p.is_file()):
        files += 1
        size += path.stat().st_size
        found += [f"{path.relative_to(collection.path)}: {trace.what}" for trace in _inside(path, left)]
    found += [f"{item.id!r} is still found by its id" for item in items if item.id in collection]
    return {"erased": len(items), "files": files, "bytes": size, "traces": found}


def _traces(item: Item, collection: Collection) -> Iterator[Trace]:
    yield Trace(f"the id {item.id!r}", item.id.encode("utf-8"), item.id)
    for source in (item.metadata, item.content):
        for text in _strings(source):
            yield Trace(f"a text of {item.id!r}", text.encode("utf-8", errors="replace"), text)
            escaped = json.dumps(text)[1:-1]
            if escaped != text:
                yield Trace(f"a text of {item.id!r}", escaped.encode("ascii"), text)
    for name, vector in item.vectors.items():
        yield Trace(f"the vector {name!r} of {item.id!r}", vector.astype("<f4").tobytes(), None)
    yield from _codes(item, collection)


def _codes(item: Item, collection: Collection) -> Iterator[Trace]:
    """The vectors in the eight bits of the engines in use."""
    for name, vector in item.vectors.items():
        search = collection._state.searches.get(name)
        engine = search.rows.engine if search is not None else None
        if isinstance(engine, ListsEngine | GraphEngine):
            store = engine.store if engine.kind != "ivf-sq8" else None
            if store is not None:
                yield Trace(f"the rounded vector {name!r} of {item.id!r}", _encoded(store, vector), None)


def _encoded(store: Any, vector: Floats) -> bytes:
    code: bytes = np.asarray(store.sa_encode(vector[None])).tobytes()
    return code


def _explained(collection: Collection, trace: Trace) -> bool:
    """Whether an item that is still there has the very same, or the bytes are too few to prove anything."""
    if len(trace.data) < _SHORTEST:
        return True
    with collection._log.frozen() as connection:
        if trace.text is not None:
            question = "SELECT 1 FROM items WHERE instr(id, ?1) OR instr(metadata, ?1) OR instr(content, ?1) LIMIT 1"
            return connection.execute(question, (trace.text,)).fetchone() is not None
        tables = [row.number for row in truth.field_rows(connection)]
        questions = (f"SELECT 1 FROM vectors_{number} WHERE vector = ? LIMIT 1" for number in tables)
        return any(connection.execute(question, (trace.data,)).fetchone() for question in questions)


def _inside(path: Path, traces: list[Trace]) -> list[Trace]:
    if not path.stat().st_size:
        return []
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return [trace for trace in traces if content.find(trace.data) >= 0]


def _strings(value: Any) -> Iterator[str]:
    """Every string in a JSON value, keys left out."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _strings(inner)
