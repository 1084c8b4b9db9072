"""Business rules: what may stand in a list, and what left nothing of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from triptych_recommendation.data.items import Item
from triptych_recommendation.serving.rules import Rules
from triptych_recommendation.serving.settings import RuleSettings
from triptych_recommendation.serving.shelf import Shelf

ITEMS = [
    Item("lamp", category="light", price=20.0, stock=3),
    Item("vase", category="decor", price=15.0, stock=0),
    Item("rug", category="decor", price=80.0),
    Item("chair"),
]
NOTHING = np.empty(0, dtype=np.int32)


def _allowed(where: dict | None = None, seen: np.ndarray = NOTHING, **settings: Any) -> list[str]:
    shelf = Shelf(ITEMS)
    found = Rules(RuleSettings(**settings), shelf).allowed(where, seen)
    assert found.count == int(found.mask.sum())
    return [shelf.items[row].id for row in np.flatnonzero(found.mask)]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, ["lamp", "rug", "chair"]),
        ({"in_stock": False}, ["lamp", "vase", "rug", "chair"]),
        ({"categories": ["decor"], "in_stock": False}, ["vase", "rug"]),
        ({"blocked_categories": ["decor"]}, ["lamp", "chair"]),
        ({"least_price": 20.0}, ["lamp", "rug"]),
        ({"most_price": 20.0}, ["lamp"]),
        ({"blocked": ["rug", "ghost"]}, ["lamp", "chair"]),
    ],
)
def test_each_rule_leaves_what_it_says(settings: dict, expected: list[str]) -> None:
    assert _allowed(**settings) == expected


def test_what_the_user_knows_is_left_out_unless_repeats_are_wanted() -> None:
    seen = np.array([0, 2], dtype=np.int32)
    assert _allowed(seen=seen) == ["chair"]
    assert _allowed(seen=seen, repeats=True) == ["lamp", "rug", "chair"]


def test_the_rule_that_left_nothing_is_named() -> None:
    rules = Rules(RuleSettings(categories=["decor"]), Shelf(ITEMS))
    assert rules.allowed(None, NOTHING).emptied_by() == ""
    assert rules.allowed({"id": "lamp"}, NOTHING).emptied_by() == "the filter of the request (1 items before)"
    assert rules.allowed(None, np.array([2])).emptied_by() == "leaving out what the user knows (1 items before)"
    assert Rules(RuleSettings(), Shelf()).allowed(None, NOTHING).emptied_by() == "the catalogue"


def test_rules_follow_the_shelf() -> None:
    shelf = Shelf(ITEMS)
    rules = Rules(RuleSettings(), shelf)
    assert rules.allowed(None, NOTHING).mask.tolist() == [True, False, True, True]
    shelf.put([Item("vase", stock=2)])
    shelf.remove(["lamp"])
    assert rules.allowed(None, NOTHING).mask.tolist() == [False, True, True, True]


def test_pinned_items_keep_the_order_of_the_settings_and_obey_the_rules() -> None:
    rules = Rules(RuleSettings(pinned=["chair", "vase", "ghost", "lamp", "chair"]), Shelf(ITEMS))
    assert rules.pinned(rules.allowed(None, NOTHING)) == [3, 0]
    assert rules.pinned(rules.allowed({"id": "lamp"}, NOTHING)) == [0]


@given(
    st.lists(st.sampled_from(["light", "decor"]), max_size=2),
    st.floats(0, 100),
    st.floats(0, 100),
    st.sets(st.sampled_from([item.id for item in ITEMS])),
)
def test_every_item_that_passes_meets_every_rule(
    categories: list[str], least: float, most: float, blocked: set[str]
) -> None:
    passing = _allowed(categories=categories, least_price=least, most_price=most, blocked=sorted(blocked))
    by_id = {item.id: item for item in ITEMS}
    expected = [
        name
        for name, item in by_id.items()
        if item.stock != 0
        and (not categories or item.category in categories)
        and item.price is not None
        and np.float32(least) <= item.price <= np.float32(most)
        and name not in blocked
    ]
    assert passing == expected
