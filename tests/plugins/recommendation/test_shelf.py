"""The catalogue in memory, and filters over it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from triptych.errors import DataError
from triptych_recommendation.data.items import Item
from triptych_recommendation.serving.shelf import Shelf

LAMP = Item("lamp", "Lamp", category="light", price=20.0, stock=3, tags=("warm", "small"), metadata={"maker": "Ostrin"})
VASE = Item("vase", "Vase", category="decor", price=15.5, stock=0, tags=("small",))
RUG = Item("rug", "Rug", category="decor")


@pytest.fixture
def shelf() -> Shelf:
    return Shelf([LAMP, VASE, RUG])


def _ids(shelf: Shelf, where: dict) -> list[str]:
    return [shelf.items[row].id for row in np.flatnonzero(shelf.select(where))]


def test_columns_have_a_mark_for_what_is_not_known(shelf: Shelf) -> None:
    assert shelf.stock.tolist() == [3, 0, -1]
    assert shelf.price[:2].tolist() == [20.0, 15.5]
    assert np.isnan(shelf.price[2])
    assert shelf.alive.all()


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"category": "decor"}, ["vase", "rug"]),
        ({"tags": "small"}, ["lamp", "vase"]),
        ({"tags": {"in": ["warm", "none"]}}, ["lamp"]),
        ({"id": {"in": ["rug", "ghost"]}}, ["rug"]),
        ({"price": {"max": 18}}, ["vase"]),
        ({"maker": "Ostrin"}, ["lamp"]),
        ({"category": "decor", "stock": 0}, ["vase"]),
        ({"$not": {"tags": "small"}}, ["rug"]),
        ({"$or": [{"id": "lamp"}, {"stock": 0}]}, ["lamp", "vase"]),
    ],
)
def test_filters_see_fields_tags_and_metadata(shelf: Shelf, where: dict, expected: list[str]) -> None:
    assert _ids(shelf, where) == expected


def test_a_filter_that_is_none_is_refused(shelf: Shelf) -> None:
    with pytest.raises(DataError):
        shelf.select({"price": {"about": 3}})


def test_an_item_put_again_keeps_its_row_and_loses_its_old_fields(shelf: Shelf) -> None:
    before = shelf.version
    assert shelf.select({"tags": "warm"}).any()
    rows = shelf.put([Item("lamp", "Lamp", category="decor", tags=("cold",)), Item("new")])
    assert rows == [0, 3]
    assert shelf.version != before
    assert _ids(shelf, {"tags": "warm"}) == []
    assert _ids(shelf, {"tags": "cold"}) == ["lamp"]
    assert _ids(shelf, {"category": "decor"}) == ["lamp", "vase", "rug"]
    assert _ids(shelf, {"maker": "Ostrin"}) == []


def test_removed_items_are_marked_and_can_come_back(shelf: Shelf) -> None:
    assert shelf.remove(["vase", "ghost", "vase"]) == [1]
    assert shelf.remove(["vase"]) == []
    assert shelf.alive.tolist() == [True, False, True]
    assert shelf.items_named("v") == []
    shelf.put([VASE])
    assert shelf.alive.all()
    assert shelf.items_named("va") == ["vase"]


@given(st.lists(st.tuples(st.sampled_from("abcde"), st.sampled_from(["put", "remove"])), max_size=30))
def test_rows_never_change_hands(steps: list[tuple[str, str]]) -> None:
    shelf, there, first = Shelf(), set(), {}
    for name, step in steps:
        if step == "put":
            row = shelf.put([Item(name, tags=(name,))])[0]
            assert first.setdefault(name, row) == row
            there.add(name)
        else:
            shelf.remove([name])
            there.discard(name)
    assert {shelf.items[row].id for row in np.flatnonzero(shelf.alive)} == there
    for name, row in first.items():
        assert shelf.rows[name] == row
        assert np.flatnonzero(shelf.select({"tags": name})).tolist() == [row]
