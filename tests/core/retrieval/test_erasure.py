"""What was erased is in no file: looked for here byte by byte, whatever `erase` itself says."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
import string
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from triptych.errors import DataError
from triptych.retrieval import erasure
from triptych.retrieval.base import VectorField
from triptych.retrieval.collection import Collection, CollectionSettings

from .vectors import clustered

DIM, ROWS = 24, 500
VECTORS = clustered(ROWS + 50, DIM)
GONE = [7, 8, 123, 499]
KINDS = ["flat", "ivf-flat", "ivf-sq8", "ivf-pq", "ivf-rabitq", "hnsw"]


def word(number: int) -> str:
    """One that nobody else uses."""
    return "".join(random.Random(number).choices(string.ascii_lowercase, k=12))


def name(number: int) -> str:
    return f"customer-{number:05d}"


def text(number: int) -> str:
    return f'The "größte" complaint\nof {word(number)} № {number}'


def filled(path: Path, kind: str = "flat", rows: int = ROWS) -> Collection:
    settings = CollectionSettings(kind=kind, flat_below=100)  # type: ignore[arg-type]
    field = VectorField(dim=DIM, metric="dot")  # keeps vectors as they are given, bit by bit
    index = Collection.create(path, [field], settings=settings)
    numbers = range(rows)
    index.add(
        [name(number) for number in numbers],
        VECTORS[:rows],
        [{"mail": f"{word(number)}@example.org", "n": number} for number in numbers],
        contents=[{"text": text(number), "more": [{"street": f"{number:05d} Öäü Road"}]} for number in numbers],
    )
    return index


def betrayals(number: int) -> dict[str, bytes]:
    """Everything of an item that could stand in a file."""
    street = f"{number:05d} Öäü Road"
    return {
        "id": name(number).encode(),
        "word": word(number).encode(),
        "text": text(number).encode(),
        "text in JSON": json.dumps(text(number), ensure_ascii=False)[1:-1].encode(),
        "text in ASCII": json.dumps(text(number))[1:-1].encode(),
        "street": street.encode(),
        "street in ASCII": json.dumps(street)[1:-1].encode(),
        "vector": VECTORS[number].tobytes(),
    }


def found(path: Path, wanted: Mapping[str, bytes]) -> dict[str, list[str]]:
    """By what is found, the files it is found in."""
    places: dict[str, list[str]] = {}
    for file in sorted(file for file in path.rglob("*") if file.is_file()):
        content = file.read_bytes()
        for what, data in wanted.items():
            if data in content:
                places.setdefault(what, []).append(file.name)
    return places


def check_living(index: Collection, gone: list[int]) -> None:
    kept = [number for number in range(ROWS) if number not in gone]
    assert sorted(index.ids()) == [name(number) for number in kept]
    found = [hits[0].id for hits in index.search(VECTORS[kept[:100]], 1)]
    assert np.mean([id_ == name(number) for id_, number in zip(found, kept, strict=False)]) >= 0.95
    assert [hit.id for hit in index.search_text([word(kept[3])], 5)[0]] == [name(kept[3])]
    assert index.verify() == []


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_of_an_erased_item_is_left_in_any_file(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "c"
    index = filled(path, kind)
    index.compact()
    assert index.stats()["fields"]["vector"]["kind"] == kind
    index.add([name(8)], VECTORS[8:9], contents=[{"text": text(8)}])  # in the log beside the file
    assert "log.sqlite-wal" in found(path, betrayals(8))["vector"]
    for number in GONE:
        there = found(path, betrayals(number))
        assert {"id", "word", "text in JSON", "vector"} <= set(there)
        assert {"ids.npy", "log.sqlite"} <= set(there["id"])
    index.delete([name(GONE[0])])
    assert {"id", "vector"} <= set(found(path, betrayals(GONE[0])))  # hidden, and not gone

    index.add([name(GONE[0])], VECTORS[GONE[0]][None], contents=[{"text": text(GONE[0])}])
    outcome = index.erase([name(number) for number in GONE])
    files = [file for file in path.rglob("*") if file.is_file()]
    assert outcome == {
        "erased": len(GONE),
        "files": len(files),
        "bytes": sum(file.stat().st_size for file in files),
        "traces": [],
    }
    for number in GONE:
        assert found(path, betrayals(number)) == {}
    check_living(index, GONE)
    index.close()
    for number in GONE:
        assert found(path, betrayals(number)) == {}
    with Collection.open(path) as index:
        check_living(index, GONE)


def test_words_of_an_erased_item_are_no_longer_in_the_full_text_index(tmp_path: Path) -> None:
    """Its terms share beginnings, so that a search for their bytes alone would prove little."""

    def terms() -> set[str]:
        connection = sqlite3.connect(tmp_path / "c" / "log.sqlite")
        connection.execute("CREATE VIRTUAL TABLE temp.terms USING fts5vocab('main', 'words', 'row')")
        there = {term for (term,) in connection.execute("SELECT term FROM temp.terms")}
        connection.close()
        return there

    with filled(tmp_path / "c") as index:
        assert word(7) in terms()
        index.erase([name(7)])
        assert word(7) not in terms()
        assert word(9) in terms()


def test_compaction_alone_leaves_no_bytes_of_what_was_deleted_or_replaced(tmp_path: Path) -> None:
    with filled(tmp_path / "c", "ivf-rabitq") as index:
        index.snapshot()
        index.delete([name(3)])
        index.add([name(4)], VECTORS[510:511], contents=[{"text": "something else"}])
        gone = betrayals(4)
        del gone["id"]
        assert found(tmp_path / "c", betrayals(3))
        assert found(tmp_path / "c", gone)
        index.compact()
        assert found(tmp_path / "c", betrayals(3)) == {}
        assert found(tmp_path / "c", gone) == {}


def test_vectors_of_an_interrupted_migration_are_erased_too(tmp_path: Path) -> None:
    new = VectorField(dim=DIM, metric="dot", encoder="new")
    calls = 0

    def encode(contents: Any) -> dict[str, Any]:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise InterruptedError
        return {"vector": -VECTORS[100 * (calls - 1) : 100 * calls]}

    with filled(tmp_path / "c") as index:
        with pytest.raises(InterruptedError):
            index.migrate([new], encode, batch_size=100)
        wanted = {"vector": (-VECTORS[7]).tobytes()}
        assert found(tmp_path / "c", wanted)
        assert index.erase([name(7)])["traces"] == []
        assert found(tmp_path / "c", wanted) == {}


# What is reported


def test_a_copy_in_the_directory_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "c"
    with filled(path) as index:
        (path / "notes.txt").write_text(f"call {word(7)}@example.org back")
        (path / "deep" / "er").mkdir(parents=True)
        (path / "deep" / "er" / "vectors.bin").write_bytes(b"xyz" + VECTORS[8].tobytes())
        (path / "empty").touch()
        outcome = index.erase([name(7), name(8), name(9)])
        assert outcome["erased"] == 3
        assert outcome["traces"] == [
            f"deep/er/vectors.bin: the vector 'vector' of {name(8)!r}",
            f"notes.txt: a text of {name(7)!r}",
        ]


@pytest.mark.parametrize("kind", KINDS)
def test_an_older_copy_of_the_index_is_reported(kind: str, tmp_path: Path) -> None:
    """The vectors of FAISS' files are found in the eight bits that they have there."""
    path = tmp_path / "c"
    with filled(path, kind) as index:
        index.compact()
        for file in ("vector.faiss", "ids.npy", "values-0.json"):
            (source,) = path.glob(f"snapshots/*/{file}")
            shutil.copy(source, path / f"old-{file}")
        traces = index.erase([name(7)])["traces"]
        rounded = "the vector" if kind in ("flat", "ivf-flat") else "the rounded vector"
        assert f"old-vector.faiss: {rounded} 'vector' of {name(7)!r}" in traces
        assert f"old-ids.npy: the id {name(7)!r}" in traces
        assert f"old-values-0.json: a text of {name(7)!r}" in traces
        assert len(traces) == 3


TEXTS = [
    "said by two",
    'with "quotes"',
    "two\nlines\\",
    "größer",
    'größer and "quoted"',
    "half \ud800 a pair",
    "🙂🙂🙂",
]


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_living_item_has_as_well_is_no_trace(kind: str, tmp_path: Path) -> None:
    with filled(tmp_path / "c", kind) as index:
        for number, common in enumerate(TEXTS):
            index.add(
                [f"double-{number}", f"of-double-{number}"],
                VECTORS[[510 + number] * 2],
                [{"said": common, "by": f"double-{number}"}] * 2,
                contents=[{"text": common}] * 2,
            )
        index.compact()
        outcome = index.erase([f"double-{number}" for number in range(len(TEXTS))])
        assert outcome["erased"] == len(TEXTS)
        assert outcome["traces"] == []
        outcome = index.erase([f"of-double-{number}" for number in range(len(TEXTS))])
        assert outcome["traces"] == []
        assert found(tmp_path / "c", {"vector": VECTORS[510].tobytes(), "id": b"double-"}) == {}


@pytest.mark.parametrize("kind", ["ivf-sq8", "ivf-pq", "ivf-rabitq", "hnsw"])
def test_a_living_vector_that_is_rounded_to_the_same_bits_is_no_trace(kind: str, tmp_path: Path) -> None:
    with filled(tmp_path / "c", kind) as index:
        index.add(["the one"], VECTORS[510:511])
        index.add(["the other"], np.nextafter(VECTORS[510:511], np.float32(2)))
        index.compact()
        assert index.erase(["the one"])["traces"] == []


def test_the_ids_of_neighbours_do_not_look_like_an_erased_one(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c", [VectorField(dim=DIM)]) as index:
        index.add([f"{number:08d}" for number in (100, 101, 10_000)], VECTORS[:3])
        assert index.erase(["00010000"])["traces"] == []
        assert index.ids() == ["00000100", "00000101"]
    with Collection.open(tmp_path / "c") as index:
        assert [hit.id for hit in index.search(VECTORS[:1], 2)[0]] == ["00000100", "00000101"]


def test_unknown_ids_are_passed_over_and_repeated_ones_counted_once(tmp_path: Path) -> None:
    with filled(tmp_path / "c") as index:
        outcome = index.erase(["nobody", name(7), name(7), "\ud800"])
        assert outcome["erased"] == 1
        assert outcome["traces"] == []
        check_living(index, [7])
        assert index.erase(["nobody"])["erased"] == 0
        assert index.erase([])["traces"] == []


def test_who_may_not_write_erases_nothing(tmp_path: Path) -> None:
    filled(tmp_path / "c").close()
    with Collection.open(tmp_path / "c", read_only=True) as reader:
        with pytest.raises(DataError, match="reading only"):
            reader.erase([name(7)])
        assert name(7) in reader


# Others who use the directory


def test_readers_do_not_keep_what_was_erased(tmp_path: Path) -> None:
    path = tmp_path / "c"
    with filled(path, "ivf-rabitq") as index:
        index.compact()
        with Collection.open(path, read_only=True) as reader:
            assert reader.search(VECTORS[7:8], 1)[0][0].id == name(7)
            assert reader.get([name(7)]) != [None]
            assert index.erase([name(7)])["traces"] == []
            assert found(path, betrayals(7)) == {}
            assert (path / "log.sqlite-wal").stat().st_size == 0
            assert reader.refresh()
            assert reader.search(VECTORS[7:8], 1)[0][0].id != name(7)
            assert reader.search_text([word(7)], 3) == [[]]
            assert reader.verify() == []


def test_somebody_who_reads_an_older_state_is_told_of_in_the_outcome(tmp_path: Path) -> None:
    path = tmp_path / "c"
    with filled(path) as index:
        index._log.writer.execute("PRAGMA busy_timeout = 50")  # ms, instead of half a minute
        other = sqlite3.connect(path / "log.sqlite", isolation_level=None)
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM items").fetchone()
        traces = index.erase([name(7)])["traces"]
        assert any(trace.startswith("log.sqlite") for trace in traces)
        assert found(path, betrayals(7))
        other.execute("COMMIT")
        index.compact()
        assert found(path, betrayals(7)) == {}
        other.close()
        check_living(index, [7])


def test_a_snapshot_that_is_replaced_during_the_search_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = erasure._inside
    seen: list[Path] = []

    def meanwhile(path: Path, traces: Any) -> Any:
        if path.name == "codes-0.npy":
            index.add(["new"], VECTORS[510:511])
            index.snapshot()
        seen.append(path)
        return inside(path, traces)

    with filled(tmp_path / "c") as index:
        monkeypatch.setattr(erasure, "_inside", meanwhile)
        outcome = index.erase([name(7)])
        assert outcome["traces"] == []
        assert 2 < outcome["files"] < len(seen)
