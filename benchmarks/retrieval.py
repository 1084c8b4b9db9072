"""A million vectors in a collection: throughput beside raw FAISS, filters, memory, churn.

    python benchmarks/retrieval.py                      everything, each part in a process of its own
    python benchmarks/retrieval.py --parts ours filters
    python benchmarks/retrieval.py --count 100000       a smaller one

Half of the queries are for tuning (what the collection was asked before), half for measuring. Raw FAISS is tuned on
those that are measured, so that its recall is 0.95 and not more: the best that a hand can do. All cores are used.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from common import save
from retrieval_data import DIM, QUERIES, cache_folder, million
from retrieval_raw import RECALL, K, configurations, recall, side_by_side, speed, tuned

BATCH = 256
BLOCK = 50_000
HALF = QUERIES // 2
FILTERS = {"50 %": {"bucket": {"max": 49}}, "10 %": {"bucket": {"max": 9}}, "1 %": {"bucket": 0}}
CHURNED = 200_000  # vectors in the part about churn

Array = np.ndarray[Any, Any]
Rows = list[dict[str, Any]]


def vectors_of(count: int) -> tuple[Array, Array, Array]:
    """Vectors [count, DIM] (mapped from a file), queries to tune on and queries to measure with."""
    vectors, queries = million()
    return vectors[:count], np.ascontiguousarray(queries[:HALF]), np.ascontiguousarray(queries[HALF:])


def exact(vectors: Array, queries: Array, passing: Array | None = None) -> Array:
    """The rows of the largest inner products, int64 [queries, K], among bool [vectors] where given."""
    best = np.empty((len(queries), 0), dtype=np.float32)
    rows = np.empty((len(queries), 0), dtype=np.int64)
    for start in range(0, len(vectors), BLOCK):
        scores = queries @ vectors[start : start + BLOCK].T
        if passing is not None:
            scores[:, ~passing[start : start + BLOCK]] = -np.inf
        found = np.argpartition(-scores, K, axis=1)[:, :K]
        best = np.concatenate([best, np.take_along_axis(scores, found, 1)], 1)
        rows = np.concatenate([rows, found + start], 1)
        order = np.argsort(-best, axis=1)[:, :K]
        best, rows = np.take_along_axis(best, order, 1), np.take_along_axis(rows, order, 1)
    return rows


def home(count: int, kind: str) -> Path:
    """Where the collection of a kind is kept between the parts."""
    return cache_folder() / f"collection-{kind}-{count}"


def names(start: int, stop: int) -> list[str]:
    """Ids."""
    return [f"item-{row:07d}" for row in range(start, stop)]


def metadata(start: int, stop: int) -> Rows:
    """Three fields, as a shop might have them."""
    colours = ("red", "green", "blue")
    return [{"bucket": row * 7919 % 100, "price": row % 997, "colour": colours[row % 3]} for row in range(start, stop)]


def whole(results: Any) -> Any:
    """Ids, scores and a metadata field of every hit, in Python's hands."""
    return results.ids, results.scores, results.metadata("price")


def rows_in(collection: Any, queries: Array, where: Any = None) -> Array:
    """Row numbers that the collection finds, -1 where there are fewer than K."""
    found = collection.search(queries, K, where=where).ids
    return np.array([[int(name[5:]) if name else -1 for name in row] for row in found])


def part_raw(count: int) -> dict[str, Rows]:
    """FAISS alone: the wheel's exact search, and every configuration at the recall."""
    import faiss

    vectors, _, asked = vectors_of(count)
    truth = exact(vectors, asked)
    rows: Rows = []
    for name, index, seconds in configurations(vectors):
        found = tuned(index, asked, truth)
        if found is None:
            rows.append({"raw FAISS": name, "setting": f"never reaches {RECALL}", "build s": seconds})
            continue
        setting, search = found
        rows.append(
            {
                "raw FAISS": name,
                "setting": setting,
                "recall@10": recall(search(asked), truth),
                "batch 1, queries/s": speed(search, asked, 1),
                "batch 256": speed(search, asked, BATCH),
                "build s": seconds,
                "MB": len(faiss.serialize_index(index)) / 1e6,
            }
        )
        print(json.dumps(rows[-1]), file=sys.stderr)
        del index, search, found
    return {"raw FAISS, tuned by hand": rows}


def part_exact(count: int) -> dict[str, Rows]:
    """Exact search: the wheel's default beside ours, at a size where exact search is used."""
    import faiss

    from triptych.retrieval.engines.base import ArraySource, Plan
    from triptych.retrieval.engines.flat import FlatEngine

    vectors, _, asked = vectors_of(min(count, 100_000))
    engine = FlatEngine.build(ArraySource(np.ascontiguousarray(vectors)), Plan(DIM, kind="flat"))
    default = 128_000

    def wheel(queries: Array) -> Any:
        faiss.cvar.distance_compute_blas_threshold = default
        return engine.index.search(queries, K)

    rows: Rows = []
    for batch in (1, 4, 16, 64, BATCH):
        theirs, ours = speed(wheel, asked, batch), speed(lambda queries: engine.search(queries, K), asked, batch)
        rows.append({"batch": batch, "wheel's default, queries/s": theirs, "ours": ours, "times": ours / theirs})
    return {f"exact search among {len(vectors):,}": rows}


def part_ours(count: int, kind: str = "auto") -> dict[str, Rows]:
    """A collection: written, fitted, and searched with ids and metadata returned."""
    from triptych.retrieval.base import VectorField
    from triptych.retrieval.collection import Collection, CollectionSettings

    vectors, tuning, asked = vectors_of(count)
    shutil.rmtree(home(count, kind), ignore_errors=True)
    settings = CollectionSettings(kind=kind)  # type: ignore[arg-type]
    made = Collection.create(home(count, kind), [VectorField(dim=DIM)], settings=settings)
    for start in range(0, HALF, 8):
        made.search(tuning[start : start + 8], K)  # what users ask, which the search is fitted to
    started = time.perf_counter()
    with made.bulk():
        for start in range(0, count, BLOCK):
            stop = min(count, start + BLOCK)
            made.add(names(start, stop), np.ascontiguousarray(vectors[start:stop]), metadata(start, stop))
        written = time.perf_counter() - started
    fitted = time.perf_counter() - started - written
    engine = made._state.searches["vector"].rows.engine
    truth = exact(vectors, asked)
    row: dict[str, Any] = {
        "collection": f"{kind}: {engine.kind}",
        "setting": json.dumps({k: v for k, v in engine.parameters.items() if k != "trained_on"}),
        "recall@10": recall(rows_in(made, asked), truth),
        "recall@10, batch 1": recall(np.concatenate([rows_in(made, query[None]) for query in asked]), truth),
    }
    ways: dict[str, Callable[[Array], Any]] = {
        "ids, scores, metadata": lambda queries: whole(made.search(queries, K)),
        "hits as objects": lambda queries: list(made.search(queries, K)),
    }
    for way, search in ways.items():
        for batch in (1, BATCH):
            row[f"batch {batch}, {way}"] = speed(search, asked, batch)
    for way, search in ways.items():
        for batch in (1, BATCH):
            over = side_by_side(search, lambda queries: engine.search(queries, K), asked, batch)
            row[f"over the same FAISS index, batch {batch}, {way}, %"] = 100 * over
    row |= {"write s": written, "fit s": fitted}
    raw: Rows = []
    found = tuned(engine.index, asked, truth)
    if found is not None:  # measured here and now, for the machine is not as fast at every hour
        setting, search = found
        speeds = {f"batch {batch}, queries/s": speed(search, asked, batch) for batch in (1, BATCH)}
        raw = [{"setting by hand": setting, "recall@10": recall(search(asked), truth)} | speeds]
    made.close()
    return {"a collection": [row], "the collection's own FAISS index, raw and tuned by hand, right after": raw}


def part_memory(count: int, kind: str = "auto") -> dict[str, Rows]:
    """What a process grows by that opens the collection and answers."""
    from triptych.retrieval.collection import Collection

    _, _, asked = vectors_of(count)
    with Collection.open(home(min(count, 1000), "tiny"), read_only=True) as small:  # libraries are there now
        small.search(asked[:10], K)
    process = psutil.Process()
    before = process.memory_info()
    started = time.perf_counter()
    opened = Collection.open(home(count, kind), read_only="--reader" in sys.argv)
    seconds = time.perf_counter() - started
    for start in range(0, len(asked), 50):
        whole(opened.search(asked[start : start + 50], K))
    after = process.memory_info()
    own = (after.rss - after.shared - before.rss + before.shared) / 1e6
    row = {
        "opened": "beside the writer (mapped)" if opened.read_only else "to write",
        "MB": (after.rss - before.rss) / 1e6,
        "of which not shared": own,
        "of float32": (after.rss - before.rss) / (count * DIM * 4),
        "open s": seconds,
        "disk MB": opened.stats()["disk_bytes"] / 1e6,
    }
    opened.close()
    return {"memory": [row]}


def part_filters(count: int, kind: str = "auto") -> dict[str, Rows]:
    """Filters that let 50 %, 10 % and 1 % through: at once, and in regular use."""
    from triptych.retrieval.collection import Collection

    vectors, _, asked = vectors_of(count)
    buckets = np.arange(count) * 7919 % 100
    opened = Collection.open(home(count, kind))
    rows: Rows = []
    free = {batch: speed(lambda queries: whole(opened.search(queries, K)), asked, batch) for batch in (1, BATCH)}
    for share, where in FILTERS.items():
        limit = int(share.split()[0])
        truth = exact(vectors, asked, buckets < limit)
        started = time.perf_counter()
        opened.search(asked[:1], K, where=where)
        first = time.perf_counter() - started
        at_once = recall(rows_in(opened, asked, where), truth)
        started = time.perf_counter()
        for _ in range(3):
            opened.search(asked[:1], K, where=where)
        opened._state.settle()
        settled = time.perf_counter() - started
        found = rows_in(opened, asked, where)
        row: dict[str, Any] = {
            "passing": share,
            "recall@10": recall(found, truth),
            "k found": float(np.mean((found >= 0).all(axis=1))),
            "only what passes": bool((buckets[found[found >= 0]] < limit).all()),
        }
        for batch in (1, BATCH):
            rate = speed(lambda queries, w=where: whole(opened.search(queries, K, where=w)), asked, batch)  # type: ignore[misc]
            row |= {f"batch {batch}, queries/s": rate, f"batch {batch}, of unfiltered": rate / free[batch]}
        rows.append(row | {"first search ms": 1000 * first, "recall@10 at once": at_once, "own index s": settled})
    opened.close()
    return {"filters": rows}


def part_churn(count: int) -> dict[str, Rows]:
    """Half of the vectors replaced, in batches, beside a collection built afresh from what is left."""
    from triptych.retrieval.base import VectorField
    from triptych.retrieval.collection import Collection, CollectionSettings

    rows = min(CHURNED, count // 2)
    vectors, _, asked = vectors_of(2 * rows)
    old, new = np.ascontiguousarray(vectors[:rows]), np.ascontiguousarray(vectors[rows:])
    final = np.concatenate([new[: rows // 2], old[rows // 2 :]])
    truth = exact(final, asked)
    found: Rows = []
    for kind in ("ivf-rabitq", "ivf-sq8"):
        places = [cache_folder() / f"churn-{name}" for name in ("old", "new")]
        for place in places:
            shutil.rmtree(place, ignore_errors=True)
        made = [Collection.create(p, [VectorField(dim=DIM)], settings=CollectionSettings(kind=kind)) for p in places]  # type: ignore[arg-type]
        ids = names(0, rows)
        made[0].add(ids, old)
        made[0].compact()
        started = time.perf_counter()
        for start in range(0, rows // 2, 1000):
            stop = min(rows // 2, start + 1000)
            made[0].add(ids[start:stop], new[start:stop])
        written = time.perf_counter() - started
        row: dict[str, Any] = {"kind": kind, "vectors": rows, "replacements/s": rows / 2 / written}
        made[0].upkeep.settle()
        row["recall@10 after churn"] = recall(rows_in(made[0], asked), truth)
        made[0].compact()
        row["compacted"] = recall(rows_in(made[0], asked), truth)
        made[1].add(ids, final)
        made[1].compact()
        row["built afresh"] = recall(rows_in(made[1], asked), truth)
        found.append(row)
        for collection, place in zip(made, places, strict=True):
            collection.close()
            shutil.rmtree(place)
    return {"half of the vectors replaced": found}


PARTS: dict[str, list[str]] = {
    "raw": ["raw"],
    "exact": ["exact"],
    "ours": ["ours"],
    "memory": ["memory"],
    "filters": ["filters"],
    "churn": ["churn"],
}


def tiny() -> None:
    """A small collection, whose opening loads all libraries before memory is measured."""
    from triptych.retrieval.base import VectorField
    from triptych.retrieval.collection import Collection

    place = home(1000, "tiny")
    if not place.exists():
        with Collection.create(place, [VectorField(dim=DIM)]) as made:
            made.add(names(0, 100), np.eye(100, DIM), metadata(0, 100))


def run(arguments: Sequence[str]) -> dict[str, Rows]:
    """A part in a process of its own."""
    print(f"# {' '.join(arguments)}", file=sys.stderr)
    done = subprocess.run(
        [sys.executable, __file__, "--part", *arguments], stdout=subprocess.PIPE, text=True, check=True
    )
    found: dict[str, Rows] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--kind", default="auto", help=argparse.SUPPRESS)
    parser.add_argument("--reader", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        work = globals()[f"part_{options.part}"]
        kinds = [options.kind] if options.part in ("ours", "memory", "filters") else []
        print(json.dumps(work(options.count, *kinds)))
        return
    million()
    notes = [
        f"{options.count:,} unit vectors of {DIM} numbers, each a real text's vector (MiniLM) moved by the difference "
        f"of two others that are near each other: synthetic, with the density of real text. Queries are vectors of "
        f"real texts: {HALF} to tune on, {HALF} others to measure. Neighbours are compared with exact search.",
        "Throughput is queries per second, the best of three rounds of two seconds. Raw FAISS returns row numbers and "
        "scores; a collection ids, scores and a metadata field, or whole hits. The overhead is beside the very same "
        "index with the very same parameters, in rounds that take turns.",
        "Memory is what a process grew by that had opened another collection before; `exact search` and `churn` are at "
        "the sizes that their tables name.",
    ]
    tables: dict[str, Rows] = {}
    for part in options.parts:
        if part == "memory":
            tiny()
        for flags in ([], ["--reader"]) if part == "memory" else ([],):
            for heading, rows in run([*PARTS[part], "--count", str(options.count), *flags]).items():
                tables.setdefault(heading, []).extend(rows)
        save("retrieval", f"{options.count:,} vectors in a collection", tables, seed=0, notes=notes)


if __name__ == "__main__":
    main()
