"""`kill -9` at random moments under mixed writes, and what must be there afterwards. Knows no particular index.

A target is written to by a child process that says through a pipe which operation it begins and which is done. The
parent kills it, a second child opens what is left and reads it back. What operation a number stands for follows from
the seed and from what was there before, so that parent and child need exchange numbers only.

`python -m tests.core.retrieval.crash FOLDER KILLS SEED` runs it against a collection; `benchmarks/crash.py` has more.

The parent never opens an index itself: a process that has used OpenMP threads must not fork.
"""

from __future__ import annotations

import json
import os
import random
import select
import shutil
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # its threads would not survive the fork

import numpy as np

DIM = 64  # so many that the kinds with coarse codes are used
MOST_ITEMS = 50  # of one operation
FULL = 2_000  # items from which on more are deleted than added
LONGEST_MS = 300.0
PATIENCE_S = 60.0  # for a child that opens and reads; beyond it, it hangs
SEARCHED = 5  # stored vectors that are searched for after each kill
STARTING = 0.1  # share of kills whose clock runs from the fork on, so that the opening is hit too

Array = np.ndarray[Any, Any]
Kind = Literal["add", "update", "delete", "snapshot", "compact"]
State = dict[int, int]
"""The operation that last wrote each item that is there."""


class Operation(NamedTuple):
    """One call. `number` goes into the metadata of what it writes."""

    number: int
    kind: Kind
    items: tuple[int, ...]


class Row(NamedTuple):
    """One item as it was read back: its metadata's operation, and its vector float32 [DIM]."""

    operation: int
    vector: Array


class Target(Protocol):
    """An index in a folder. Made anew in each child; every write returns when it is acknowledged."""

    def create(self, folder: Path) -> None:
        """Make an empty one and leave it closed."""

    def open(self, folder: Path) -> None:
        """Open what is there, whatever state a kill left it in."""

    def write(self, operation: Operation, vectors: Array) -> None:
        """Do it; `vectors` float32 [items, DIM] of unit length is for add and update."""

    def rows(self) -> dict[int, Row]:
        """Everything that is there."""

    def search(self, queries: Array, k: int) -> list[list[int]]:
        """The items nearest to each query."""

    def verify(self) -> list[str]:
        """Every problem found; empty where all is well or where nothing of the kind exists."""

    def close(self) -> None:
        """Close in good order."""


@dataclass
class Tally:
    """What many kills did. Lost and torn are counted in operations that were wrong."""

    kills: int = 0
    acknowledged: int = 0  # operations
    items: int = 0  # that acknowledged operations wrote or deleted
    in_flight: int = 0  # operations that had begun and were not acknowledged when the kill came
    kept: int = 0  # of those, the ones that were there in whole
    lost: int = 0  # items of acknowledged operations that were not as the operation left them
    torn: int = 0  # operations that were there in part
    damaged: int = 0  # items whose vector was not the one written
    failed_opens: int = 0  # writers that raised count too
    problems: int = 0  # that verify found
    unfound: int = 0  # stored vectors that a search for them did not find
    open_ms: list[float] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether every promise was kept."""
        return not (self.lost or self.torn or self.damaged or self.failed_opens or self.problems or self.unfound)


def vector_of(seed: int, operation: int, item: int) -> Array:
    """Float32 [DIM], of unit length: what this operation writes for this item."""
    drawn = np.random.default_rng([seed, operation, item]).standard_normal(DIM)
    unit: Array = (drawn / np.linalg.norm(drawn)).astype(np.float32)
    return unit


def plan(state: State, number: int, seed: int) -> Operation:
    """The operation of this number after what is there: a function of its arguments alone."""
    chance = random.Random(f"{seed}-{number}")
    count = chance.randint(1, MOST_ITEMS)
    full = len(state) > FULL
    kinds: tuple[Kind, ...] = ("add", "update", "delete", "snapshot", "compact")
    kind = chance.choices(kinds, weights=(20 if full else 45, 25, 45 if full else 25, 2, 1))[0]
    if kind in ("snapshot", "compact"):
        return Operation(number, kind, ())
    if kind == "add" or not state:
        return Operation(number, "add", tuple(number * MOST_ITEMS + i for i in range(count)))
    return Operation(number, kind, tuple(chance.sample(list(state), min(count, len(state)))))


def applied(state: State, operation: Operation) -> State:
    """What is there afterwards, in an order that does not depend on how it came about."""
    after = dict(state)
    for item in operation.items:
        after.pop(item, None)
        if operation.kind != "delete":
            after[item] = operation.number
    return after


def run(
    make: Callable[[], Target], folder: Path, *, kills: int, seed: int = 0, longest_ms: float = LONGEST_MS
) -> Tally:
    """Kill a writer `kills` times, each time on what the one before left; after a failed open, in a new folder."""
    chance = random.Random(seed)
    tally = Tally()
    state: State = {}
    number, folders = 0, 0
    place = folder / "0"
    _ask(partial(_create, make, place))
    for _ in range(kills):
        reported, ready = _killed(make, place, state, number, seed, chance, longest_ms, tally)
        tally.kills += 1
        begun, done = reported
        for _ in range(done):
            operation = plan(state, number, seed)
            state = applied(state, operation)
            tally.items += len(operation.items)
            number += 1
        tally.acknowledged += done
        flying = None
        if begun > done:
            flying = plan(state, number, seed)
            number += 1
            tally.in_flight += 1
        closing = chance.random() < 0.5  # otherwise the next writer finds what the kill left and this reader saw
        answer = _ask(partial(_inspect, make, place, seed, closing))
        if "error" in answer:
            tally.failed_opens += 1
            tally.messages.append(f"kill {tally.kills}, {'' if ready else 'while opening, '}{answer['error']}")
            folders += 1
            place, state = folder / str(folders), {}
            _ask(partial(_create, make, place))
            continue
        state = _judge(tally, answer, state, flying)
    return tally


def _judge(tally: Tally, answer: dict[str, Any], state: State, flying: Operation | None) -> State:
    """Compare what was read back with what must be there; returns what is there."""
    found: State = dict(answer["rows"])
    tally.open_ms.append(answer["open_ms"])
    tally.damaged += len(answer["damaged"])
    tally.problems += len(answer["problems"])
    tally.unfound += answer["unfound"]
    for name in ("damaged", "problems"):
        tally.messages += [f"kill {tally.kills}, {name}: {each}" for each in answer[name][:3]]
    if found == state:
        return state
    concerned = set(flying.items) if flying is not None else set()
    after = applied(state, flying) if flying is not None else state
    wrong = [i for i in state.keys() | found.keys() if i not in concerned and state.get(i) != found.get(i)]
    wrong += [i for i in concerned if found.get(i) not in (state.get(i), after.get(i))]
    tally.lost += len(wrong)
    whole = [found.get(i) == after.get(i) for i in concerned]
    tally.torn += any(whole) and not all(whole)
    tally.kept += bool(whole) and all(whole)
    tally.messages += [
        f"kill {tally.kills}, item {i}: operation {found.get(i)} instead of {state.get(i)}" for i in wrong[:3]
    ]
    if any(whole) and not all(whole):
        tally.messages.append(f"kill {tally.kills}: {sum(whole)} of {len(whole)} items of {flying}")
    return after if found == after else found


def _killed(
    make: Callable[[], Target],
    place: Path,
    state: State,
    number: int,
    seed: int,
    chance: random.Random,
    longest_ms: float,
    tally: Tally,
) -> tuple[tuple[int, int], bool]:
    """One writer's life: how many operations it began and how many were acknowledged; whether it had opened."""
    delay = chance.uniform(0, longest_ms) / 1000
    early = chance.random() < STARTING
    reading, child = _fork(partial(_write_on, make, place, state, number, seed))
    ready = b""
    if not early:
        ready = os.read(reading, 1) if select.select([reading], [], [], PATIENCE_S)[0] else b""
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    written = ready + _drain(reading)
    lines = written.removeprefix(b"r").decode().splitlines()
    for line in lines:
        if line.startswith("!"):
            tally.failed_opens += 1
            tally.messages.append(f"kill {tally.kills + 1}, the writer: {line[1:]}")
    return (sum(line.startswith("+") for line in lines), sum(line.startswith("-") for line in lines)), bool(written)


def _write_on(make: Callable[[], Target], place: Path, state: State, number: int, seed: int, pipe: int) -> None:
    """The writer: "r" when open, then "+" before each operation and "-" after it, until it is killed."""
    try:
        target = make()
        target.open(place)
        os.write(pipe, b"r")
        while True:
            operation = plan(state, number, seed)
            os.write(pipe, b"+\n")
            written = operation.kind in ("add", "update")
            vectors = [vector_of(seed, number, item) for item in operation.items] if written else []
            target.write(operation, np.array(vectors, dtype=np.float32).reshape(-1, DIM))
            os.write(pipe, b"-\n")
            state, number = applied(state, operation), number + 1
    except Exception as error:
        os.write(pipe, f"!{_in_one_line(error)}\n".encode())
        time.sleep(PATIENCE_S)  # the kill is still to come


def _create(make: Callable[[], Target], place: Path) -> dict[str, Any]:
    make().create(place)
    return {}


def _inspect(make: Callable[[], Target], place: Path, seed: int, closing: bool) -> dict[str, Any]:
    """What a new process finds in the folder."""
    started = time.perf_counter()
    target = make()
    prepared = time.perf_counter()
    target.open(place)
    opened = time.perf_counter()
    rows = target.rows()
    damaged = [
        f"item {item} of operation {row.operation}"
        for item, row in rows.items()
        if not np.allclose(row.vector, vector_of(seed, row.operation, item), atol=1e-5)
    ]
    unfound = 0
    some = random.Random(len(rows)).sample(sorted(rows), min(SEARCHED, len(rows)))
    if some:
        hits = target.search(np.stack([rows[item].vector for item in some]), 3)
        unfound = sum(item not in found for item, found in zip(some, hits, strict=True))
        unfound += sum(item not in rows for found in hits for item in found)
    answer = {
        "rows": [(item, row.operation) for item, row in rows.items()],
        "damaged": damaged,
        "unfound": unfound,
        "problems": target.verify(),
        "open_ms": 1000 * (opened - prepared),
        "prepare_ms": 1000 * (prepared - started),
    }
    if closing:
        target.close()
    return answer


def _ask(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `work` returns in a child process, or {"error": text} where it raised, died or did not end."""

    def answer(pipe: int) -> None:
        try:
            found = work()
        except Exception as error:
            found = {"error": _in_one_line(error)}
        text = json.dumps(found).encode()
        while text:
            text = text[os.write(pipe, text) :]

    reading, child = _fork(answer)
    written, deadline = b"", time.monotonic() + PATIENCE_S
    while select.select([reading], [], [], max(0.0, deadline - time.monotonic()))[0]:
        part = os.read(reading, 1 << 16)
        if not part:
            break
        written += part
    else:
        os.kill(child, signal.SIGKILL)
    os.close(reading)
    status = os.waitpid(child, 0)[1]
    try:
        found: dict[str, Any] = json.loads(written)
    except ValueError:
        return {"error": f"the process that opened it gave no answer (status {status}, {PATIENCE_S:g} s at most)"}
    return found


def _fork(work: Callable[[int], None]) -> tuple[int, int]:
    """Run `work` with the writing end of a pipe in a child; its reading end and the child."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python counts threads; those here hold no lock of ours
        child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            work(writing)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)  # no clean-up that a killed process would not have either
    os.close(writing)
    return reading, child


def _drain(reading: int) -> bytes:
    parts = []
    while part := os.read(reading, 1 << 16):
        parts.append(part)
    os.close(reading)
    return b"".join(parts)


def _in_one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".replace("\n", " ")[:300]


class CollectionTarget:
    """Our own. Small enough a bound that the search changes from exact to approximate and back."""

    def __init__(self, kind: str = "auto", flat_below: int = FULL // 2) -> None:
        from triptych.retrieval.collection import CollectionSettings

        self.settings = CollectionSettings(kind=kind, flat_below=flat_below)  # type: ignore[arg-type]
        self.index: Any = None

    def create(self, folder: Path) -> None:
        from triptych.retrieval.base import VectorField
        from triptych.retrieval.collection import Collection

        Collection.create(folder, [VectorField(dim=DIM)], settings=self.settings).close()

    def open(self, folder: Path) -> None:
        from triptych.retrieval.collection import Collection

        self.index = Collection.open(folder)

    def write(self, operation: Operation, vectors: Array) -> None:
        ids = [str(item) for item in operation.items]
        if operation.kind == "snapshot":
            self.index.snapshot()
        elif operation.kind == "compact":
            self.index.compact()
        elif operation.kind == "delete":
            self.index.delete(ids)
        else:
            metadata = [{"operation": operation.number} for _ in ids]
            contents = [{"text": f"operation {operation.number}"} for _ in ids]
            self.index.add(ids, vectors, metadata, contents=contents)

    def rows(self) -> dict[int, Row]:
        ids = self.index.ids()
        if len(ids) != len(self.index) or len(set(ids)) != len(ids):
            raise ValueError(f"{len(ids)} ids, {len(set(ids))} different ones, but a length of {len(self.index)}")
        items = self.index.get(ids)
        return {int(item.id): Row(item.metadata["operation"], item.vectors["vector"]) for item in items}

    def search(self, queries: Array, k: int) -> list[list[int]]:
        return [[int(hit.id) for hit in hits] for hits in self.index.search(queries, k)]

    def verify(self) -> list[str]:
        found: Sequence[str] = self.index.verify()
        return list(found)

    def close(self) -> None:
        self.index.close()


def prepare() -> None:
    """Import everything once, so that children need not; nothing here may start a thread that a child would miss."""
    import triptych.retrieval.collection  # noqa: F401


if __name__ == "__main__":
    prepare()
    where, count, start = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    result = run(CollectionTarget, where, kills=count, seed=start)
    print(result)
    shutil.rmtree(where)
    sys.exit(0 if result.clean and result.acknowledged > count else 1)
