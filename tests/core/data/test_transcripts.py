"""Readings are kept: in memory, shipped with the data, on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.core.data.makers import picture, write
from triptych.data.media import value_digest
from triptych.data.readers import Reader
from triptych.data.transcripts import CachedReader, read_transcripts
from triptych.errors import DataError


class Counting(Reader):
    modality = "image"
    name = "counting"

    def __init__(self, version: int = 1) -> None:
        self.version = version
        self.times = 0

    @property
    def fingerprint(self) -> str:
        return f"counting {self.version}"

    def read(self, value: Any) -> str:
        self.times += 1
        return f"reading {self.times} of version {self.version}"


def test_a_value_is_read_once(tmp_path: Path) -> None:
    reader = Counting()
    cached = CachedReader(reader)
    path = picture(tmp_path / "p.png")
    assert cached.read(path) == cached.read(path.read_bytes()) == cached.read(str(path)) == "reading 1 of version 1"
    assert reader.times == 1
    assert (cached.name, cached.modality, cached.fingerprint) == ("counting", "image", "counting 1")


def test_readings_survive_on_disk_for_each_version_of_the_reader(tmp_path: Path) -> None:
    file = tmp_path / "cache" / "transcripts.sqlite3"
    first = CachedReader(Counting(), file).read(b"picture")
    again = Counting()
    assert CachedReader(again, file).read(b"picture") == first
    assert again.times == 0
    assert CachedReader(Counting(2), file).read(b"picture") == "reading 1 of version 2"


def test_what_is_not_to_be_kept_stays_off_the_disk(tmp_path: Path) -> None:
    file = tmp_path / "t.sqlite3"
    CachedReader(Counting(), file).read(b"picture", keep=False)
    assert not file.exists()
    CachedReader(Counting(), file).read(b"picture")
    again = Counting()
    CachedReader(again, file).read(b"picture", keep=False)
    assert again.times == 1


def test_shipped_transcripts_come_first(tmp_path: Path) -> None:
    rows = [
        {"reader": "counting", "digest": value_digest(b"picture"), "text": "shipped"},
        {"reader": "other", "digest": value_digest(b"else"), "text": "not ours"},
    ]
    file = write(tmp_path / "t.jsonl", "\n".join(json.dumps(row) for row in rows))
    reader = Counting()
    cached = CachedReader(reader, shipped=read_transcripts(file, "counting"))
    assert cached.read(b"picture") == "shipped"
    assert cached.read(b"else") == "reading 1 of version 1"


def test_broken_transcripts_name_the_row(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"t\.jsonl, row 2: a transcript needs"):
        read_transcripts(write(tmp_path / "t.jsonl", '{"reader": "a", "digest": "b", "text": "c"}\n{}'), "a")


@pytest.mark.parametrize("spoil", ["damaged", "unwritable"])
def test_a_file_that_cannot_be_used_costs_time_only(
    tmp_path: Path, spoil: str, caplog: pytest.LogCaptureFixture
) -> None:
    file = write(tmp_path / "t.sqlite3", "not a database, " * 100)
    cached = CachedReader(Counting(), file if spoil == "damaged" else file / "below" / "t.sqlite3")
    assert cached.read(b"1") == "reading 1 of version 1"
    assert cached.read(b"2") == "reading 2 of version 1"
    assert caplog.text.count("transcripts are not kept") == 1


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("triptych.data.transcripts.KEPT_IN_MEMORY", 2)
    reader = Counting()
    cached = CachedReader(reader)
    for value in (b"1", b"2", b"3", b"2", b"1"):
        cached.read(value)
    assert reader.times == 4
