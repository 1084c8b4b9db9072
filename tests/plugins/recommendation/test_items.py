"""Items from files, and the folder that holds both items and events."""

from __future__ import annotations

import json
import os

import pyarrow as pa
import pyarrow.parquet
import pytest

from triptych.errors import DataError
from triptych_recommendation.data.folder import open_folder
from triptych_recommendation.data.items import Item, read_catalogue, read_items
from triptych_recommendation.data.settings import DataSettings

STRICT = DataSettings(on_error="fail")
LENIENT = DataSettings(max_skipped=1)


def test_a_whole_item(shop):
    lamp, vase, rug, chair, _ = read_items(shop / "items.csv")
    assert lamp == Item(
        "lamp", "Lamp", "Gives light", image=(shop / "pictures" / "lamp.png").resolve(), category="light", price=20.0,
        stock=3, tags=("warm", "small"), metadata={"maker": "Ostrin"},
    )  # fmt: skip
    assert (vase.price, vase.stock, vase.image) == (15.5, 0, None)
    assert (rug.stock, rug.metadata) == (2, {})
    assert (chair.price, chair.stock) == (None, None)
    assert (chair.title, chair.text, chair.has_content) == ("", "", True)


def test_the_text_is_title_description_category_and_tags():
    item = Item("1", "A lamp.", "Gives light", category="light", tags=("warm", "small"))
    assert item.text == "A lamp. Gives light. light. warm, small"
    assert Item("1", description="Gives light").text == "Gives light"
    assert Item("1").text == ""


def test_all_formats_read_the_same(shop, tmp_path):
    rows = [
        {
            "id": "lamp",
            "title": "Lamp",
            "price": 20,
            "stock": 3,
            "tags": ["warm", "small"],
            "image": "pictures/lamp.png",
        },
        {"id": "rug", "title": None, "price": None, "stock": None, "tags": [], "image": None},
    ]
    (shop / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows), shop / "a.parquet")
    (shop / "a.csv").write_text(
        "id,title,price,stock,tags,image\nlamp,Lamp,20,3,warm|small,pictures/lamp.png\nrug,,,,,\n"
    )
    read = [read_items(shop / f"a.{kind}") for kind in ("csv", "jsonl", "parquet")]
    assert read[0] == read[1] == read[2]
    assert read[0][0].tags == ("warm", "small")


def test_only_the_id_must_be_there(write):
    assert read_items(write("items.csv", "id\nx\n")) == [Item("x")]
    with pytest.raises(DataError, match=r"no column is called 'id'.*Columns: sku, title"):
        read_items(write("items.csv", "sku,title\nx,y\n"))


def test_items_without_content_are_kept_and_counted(write):
    catalogue = read_catalogue(write("items.csv", "id,title,price\nx,,5\ny,Lamp,5\n"), STRICT)
    assert [item.has_content for item in catalogue.items] == [False, True]
    assert any("1 items have no content (x)" in note for note in catalogue.notes())


@pytest.mark.parametrize("settings", [STRICT, LENIENT], ids=["strict", "lenient"])
def test_one_id_for_two_items_names_both_rows(write, settings):
    path = write("items.csv", "id,title\nx,A\ny,B\nx,C\n")
    with pytest.raises(DataError, match="row 3: the id 'x' was already used in row 1"):
        read_catalogue(path, settings)


BAD = {
    "no id: the column 'id' is empty": "id,title\nx,A\n,B\n",
    "the price 'nan' is not a number of at least 0": "id,price\nx,0\ny,nan\n",
    "the price 'inf' is not": "id,price\nx,0\ny,inf\n",
    "the price '-1' is not": "id,price\nx,0\ny,-1\n",
    "the price 'cheap' is not a number": "id,price\nx,0\ny,cheap\n",
    "the stock '-3' is not": "id,stock\nx,0\ny,-3\n",
    "the stock '2.5' is not a whole number": "id,stock\nx,2.0\ny,2.5\n",
    "the image file pictures/none.png does not exist": "id,image\nx,\ny,pictures/none.png\n",
    "the audio file none.ogg does not exist": "id,audio\nx,\ny,none.ogg\n",
    "the image https://shop.example/a.png is a web address": "id,image\nx,\ny,https://shop.example/a.png\n",
    "the image file ../secret.png lies outside": "id,image\nx,\ny,../secret.png\n",
    "the image file /etc/hostname lies outside": "id,image\nx,\ny,/etc/hostname\n",
    "the image file link/secret.png lies outside": "id,image\nx,\ny,link/secret.png\n",
    "the row has 1 cells where the header has 2": "id,title\nx,A\ny\n",
}


@pytest.mark.parametrize(("reason", "text"), BAD.items(), ids=list(BAD))
def test_a_bad_row_is_named_and_skipped_or_fatal(write, tmp_path, reason, text):
    (tmp_path / "secret.png").touch()
    path = write("shop/items.csv", text)
    os.symlink(tmp_path, tmp_path / "shop" / "link")
    with pytest.raises(DataError) as caught:
        read_items(path)
    assert (caught.value.row, str(caught.value.file)) == (2, str(path))
    assert reason in str(caught.value)
    catalogue = read_catalogue(path, LENIENT)
    assert [item.id for item in catalogue.items] == ["x"]
    assert reason in " ".join(catalogue.notes())


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"title": ["a"]}, "the title is a list, not a text"),
        ({"tags": [{"a": 1}]}, "the tag is a dict, not a text"),
        ({"image": [1, 2]}, "the image is data, not the path"),
        ({"price": float("nan")}, "the price nan is not a number of at least 0"),
        ({"price": [1]}, r"the price \[1\] is not a number"),
        ({"stock": True}, None),
        ({"title": float("nan")}, None),
    ],
)
def test_cells_of_other_types(write, cells, reason):
    path = write("items.jsonl", json.dumps({"id": "x", **cells}) + "\n")
    if reason is None:
        assert read_items(path)[0].title == ""
        return
    with pytest.raises(DataError, match=reason):
        read_items(path)


def test_too_many_bad_rows_are_fatal(write):
    path = write("items.csv", "id,price\n" + "".join(f"g{n},1\n" for n in range(4)) + "b1,x\nb2,x\n")
    with pytest.raises(DataError, match=r"2 of 6 rows cannot be used .*max_skipped allows 20%"):
        read_catalogue(path, DataSettings())
    assert len(read_catalogue(path, DataSettings(max_skipped=0.4)).items) == 4


def test_a_folder_is_read_as_a_whole(shop):
    data = open_folder(shop)
    assert [item.id for item in data.items] == ["lamp", "vase", "rug", "chair", "new"]
    assert data.interactions.items == ("lamp", "vase", "rug", "chair", "new")
    assert data.interactions.users == ("ann", "bob", "cat", "dan")
    assert len(data.events) == 10
    assert len(data.interactions) == 9, "one rating is a dislike"
    assert any("1 items have no event yet" in note for note in data.notes())


def test_items_with_events_alone_have_rows_and_are_told(shop):
    with (shop / "events.csv").open("a") as file:
        file.write("ann,gone,view,2025-03-09T00:00:00Z,\n")
    data = open_folder(shop)
    assert data.interactions.items == ("lamp", "vase", "rug", "chair", "gone", "new")
    assert "1 items have events but are not in the catalogue: gone" in data.notes()


def test_a_folder_that_is_not_whole_says_what_is_missing(shop, tmp_path):
    with pytest.raises(DataError, match="the folder does not exist"):
        open_folder(shop / "none")
    with pytest.raises(DataError, match=r"this is not a folder; give a folder with events.csv and items.csv"):
        open_folder(shop / "events.csv")
    (shop / "items.jsonl").write_text('{"id": "x"}\n')
    with pytest.raises(DataError, match=r"items.csv and items.jsonl are both there; keep one"):
        open_folder(shop)
    (shop / "items.csv").unlink()
    (shop / "items.jsonl").unlink()
    with pytest.raises(DataError, match=r"holds no items.csv.*it holds events.csv, pictures"):
        open_folder(shop)
