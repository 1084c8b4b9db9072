"""Tables: what a file holds, and what is said of one that holds nothing usable."""

from __future__ import annotations

import datetime
import gzip
from pathlib import Path

import numpy as np
import pytest

from tests.core.data.makers import picture, picture_bytes, sound, write
from triptych.config import DataConfig
from triptych.data.columns import TargetKind
from triptych.data.sources import Dataset, load_dataset
from triptych.errors import ConfigError, DataError

CSV = "text,label\nhello,greet\nbye,leave\n"


def load(path: Path, kind: TargetKind = "label", *, require_target: bool = True, **settings: object) -> Dataset:
    return load_dataset(DataConfig.model_validate(settings), path, kind=kind, require_target=require_target)


def texts(dataset: Dataset) -> list[tuple[str, str]]:
    return [(s.text, s.target) for s in dataset.samples]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("d.csv", CSV),
        ("d.csv", CSV.replace("\n", "\r\n")),
        ("d.csv", "\ufeff" + CSV),
        ("d.csv", CSV.replace(",", ";")),
        ("d.csv", CSV.replace(",", "\t")),
        ("d.csv", ' text ,label\n"hello",greet\n\nbye,leave'),
        ("D.TSV", CSV.replace(",", "\t")),
        ("d.jsonl", '{"text": "hello", "label": "greet"}\n\n{"text": "bye", "label": "leave"}'),
    ],
    ids=["csv", "windows", "byte order mark", "semicolons", "tabs", "quotes and blanks", "tsv", "jsonl"],
)
def test_text_formats_read_the_same(tmp_path: Path, name: str, content: str) -> None:
    assert texts(load(write(tmp_path / name, content))) == [("hello", "greet"), ("bye", "leave")]


@pytest.mark.parametrize("name", ["d.csv.gz", "d.csv"])
def test_gzip_is_read_whatever_the_file_is_called(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(CSV.encode()))
    assert texts(load(path)) == [("hello", "greet"), ("bye", "leave")]


def test_parquet_keeps_types_bytes_and_vectors(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    day = datetime.date(2024, 2, 29)
    rows = [
        {"text": "a", "image": picture_bytes(), "audio": [1.0, 2.0], "label": 3, "day": day, "raw": b"x"},
        {"text": None, "image": None, "audio": [3.0, 4.0], "label": 4, "day": None, "raw": None},
    ]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "d.parquet")
    first, second = load(tmp_path / "d.parquet").samples
    assert (first.modalities, first.target, first.metadata) == (("text", "image", "audio"), "3", {"day": "2024-02-29"})
    assert second.modalities == ("audio",)
    assert second.audio.dtype == np.float32


def test_the_format_can_be_said(tmp_path: Path) -> None:
    path = write(tmp_path / "data.txt", CSV)
    assert len(load(path, format="csv").samples) == 2
    with pytest.raises(DataError, match=r"data\.format"):
        load(path)


def test_rows_take_their_number_as_id_and_the_rest_as_metadata(tmp_path: Path) -> None:
    dataset = load(write(tmp_path / "d.csv", "text,label,country\nhello,greet,CN\nbye,leave,DE\n"))
    assert [(s.id, s.metadata) for s in dataset.samples] == [("1", {"country": "CN"}), ("2", {"country": "DE"})]


def test_media_paths_start_at_the_folder_of_the_table(tmp_path: Path) -> None:
    picture(tmp_path / "in" / "p.jpg")
    sound(tmp_path / "s.wav")
    table = write(tmp_path / "in" / "d.csv", "image,audio,label\np.jpg,,a\n,../s.wav,b\n")
    first, second = load(table).samples
    assert (first.modalities, second.modalities) == (("image",), ("audio",))
    assert first.image == tmp_path / "in" / "p.jpg"


def test_a_missing_file_suggests_the_one_that_is_there(tmp_path: Path) -> None:
    write(tmp_path / "messages.csv", CSV)
    with pytest.raises(DataError, match=r"mesages\.csv: the file does not exist; did you mean .*messages\.csv"):
        load(tmp_path / "mesages.csv")


def test_no_path_at_all_names_the_key() -> None:
    with pytest.raises(ConfigError, match=r"data\.path"):
        load_dataset(DataConfig())


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("d.csv", b"", "empty"),
        ("d.csv", b" \n\n", "empty"),
        ("d.jsonl", b"", "empty"),
        ("d.csv", b"text,label\n", "no rows"),
        ("d.csv", b"text,text\na,b\n", "twice: text"),
        ("d.csv", "text,label\ngr\xfc\xdf,b\n".encode("latin-1"), r"offset 13 \(line 2\).*UTF-8"),
        ("d.csv", b"\xef\xbb\xbftext,label\n\xff,b\n", r"0xff at offset 14 \(line 2\)"),
        ("d.csv", CSV.encode("utf-16"), "UTF-16"),
        ("d.csv", b'text,label\nok,a\n"open,b\nlost,c\nlost,d\n', r"row 2: a quote that is opened in line 3"),
        ("d.csv.gz", gzip.compress(CSV.encode(), mtime=0)[:-9], "gzip"),
        ("d.parquet", b"PAR1 is not enough", "not Parquet"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=reason) as caught:
        load(tmp_path / name)
    assert name in str(caught.value)


BAD_ROWS = {
    "ragged.csv": ("text,label\nok,a\nragged\nok too,b\n", 2, "1 cells where the header has 2"),
    "quote.csv": ('text,label\nok,a\n"x"y,b\nok too,b\n', 2, "cannot be parsed"),
    "empty.csv": ("text,label\nok,a\n  ,b\nok too,b\n", 2, "the row is empty: nothing in text"),
    "target.csv": ("text,label\nok,a\nhm,\nok too,b\n", 2, "no target: the column 'label' is empty"),
    "broken.jsonl": ('{"text": "ok", "label": "a"}\n{"text": \n{"text": "x", "label": "b"}\n', 2, "not valid JSON"),
    "list.jsonl": ('{"text": "ok", "label": "a"}\n[1]\n{"text": "x", "label": "b"}\n', 2, "JSON object"),
    "media.csv": ("text,image,label\nok,,a\nx,gone.jpg,b\nok too,,b\n", 2, r"gone\.jpg does not exist"),
    "web.csv": ("text,image,label\nok,,a\nx,https://a/b.png,b\nok too,,b\n", 2, "web address"),
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_a_bad_row_is_skipped_and_reported(tmp_path: Path, name: str) -> None:
    content, row, reason = BAD_ROWS[name]
    path = write(tmp_path / name, content)
    dataset = load(path, max_skipped=0.5)
    (skipped,) = dataset.skipped
    assert (len(dataset.samples), skipped.file, skipped.row) == (2, str(path), row)
    with pytest.raises(DataError, match=rf"{name}, row {row}: .*{reason}") as caught:
        load(path, on_error="fail")
    assert (caught.value.row, caught.value.reason) == (row, skipped.reason)


def test_media_that_do_not_decode_are_bad_rows(tmp_path: Path) -> None:
    cut = picture(tmp_path / "cut.jpg", (300, 200))
    cut.write_bytes(cut.read_bytes()[:-3000])
    sound(tmp_path / "none.wav", 0.0)
    table = "text,image,audio,label\na,cut.jpg,,x\nb,,none.wav,x\nc,,,y\nd,,,y\n"
    dataset = load(write(tmp_path / "d.csv", table), max_skipped=0.5)
    assert [s.text for s in dataset.samples] == ["c", "d"]
    first, second = dataset.skipped
    assert (first.row, second.row) == (1, 2)
    assert "cut.jpg" in first.reason
    assert "none.wav" in second.reason


def test_a_picture_over_the_limit_is_a_bad_row(tmp_path: Path) -> None:
    picture(tmp_path / "p.png", (60, 40))
    with pytest.raises(DataError, match=r"row 1: .*p\.png.*data\.max_image_pixels"):
        load(write(tmp_path / "d.csv", "image,label\np.png,a\n"), max_image_pixels=2_399)


def test_too_many_bad_rows_are_fatal_and_the_first_are_shown(tmp_path: Path) -> None:
    path = write(tmp_path / "d.csv", "text,label\n" + "a,x\n" * 10 + ",x\n" * 5)
    assert len(load(path, max_skipped=0.34).skipped) == 5
    with pytest.raises(DataError, match=r"(?s)5 of 15 rows.*20%.*row 11.*row 12.*row 13.*and 2 more"):
        load(path)


def test_a_file_of_nothing_but_broken_lines_shows_them(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"(?s)2 of 2 rows.*row 1: not valid JSON"):
        load(write(tmp_path / "d.jsonl", "{\n}\n"), max_skipped=1.0)


def test_the_fingerprint_covers_every_byte(tmp_path: Path) -> None:
    def fingerprint(content: str, pixel: int) -> str:
        from PIL import Image

        Image.new("L", (8, 8), pixel).save(tmp_path / "p.bmp")
        return load(write(tmp_path / "d.csv", content)).fingerprint

    table = "text,image,label,more\na,p.bmp,x,1\nb,,y,2\n"
    same = fingerprint(table, 0)
    assert fingerprint(table, 0) == same
    changed = [table.replace(*pair) for pair in (("a,", "c,"), (",y,", ",x,"), (",2", ",3"))]
    prints = {fingerprint(content, 0) for content in changed} | {fingerprint(table, 1)}
    assert len(prints | {same}) == 5
