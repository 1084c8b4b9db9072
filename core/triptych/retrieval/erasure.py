"""Erasing items, and proving that nothing of them is left in any file."""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import faiss
import numpy as np
from numpy.typing import NDArray

from triptych.retrieval import log as truth
from triptych.retrieval.base import Item
from triptych.retrieval.engines.base import BLOCK
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
    items = [item for item in collection.get(list(dict.fromkeys(ids))) if item is not None]
    traces = [trace for item in items for trace in _traces(item, collection)]
    traces += [_trace_of_id(name) for name in ids if isinstance(name, str)]  # of those that were deleted before, too
    collection.delete(item.id for item in items)
    collection.compact()
    traces += [trace for item in items for trace in _codes(item, collection)]  # as the new engines would round them
    traces = [trace for trace in dict.fromkeys(traces) if len(trace.data) >= _SHORTEST]
    places, files, size = [], 0, 0
    for path in sorted(p for p in collection.path.rglob("*") if p.is_file()):
        try:
            size += path.stat().st_size
            places += [(path.relative_to(collection.path), trace) for trace in _inside(path, traces)]
        except FileNotFoundError:
            continue  # a snapshot that another one has replaced meanwhile
        files += 1
    explained = {trace for trace in dict.fromkeys(trace for _, trace in places) if _explained(collection, trace)}
    found = [f"{path}: {trace.what}" for path, trace in places if trace not in explained]
    found += [f"{item.id!r} is still found by its id" for item in items if item.id in collection]
    return {"erased": len(items), "files": files, "bytes": size, "traces": found}


def _trace_of_id(name: str) -> Trace:
    return Trace(f"the id {name!r}", _clean(name).encode("utf-8"), name)


def _traces(item: Item, collection: Collection) -> Iterator[Trace]:
    yield _trace_of_id(item.id)
    for source in (item.metadata, item.content):
        for text in _strings(source):
            # as it is, as the log escapes it, and as a snapshot does
            for form in dict.fromkeys((_clean(text), _logged(text), json.dumps(text)[1:-1])):
                yield Trace(f"a text of {item.id!r}", form.encode("utf-8"), text)
    for name, vector in item.vectors.items():
        yield Trace(f"the vector {name!r} of {item.id!r}", vector.astype("<f4").tobytes(), None)
    yield from _codes(item, collection)


def _codes(item: Item, collection: Collection) -> Iterator[Trace]:
    """The vectors in the eight bits of the engines in use."""
    for name, rounding in _roundings(collection).items():
        if name in item.vectors:
            code = np.asarray(rounding.sa_encode(item.vectors[name][None]))[0]
            code = code[len(code) - rounding.code_size :]  # behind the number of the list, where there are lists
            yield Trace(f"the rounded vector {name!r} of {item.id!r}", code.tobytes(), None)


def _roundings(collection: Collection) -> dict[str, Any]:
    """By field, FAISS' index with the vectors in eight bits, where there is one."""
    found = {}
    for name, search in collection._state.searches.items():
        engine = search.rows.engine
        if isinstance(engine, GraphEngine):
            found[name] = engine.store
        elif isinstance(engine, ListsEngine) and engine.kind != "ivf-flat":
            found[name] = engine.ivf if engine.kind == "ivf-sq8" else engine.store
    return found


def _explained(collection: Collection, trace: Trace) -> bool:
    """Whether an item that is still there has the very same."""
    with collection._log.frozen() as connection:
        if trace.text is not None:
            question = "SELECT 1 FROM items WHERE instr(id, ?1) OR instr(metadata, ?2) OR instr(content, ?2) LIMIT 1"
            texts = (_clean(trace.text), _logged(trace.text))
            return connection.execute(question, texts).fetchone() is not None
        tables = [row.number for row in truth.field_rows(connection)]
        questions = (f"SELECT 1 FROM vectors_{number} WHERE vector = ? LIMIT 1" for number in tables)
        if any(connection.execute(question, (trace.data,)).fetchone() for question in questions):
            return True
    code = np.frombuffer(trace.data, dtype=np.uint8)
    with collection._state.lock.reading():
        return any((some == code).all(axis=1).any() for some in _held(collection, len(code)))


def _held(collection: Collection, size: int) -> Iterator[NDArray[np.uint8]]:
    """The codes of so many bytes that are in memory, which have been those of living items since the compaction."""
    for rounding in _roundings(collection).values():
        if rounding.code_size != size:
            continue
        if isinstance(rounding, faiss.IndexIVF):
            lists = rounding.invlists
            parts = [(lists.get_codes(number), lists.list_size(number)) for number in range(rounding.nlist)]
        else:
            parts = [(rounding.codes.data(), rounding.ntotal)]
        for start, rows in parts:
            if rows:
                codes: NDArray[np.uint8] = faiss.rev_swig_ptr(start, rows * size).reshape(rows, size)
                yield from (codes[first : first + BLOCK] for first in range(0, rows, BLOCK))


def _clean(text: str) -> str:
    """Without halves of surrogate pairs, which no file holds."""
    return text.encode("utf-8", errors="replace").decode("utf-8")


def _logged(text: str) -> str:
    """As it stands within the log's JSON."""
    return truth.dumps(text)[1:-1]


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
