"""Another encoder for a collection that is in use: what is found before, during and after, and after a kill."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from triptych.errors import DataError
from triptych.retrieval import migration
from triptych.retrieval.base import VectorField
from triptych.retrieval.collection import Collection, CollectionSettings

OLD = VectorField(name="text", dim=8, encoder="old-1", source="old")
NEW = VectorField(name="text", dim=12, encoder="new-1", source="new")
ITEMS = 60

Contents = Sequence[Mapping[str, Any]]


def vector_of(content: Mapping[str, Any], field: VectorField) -> np.ndarray:
    """What an encoder makes of a text: a unit vector float32 [dim] that depends on its words and on the encoder."""
    seed = zlib.crc32(f"{field.encoder} {content['text']}".encode())
    drawn = np.random.default_rng(seed).standard_normal(field.dim)
    return (drawn / np.linalg.norm(drawn)).astype(np.float32)


def encoding(*fields: VectorField) -> Callable[[Contents], dict[str, Any]]:
    return lambda contents: {field.name: [vector_of(content, field) for content in contents] for field in fields}


def texts(*numbers: int) -> list[dict[str, str]]:
    return [{"text": f"text number {number}"} for number in numbers]


def put(index: Collection, field: VectorField, *numbers: int, prefix: str = "i") -> None:
    """Add items, or replace them, as whoever uses this field does."""
    contents = texts(*numbers)
    vectors = {field.name: [vector_of(content, field) for content in contents]}
    ids = [f"{prefix}{number}" for number in numbers]
    index.add(ids, vectors, [{"n": n} for n in numbers], contents=contents, encoder=field.encoder)


def filled(path: Path, items: int = ITEMS, **settings: Any) -> Collection:
    made = Collection.create(path, [OLD], settings=CollectionSettings(**settings))
    put(made, OLD, *range(items))
    return made


def best(index: Collection, number: int, field: VectorField, k: int = 1) -> list[str]:
    query = vector_of(texts(number)[0], field)[None]
    return [hit.id for hit in index.search(query, k, field=field.name, encoder=field.encoder)[0]]


def check_everything(index: Collection, field: VectorField, numbers: Sequence[int]) -> None:
    """Exactly the items of these numbers are there, each found by its vector and kept with it."""
    assert sorted(index.ids()) == sorted(f"i{number}" for number in numbers)
    for number, item in zip(numbers, index.get([f"i{number}" for number in numbers]), strict=True):
        assert item is not None
        assert set(item.vectors) == {field.name}
        np.testing.assert_allclose(item.vectors[field.name], vector_of(item.content, field), atol=1e-6)
        assert best(index, number, field) == [item.id]
        assert [hit.id for hit in index.search_text([f"number {number}"], 1)[0]] == [item.id]
    assert index.verify() == []


# From one to the other


@pytest.mark.parametrize("new", [NEW, OLD, NEW.model_copy(update={"name": "other"})], ids=["new", "same", "renamed"])
def test_a_migration_swaps_the_fields(new: VectorField, tmp_path: Path) -> None:
    reached: list[tuple[int, int]] = []
    with filled(tmp_path / "c") as index:
        index.migrate([new], encoding(new), batch_size=25, progress=lambda *done: reached.append(done))
        assert dict(index.fields) == {new.name: new}
        check_everything(index, new, range(ITEMS))
        assert list(index.stats()["fields"]) == [new.name]
    assert reached == [(25, 60), (50, 60), (60, 60), (60, 60)]
    with Collection.open(tmp_path / "c") as index:
        check_everything(index, new, range(ITEMS))


def test_vectors_of_the_former_encoder_are_refused_afterwards(tmp_path: Path) -> None:
    with filled(tmp_path / "c") as index:
        index.migrate([NEW], encoding(NEW))
        with pytest.raises(DataError, match="'new-1', these are of 'old-1'"):
            best(index, 1, OLD)
        with pytest.raises(DataError, match="'new-1', these are of 'old-1'"):
            index.add(["i70"], np.eye(1, NEW.dim), contents=texts(70), encoder=OLD.encoder)
        put(index, NEW, 70)
        assert best(index, 70, NEW) == ["i70"]
        assert len(index) == ITEMS + 1


def test_one_field_becomes_two_and_items_may_lack_either(tmp_path: Path) -> None:
    image = VectorField(name="image", dim=4, encoder="picture-1")

    def encode(contents: Contents) -> dict[str, Any]:
        numbers = [int(content["text"].split()[-1]) for content in contents]
        return {
            "text": [None if n % 2 else vector_of(c, NEW) for n, c in zip(numbers, contents, strict=True)],
            "image": [vector_of(c, image) if n % 3 == 0 else None for n, c in zip(numbers, contents, strict=True)],
        }

    with filled(tmp_path / "c") as index:
        index.migrate([NEW, image], encode, batch_size=7)
        fields = index.stats()["fields"]
        assert (fields["text"]["vectors"], fields["image"]["vectors"]) == (30, 20)
        assert best(index, 4, NEW) == ["i4"]
        assert best(index, 9, image) == ["i9"]
        items = index.get(["i1", "i2", "i3", "i6"])
        assert [sorted(item.vectors) for item in items if item] == [[], ["text"], ["image"], ["image", "text"]]
        assert index.verify() == []
        index.migrate([image], lambda contents: {"image": [None] * len(contents)})
        assert index.stats()["fields"]["image"]["vectors"] == 0
        assert [hit.id for hit in index.search_text(["number 5"], 1)[0]] == ["i5"]
        assert index.verify() == []


def test_an_empty_collection_is_migrated(tmp_path: Path) -> None:
    with filled(tmp_path / "c", items=0) as index:
        index.migrate([NEW], encoding(NEW))
        put(index, NEW, 1)
        check_everything(index, NEW, [1])


def test_lists_are_fitted_to_the_new_vectors(tmp_path: Path) -> None:
    with filled(tmp_path / "c", 600, kind="ivf-flat", flat_below=100) as index:
        index.migrate([NEW], encoding(NEW))
        assert index.stats()["fields"]["text"]["kind"] == "ivf-flat"
        check_everything(index, NEW, range(600))


def test_the_ids_are_told_to_an_encoder_that_takes_them(tmp_path: Path) -> None:
    """So that an unreadable picture is named by its item."""

    def encode(contents: Contents, *, ids: Sequence[str]) -> dict[str, Any]:
        if "i7" in ids:
            raise DataError(f"the item {ids[ids.index('i7')]!r} cannot be encoded")
        return encoding(NEW)(contents)

    with filled(tmp_path / "c") as index:
        with pytest.raises(DataError, match="the item 'i7' cannot be encoded"):
            index.migrate([NEW], encode, batch_size=5)
        check_everything(index, OLD, range(ITEMS))


# What goes on meanwhile


def test_what_an_encoder_sees_and_does_on_the_way(tmp_path: Path) -> None:
    """Searches answer by the old fields, and writes count for both."""
    calls = 0

    def encode(contents: Contents) -> dict[str, Any]:
        nonlocal calls
        calls += 1
        assert dict(index.fields) == {"text": OLD}
        assert best(index, 41, OLD) == ["i41"]
        if calls == 1:
            index.delete(["i0", "i3"])  # being encoded, and never written
            put(index, OLD, 5)  # replaced while its former self is being encoded
        if calls == 2:
            put(index, OLD, 70, 71)
            index.delete(["i1"])  # done already
            put(index, OLD, 2)  # done already, and to be done again
        if calls == 4:
            index.delete(["i70"])
            index.add(["i50"], {"text": [None]}, contents=texts(90))  # a text alone, which is encoded all the same
            index.delete(["i50"])
            put(index, OLD, 50)
            index.compact()
        return encoding(NEW)(contents)

    with filled(tmp_path / "c") as index:
        index.migrate([NEW], encode, batch_size=16)
        check_everything(index, NEW, sorted({*range(ITEMS), 71} - {0, 1, 3}))
        assert calls >= 5
    with Collection.open(tmp_path / "c") as index:
        check_everything(index, NEW, sorted({*range(ITEMS), 71} - {0, 1, 3}))


def test_searches_and_writes_of_other_threads_go_on(tmp_path: Path) -> None:
    failures: list[BaseException] = []
    stop = threading.Event()
    started = threading.Barrier(4)
    gone: set[int] = set()
    come: set[int] = set()
    index = filled(tmp_path / "c", 400)

    def write() -> None:
        started.wait()
        number = 1000
        while not stop.is_set() and number < 1300:
            field = index.fields["text"]
            try:
                put(index, field, number)
            except DataError:
                assert index.fields["text"] == NEW != field  # swapped between the question and the write
                continue
            come.add(number)
            index.delete([f"i{number - 1000}"])
            gone.add(number - 1000)
            number += 1

    def read() -> None:
        started.wait()
        while not stop.is_set():
            field = index.fields["text"]
            try:
                assert best(index, 399, field) == ["i399"]
            except DataError:
                assert index.fields["text"] == NEW != field
            (item,) = index.get(["i399"])
            assert item is not None
            assert len(item.vectors["text"]) in (OLD.dim, NEW.dim)

    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)

    def encode(contents: Contents) -> dict[str, Any]:
        time.sleep(0.01)
        return encoding(NEW)(contents)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in (write, read, read)]
    for thread in threads:
        thread.start()
    started.wait()
    index.migrate([NEW], encode, batch_size=20)
    time.sleep(0.05)
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert come
    check_everything(index, NEW, sorted({*range(400)} - gone | come))
    index.close()


def test_what_comes_between_the_last_step_and_the_build_is_encoded_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish = migration._Migration.finish
    with filled(tmp_path / "c") as index:

        def first_add(self: Any) -> None:
            put(index, OLD, 80)
            index.delete(["i4"])
            finish(self)

        build = migration.build_state

        def last_add(*args: Any, **options: Any) -> Any:
            put(index, OLD, 81, 7)
            index.delete(["i80"])
            return build(*args, **options)

        monkeypatch.setattr(migration._Migration, "finish", first_add)
        monkeypatch.setattr(migration, "build_state", last_add)
        index.migrate([NEW], encoding(NEW))
        check_everything(index, NEW, sorted({*range(ITEMS), 81} - {4}))


def test_a_field_that_stays_as_it_is_called_has_old_and_new_vectors_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader that catches up in the middle sees old ones; the swap takes new ones, of items that come late too."""
    build = migration.build_state

    def late(*args: Any, **options: Any) -> Any:
        put(index, OLD, 81)
        return build(*args, **options)

    def encode(contents: Contents) -> dict[str, Any]:
        (content,) = contents
        if content["text"] == "text number 0":
            put(index, OLD, 70, 71)
        if content["text"] == "text number 71":  # 70 has both vectors by now, and 71 the old one only
            assert reader.refresh()
            assert [best(reader, number, OLD) for number in (1, 70, 71)] == [["i1"], ["i70"], ["i71"]]
        return {"text": [None if content["text"] in ("text number 2", "text number 81") else -vector_of(content, OLD)]}

    monkeypatch.setattr(migration, "build_state", late)
    with filled(tmp_path / "c", items=5) as index, Collection.open(tmp_path / "c", read_only=True) as reader:
        index.migrate([OLD], encode, batch_size=1)
        assert index.stats()["fields"]["text"]["vectors"] == 6
        for number in (0, 1, 3, 4, 70, 71):
            query = -vector_of(texts(number)[0], OLD)
            assert index.search(query[None], 1, encoder=OLD.encoder)[0][0].id == f"i{number}"
        assert best(index, 81, OLD) != ["i81"]
        assert index.verify() == []
        assert reader.refresh()
        assert reader.verify() == []


def test_a_compaction_under_way_does_not_bring_the_old_fields_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from triptych.retrieval import upkeep

    built, go = threading.Event(), threading.Event()
    build = upkeep.build_state

    def slow(*args: Any, **options: Any) -> Any:
        made = build(*args, **options)
        built.set()
        go.wait(10)
        return made

    monkeypatch.setattr(upkeep, "build_state", slow)
    with filled(tmp_path / "c") as index:
        compacting = threading.Thread(target=index.compact)
        compacting.start()
        assert built.wait(10)
        migrating = threading.Thread(target=index.migrate, args=([NEW], encoding(NEW)))
        migrating.start()
        migrating.join(0.3)
        go.set()
        compacting.join()
        migrating.join()
        check_everything(index, NEW, range(ITEMS))


def test_a_second_migration_at_the_same_time_is_refused(tmp_path: Path) -> None:
    def encode(contents: Contents) -> dict[str, Any]:
        with pytest.raises(DataError, match="is being migrated already"):
            index.migrate([NEW], encoding(NEW))
        return encoding(NEW)(contents)

    with filled(tmp_path / "c") as index:
        index.migrate([NEW], encode)
        check_everything(index, NEW, range(ITEMS))
        index.migrate([OLD], encoding(OLD))
        check_everything(index, OLD, range(ITEMS))


# Readers


def test_a_reader_in_the_same_process_follows_the_swap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("triptych.retrieval.collection._REFRESH_S", 0.0)
    with filled(tmp_path / "c") as index, Collection.open(tmp_path / "c", read_only=True) as reader:

        def encode(contents: Contents) -> dict[str, Any]:
            assert best(reader, 41, OLD) == ["i41"]
            with pytest.raises(DataError, match="reading only"):
                reader.migrate([NEW], encoding(NEW))
            return encoding(NEW)(contents)

        index.migrate([NEW], encode, batch_size=30)
        assert best(reader, 41, NEW) == ["i41"]
        check_everything(reader, NEW, range(ITEMS))
        assert dict(reader.fields) == {"text": NEW}


READER = """
import sys
from pathlib import Path
from tests.core.retrieval.test_migration import NEW, OLD, best
from triptych.retrieval.collection import Collection
with Collection.open(sys.argv[1], read_only=True) as reader:
    print("ready", flush=True)
    for line in sys.stdin:
        reader.refresh()
        field = reader.fields["text"]
        print(field.encoder, len(reader), *best(reader, int(line), field), flush=True)
"""
ROOT = Path(__file__).resolve().parents[3]


def test_a_reading_process_follows_the_swap(tmp_path: Path) -> None:
    command = [sys.executable, "-c", READER, str(tmp_path / "c")]
    with filled(tmp_path / "c") as index:
        reader = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert reader.stdout

        def ask(number: int) -> str:
            assert reader.stdin
            assert reader.stdout
            reader.stdin.write(f"{number}\n")
            reader.stdin.flush()
            return reader.stdout.readline().strip()

        try:
            assert reader.stdout.readline() == "ready\n"
            assert ask(3) == "old-1 60 i3"
            answers = []

            def encode(contents: Contents) -> dict[str, Any]:
                answers.append(ask(5))
                return encoding(NEW)(contents)

            index.migrate([NEW], encode, batch_size=30)
            assert set(answers) == {"old-1 60 i5"}
            assert ask(7) == "new-1 60 i7"
            put(index, NEW, 60)
            assert ask(60) == "new-1 61 i60"
        finally:
            reader.kill()
            reader.communicate()


# Interruptions


KILLED = """
import os, signal, sys
from tests.core.retrieval.test_migration import NEW, encoding
from triptych.retrieval.collection import Collection
index = Collection.open(sys.argv[1])
done = 0
def encode(contents):
    global done
    if done == 30:
        os.kill(os.getpid(), signal.SIGKILL)
    done += len(contents)
    return encoding(NEW)(contents)
index.migrate([NEW], encode, batch_size=10)
"""


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """A collection whose migration to NEW was killed when 30 of 60 items were done."""
    filled(tmp_path / "c").close()
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "c")], cwd=ROOT, check=False)
    assert done.returncode == -9
    return tmp_path / "c"


def test_after_a_kill_the_old_fields_are_in_service(killed: Path) -> None:
    with Collection.open(killed) as index:
        assert dict(index.fields) == {"text": OLD}
        check_everything(index, OLD, range(ITEMS))
        index.compact()
        check_everything(index, OLD, range(ITEMS))


def test_a_killed_migration_goes_on_where_it_was(killed: Path) -> None:
    seen: list[str] = []

    def encode(contents: Contents) -> dict[str, Any]:
        seen.extend(content["text"] for content in contents)
        return encoding(NEW)(contents)

    with Collection.open(killed) as index:
        index.delete(["i2", "i40"])  # one that was done, and one that was not
        put(index, OLD, 3, 65)
        index.migrate([NEW], encode, batch_size=10)
        numbers = [number for number in range(30, 60) if number != 40]
        assert seen == [content["text"] for content in texts(*numbers, 3, 65)]
        check_everything(index, NEW, sorted({*range(ITEMS), 65} - {2, 40}))


@pytest.mark.parametrize("change", [{"encoder": "new-2"}, {"dim": 5}, {"name": "other"}])
def test_to_other_fields_than_the_interrupted_one_it_begins_anew(change: dict[str, Any], killed: Path) -> None:
    other = NEW.model_copy(update=change)
    count = 0

    def encode(contents: Contents) -> dict[str, Any]:
        nonlocal count
        count += len(contents)
        return encoding(other)(contents)

    with Collection.open(killed) as index:
        index.migrate([other], encode)
        assert count == ITEMS
        check_everything(index, other, range(ITEMS))


def test_a_kill_between_the_swap_and_the_snapshot_is_got_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from triptych.retrieval import snapshots

    def fail(*args: Any) -> None:
        raise OSError("no room")

    index = filled(tmp_path / "c")
    index.snapshot()
    with monkeypatch.context() as patch:
        patch.setattr(snapshots, "write_snapshot", fail)
        index.migrate([NEW], encoding(NEW))  # what was encoded is not lost with the snapshot
    assert "no snapshot" in caplog.text
    check_everything(index, NEW, range(ITEMS))
    with Collection.open(tmp_path / "c", read_only=True) as reader:
        check_everything(reader, NEW, range(ITEMS))
    index.close()


# Refusals


def test_items_without_content_are_named_and_nothing_is_encoded(tmp_path: Path) -> None:
    def encode(contents: Contents) -> dict[str, Any]:
        raise AssertionError("nothing should be encoded in vain")

    with filled(tmp_path / "c") as index:
        names = [f"mute{number}" for number in range(7)]
        index.add(names, np.eye(7, 8), encoder=OLD.encoder)
        with pytest.raises(DataError, match=r"'mute0', 'mute1', 'mute2', 'mute3', 'mute4' \.\.\.; add them again"):
            index.migrate([NEW], encode)
        assert best(index, 5, OLD) == ["i5"]
        assert index.verify() == []
        index.delete(names)
        index.migrate([NEW], encoding(NEW))
        check_everything(index, NEW, range(ITEMS))


def test_an_item_without_content_that_comes_meanwhile_is_named_too(tmp_path: Path) -> None:
    def encode(contents: Contents) -> dict[str, Any]:
        index.add(["mute"], np.eye(1, 8), encoder=OLD.encoder)
        return encoding(NEW)(contents)

    with filled(tmp_path / "c") as index:
        with pytest.raises(DataError, match="without content cannot be encoded again: 'mute'"):
            index.migrate([NEW], encode)
        index.delete(["mute"])
        check_everything(index, OLD, range(ITEMS))


def raising(contents: Contents) -> dict[str, Any]:
    raise RuntimeError("the encoder fell over")


BAD: dict[str, tuple[Callable[[Contents], Any], type[Exception], str]] = {
    "raises": (raising, RuntimeError, "fell over"),
    "other dims": (lambda c: {"text": np.ones((len(c), 8))}, DataError, r"shape \[rows, 12\], got \[20, 8\]"),
    "too few": (lambda c: {"text": np.ones((len(c) - 1, 12))}, DataError, "20 ids came with 19 vectors"),
    "NaN": (lambda c: {"text": np.full((len(c), 12), np.nan)}, DataError, r"vector 0 \(id 'i0'\) holds NaN"),
    "another field": (lambda c: {"text": np.ones((len(c), 12)), "x": []}, DataError, "vectors for text, x, where"),
    "no field": (lambda c: {}, DataError, "vectors for no field, where those for text"),
}


@pytest.mark.parametrize("name", BAD)
def test_an_encoder_that_fails_leaves_the_old_fields_in_service(name: str, tmp_path: Path) -> None:
    encode, kind, message = BAD[name]
    calls = 0

    def later(contents: Contents) -> Any:
        nonlocal calls
        calls += 1
        return encoding(NEW)(contents) if calls == 2 else encode(contents)

    with filled(tmp_path / "c") as index:
        with pytest.raises(kind, match=message):
            index.migrate([NEW], later, batch_size=20)
        check_everything(index, OLD, range(ITEMS))
        index.migrate([NEW], encoding(NEW))
        check_everything(index, NEW, range(ITEMS))


def test_what_cannot_be_asked_for_is_refused(tmp_path: Path) -> None:
    with filled(tmp_path / "c") as index:
        with pytest.raises(DataError, match="need different names, got text, text"):
            index.migrate([NEW, OLD], encoding(NEW))
        with pytest.raises(DataError, match="batch_size is 0"):
            index.migrate([NEW], encoding(NEW), batch_size=0)
        check_everything(index, OLD, range(ITEMS))
