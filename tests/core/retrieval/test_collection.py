"""The embedded collection: what every index promises, and what files, processes and damage add."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from triptych.errors import DataError, MissingError
from triptych.retrieval import log as truth
from triptych.retrieval import upkeep
from triptych.retrieval.base import Index, VectorField
from triptych.retrieval.collection import Collection, CollectionSettings
from triptych.retrieval.open import open_index
from triptych.testing.index import IndexChecks

from .vectors import clustered, nearest, recall

DIM = 24
VECTORS = clustered(3_000, DIM)


class TestCollection(IndexChecks):
    @pytest.fixture(autouse=True)
    def place(self, tmp_path: Path) -> None:
        self.path = tmp_path / "collection"

    def make(self, fields: Sequence[VectorField]) -> Collection:
        return Collection.create(self.path, fields)

    def reopen(self, index: Any) -> Collection:
        index.close()
        return Collection.open(self.path)


class TestCollectionFromItsSnapshot(TestCollection):
    """The same promises where every opening reads a snapshot and what came after it."""

    def reopen(self, index: Any) -> Collection:
        with contextlib.suppress(DataError):  # closed already
            index.snapshot()
        return super().reopen(index)


class TestCollectionInLists(TestCollection):
    """The same promises where vectors lie in inverted lists from the second one on."""

    def make(self, fields: Sequence[VectorField]) -> Collection:
        return Collection.create(self.path, fields, settings=CollectionSettings(kind="ivf-flat", flat_below=0))


def filled(path: Path, rows: int = 300, **settings: Any) -> Collection:
    made = Collection.create(path, [VectorField(dim=DIM)], settings=CollectionSettings(**settings))
    made.add([f"r{i}" for i in range(rows)], VECTORS[:rows], [{"n": i} for i in range(rows)])
    return made


def ids(index: Index, query: np.ndarray, k: int = 3, **options: Any) -> list[str]:
    return [hit.id for hit in index.search(query[None], k, **options)[0]]


# Opening


def test_a_collection_is_an_index_that_opens_by_its_directory(tmp_path: Path) -> None:
    filled(tmp_path / "c").close()
    with open_index(tmp_path / "c", read_only=True) as opened:
        assert isinstance(opened, Index)
        assert isinstance(opened, Collection)
        assert opened.read_only
        assert len(opened) == 300


def test_settings_are_kept(tmp_path: Path) -> None:
    filled(tmp_path / "c", kind="ivf-sq8", recall=0.9, flat_below=100, words="porter").close()
    opened = Collection.open(tmp_path / "c")
    assert opened.settings == CollectionSettings(kind="ivf-sq8", recall=0.9, flat_below=100, words="porter")


def test_what_is_there_is_not_written_over(tmp_path: Path) -> None:
    filled(tmp_path / "c").close()
    (tmp_path / "file").write_text("mine")
    for name in ("c", "file"):
        with pytest.raises(DataError, match="is there already"):
            Collection.create(tmp_path / name, [VectorField(dim=2)])
    assert (tmp_path / "file").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    Collection.create(tmp_path / "empty", [VectorField(dim=2)]).close()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c", "empty", "file"]


def test_a_directory_that_is_no_collection_is_refused(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(DataError, match=r"has no log\.sqlite"):
            Collection.open(place)
    (tmp_path / truth.FILE).write_bytes(b"not a database" * 100)
    with pytest.raises(DataError, match="damaged"):
        Collection.open(tmp_path)


def test_a_collection_of_a_later_version_is_refused(tmp_path: Path) -> None:
    filled(tmp_path / "c").close()
    with sqlite3.connect(tmp_path / "c" / truth.FILE) as connection:
        connection.execute("UPDATE meta SET value = '99' WHERE name = 'format'")
    connection.close()
    with pytest.raises(DataError, match="format 99"):
        Collection.open(tmp_path / "c")
    assert not (tmp_path / "c" / ".lock").exists()


def test_a_second_writer_is_refused_and_told_who_the_first_is(tmp_path: Path) -> None:
    with filled(tmp_path / "c"):
        with pytest.raises(
            MissingError, match=f"process {os.getpid()}; one process writes, others open it for reading"
        ):
            Collection.open(tmp_path / "c")
        with Collection.open(tmp_path / "c", read_only=True) as reader:
            assert len(reader) == 300
    Collection.open(tmp_path / "c").close()


def test_a_closed_collection_says_so(tmp_path: Path) -> None:
    closed = filled(tmp_path / "c")
    closed.close()
    closed.close()
    for act in (
        lambda: closed.add(["x"], VECTORS[:1]),
        lambda: closed.search(VECTORS[:1], 1),
        closed.ids,
        closed.compact,
    ):
        with pytest.raises(DataError, match="is closed"):
            act()


def test_reading_only_changes_nothing(tmp_path: Path) -> None:
    filled(tmp_path / "c").close()
    with Collection.open(tmp_path / "c", read_only=True) as reader:
        for act in (
            lambda: reader.add(["x"], VECTORS[:1]),
            lambda: reader.delete(["r1"]),
            reader.compact,
            reader.snapshot,
            lambda: reader.erase(["r1"]),
        ):
            with pytest.raises(DataError, match="reading only"):
                act()
        assert len(reader) == 300


AS_NOBODY = """
import os, sys
from triptych.errors import TriptychError
import numpy as np
from triptych.retrieval.collection import Collection
with Collection.open(sys.argv[1], read_only=True) as reader:  # modules must be loaded before the rights are given up
    reader.search(np.ones((1, 24)), 5), reader.verify()
os.setgid(65534); os.setuid(65534)
try:
    Collection.open(sys.argv[1])
except TriptychError as error:
    print(type(error).__name__, error)
with Collection.open(sys.argv[1], read_only=True) as reader:
    print(len(reader.search(np.ones((1, 24)), 5)[0]), reader.verify())
try:
    Collection.create(sys.argv[1] + "/sub", [])
except TriptychError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="takes on another user, which only root can")
def test_a_directory_that_cannot_be_written_is_read_and_not_written(tmp_path: Path) -> None:
    made = filled(tmp_path / "c")
    made.snapshot()
    made.close()
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == 0 and str(folder).startswith("/tmp/"):
            folder.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, str(tmp_path / "c")], capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines() == [
        f"MissingError {tmp_path}/c cannot be written: Permission denied; open it for reading only",
        "5 []",
        f"MissingError {tmp_path}/c/sub cannot be written: Permission denied; open it for reading only",
    ], done.stderr


# Durability


def test_a_write_that_fails_halfway_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with filled(tmp_path / "c") as index:

        def fail(*args: object) -> None:
            raise sqlite3.OperationalError("database or disk is full")

        with monkeypatch.context() as patch:
            patch.setattr(truth, "write_vectors", fail)
            with pytest.raises(MissingError, match="nothing was written, for the disk is full"):
                index.add(["new", "r1"], VECTORS[:2])
        assert len(index) == 300
        assert "new" not in index
        assert ids(index, VECTORS[1], 1) == ["r1"]
        assert index.verify() == []
        index.add(["new"], VECTORS[:1])
        assert "new" in index


def test_memory_that_failed_after_the_commit_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with filled(tmp_path / "c") as index:

        def fail(*args: object) -> None:
            raise MemoryError

        with monkeypatch.context() as patch:
            patch.setattr(index._state, "apply", fail)
            with pytest.raises(MemoryError):
                index.add(["new"], VECTORS[1000:1001])
        assert ids(index, VECTORS[1000], 1) == ["new"]
        assert len(index) == 301
        assert index.verify() == []


FULL_DISK = """
import resource, sys
import numpy as np
from triptych.errors import MissingError
from triptych.retrieval.collection import Collection
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
index = Collection.open(sys.argv[1])
before = len(index)
vectors = np.random.default_rng(0).standard_normal((20_000, 24))
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
for act in (lambda: index.add([f"x{i}" for i in range(20_000)], vectors), index.snapshot, index.compact):
    try:
        act()
        print("no error")
    except MissingError as error:
        print("full" in str(error))
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
print(len(index) == before, index.verify())
index.add(["after"], vectors[:1])
index.snapshot()
index.close()
index = Collection.open(sys.argv[1])
print(len(index) == before + 1, index.verify())
"""


def test_a_full_disk_loses_nothing_and_is_got_over(tmp_path: Path) -> None:
    filled(tmp_path / "c", 3000).close()
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path / "c")], capture_output=True, text=True, check=False
    )
    assert done.stdout.split("\n")[:5] == ["True", "True", "True", "True []", "True []"], done.stdout + done.stderr


def damage(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    if how == "missing":
        path.unlink()
        return
    if how == "truncated":
        content = content[: len(content) // 2]
    else:
        content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


@pytest.mark.parametrize("how", ["missing", "truncated", "bit flipped"])
@pytest.mark.parametrize("name", ["vector.faiss", "vector.positions.npy", "ids.npy", "snapshot.json", "codes-0.npy"])
def test_a_damaged_snapshot_is_seen_and_made_again_from_the_log(
    name: str, how: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with filled(tmp_path / "c") as index:
        index.snapshot()
        index.add(["after"], VECTORS[700:701])
    (path,) = (tmp_path / "c" / "snapshots").glob(f"*/{name}")
    damage(path, how)
    with caplog.at_level(logging.WARNING), Collection.open(tmp_path / "c") as opened:
        assert "built from the log again" in caplog.text
        assert name in caplog.text
        assert len(opened) == 301
        assert ids(opened, VECTORS[700], 1) == ["after"]
        opened.snapshot()
        assert opened.verify() == []
    caplog.clear()
    with Collection.open(tmp_path / "c") as opened:
        assert "again" not in caplog.text
        assert len(opened) == 301


def test_verify_names_a_damaged_snapshot(tmp_path: Path) -> None:
    with filled(tmp_path / "c") as index:
        index.snapshot()
        (path,) = (tmp_path / "c" / "snapshots").glob("*/vector.faiss")
        damage(path, "bit flipped")
        (problem,) = index.verify()
        assert problem.startswith("snapshot: ")
        assert "vector.faiss" in problem


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("UPDATE items SET metadata = '{\"n\":7}' WHERE id = 'r3'", "item 'r3' is not what was written"),
        ("UPDATE vectors_1 SET vector = zeroblob(96) WHERE key = 5", "vector 'vector' of 'r4' is not what was written"),
        ("DELETE FROM items WHERE id = 'r9'", "a vector 'vector' has the key 10, which no item has"),
        ("DELETE FROM vectors_1 WHERE key = 5", "has vectors of other items than the log"),
        ("INSERT INTO words(rowid, text) VALUES (1, 'unseen')", "0 items have a text, and 1 are found by words"),
    ],
)
def test_verify_names_what_is_not_as_it_was_written(statement: str, message: str, tmp_path: Path) -> None:
    with filled(tmp_path / "c") as index:
        assert index.verify() == []
        other = sqlite3.connect(tmp_path / "c" / truth.FILE)
        other.execute(statement)
        other.commit()
        other.close()
        assert any(message in problem for problem in index.verify())


def test_what_an_interrupted_snapshot_left_is_cleared(tmp_path: Path) -> None:
    with filled(tmp_path / "c") as index:
        (tmp_path / "c" / "snapshots" / ".incoming-x").mkdir(parents=True)
        index.snapshot()
        first = index.stats()["snapshot"]
        index.add(["more"], VECTORS[:1])
        index.snapshot()
        (left,) = (tmp_path / "c" / "snapshots").iterdir()
        assert left.name == index.stats()["snapshot"] != first


# Readers


READER = """
import sys, json
import numpy as np
from triptych.retrieval.collection import Collection
reader = Collection.open(sys.argv[1], read_only=True)
for line in sys.stdin:
    reader.refresh()
    query = np.array(json.loads(line), dtype=np.float32)
    print(json.dumps([len(reader), [hit.id for hit in reader.search(query[None], 3)[0]]]), flush=True)
"""


@pytest.mark.parametrize("kind", ["flat", "ivf-rabitq"])
def test_reading_processes_see_what_the_writer_writes(kind: str, tmp_path: Path) -> None:
    index = filled(tmp_path / "c", 1000, kind=kind, flat_below=500)
    index.compact()
    command = [sys.executable, "-c", READER, str(tmp_path / "c")]
    readers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]

    def ask(query: np.ndarray) -> list[Any]:
        answers = []
        for reader in readers:
            assert reader.stdin
            assert reader.stdout
            reader.stdin.write(json.dumps(query.tolist()) + "\n")
            reader.stdin.flush()
            answers.append(json.loads(reader.stdout.readline()))
        assert answers[0] == answers[1]
        return answers[0]

    try:
        assert ask(VECTORS[5])[0] == 1000
        index.add(["new"], VECTORS[2000:2001])
        assert ask(VECTORS[2000]) == [1001, ids(index, VECTORS[2000])]
        index.delete(["new", "r5"])
        count, found = ask(VECTORS[5])
        assert count == 999
        assert "r5" not in found
        index.add([f"s{i}" for i in range(500)], VECTORS[1000:1500])
        index.compact()  # another snapshot, and the tombstones are gone
        assert ask(VECTORS[1200])[0] == 1499
        assert ask(VECTORS[1200])[1][0] == "s200"
        index.delete(["s200"])
        assert "s200" not in ask(VECTORS[1200])[1]
    finally:
        for reader in readers:
            reader.kill()
            reader.communicate()
        index.close()


def test_a_reader_looks_for_news_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("triptych.retrieval.collection._REFRESH_S", 0.0)
    with filled(tmp_path / "c") as index, Collection.open(tmp_path / "c", read_only=True) as reader:
        index.add(["new"], VECTORS[900:901])
        assert ids(reader, VECTORS[900], 1) == ["new"]
        assert not reader.refresh()


def test_a_reader_maps_the_large_part_of_a_snapshot(tmp_path: Path) -> None:
    index = filled(tmp_path / "c", 3000, kind="ivf-rabitq", flat_below=500)
    index.compact()
    with Collection.open(tmp_path / "c", read_only=True) as reader:
        assert any("vector.faiss" in line for line in Path("/proc/self/maps").read_text().splitlines())
        index.add(["x"], VECTORS[:1])  # FAISS would end the process if it had to grow what is mapped
        reader.refresh()
        assert len(reader) == 3001
    index.close()


# Compaction and upkeep


def test_recall_after_half_was_replaced_is_that_of_a_fresh_build(tmp_path: Path) -> None:
    rows = 4_000
    old, new = clustered(rows, DIM, seed=1), clustered(rows, DIM, seed=2)
    queries = clustered(100, DIM, seed=2)
    options: dict[str, Any] = {"kind": "ivf-pq", "flat_below": 500}
    names = [f"r{i}" for i in range(rows)]
    churned = Collection.create(tmp_path / "churned", [VectorField(dim=DIM)], settings=CollectionSettings(**options))
    churned.add(names, old)
    churned.compact()
    for start in range(0, rows // 2, 500):
        churned.add(names[start : start + 500], new[start : start + 500])
    churned.upkeep.settle()
    churned.compact()
    fresh = Collection.create(tmp_path / "fresh", [VectorField(dim=DIM)], settings=CollectionSettings(**options))
    final = np.concatenate([new[: rows // 2], old[rows // 2 :]])
    fresh.add(names, final)
    fresh.compact()
    truth_rows = nearest(final, queries)
    recalls = []
    for index in (churned, fresh):
        found = [{int(hit.id[1:]) for hit in hits} for hits in index.search(queries, 10)]
        recalls.append(recall(found, truth_rows))
        index.close()
    assert recalls[0] >= recalls[1] - 0.01
    assert recalls[0] >= 0.9


def test_deleting_much_starts_a_compaction(tmp_path: Path) -> None:
    with filled(tmp_path / "c", 3000) as index:
        index.delete([f"r{i}" for i in range(1200)])
        index.upkeep.settle()
        assert index.stats()["deleted_rows"] == 0
        assert len(index) == 1800
        assert index.verify() == []


def test_growing_beyond_exact_search_turns_to_lists(tmp_path: Path) -> None:
    index = Collection.create(
        tmp_path / "c", [VectorField(dim=DIM)], settings=CollectionSettings(kind="ivf-sq8", flat_below=1000)
    )
    for start in range(0, 3000, 500):
        index.add([f"r{i}" for i in range(start, start + 500)], VECTORS[start : start + 500])
    index.upkeep.settle()
    assert index.stats()["fields"]["vector"]["kind"] == "ivf-sq8"
    assert index.verify() == []
    index.close()


def test_searches_and_writes_go_on_during_a_compaction(tmp_path: Path) -> None:
    index = filled(tmp_path / "c", 3000, kind="ivf-rabitq", flat_below=500)
    failures: list[BaseException] = []
    stop = threading.Event()
    written: list[int] = []

    def write() -> None:
        try:
            while not stop.is_set():
                number = len(written)
                index.add([f"w{number}"], VECTORS[number : number + 1] * -1)
                index.delete([f"r{number}"])
                written.append(number)
        except BaseException as error:
            failures.append(error)

    def read() -> None:
        try:
            while not stop.is_set():
                assert len(index.search(VECTORS[:4], 5)[3]) == 5
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write), threading.Thread(target=read), threading.Thread(target=read)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        index.compact()
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert written
    assert len(index) == 3000
    assert all(f"w{number}" in index and f"r{number}" not in index for number in written)
    assert ids(index, -VECTORS[written[-1]], 1) == [f"w{written[-1]}"]
    assert index.verify() == []
    index.close()


def test_a_snapshot_during_a_rebuild_forgets_no_deletion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = filled(tmp_path / "c", 300)
    build = upkeep.build_state

    def slow(*args: Any, **options: Any) -> Any:
        built = build(*args, **options)
        index.delete(["r7"])
        index.snapshot()
        index.add(["r8"], VECTORS[500:501])
        index.snapshot()
        return built

    monkeypatch.setattr(upkeep, "build_state", slow)
    index.compact()
    assert len(index) == 299
    assert "r7" not in ids(index, VECTORS[7], 10)
    assert index.verify() == []
    index.close()


def test_two_snapshots_of_the_same_are_two(tmp_path: Path) -> None:
    with filled(tmp_path / "c") as index:
        index.snapshot()
        first = index.stats()["snapshot"]
        index.snapshot()
        assert index.stats()["snapshot"] != first
        assert index.verify() == []


def test_the_self_test_raises_an_alarm_below_the_target(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = CollectionSettings(kind="ivf-flat", flat_below=500)
    with Collection.create(tmp_path / "c", [VectorField(dim=DIM)], settings=settings) as index:
        index.add([str(i) for i in range(3000)], np.random.default_rng(0).standard_normal((3000, DIM)))
        index.compact()
        assert index.self_test()["vector"] >= 0.93
        assert not index.stats()["recall_alarm"]
        index._state.searches["vector"].rows.engine.probes = 1  # type: ignore[attr-defined]
        with caplog.at_level(logging.WARNING):
            assert index.self_test()["vector"] < 0.9
        assert "below its target of 0.95" in caplog.text
        stats = index.stats()
        assert stats["recall_alarm"]
        assert stats["fields"]["vector"]["self_test"] < 0.9
        index.compact()
        index.self_test()
        assert not index.stats()["recall_alarm"]


def test_the_self_test_runs_on_a_timer_and_asks_what_users_asked(tmp_path: Path) -> None:
    filled(tmp_path / "c", 1000).close()
    done = threading.Event()
    with Collection.open(tmp_path / "c", self_test_seconds=0.05) as index:
        for start in range(0, 400, 8):
            index.search(VECTORS[start : start + 8], 3)
        assert len(index.upkeep.recent_queries()["vector"]) == 400
        for _ in range(100):
            if index.stats()["fields"]["vector"]["self_test"] is not None:
                done.set()
                break
            threading.Event().wait(0.05)
        assert done.is_set()
        assert index.stats()["fields"]["vector"]["self_test"] == pytest.approx(1.0)


# Words


def test_chinese_is_found_by_trigrams(tmp_path: Path) -> None:
    settings = CollectionSettings(words="trigram")
    with Collection.create(tmp_path / "c", [VectorField(dim=2)], settings=settings) as index:
        index.add(["a", "b"], np.eye(2), contents=[{"text": "我想申请退款处理"}, {"text": "密码忘记了怎么办"}])
        assert [hit.id for hit in index.search_text(["请问退款处理要多久"], 5)[0]] == ["a"]
        assert index.search_text(["退款"], 5) == [[]]  # shorter than three characters


def test_english_is_found_by_its_stems(tmp_path: Path) -> None:
    settings = CollectionSettings(words="porter")
    with Collection.create(tmp_path / "c", [VectorField(dim=2)], settings=settings) as index:
        index.add(["a"], np.eye(1, 2), contents=[{"text": "Refunding charged cards"}])
        assert [hit.id for hit in index.search_text(["refund a card"], 5)[0]] == ["a"]


@pytest.mark.parametrize("text", ['"', "a AND", "NEAR(", "* ^ -", "", "x" * 10_000, "a " * 5_000, "\ud800", "a\0b"])
def test_any_text_is_a_question(text: str, tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c", [VectorField(dim=2)]) as index:
        index.add(["a"], np.eye(1, 2), contents=[{"text": text or "b"}])
        assert len(index.search_text([text, "nothing"], 3)) == 2
        index.delete(["a"])
        assert index.search_text([text], 3) == [[]]
        assert index.verify() == []


def test_many_different_words_are_asked_for_at_once(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c", [VectorField(dim=2)]) as index:
        index.add(["a"], np.eye(1, 2), contents=[{"text": "w7 w8"}])
        assert len(index.search_text([" ".join(f"w{i}" for i in range(1000))], 3)[0]) == 1
