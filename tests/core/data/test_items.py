"""Rows as items of an index: which column is what, JSON types, ids, and rows that cannot be used."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from triptych.data.items import ItemColumns, read_items
from triptych.errors import DataError


def table(folder: Path, text: str, name: str = "items.csv") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def lines(folder: Path, *rows: object) -> Path:
    return table(folder, "\n".join(json.dumps(row) for row in rows), "items.jsonl")


def test_columns_are_found_by_their_names_and_the_rest_is_metadata(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    found = read_items(table(tmp_path, "id,text,image,colour\na,hello,a.png,red\nb,,a.png,\n"))
    first, second = found.items
    assert (first.id, first.row, first.metadata) == ("a", 1, {"colour": "red"})
    assert first.content == {"text": "hello", "image": str((tmp_path / "a.png").resolve())}
    assert (second.content.keys(), second.metadata) == ({"image"}, {})
    assert found.parts == {"id": "id", "text": "text", "image": "image"}


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("12", 12),
        ("-0.5", -0.5),
        ("0", 0),
        ("007", "007"),
        ("1e5", "1e5"),
        ("true", "true"),
        ("nan", "nan"),
        ("9" * 20, "9" * 20),
    ],
)
def test_plain_numbers_of_a_csv_become_numbers(tmp_path, cell, value):
    (item,) = read_items(table(tmp_path, f"text,x\nhello,{cell}\n")).items
    assert item.metadata == {"x": value}
    assert type(item.metadata["x"]) is type(value)


def test_types_of_json_stay_and_null_is_left_out(tmp_path):
    row = {"text": "a", "n": "12", "flag": True, "tags": ["x", 1], "none": None}
    (item,) = read_items(lines(tmp_path, row)).items
    assert item.metadata == {"n": "12", "flag": True, "tags": ["x", 1]}


def test_vectors_stand_in_a_column_of_lists(tmp_path):
    path = lines(
        tmp_path, {"id": 1, "vector": [1, 2]}, {"id": 2, "vector": [1, 2, 3]}, {"id": 3, "vector": "no"}, {"id": 4}
    )
    found = read_items(path)
    assert [item.id for item in found.items] == ["1"]
    assert found.items[0].vectors["vector"].dtype == np.float32
    assert [(bad.row, bad.reason) for bad in found.skipped] == [
        (2, "the vector has 3 numbers where earlier rows have 2"),
        (3, "the column 'vector' holds no list of numbers; vectors come in JSONL or Parquet files"),
        (4, "the row is empty: nothing in vector"),
    ]


def test_vectors_of_other_fields_stand_in_columns_of_other_names(tmp_path):
    path = lines(tmp_path, {"text": "a", "title": [1.0], "emb": [2.0]})
    (item,) = read_items(path, ItemColumns(vectors={"title": None, "body": "emb"})).items
    assert {name: vector.tolist() for name, vector in item.vectors.items()} == {"title": [1.0], "body": [2.0]}


def test_without_ids_the_same_row_has_the_same_id_in_every_file(tmp_path):
    first = read_items(table(tmp_path, "text,x\nhello,1\nworld,1\nhello,1\n"))
    second = read_items(table(tmp_path, "x,text\n1,hello\n", "other.csv"))
    assert second.items[0].id == first.items[0].id != first.items[1].id
    assert [bad.row for bad in first.skipped] == [3]


def test_an_id_that_comes_twice_is_listed_with_its_first_row(tmp_path):
    found = read_items(table(tmp_path, "id,text\na,one\na,two\n"))
    assert found.items[0].content == {"text": "one"}
    assert found.skipped[0].reason == "the id 'a' was already used in row 1"


def test_media_that_are_not_there_are_listed(tmp_path):
    found = read_items(table(tmp_path, "text,image\nfine,\nlost,nowhere.png\n"))
    assert "nowhere.png does not exist" in found.skipped[0].reason


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (ItemColumns(text="txt"), "'txt', as text=txt says. Did you mean 'text'"),
        (ItemColumns(vectors={"vector": "emb"}), "'emb', as vector=emb says"),
    ],
)
def test_a_column_that_is_not_there_is_answered_with_the_nearest(tmp_path, columns, words):
    with pytest.raises(DataError, match="no column is called") as caught:
        read_items(table(tmp_path, "text\nhello\n"), columns)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("items.txt", "a\n", "must end in .csv"),
        ("items.csv", "price\n3\n", "no column holds text"),
        ("items.csv", "text\n  \n \n", "file is empty|rows"),
        ("items.csv", "text,x\n,1\n,2\n", "none of the 2 rows can be used"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(tmp_path, name, text, words):
    with pytest.raises(DataError, match=words):
        read_items(table(tmp_path, text, name))


def test_a_folder_of_media_is_items_too(tmp_path):
    (tmp_path / "cat").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "cat" / "1.png")
    (item,) = read_items(tmp_path).items
    assert (item.id, item.metadata) == ("cat/1.png", {"label": "cat"})
