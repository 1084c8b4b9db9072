"""A collection beside LanceDB, hnswlib, usearch and raw FAISS: throughput at equal recall, building, memory.

Each contender is built, and then searched, in processes of its own; what it must be told is tuned on half of the
queries to the fastest setting that reaches recall@10 of 0.95, and measured on the other half.

    python benchmarks/retrieval_rivals.py [--count 1000000] [--names Triptych hnswlib ...] [--seconds 3600]
    python benchmarks/retrieval_rivals.py --one hnswlib --count 20000        one contender, as a line of JSON
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from common import metered, save
from retrieval_data import DIM, QUERIES, cache_folder, million, real_vectors

K = 10
RECALL = 0.95
BATCH = 256
BLOCK = 50_000
TUNED_ON = QUERIES // 2
GROUPS, GROUP = 10, 3  # the filter lets one group in ten through
ROUNDS, ROUND_SECONDS = 3, 20.0
LADDER = (4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
EFFORTS = tuple(effort for effort in LADDER if effort >= K)  # a graph search keeps at least k candidates

Array = np.ndarray[Any, Any]
Setting = dict[str, int]


class Contender(ABC):
    """One library in one configuration."""

    requires: str  # the module that must be there
    returns = "row numbers"
    filters = True

    @abstractmethod
    def build(self, vectors: Array, groups: Array, folder: Path) -> None:
        """Index float32 [count, DIM] (mapped from a file) with one metadata field, and write it into the folder."""

    @abstractmethod
    def load(self, folder: Path, groups: Array) -> None:
        """Open what `build` wrote."""

    def settings(self) -> list[list[Setting]]:
        """Ladders of search settings, each from fast to thorough. A contender that tunes itself has one setting."""
        return [[{}]]

    @abstractmethod
    def search(self, queries: Array, setting: Setting, *, filtered: bool = False) -> Any:
        """The ten nearest with all that it returns, in Python's hands when this returns."""

    def rows(self, found: Any) -> list[list[int]]:
        """The row numbers in what `search` returned."""
        return [list(map(int, row)) for row in found]


def consume(results: Any) -> tuple[list[list[str]], list[list[Any]]]:
    """Ids and one metadata field of what a collection found, as Python objects."""
    return results.ids, results.metadata("group")


class _Ours(Contender):
    """`triptych.retrieval`, which chooses and tunes its index itself when the writing is done."""

    requires = "triptych.retrieval.collection"
    returns = "ids, one metadata field"

    def build(self, vectors: Array, groups: Array, folder: Path) -> None:
        from triptych.retrieval.base import VectorField
        from triptych.retrieval.collection import Collection

        _, _, queries = data(len(vectors))
        with Collection.create(folder / "collection", [VectorField(dim=DIM)]) as collection:
            for start in range(0, TUNED_ON, 8):  # what users ask, which the search is fitted to
                collection.search(queries[start : min(start + 8, TUNED_ON)], K)
            with collection.bulk():
                for start in range(0, len(vectors), BLOCK):
                    block = np.ascontiguousarray(vectors[start : start + BLOCK])
                    metadata = [{"group": group} for group in groups[start : start + BLOCK].tolist()]
                    collection.add(names(start, len(block)), block, metadata)

    def load(self, folder: Path, groups: Array) -> None:
        from triptych.retrieval.collection import Collection

        self.collection = Collection.open(folder / "collection")

    def search(self, queries: Array, setting: Setting, *, filtered: bool = False) -> Any:
        where = {"group": GROUP} if filtered else None
        return consume(self.collection.search(queries, K, where=where))

    def rows(self, found: Any) -> list[list[int]]:
        return [[int(name[5:]) for name in row if name] for row in found[0]]


class _Faiss(Contender):
    """Inverted lists in FAISS: vectors as they are ("Flat") or in eight bits ("SQ8")."""

    requires = "faiss"

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def build(self, vectors: Array, groups: Array, folder: Path) -> None:
        import faiss

        lists = round(4 * math.sqrt(len(vectors)))
        index = faiss.index_factory(DIM, f"IVF{lists},{self.kind}", faiss.METRIC_INNER_PRODUCT)
        chosen = np.random.default_rng(0).permutation(len(vectors))[: 64 * lists]
        index.train(np.ascontiguousarray(vectors[np.sort(chosen)]))
        for start in range(0, len(vectors), BLOCK):
            index.add(np.ascontiguousarray(vectors[start : start + BLOCK]))
        faiss.write_index(index, str(folder / "index.faiss"))

    def load(self, folder: Path, groups: Array) -> None:
        import faiss

        self.faiss = faiss
        self.index = faiss.read_index(str(folder / "index.faiss"))
        self.bits = np.packbits(groups == GROUP, bitorder="little")
        self.selector = faiss.IDSelectorBitmap(self.bits)

    def settings(self) -> list[list[Setting]]:
        return [[{"nprobe": probes} for probes in LADDER if probes <= self.index.nlist]]

    def search(self, queries: Array, setting: Setting, *, filtered: bool = False) -> Any:
        options = {"sel": self.selector} if filtered else {}
        return self.index.search(queries, K, params=self.faiss.SearchParametersIVF(**setting, **options))[1]


class _Hnswlib(Contender):
    """The reference implementation of HNSW."""

    requires = "hnswlib"

    def build(self, vectors: Array, groups: Array, folder: Path) -> None:
        import hnswlib

        index = hnswlib.Index(space="ip", dim=DIM)
        index.init_index(max_elements=len(vectors), M=16, ef_construction=200, random_seed=0)
        index.set_num_threads(cores())
        for start in range(0, len(vectors), BLOCK):
            block = np.ascontiguousarray(vectors[start : start + BLOCK])
            index.add_items(block, np.arange(start, start + len(block)))
        index.save_index(str(folder / "index.bin"))

    def load(self, folder: Path, groups: Array) -> None:
        import hnswlib

        self.index = hnswlib.Index(space="ip", dim=DIM)
        self.index.load_index(str(folder / "index.bin"))
        self.allowed = (groups == GROUP).tolist()

    def settings(self) -> list[list[Setting]]:
        return [[{"ef": effort} for effort in EFFORTS]]

    def search(self, queries: Array, setting: Setting, *, filtered: bool = False) -> Any:
        self.index.set_ef(setting["ef"])
        if filtered:  # a Python function for each candidate: its authors advise one thread
            return self.index.knn_query(queries, K, num_threads=1, filter=self.allowed.__getitem__)[0]
        return self.index.knn_query(queries, K, num_threads=cores())[0]


class _Usearch(Contender):
    """HNSW over vectors in fewer bits."""

    requires = "usearch"
    filters = False

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype

    def build(self, vectors: Array, groups: Array, folder: Path) -> None:
        from usearch.index import Index

        index = Index(ndim=DIM, metric="cos", dtype=self.dtype, connectivity=16, expansion_add=128)
        for start in range(0, len(vectors), BLOCK):
            block = np.ascontiguousarray(vectors[start : start + BLOCK])
            index.add(np.arange(start, start + len(block), dtype=np.uint64), block, threads=cores())
        index.save(str(folder / "index.usearch"))

    def load(self, folder: Path, groups: Array) -> None:
        from usearch.index import Index

        self.index = Index.restore(str(folder / "index.usearch"))

    def settings(self) -> list[list[Setting]]:
        return [[{"expansion_search": effort} for effort in EFFORTS]]

    def search(self, queries: Array, setting: Setting, *, filtered: bool = False) -> Any:
        self.index.expansion_search = setting["expansion_search"]
        found = self.index.search(queries, K, threads=cores()).keys
        return found.reshape(len(queries), -1)


class _Lance(Contender):
    """LanceDB, whose vectors stay on disk beside an index of codes; `kind` is a class of `lancedb.index`."""

    requires = "lancedb"
    returns = "ids, one metadata field"

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def build(self, vectors: Array, groups: Array, folder: Path) -> None:
        import lancedb
        import lancedb.index
        import pyarrow

        fields = [
            ("id", pyarrow.string()),
            ("group", pyarrow.int64()),
            ("vector", pyarrow.list_(pyarrow.float32(), DIM)),
        ]
        schema = pyarrow.schema(fields)
        table = lancedb.connect(folder).create_table("items", schema=schema)
        for start in range(0, len(vectors), BLOCK):
            block = np.ascontiguousarray(vectors[start : start + BLOCK])
            columns = {
                "id": names(start, len(block)),
                "group": groups[start : start + BLOCK],
                "vector": pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(block.ravel()), DIM),
            }
            table.add(pyarrow.table(columns, schema=schema))
        table.optimize()  # one fragment instead of one for each block
        # their defaults but for the partitions: about the root of the rows, for HNSW one
        partitions = 1 if self.kind == "HnswSq" else round(math.sqrt(len(vectors)))
        config = getattr(lancedb.index, self.kind)(distance_type="dot", num_partitions=partitions)
        table.create_index("vector", config=config)
        table.create_index("group", config=lancedb.index.Bitmap())

    def load(self, folder: Path, groups: Array) -> None:
        import lancedb

        self.table = lancedb.connect(folder).open_table("items")

    def settings(self) -> list[list[Setting]]:
        if self.kind == "HnswSq":
            return [[{"nprobes": 1, "ef": e, "refine_factor": r} for e in EFFORTS if e >= K * r] for r in (1, 2, 4)]
        return [[{"nprobes": p, "refine_factor": r} for p in LADDER] for r in (2, 4, 8, 16, 32)]

    def search(self, queries: Array, setting: Setting, *, filtered: bool = False) -> Any:
        query = self.table.search(queries if len(queries) > 1 else queries[0]).distance_type("dot").limit(K)
        for name, value in setting.items():
            query = getattr(query, name)(value)
        if filtered:
            query = query.where(f"`group` = {GROUP}", prefilter=True)
        # the distance is asked for because it comes anyway, with a warning for each query
        found = query.select(["id", "group", "_distance"]).to_arrow()
        numbers = found["query_index"].to_numpy() if len(queries) > 1 else np.zeros(len(found), dtype=np.int64)
        return found["id"].to_pylist(), found["group"].to_pylist(), numbers, len(queries)

    def rows(self, found: Any) -> list[list[int]]:
        ids, _, numbers, queries = found
        rows: list[list[int]] = [[] for _ in range(queries)]
        for name, number in zip(ids, numbers, strict=True):
            rows[number].append(int(name[5:]))
        return rows


CONTENDERS: dict[str, Callable[[], Contender]] = {
    "Triptych": _Ours,
    "FAISS IVF,Flat": lambda: _Faiss("Flat"),
    "FAISS IVF,SQ8": lambda: _Faiss("SQ8"),
    "hnswlib": _Hnswlib,
    "usearch i8": lambda: _Usearch("i8"),
    "usearch bf16": lambda: _Usearch("bf16"),
    "LanceDB IVF_RQ": lambda: _Lance("IvfRq"),
    "LanceDB IVF_PQ": lambda: _Lance("IvfPq"),
    "LanceDB IVF_HNSW_SQ": lambda: _Lance("HnswSq"),
}


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0))


def names(start: int, count: int) -> list[str]:
    """The ids of `count` rows from `start` on."""
    return [f"item-{row:07d}" for row in range(start, start + count)]


def data(count: int) -> tuple[Array, Array, Array]:
    """The vectors, mapped from their file, the group of each, and the queries."""
    path = cache_folder() / f"million-{count}.npy"
    if not path.exists():
        million(count)
    groups = np.random.default_rng(2).integers(0, GROUPS, count)
    return np.load(path, mmap_mode="r"), groups, np.ascontiguousarray(real_vectors()[:QUERIES])


def truths(count: int) -> tuple[Array, Array]:
    """The ten nearest rows of each query, among all and among the filtered, int64 [QUERIES, K]; cached."""
    path = cache_folder() / f"million-{count}-nearest.npz"
    if not path.exists():
        vectors, groups, queries = data(count)
        everything, some = _Best(len(queries)), _Best(len(queries))
        for start in range(0, count, 20_000):
            scores = queries @ np.asarray(vectors[start : start + 20_000]).T
            everything.offer(scores, np.arange(start, start + scores.shape[1]))
            passing = np.flatnonzero(groups[start : start + 20_000] == GROUP)
            some.offer(scores[:, passing], start + passing)
        np.savez(path, everything=everything.rows, filtered=some.rows)
    found = np.load(path)
    return found["everything"], found["filtered"]


class _Best:
    """The rows of the best scores so far."""

    def __init__(self, queries: int) -> None:
        self.scores = np.empty((queries, 0), dtype=np.float32)
        self.rows = np.empty((queries, 0), dtype=np.int64)

    def offer(self, scores: Array, rows: Array) -> None:
        """Scores [queries, rows] of these rows."""
        scores = np.concatenate([self.scores, scores], axis=1)
        numbers = np.concatenate([self.rows, np.broadcast_to(rows, (len(scores), len(rows)))], axis=1)
        best = np.argsort(-scores, axis=1)[:, :K]
        self.scores, self.rows = (np.take_along_axis(each, best, axis=1) for each in (scores, numbers))


def recall(found: Sequence[Sequence[int]], wanted: Array) -> float:
    """The mean share of the wanted rows that were found."""
    return float(np.mean([len(set(a) & set(b.tolist())) / len(b) for a, b in zip(found, wanted, strict=True)]))


def in_batches(search: Callable[[Array], Any], queries: Array, batch: int) -> list[Any]:
    """What is found for the queries, `batch` of them at a time."""
    return [search(queries[start : start + batch]) for start in range(0, len(queries), batch)]


def speed(search: Callable[[Array], Any], queries: Array, batch: int) -> float:
    """Queries per second: the best of a few rounds over all of them, after one batch that warms up."""
    asked = queries[np.arange(math.ceil(len(queries) / batch) * batch) % len(queries)]  # full batches only
    search(asked[:batch])
    taken: list[float] = []
    while len(taken) < ROUNDS and sum(taken) < ROUND_SECONDS:
        started = time.perf_counter()
        in_batches(search, asked, batch)
        taken.append(time.perf_counter() - started)
    return len(asked) / min(taken)


def memory_mb(what: str = "VmRSS", process: int | str = "self") -> float:
    """Resident memory of a process, in MB: "VmRSS" all of it, "RssAnon" without mapped files. 0 once it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(f"{what}:")), 0.0)


def step_build(name: str, count: int, folder: Path, seconds: int) -> dict[str, Any]:
    """Build one contender; past `seconds` the alarm ends the process, wherever it is."""
    vectors, groups, _ = data(count)
    contender = CONTENDERS[name]()
    __import__(contender.requires)
    signal.alarm(seconds)
    with metered() as meter:
        contender.build(vectors, groups, folder)
    signal.alarm(0)
    return {"build s": meter.seconds, "build CPU s": meter.cpu_seconds}


def step_search(name: str, count: int, folder: Path, setting: Setting | None) -> dict[str, Any]:
    """Load what was built, tune it unless a setting is given, and measure it with the cores that this process has."""
    _, groups, queries = data(count)
    wanted, wanted_filtered = truths(count)
    tuned_on, asked = queries[:TUNED_ON], queries[TUNED_ON:]
    contender = CONTENDERS[name]()
    __import__(contender.requires)
    before = memory_mb()
    contender.load(folder, groups)
    result: dict[str, Any] = {}
    if setting is None:
        setting = tune(contender, tuned_on, wanted[:TUNED_ON])
        result["setting"] = setting

    def search(queries: Array, *, filtered: bool = False) -> Any:
        return contender.search(queries, setting, filtered=filtered)

    def rows(**options: bool) -> list[list[int]]:
        found = in_batches(lambda queries: search(queries, **options), asked, BATCH)
        return [row for part in found for row in contender.rows(part)]

    result["recall@10"] = recall(rows(), wanted[TUNED_ON:])
    result["MB"] = memory_mb() - before
    result["batch 1"] = speed(search, asked, 1)
    result["batch 256"] = speed(search, asked, BATCH)
    if contender.filters:
        found = rows(filtered=True)
        result["filter recall"] = recall(found, wanted_filtered[TUNED_ON:])
        result["filter full"] = float(np.mean([len([row for row in each if row >= 0]) == K for each in found]))
        result["filter 256"] = speed(lambda queries: search(queries, filtered=True), asked, BATCH)
    return result


def tune(contender: Contender, queries: Array, wanted: Array) -> Setting:
    """The fastest setting that reaches the recall: the first of each ladder is tried; else the most thorough."""
    reached: list[tuple[float, Setting]] = []
    best: tuple[float, Setting] = (-1.0, {})
    for ladder in contender.settings():
        for setting in ladder:
            started = time.perf_counter()
            found = in_batches(lambda queries, s=setting: contender.search(queries, s), queries, BATCH)  # type: ignore[misc]
            taken = time.perf_counter() - started
            share = recall([row for part in found for row in contender.rows(part)], wanted)
            best = max(best, (share, setting), key=lambda pair: pair[0])
            if share >= RECALL:
                reached.append((taken, setting))
                break
    return min(reached, key=lambda pair: pair[0])[1] if reached else best[1]


def run_step(arguments: Sequence[str], seconds: int) -> tuple[dict[str, Any] | None, float, int]:
    """A step in a process of its own: its answer (None where it failed), its most memory in MB, its exit code."""
    command = [sys.executable, __file__, *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    peak, deadline = 0.0, time.monotonic() + seconds
    while process.poll() is None:
        peak = max(peak, memory_mb("RssAnon", process.pid))
        if time.monotonic() > deadline:
            process.kill()
        time.sleep(0.05)
    assert process.stdout is not None
    lines = process.stdout.read().splitlines()
    return (json.loads(lines[-1]) if process.returncode == 0 and lines else None), peak, process.returncode


def measure(name: str, count: int, seconds: int) -> tuple[dict[str, Any] | None, str]:
    """The row of one contender, or None and why there is none."""
    contender = CONTENDERS[name]()
    if not _installed(contender.requires):
        return None, f"{name}: {contender.requires} is not installed"
    with tempfile.TemporaryDirectory(dir=cache_folder()) as folder:
        common = ["--one", name, "--count", str(count), "--folder", folder, "--seconds", str(seconds)]
        built, peak, code = run_step([*common, "--step", "build"], seconds + 600)
        if built is None:
            why = f"was not done in {seconds} s" if code == -signal.SIGALRM else f"ended with exit code {code}"
            return None, f"{name}: building {why}"
        disk = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file()) / 1e6
        whole, _, code = run_step([*common, "--step", "search"], seconds)
        if whole is None:
            return None, f"{name}: searching ended with exit code {code} (-9 after {seconds} s)"
        setting = json.dumps(whole["setting"])
        alone, _, code = run_step([*common, "--step", "search", "--setting", setting, "--cores", "1"], seconds)
        if alone is None:
            return None, f"{name}: searching with one core ended with exit code {code} (-9 after {seconds} s)"
    row: dict[str, Any] = {
        "search": name,
        "returns": contender.returns,
        "recall@10": whole["recall@10"],
        "batch 1, queries/s": whole["batch 1"],
        "batch 256": whole["batch 256"],
        "one core, batch 1": alone["batch 1"],
        "one core, batch 256": alone["batch 256"],
        "filter 10 %, batch 256": whole.get("filter 256"),
        "filter recall@10": whole.get("filter recall"),
        "filter, k found": whole.get("filter full"),
        "build s": built["build s"],
        "build CPU s": built["build CPU s"],
        "build peak MB": peak,
        "MB": alone["MB"],
        "of float32": alone["MB"] / (count * DIM * 4 / 1e6),
        "disk MB": disk,
        "setting": ", ".join(f"{key} {value}" for key, value in whole["setting"].items()) or "its own",
    }
    return row, ""


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def table(wanted: Sequence[str], count: int, seconds: int) -> None:
    """All contenders and the saved table."""
    truths(count)
    rows, missing = [], []
    for name in wanted:
        row, why = measure(name, count, seconds)
        print(json.dumps(row) if row else why, file=sys.stderr)
        rows += [row] if row else []
        missing += [] if row else [why]
    versions = []
    for package in ("lancedb", "hnswlib", "usearch"):
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    notes = [
        *missing,
        f"{count:,} unit vectors of {DIM} dimensions; {TUNED_ON} queries to tune on, {QUERIES - TUNED_ON} others to "
        f"measure: the fastest setting that reached recall@10 of {RECALL} on the former. Throughput is queries per "
        f"second, the best of {ROUNDS} rounds, with all cores, and with the process bound to one core.",
        "What comes back is in the hands of Python: ids and a metadata field where the library has such things. "
        "hnswlib, usearch and FAISS know row numbers only: ids and metadata are left to the caller, and so is "
        "durability. LanceDB's batch is one call with many vectors.",
        "The filter passes one row in ten at random, with the setting tuned without it; FAISS by a bitmap, LanceDB by "
        "a bitmap index before the search, hnswlib by a Python function for each candidate (in one thread, as its "
        "authors advise). usearch has no filter in Python.",
        "MB is what a process that searches (the one bound to one core, told its setting) grew by from before it "
        "loaded the index to after it had answered the queries once: resident pages, mapped files included; libraries, "
        "queries and the neighbours to compare with were there before. LanceDB reads its vectors from disk: the "
        "kernel's cache of those files is not in it. The peak of building is memory without mapped files, looked at "
        f"twenty times a second; the vectors were mapped, so that only blocks of {BLOCK:,} are in it.",
        "Configurations: FAISS, 4 times the root of the rows as lists, trained on 64 vectors each; hnswlib, M 16, "
        "ef_construction 200; usearch, connectivity 16, expansion_add 128, cosine; LanceDB, as many partitions as the "
        "root of the rows (HNSW: one), everything else its default, blocks merged by `optimize` first.",
        f"Versions: {', '.join(versions)}.",
    ]
    title = f"{count:,} vectors: a collection beside other libraries, at recall@10 of {RECALL}"
    save("retrieval_rivals", title, {"At equal recall": rows}, seed=0, notes=notes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--names", nargs="+", choices=list(CONTENDERS), default=list(CONTENDERS))
    parser.add_argument("--seconds", type=int, default=3600, help="at most, for each build and each search")
    parser.add_argument("--one", choices=list(CONTENDERS), help="only this one, as a line of JSON")
    parser.add_argument("--step", choices=["build", "search"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--setting", type=json.loads, help=argparse.SUPPRESS)
    parser.add_argument("--cores", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.cores:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.cores])
    if options.step == "build":
        print(json.dumps(step_build(options.one, options.count, options.folder, options.seconds)))
    elif options.step == "search":
        print(json.dumps(step_search(options.one, options.count, options.folder, options.setting)))
    elif options.one:
        truths(options.count)
        row, why = measure(options.one, options.count, options.seconds)
        print(json.dumps(row or {"search": options.one, "missing": why}))
    else:
        table(options.names, options.count, options.seconds)


if __name__ == "__main__":
    main()
