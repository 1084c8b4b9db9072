"""`kill -9` at random moments under mixed writes: what a collection keeps, and what LanceDB keeps.

A child adds, updates and deletes 1 to 50 items at a time, takes snapshots and compacts, and reports each operation
before and after; it is killed 0 to 300 ms after it began, and another process reads back everything. The next child
goes on in the same folder. The fuzzer itself is `tests/core/retrieval/crash.py`; a test runs it with fewer kills.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from datetime import timedelta
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before NumPy is imported: its threads would not survive a fork

import numpy as np

from common import REPOSITORY, RESULTS, Meter, metered, save

CORE = REPOSITORY / "tests" / "core" / "retrieval" / "crash.py"
SHOWN = 5  # messages of a target in the notes


def core() -> ModuleType:
    """The fuzzer, which lies with the tests."""
    spec = spec_from_file_location("triptych_crash", CORE)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


crash = core()


class LanceTarget:
    """A LanceDB table. It starts threads when it is imported, so that each child imports it for itself."""

    def __init__(self) -> None:
        import lancedb
        import pyarrow

        self.lancedb, self.arrow = lancedb, pyarrow
        self.schema = pyarrow.schema(
            [
                ("id", pyarrow.int64()),
                ("operation", pyarrow.int64()),
                ("vector", pyarrow.list_(pyarrow.float32(), crash.DIM)),
            ]
        )
        self.table: Any = None

    def create(self, folder: Path) -> None:
        """An empty table."""
        self.lancedb.connect(folder).create_table("items", schema=self.schema)

    def open(self, folder: Path) -> None:
        """Whatever a kill left."""
        self.table = self.lancedb.connect(folder).open_table("items")

    def write(self, operation: Any, vectors: Any) -> None:
        """Do it; there is no snapshot to take."""
        if operation.kind == "compact":
            self.table.optimize(cleanup_older_than=timedelta(minutes=1))
        elif operation.kind == "delete":
            self.table.delete(f"id IN ({', '.join(map(str, operation.items))})")
        elif operation.kind in ("add", "update"):
            self._put(operation, vectors)

    def _put(self, operation: Any, vectors: Any) -> None:
        rows = self.arrow.table(
            {
                "id": list(operation.items),
                "operation": [operation.number] * len(operation.items),
                "vector": self.arrow.FixedSizeListArray.from_arrays(self.arrow.array(vectors.ravel()), crash.DIM),
            },
            schema=self.schema,
        )
        if operation.kind == "add":
            self.table.add(rows)
        else:
            self.table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all().execute(rows)

    def rows(self) -> dict[int, Any]:
        """Everything that is there. Raises `ValueError` where its own count differs."""
        found = self.table.to_arrow()
        if len(found) != self.table.count_rows():
            raise ValueError(f"{len(found)} rows were read, {self.table.count_rows()} are counted")
        vectors = np.array(found["vector"].to_pylist(), dtype=np.float32).reshape(-1, crash.DIM)
        ids = found["id"].to_pylist()
        if len(set(ids)) != len(ids):
            raise ValueError(f"{len(ids)} rows have {len(set(ids))} different ids")
        return {
            item: crash.Row(number, vector)
            for item, number, vector in zip(ids, found["operation"].to_pylist(), vectors, strict=True)
        }

    def search(self, queries: Any, k: int) -> list[list[int]]:
        """Exact: so few rows need no index."""
        return [
            self.table.search(query).limit(k).select(["id", "_distance"]).to_arrow()["id"].to_pylist()
            for query in queries
        ]

    def verify(self) -> list[str]:
        """It has nothing of the kind."""
        return []

    def close(self) -> None:
        """It has nothing of the kind either."""
        self.table = None


def row_of(target: str, tally: Any, meter: Meter) -> dict[str, Any]:
    """One line of the table."""
    return {
        "target": target,
        "kills": tally.kills,
        "acknowledged operations": tally.acknowledged,
        "items in them": tally.items,
        "lost items": tally.lost,
        "in flight": tally.in_flight,
        "of these there in whole": tally.kept,
        "torn": tally.torn,
        "damaged vectors": tally.damaged,
        "failed opens": tally.failed_opens,
        "verify problems": tally.problems if target.startswith("Triptych") else None,
        "not found by search": tally.unfound,
        "median reopen ms": statistics.median(tally.open_ms) if tally.open_ms else None,
        "s": meter.seconds,
    }


def kept_rows(target: str) -> tuple[list[dict[str, Any]], list[str]]:
    """Rows and notes of the other targets from the table saved before, so that each can be run for itself."""
    path = RESULTS / "crash.json"
    if not path.exists():
        return [], []
    saved = json.loads(path.read_text(encoding="utf-8"))
    rows = [row for row in saved["tables"]["Kills"] if row["target"] != target]
    named = tuple(f"{row['target']}:" for row in rows)
    return rows, [note for note in saved["notes"] if note.startswith(named)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--target", choices=["triptych", "lancedb"], default="triptych")
    parser.add_argument("--kind", default="auto", help="of the collection's index; auto passes between two of them")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where the index lies; by default a temporary folder")
    parser.add_argument("--no-save", action="store_true", help="print the row only")
    options = parser.parse_args()
    make: Any = LanceTarget
    if options.target == "triptych":
        name, make = f"Triptych, {options.kind}", partial(crash.CollectionTarget, options.kind)
        crash.prepare()
    else:
        try:
            name = f"LanceDB {version('lancedb')}"
        except PackageNotFoundError:
            print("skipped: lancedb is not installed")
            return
    with tempfile.TemporaryDirectory() as temporary, metered() as meter:
        tally = crash.run(make, options.folder or Path(temporary), kills=options.kills, seed=options.seed)
    row = row_of(name, tally, meter)
    messages = [f"{name}: {message}" for message in tally.messages[:SHOWN]]
    if options.no_save:
        print(row, *messages, sep="\n")
        return
    others, others_messages = kept_rows(name)
    rows = sorted([row, *others], key=lambda row: str(row["target"]), reverse=True)
    notes = [
        f"Operations: {crash.DIM} dimensions, 1 to {crash.MOST_ITEMS} items each, about {crash.FULL:,} items there; in "
        f"{100 * crash.STARTING:.0f} % of the kills the clock starts before the index is open. Read back: every item, "
        "its metadata and vector, that nothing else is there, `verify`, and a search for stored vectors. Half of the "
        "readers close in good order, half just end.",
        "A killed process loses what it held in memory; what it had handed to the kernel stays. Power loss is another "
        "matter, and not tried here.",
        "LanceDB starts threads when it is imported and cannot be forked: each of its processes imports it anew, so "
        "that there are fewer kills. It has no `verify`; its updates are `merge_insert`, its compaction `optimize`. "
        "Each target is run by itself; the rows of the others are kept from the table saved before.",
        *messages,
        *others_messages,
    ]
    save("crash", "`kill -9` at random moments under mixed writes", {"Kills": rows}, seed=options.seed, notes=notes)


if __name__ == "__main__":
    main()
