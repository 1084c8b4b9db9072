from __future__ import annotations

from pathlib import Path

import pytest

from triptych.config import Columns, DataConfig
from triptych.data.unlabelled import apart_from, read_unlabelled
from triptych.errors import DataError
from triptych.types import Sample


def written(path: Path, content: str) -> Path:
    path.write_text(content, encoding="utf-8")
    return path


def test_files_are_read_as_the_training_data_without_their_targets(tmp_path: Path) -> None:
    config = DataConfig(columns=Columns(id="number", text="message", group="customer", split="part"))
    with_target = written(tmp_path / "a.csv", "message,label\nred,warm\nblue,cold\nred,cold\n")
    without = written(tmp_path / "b.jsonl", '{"message": "green"}\n{"message": "blue"}\n')

    samples, skipped = read_unlabelled(config, [with_target, without])

    assert [s.text for s in samples] == ["red", "blue", "green"]  # each content once
    assert {s.target for s in samples} == {None}
    assert len({s.id for s in samples}) == 3
    assert skipped == []


def test_a_bad_row_is_reported_and_too_many_are_refused(tmp_path: Path) -> None:
    good = "\n".join(f"text {i},{i}" for i in range(9))
    samples, skipped = read_unlabelled(DataConfig(), [written(tmp_path / "a.csv", f'text,x\n{good}\n"",1\n')])
    assert len(samples) == 9
    assert skipped[0].row == 10
    with pytest.raises(DataError, match=r"b\.csv"):
        read_unlabelled(DataConfig(), [written(tmp_path / "b.csv", 'text,x\n"",1\n"",2\n')])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "words,label\nred,warm\n", "no column holds text"),
        ("a.txt", "red\n", "does not tell the format"),
        ("a.csv", None, r"a\.csv"),
    ],
    ids=["column", "format", "missing"],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, name: str, content: str | None, message: str) -> None:
    path = tmp_path / name
    if content is not None:
        written(path, content)
    with pytest.raises(DataError, match=message):
        read_unlabelled(DataConfig(), [path])


def test_what_is_held_out_is_left_out() -> None:
    held = [Sample("t1", text="red", target="warm")]
    found = apart_from([Sample("u1", text="red"), Sample("u2", text="blue")], held)
    assert [s.id for s in found] == ["u2"]
