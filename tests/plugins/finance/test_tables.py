"""Replay of files in event time."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
import tracemalloc
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.errors import ConfigError, DataError
from triptych_finance.sources import rows, tables
from triptych_finance.sources.tables import Replay, ReplayOptions
from triptych_finance.stream.item import Item
from triptych_finance.stream.source import Poll, Source

START = datetime(2024, 1, 1, tzinfo=UTC)


def record(number: int, hours: float | None = None, **more: Any) -> dict[str, Any]:
    published = START + timedelta(hours=number if hours is None else hours)
    return {"id": f"n{number}", "text": f"News {number}", "published": published.isoformat(), **more}


def jsonl(path: Path, records: Sequence[Any]) -> Path:
    text = "".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in records)
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def polls(source: Source, limit: int = 3, cursor: str | None = None) -> Iterator[Poll]:
    while True:
        poll = source.poll(cursor, limit, 0.0)
        assert len(poll.items) + len(poll.problems) <= limit
        yield poll
        if poll.ended:
            return
        cursor = poll.cursor


def everything(source: Source, cursor: str | None = None) -> tuple[list[Item], list[str]]:
    found = list(polls(source, cursor=cursor))
    return [i for poll in found for i in poll.items], [p for poll in found for p in poll.problems]


def replay(path: Path, **options: Any) -> Replay:
    return Replay(path, name="s", options=ReplayOptions(**options))


@pytest.mark.parametrize("name", ["news.csv", "news.tsv", "news.csv.gz", "news.jsonl", "news.jsonl.gz", "news.parquet"])
def test_every_format_gives_the_same_items(tmp_path: Path, name: str) -> None:
    records = [record(n, text=f'He said "up {n}",\nand left', entities="A|B") for n in range(5)]
    path = tmp_path / name
    if name == "news.parquet":
        pq.write_table(pa.Table.from_pylist(records), path)
    elif "jsonl" in name:
        jsonl(path, records)
    else:
        out = io.StringIO(newline="")
        writer = csv.DictWriter(out, list(records[0]), delimiter="\t" if name.endswith("tsv") else ",")
        writer.writeheader()
        writer.writerows(records)
        data = out.getvalue().encode()
        path.write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    source = Replay.open(f"replay:{path}", name="s", store=None)
    assert isinstance(source, Source)
    items, problems = everything(source)
    assert problems == []
    assert items == [
        Item(f"n{n}", "s", f'He said "up {n}",\nand left', moment, moment, entities=("A", "B"))
        for n in range(5)
        for moment in [START + timedelta(hours=n)]
    ]


def test_times_and_lists_of_parquet_are_read_as_they_are(tmp_path: Path) -> None:
    table = pa.table(
        {
            "text": ["a"],
            "published": pa.array([1_704_067_200_123_456_789], pa.timestamp("ns", tz="Europe/Paris")),
            "entities": [["A", "B"]],
        }
    )
    pq.write_table(table, tmp_path / "news.parquet")
    (item,), _ = everything(replay(tmp_path / "news.parquet"))
    assert item.published == datetime(2024, 1, 1, 0, 0, 0, 123_456, tzinfo=UTC)
    assert (item.entities, item.id) == (("A", "B"), "1")


def test_small_files_are_sorted_and_equal_times_stay_as_they_stand(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "news.jsonl", [record(n, hours) for n, hours in enumerate([5, 1, 5, 0, 1])])
    items, _ = everything(replay(path))
    assert [item.id for item in items] == ["n3", "n1", "n4", "n0", "n2"]
    assert all(item.arrived == item.published for item in items)


def test_in_the_order_of_the_file_arrival_is_the_latest_event_time_so_far(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "news.jsonl", [record(n, hours) for n, hours in enumerate([5, 1, 7, 0])])
    items, _ = everything(replay(path, order="file"))
    assert [item.id for item in items] == ["n0", "n1", "n2", "n3"]
    assert [(item.arrived - START).total_seconds() / 3600 for item in items] == [5, 5, 7, 7]


def test_a_large_file_that_goes_back_in_time_is_refused_with_row_and_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "SORTED_IN_MEMORY", 100)
    path = jsonl(tmp_path / "news.jsonl.gz", [record(n, hours) for n, hours in enumerate([1, 2, 2, 1, 3])])
    with pytest.raises(DataError, match=r"row 4: 'published' goes back from .*order=file"):
        everything(replay(path))
    assert len(everything(replay(path, order="file"))[0]) == 5


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(0, 6) | st.none(), min_size=1, max_size=12),
    st.integers(1, 5),
    st.sampled_from(["time", "file"]),
)
def test_however_often_it_is_stopped_the_items_are_the_same(
    tmp_path_factory: pytest.TempPathFactory, hours: list[int | None], limit: int, order: Any
) -> None:
    path = tmp_path_factory.mktemp("replay") / "news.jsonl"
    jsonl(path, [record(99), *(record(n, h) if h is not None else {"id": "bad"} for n, h in enumerate(hours))])
    whole = everything(replay(path, order=order))
    items: list[Item] = []
    problems: list[str] = []
    cursor, ended = None, False
    while not ended:  # a new source for each poll
        poll = replay(path, order=order).poll(cursor, limit, 0.0)
        items, problems, cursor, ended = items + poll.items, problems + poll.problems, poll.cursor, poll.ended
    assert (items, problems) == whole
    assert len(items) + len(problems) == len(hours) + 1


def test_a_poll_with_an_earlier_cursor_goes_back(tmp_path: Path) -> None:
    source = replay(jsonl(tmp_path / "news.jsonl", [record(n) for n in range(6)]))
    first = source.poll(None, 2, 0.0)
    second = source.poll(first.cursor, 2, 0.0)
    assert source.poll(first.cursor, 2, 0.0) == second


def test_a_file_may_grow_between_runs_but_not_shrink(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "news.jsonl", [record(n) for n in range(3)])
    cursor = list(polls(replay(path)))[-1].cursor
    jsonl(path, [record(n) for n in range(5)])
    assert [item.id for item in everything(replay(path), cursor)[0]] == ["n3", "n4"]
    jsonl(path, [record(n) for n in range(2)])
    with pytest.raises(DataError, match="has it changed"):
        everything(replay(path), cursor)


def test_bad_rows_are_problems_with_file_and_row(tmp_path: Path) -> None:
    path = jsonl(
        tmp_path / "news.jsonl",
        [
            record(0), "{broken\n", "\n", "[1]\n", json.dumps({"text": "x"}) + "\n",
            '{"id": ' + "9" * 5000 + "}\n", "[" * 100_000 + "\n", record(1),
        ],
    )  # fmt: skip
    items, problems = everything(replay(path))
    assert [item.id for item in items] == ["n0", "n1"]
    expected = [
        (2, "not valid JSON: Expecting property name"),
        (4, "must be a JSON object"),
        (5, "'published' is missing"),
        (6, "not valid JSON"),
        (7, "not valid JSON: nested too deeply"),
    ]
    assert len(problems) == len(expected)
    for found, (row, words) in zip(problems, expected, strict=True):
        assert found.startswith(f"{path}, row {row}: {words}")


def test_bad_rows_of_a_csv_are_problems(tmp_path: Path) -> None:
    path = tmp_path / "news.csv"
    path.write_bytes(
        b"\xef\xbb\xbfid;published;text\n1;2024-01-01;fine\n\n2;2024-01-02\n"
        b'3;2024-01-03;caf\xe9\n4;2024-01-04;a "b" c\n'
    )
    items, problems = everything(replay(path))
    assert [(item.id, item.text) for item in items] == [("1", "fine"), ("4", 'a "b" c')]
    assert problems == [
        f"{path}, row 2: the row has 2 cells where the header has 3",
        f"{path}, row 3: not UTF-8: some bytes fit no character; save the file as UTF-8",
    ]


def test_an_article_of_ten_megabytes_passes_in_a_csv_and_in_jsonl(tmp_path: Path) -> None:
    text = "word " * (2 << 20)
    with (tmp_path / "news.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text", "published"), (text, "2024-01-01")])
    jsonl(tmp_path / "news.jsonl", [{"text": text, "published": "2024-01-01"}])
    for name in ("news.csv", "news.jsonl"):
        (item,), problems = everything(replay(tmp_path / name))
        assert (item.text, problems) == (text.strip(), [])


def test_a_line_beyond_all_measure_is_a_problem_and_takes_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "LONGEST_LINE", 1 << 20)
    path = tmp_path / "news.jsonl.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(64):
            file.write(b"x" * (1 << 20))
        file.write(f"\n{json.dumps(record(1))}\n".encode())
    tracemalloc.start()
    items, problems = everything(replay(path, order="file"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [item.id for item in items] == ["n1"]
    assert problems == [f"{path}, row 1: the line is longer than 1 MB"]
    assert peak < 16 << 20


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("news.csv", b"", "empty"),
        ("news.csv", "text,published\n".encode("utf-16"), "UTF-16"),
        ("news.jsonl", "{}".encode("utf-16"), "UTF-16"),
        ("news.csv", b"text,text\n1,2\n", "names a column twice: 'text'"),
        ("news.csv", b'text,published\n"never closed,2024-01-01\n' + b"more,2024-01-01\n" * 3, "never closed"),
        ("news.csv", b"headline,when\nup,2024-01-01\n", "no row can be used. .*row 1: no text"),
        ("news.jsonl.gz", gzip.compress(b'{"a": 1}\n' * 1000, mtime=0)[:-20], "cut short or damaged"),
        ("news.parquet", b"PAR1 no parquet", "not Parquet"),
        ("news.jsonl", b"", "no row can be used"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=words) as caught:
        everything(replay(tmp_path / name))
    assert str(tmp_path / name) in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "error", "words"),
    [
        ("replay:", ConfigError, "needs a file"),
        ("replay:missing.csv", DataError, "missing.csv: the file does not exist"),
        ("replay:news.xls", DataError, "must end in"),
        ("replay:news.csv?spede=60", ConfigError, "'spede'"),
        ("replay:news.csv?speed=0", ConfigError, "'speed'"),
    ],
)
def test_a_wrong_address_is_an_error_at_once(spec: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        Replay.open(spec, name="s", store=None)


@pytest.mark.parametrize("cursor", ["inbox", "12", "1@noon"])
def test_a_foreign_cursor_is_refused(tmp_path: Path, cursor: str) -> None:
    with pytest.raises(DataError, match="no place in a replay"):
        replay(jsonl(tmp_path / "news.jsonl", [record(1)])).poll(cursor, 1, 0.0)


class Clock:
    """A clock that moves only when somebody sleeps."""

    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.time += seconds


def test_with_a_speed_items_come_when_their_time_has_come(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "news.jsonl", [record(n, hours) for n, hours in enumerate([0, 1, 1, 3])])
    clock = Clock()
    source = Replay(path, name="s", options=ReplayOptions(speed=3600), clock=clock, sleep=clock.sleep)
    came: list[tuple[str, float]] = []
    cursor, ended = None, False
    while not ended:
        poll = source.poll(cursor, 10, 0.75)
        came += [(item.id, clock.time - 1000) for item in poll.items]
        cursor, ended = poll.cursor, poll.ended
    assert came == [("n0", 0.0), ("n1", 1.0), ("n2", 1.0), ("n3", 3.0)]
    assert clock.time == 1003.0


def test_a_poll_waits_no_longer_than_it_may(tmp_path: Path) -> None:
    clock = Clock()
    path = jsonl(tmp_path / "news.jsonl", [record(0), record(1)])
    source = Replay(path, name="s", options=ReplayOptions(speed=1), clock=clock, sleep=clock.sleep)
    first = source.poll(None, 10, 5.0)
    assert ([item.id for item in first.items], clock.time) == (["n0"], 1000.0)
    second = source.poll(first.cursor, 10, 5.0)
    assert (second.items, second.cursor, clock.time) == ([], first.cursor, 1005.0)


def test_a_shuffled_table_gives_the_items_of_the_sorted_one(tmp_path: Path) -> None:
    records = [record(n) for n in range(200)]
    shuffled = random.Random(7).sample(records, len(records))
    expected = everything(replay(jsonl(tmp_path / "sorted.jsonl", records)))
    assert everything(replay(jsonl(tmp_path / "shuffled.jsonl", shuffled))) == expected
