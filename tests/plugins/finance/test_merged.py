"""Several replays as one: by time, whatever the cuts, and told where it cannot be."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.plugins.finance.test_tables import START, everything, jsonl, polls, record
from triptych.errors import ConfigError, DataError
from triptych_finance.sources.merged import Merged
from triptych_finance.sources.tables import Replay, ReplayOptions


def merged(*paths: Path, **options: object) -> Merged:
    return Merged([Replay(path, name=path.stem, options=ReplayOptions(**options)) for path in paths])


hours = st.lists(st.integers(0, 50), max_size=12)


@settings(max_examples=40, deadline=None)
@given(hours.filter(bool), hours, hours, st.integers(1, 5), st.data())
def test_the_rows_come_as_if_they_stood_in_one_file(
    tmp_path_factory: pytest.TempPathFactory, a: list[int], b: list[int], c: list[int], limit: int, data: st.DataObject
):
    folder = tmp_path_factory.mktemp("merged")
    parts, count = [], 0
    for name, times in (("a", a), ("b", b), ("c", c)):
        if times:
            parts.append((name, [record(count + n, hour) for n, hour in enumerate(times)]))
        count += len(times)
    paths = [jsonl(folder / f"{name}.jsonl", rows) for name, rows in parts]
    one, problems = everything(Replay(jsonl(folder / "all.jsonl", [r for _, rows in parts for r in rows]), name="all"))
    assert problems == []
    found, cursor = [], None
    while True:  # now and then another process goes on
        for poll in polls(merged(*paths), limit, cursor):
            found += poll.items
            cursor = poll.cursor
            if poll.ended or data.draw(st.booleans()):
                break
        if poll.ended:
            break
    assert [dataclasses.replace(item, source="all") for item in found] == one
    assert {item.id: item.source for item in found} == {row["id"]: name for name, rows in parts for row in rows}


def test_what_cannot_be_read_is_passed_over_in_each(tmp_path: Path):
    a = jsonl(tmp_path / "a.jsonl", ["no json\n", record(1), "{}\n"])
    b = jsonl(tmp_path / "b.jsonl", [record(0), "[]\n"])
    items, problems = everything(merged(a, b))
    assert [(item.id, item.source) for item in items] == [("n0", "b"), ("n1", "a")]
    assert sorted(problem.split(":")[0][-14:] for problem in problems) == [
        "a.jsonl, row 1", "a.jsonl, row 3", "b.jsonl, row 2",
    ]  # fmt: skip


def test_late_rows_of_a_file_in_its_own_order_come_with_its_clock(tmp_path: Path):
    a = jsonl(tmp_path / "a.jsonl", [record(0, 5), record(1, 2), record(2, 8)])
    b = jsonl(tmp_path / "b.jsonl", [record(3, 4), record(4, 6)])
    items, _ = everything(merged(a, b, order="file"))
    assert [item.id for item in items] == ["n3", "n0", "n1", "n4", "n2"]
    assert [item.arrived for item in items] == [START + timedelta(hours=h) for h in (4, 5, 5, 6, 8)]


def test_two_of_one_name_and_paced_ones_are_refused(tmp_path: Path):
    a = jsonl(tmp_path / "a.jsonl", [record(0)])
    with pytest.raises(ConfigError, match="two sources are called 'a'"):
        merged(a, a)
    with pytest.raises(ConfigError, match="a: several replays run together, so none can have a speed"):
        merged(a, jsonl(tmp_path / "b.jsonl", [record(0)]), speed=60)


@pytest.mark.parametrize("cursor", ["7", "[1, 2]", "no json", '["1@2024-01-01T00:00:00+00:00"]'])
def test_a_cursor_of_something_else_is_refused(tmp_path: Path, cursor: str):
    paths = [jsonl(tmp_path / f"{name}.jsonl", [record(0)]) for name in "ab"]
    with pytest.raises(DataError, match=r"place in"):
        merged(*paths).poll(cursor, 5, 0.0)
