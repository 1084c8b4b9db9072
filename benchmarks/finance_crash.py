"""`kill -9` at random moments of a replay, and whether the store ends like that of an undisturbed monitor.

A child replays the synthetic sample of the finance plugin, with a scorer that counts words, and delivers its notices to
a log; it is killed, another goes on in the same store, and when one comes to the end, every table is compared, row by
row, with those of an undisturbed replay. The fuzzer is `tests/plugins/finance/crash.py`; a test runs it with 20 kills.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy is imported: its threads would not survive a fork

from common import REPOSITORY, metered, save

sys.path.insert(0, str(REPOSITORY))

from tests.core.retrieval.postgres import start_server, stop_server
from tests.plugins.finance import crash


@contextlib.contextmanager
def sqlite(folder: Path) -> Iterator[Callable[[int], str] | None]:
    """Files."""
    yield lambda number: str(folder / f"{number}.sqlite3")


@contextlib.contextmanager
def postgres(folder: Path) -> Iterator[Callable[[int], str] | None]:
    """Schemas of a real server in a folder of its own; None where there is no server to start."""
    import psycopg
    import pytest

    try:
        server = start_server()
    except pytest.skip.Exception as reason:
        print(f"postgres is left out: {reason}")
        yield None
        return

    def place(number: int) -> str:
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS run_{number}")
        mark = "&" if "?" in server.url else "?"
        return f"{server.url}{mark}options=-csearch_path%3Drun_{number}"

    try:
        yield place
    finally:
        stop_server(server)


TARGETS = {"sqlite": sqlite, "postgres": postgres}


def row_of(target: str, tally: Any, seconds: float) -> dict[str, Any]:
    """One line of the table."""
    rows = tally.expected
    return {
        "store": target,
        "kills": tally.kills,
        "replays that came to their end": tally.whole_runs,
        "items": rows["item"],
        "readings": rows["reading"],
        "alerts": rows["alert"],
        "notices": rows["notice"],
        "states": rows["state"],
        "tables that differ": len(tally.differing),
        "s": seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--target", choices=list(TARGETS), action="append")
    options = parser.parse_args()
    rows, notes = [], []
    for target in options.target or TARGETS:
        with tempfile.TemporaryDirectory() as folder, TARGETS[target](Path(folder)) as new_place:
            if new_place is None:
                notes.append(f"No server of {target} could be started on this machine.")
                continue
            with metered() as meter:
                tally = crash.fuzz(new_place, Path(folder), kills=options.kills, seed=options.seed)
            rows.append(row_of(target, tally, meter.seconds))
            notes += [f"{target}: {problem}" for problem in tally.differing]
    notes.append(
        "Compared are items with scores and vectors, what they say of entities, readings, alerts with their evidence, "
        "notices but for when they were delivered, all states, cursors and counters, and the order of notices in the "
        f"log. A transaction has {crash.Settings().stream.chunk} items. The sample is synthetic."
    )
    save("finance_crash", "`kill -9` at random moments of a replay", {"Kills": rows}, seed=options.seed, notes=notes)


if __name__ == "__main__":
    main()
