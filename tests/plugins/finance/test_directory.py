"""A watched folder."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.errors import ConfigError, DataError
from triptych_finance.sources import directory
from triptych_finance.sources.directory import Directory, DirectoryOptions
from triptych_finance.stream.item import Item
from triptych_finance.stream.source import Source

EVERY = 2.0


class Clock:
    """A clock that moves only when somebody sleeps; `during` runs once, in the next sleep."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.during: Any = None

    def __call__(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.time += seconds
        if self.during is not None:
            action, self.during = self.during, None
            action()


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


def source(folder: Path, clock: Clock | None = None, **options: Any) -> Directory:
    clock = clock or Clock()
    chosen = DirectoryOptions(every=EVERY, **options)
    return Directory(folder, name="s", options=chosen, clock=clock, sleep=clock.sleep)


def put(path: Path, content: Any, age: int = 0) -> Path:
    """A file as it is after a rename; older ones have a greater age."""
    data = content if isinstance(content, bytes) else content.encode()
    path.write_bytes(data)
    os.utime(path, ns=(1_700_000_000_000_000_000 - age,) * 2)
    return path


def line(number: int, **more: Any) -> str:
    return json.dumps({"id": f"n{number}", "text": f"News {number}", "published": "2024-01-01", **more}) + "\n"


def drain(watched: Directory, cursor: str | None = None, limit: int = 100) -> tuple[list[Item], list[str], str]:
    """All that comes until a poll that waits for two looks finds nothing; everything is acknowledged."""
    items: list[Item] = []
    problems: list[str] = []
    while True:
        poll = watched.poll(cursor, limit, 2 * EVERY)
        assert len(poll.items) + len(poll.problems) <= limit + 1  # a problem of the folder itself comes on top
        assert not poll.ended
        if not poll.items and not poll.problems and poll.cursor == (cursor or poll.cursor):
            return items, problems, poll.cursor
        items, problems, cursor = items + poll.items, problems + poll.problems, poll.cursor
        watched.acknowledge(cursor)


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_every_format_is_read_oldest_first_and_put_away(inbox: Path) -> None:
    put(inbox / "a.jsonl", line(5) + line(6), age=1)
    put(inbox / "b.csv", "id,text,published\nn4,News 4,2024-01-01\n", age=2)
    put(inbox / "c.json", line(3), age=3)
    put(inbox / "d.json", f"[{line(1)},{line(2)}]", age=4)
    put(inbox / "e.jsonl.gz", gzip.compress(line(0).encode()), age=5)
    watched = source(inbox)
    assert isinstance(watched, Source)
    items, problems, _ = drain(watched)
    assert [item.id for item in items] == [f"n{n}" for n in range(7)]
    assert problems == []
    assert names(inbox) == ["done/a.jsonl", "done/b.csv", "done/c.json", "done/d.json", "done/e.jsonl.gz"]


def test_a_text_file_is_one_item_of_the_time_it_was_written(inbox: Path) -> None:
    put(inbox / "note.txt", "\ufeffMills up\n\nThe mills sold more.\n")
    (item,), _, _ = drain(source(inbox))
    assert (item.title, item.text) == ("Mills up", "Mills up\n\nThe mills sold more.")
    assert item.published.isoformat() == "2023-11-14T22:13:20+00:00"


def test_a_file_that_still_grows_waits_until_it_is_complete(inbox: Path) -> None:
    clock = Clock()
    watched = source(inbox, clock)
    put(inbox / "news.jsonl", line(1))
    clock.during = lambda: put(inbox / "news.jsonl", line(1) + line(2))  # between the first look and the second
    assert watched.poll(None, 10, EVERY).items == []
    assert [item.id for item in watched.poll(None, 10, EVERY).items] == ["n1", "n2"]


def test_two_looks_are_never_nearer_than_the_interval(inbox: Path) -> None:
    put(inbox / "news.jsonl", line(1))
    clock = Clock()
    watched = source(inbox, clock)
    assert [watched.poll(None, 10, 0.0).items for _ in range(5)] == [[]] * 5
    assert clock.time == 1000.0
    clock.time += EVERY
    assert len(watched.poll(None, 10, 0.0).items) == 1


def test_unfinished_names_are_left_alone_and_read_after_the_rename(inbox: Path) -> None:
    for name in (".news.jsonl", "news.jsonl.tmp", "news.jsonl.part"):
        put(inbox / name, line(1))
    watched = source(inbox)
    items, problems, cursor = drain(watched)
    assert (items, problems) == ([], [])
    (inbox / ".news.jsonl").rename(inbox / "news.jsonl")
    assert [item.id for item in drain(watched, cursor)[0]] == ["n1"]


def test_bad_files_and_rows_are_problems_and_the_rest_goes_on(inbox: Path) -> None:
    put(inbox / "1.json", "{broken", age=9)
    put(inbox / "2.csv", 'id,text,published\nn1,fine,2024-01-01\nn2,"never closed,2024-01-01\n', age=8)
    put(inbox / "3.txt", b"caf\xe9", age=7)
    put(inbox / "4.jsonl", line(3) + "[]\n" + line(4), age=6)
    put(inbox / "5.jsonl.gz", gzip.compress(line(9).encode() * 500)[:-9], age=5)
    put(inbox / "6.csv", "", age=4)
    put(inbox / "7.json", '["text"]', age=3)
    put(inbox / "picture.png", b"png")
    (inbox / "folder").mkdir()
    items, problems, _ = drain(source(inbox), limit=1)
    assert [item.id for item in items if item.id != "n9"] == ["n1", "n3", "n4"]
    assert [problem.partition(": ")[0].removeprefix(f"{inbox}/") for problem in problems] == [
        "picture.png", "1.json", "2.csv, row 2", "3.txt", "4.jsonl, row 2", "5.jsonl.gz", "6.csv", "7.json, row 1",
    ]  # fmt: skip
    assert names(inbox) == [
        "done/4.jsonl", "done/7.json", "failed/1.json", "failed/2.csv", "failed/3.txt", "failed/5.jsonl.gz",
        "failed/6.csv", "picture.png",
    ]  # fmt: skip


def test_a_json_file_beyond_measure_is_not_loaded(inbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "LARGEST_JSON", 1000)
    put(inbox / "big.json", f"[{','.join(line(n) for n in range(50))}]")
    _, (problem,), _ = drain(source(inbox))
    assert "use .jsonl" in problem


def test_a_problem_of_the_folder_is_told_once_and_the_source_recovers(inbox: Path) -> None:
    watched = source(inbox)
    inbox.rename(inbox.with_name("away"))
    (problem,) = watched.poll(None, 10, EVERY).problems
    assert "the folder cannot be read (No such file or directory)" in problem
    again = watched.poll(None, 10, 3 * EVERY)
    assert (again.problems, again.answered) == ([], False)
    inbox.with_name("away").rename(inbox)
    assert watched.poll(None, 10, 3 * EVERY).answered
    put(inbox / "news.jsonl", line(1))
    assert [item.id for item in drain(watched)[0]] == ["n1"]


def test_after_a_crash_before_the_commit_everything_comes_again(inbox: Path) -> None:
    put(inbox / "news.jsonl", line(1) + line(2) + line(3))
    first = source(inbox).poll(None, 2, 2 * EVERY)
    assert [item.id for item in first.items] == ["n1", "n2"]
    assert [item.id for item in drain(source(inbox))[0]] == ["n1", "n2", "n3"]


def test_after_a_crash_between_commit_and_acknowledgement_nothing_comes_again(inbox: Path) -> None:
    put(inbox / "1.jsonl", line(1), age=2)
    put(inbox / "2.jsonl", "broken\n", age=1)
    put(inbox / "3.json", "{", age=0)
    first = source(inbox)
    poll = first.poll(None, 10, 2 * EVERY)
    assert (len(poll.items), len(poll.problems)) == (1, 2)
    assert names(inbox) == ["1.jsonl", "2.jsonl", "3.json"]
    again, problems, _ = drain(source(inbox), poll.cursor)
    assert (again, problems) == ([], [])
    assert names(inbox) == ["done/1.jsonl", "done/2.jsonl", "failed/3.json"]


def test_a_new_file_under_an_old_name_is_read_even_when_the_old_one_is_not_put_away(inbox: Path) -> None:
    put(inbox / "news.jsonl", line(1))
    cursor = source(inbox).poll(None, 10, 2 * EVERY).cursor
    put(inbox / "news.jsonl", line(2) + line(3))
    assert [item.id for item in drain(source(inbox), cursor)[0]] == ["n2", "n3"]


def test_names_that_are_taken_in_done_get_a_number(inbox: Path) -> None:
    watched, cursor = source(inbox), None
    for number in range(3):
        put(inbox / "news.jsonl", line(number), age=number)
        _, _, cursor = drain(watched, cursor)
    assert names(inbox) == ["done/news.1.jsonl", "done/news.2.jsonl", "done/news.jsonl"]


def test_a_file_that_changes_while_it_is_read_is_a_problem_and_read_anew(inbox: Path) -> None:
    put(inbox / "news.jsonl", line(1) + line(2))
    cursor = source(inbox).poll(None, 1, 2 * EVERY).cursor
    put(inbox / "news.jsonl", line(1) + line(2) + line(3))
    items, problems, _ = drain(source(inbox), cursor)
    assert problems == [f"{inbox}/news.jsonl: changed or vanished after 1 of its rows; if it is there, it is read anew"]
    assert [item.id for item in items] == ["n1", "n2", "n3"]


def test_the_cursor_does_not_grow_with_the_files_that_were_put_away(inbox: Path) -> None:
    watched, cursor, longest = source(inbox), None, 0
    for number in range(30):
        put(inbox / f"{number}.jsonl", line(number))
        _, _, cursor = drain(watched, cursor)
        longest = max(longest, len(cursor))
    assert longest < 200


def test_files_of_a_folder_that_cannot_be_written_are_still_read_once(
    inbox: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(self: Path, target: Path) -> Path:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "rename", refuse)
    put(inbox / "news.jsonl", line(1))
    watched = source(inbox)
    poll = watched.poll(None, 10, 2 * EVERY)
    watched.acknowledge(poll.cursor)
    assert len(poll.items) == 1
    assert watched.poll(poll.cursor, 10, 5 * EVERY).items == []
    assert source(inbox).poll(poll.cursor, 10, 5 * EVERY).items == []
    assert "cannot be moved: Permission denied" in caplog.text


def test_a_name_that_is_not_utf8_is_read_and_can_be_printed(inbox: Path) -> None:
    put(inbox / os.fsdecode(b"caf\xe9.jsonl"), line(1) + "broken\n")
    items, (problem,), cursor = drain(source(inbox))
    assert [item.id for item in items] == ["n1"]
    assert "caf\N{REPLACEMENT CHARACTER}.jsonl, row 2".encode() in problem.encode()
    assert cursor.encode()
    assert (inbox / "done" / os.fsdecode(b"caf\xe9.jsonl")).is_file()


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=5),
    st.integers(1, 4),
    st.lists(st.sampled_from(["commit", "commit and acknowledge", "crash", "crash after commit"]), max_size=30),
)
def test_each_row_is_committed_exactly_once_whatever_crashes(
    tmp_path_factory: pytest.TempPathFactory, rows: list[int], limit: int, fates: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("inbox")
    expected = []
    for number, count in enumerate(rows):
        expected += [f"n{number}-{row}" for row in range(count)]
        content = "".join(line(0, id=f"n{number}-{row}") for row in range(count))
        put(folder / f"{number}.jsonl", content, age=-number)
    watched, cursor = source(folder), None
    committed: list[str] = []
    for fate in [*fates, *["commit and acknowledge"] * 60]:
        poll = watched.poll(cursor, limit, 2 * EVERY)
        if fate != "crash":
            committed += [item.id for item in poll.items]
            cursor = poll.cursor
        if fate == "commit and acknowledge":
            watched.acknowledge(poll.cursor)
        elif fate != "commit":
            watched = source(folder)
    assert committed == expected
    assert names(folder) == [f"done/{number}.jsonl" for number in range(len(rows))]


@pytest.mark.parametrize(
    ("spec", "error", "words"),
    [
        ("directory:missing", DataError, "missing: the folder does not exist"),
        ("directory:.?evry=1", ConfigError, "'evry'"),
    ],
)
def test_a_wrong_address_is_an_error_at_once(spec: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        Directory.open(spec, name="s", store=None)


def test_a_foreign_cursor_is_refused(inbox: Path) -> None:
    for cursor in ("12@2024-01-01", "[]", '{"done": 1}'):
        with pytest.raises(DataError, match="no place in a folder"):
            source(inbox).poll(cursor, 1, 0.0)


def test_it_opens_by_its_address(inbox: Path) -> None:
    put(inbox / "news.jsonl", line(1))
    watched = Directory.open(f"directory:{inbox}?every=0.05", name="s", store=None)
    poll = watched.poll(None, 10, 60.0)
    assert [item.id for item in poll.items] == ["n1"]
