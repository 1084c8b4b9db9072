"""What `IndexChecks` compares with: filters and neighbours by brute force, and the cases it walks through."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.retrieval.base import Metric


def equal(value: Any, wanted: Any) -> bool:
    """Whether two JSON values are the same: 1 is 1.0, and True is neither."""
    numbers = [isinstance(one, int | float) and not isinstance(one, bool) for one in (value, wanted)]
    if all(numbers):
        return bool(value == wanted)
    return json.dumps(value, sort_keys=True) == json.dumps(wanted, sort_keys=True)


def meets(row: Mapping[str, Any], where: Mapping[str, Any]) -> bool:
    """Whether metadata meets a filter, as `triptych.retrieval.filters` describes it."""
    return all(_meets(row, name, wanted) for name, wanted in where.items())


def _meets(row: Mapping[str, Any], name: str, wanted: Any) -> bool:
    if name == "$and":
        return all(meets(row, part) for part in wanted)
    if name == "$or":
        return any(meets(row, part) for part in wanted)
    if name == "$not":
        return not meets(row, wanted)
    if name not in row:
        return False
    value = row[name]
    if not isinstance(wanted, Mapping):
        return equal(value, wanted)
    if "in" in wanted:
        return any(equal(value, one) for one in wanted["in"])
    low, high = wanted.get("min"), wanted.get("max")
    kind = str if isinstance(low if low is not None else high, str) else (int, float)
    if isinstance(value, bool) or not isinstance(value, kind):
        return False
    return (low is None or value >= low) and (high is None or value <= high)


def scores(vectors: NDArray[np.float32], query: NDArray[np.float32], metric: Metric) -> NDArray[np.float64]:
    """The score of each vector [rows, dim] for one query [dim]."""
    a, b = vectors.astype(np.float64), query.astype(np.float64)
    if metric == "l2":
        return np.asarray(-np.linalg.norm(a - b, axis=1))
    products = a @ b
    if metric == "cosine":
        products = products / np.linalg.norm(a, axis=1) / np.linalg.norm(b)
    return np.asarray(products)


ROWS: Sequence[Mapping[str, Any]] = [
    {"n": number, "even": number % 2 == 0, "colour": ("red", "green", "blue")[number % 3]} for number in range(40)
] + [
    {"n": 3.0, "colour": "Red"},
    {"n": 3.5, "colour": ""},
    {"n": True, "even": 1},
    {"n": None, "even": None},
    {"n": "3", "colour": "zürich"},
    {"n": -7, "tags": ["x", "y"], "box": {"w": 1, "h": [2]}},
    {"n": 1e300, "tags": ["x"], 'it\'s "odd" %s $1': "a'b\"c\\d%s"},
    {"n": 2**40, "tags": [], "colour": "𝄞"},
    {"colour": "\uffff", "day": "2024-06-01", "a.b": 1, "a": {"b": 2}},
    {},
]
"""Metadata with every kind of value, the same name with different kinds, and names that need quoting."""

FILTERS: dict[str, Mapping[str, Any]] = {
    "everything": {},
    "equal": {"n": 3},
    "equal float": {"n": 3.0},
    "a fraction": {"n": 3.5},
    "a big number": {"n": 1e300},
    "a string": {"colour": "red"},
    "an empty string": {"colour": ""},
    "true is not one": {"n": True},
    "one is not true": {"even": 1},
    "false": {"even": False},
    "null": {"n": None},
    "a digit": {"n": "3"},
    "a list": {"tags": ["x", "y"]},
    "another order": {"tags": ["y", "x"]},
    "part of a list": {"tags": "x"},
    "an empty list": {"tags": []},
    "an object": {"box": {"in": [{"h": [2], "w": 1}]}},
    "part of an object": {"box": {"in": [{"w": 1}]}},
    "odd names": {'it\'s "odd" %s $1': "a'b\"c\\d%s"},
    "a dot is no path": {"a.b": 1},
    "an absent field": {"nowhere": 1},
    "in": {"n": {"in": [1, 2.0, "3", None, 99]}},
    "in nothing": {"n": {"in": []}},
    "in lists": {"tags": {"in": [["x"], ["x", "y"]]}},
    "min": {"n": {"min": 30}},
    "max": {"n": {"max": 3.25}},
    "range": {"n": {"min": 5, "max": 7.5}},
    "an empty range": {"n": {"min": 8, "max": 7}},
    "one bound is null": {"n": {"min": None, "max": 2}},
    "strings from": {"colour": {"min": "g"}},
    "capitals come first": {"colour": {"max": "a"}},
    "by code point": {"colour": {"min": "z", "max": "𝄝"}},
    "beyond the plane": {"colour": {"min": "\uffff"}},
    "a range of days": {"day": {"min": "2024-02-01", "max": "2024-12-31"}},
    "both": {"colour": "red", "n": {"max": 20}},
    "and": {"$and": [{"n": {"min": 3}}, {"n": {"max": 9}}, {"even": True}]},
    "and nothing": {"$and": []},
    "or": {"$or": [{"n": 1}, {"colour": "blue"}]},
    "or nothing": {"$or": []},
    "not": {"$not": {"colour": "red"}},
    "not where it is absent": {"$not": {"tags": ["x"]}},
    "not a range": {"$not": {"n": {"min": 5}}},
    "not everything": {"$not": {}},
    "deep": {
        "$or": [{"$and": [{"even": True}, {"$not": {"n": {"min": 10}}}]}, {"tags": {"in": [["x"]]}}],
        "n": {"min": -7},
    },
}

Act = Callable[[Any], Any]  # what it gives an index is wrong, of type as well

BAD: dict[str, tuple[Act, str]] = {
    "nan": (lambda i: i.add(["a", "b"], [[1, 2], [np.nan, 1]]), "vector 1 (id 'b') holds NaN"),
    "infinity": (lambda i: i.add(["a"], [[np.inf, 1]]), "NaN or infinity"),
    "too big for float32": (lambda i: i.add(["a"], [[1e300, 1]]), "NaN or infinity"),
    "wrong dim": (lambda i: i.add(["a"], [[1, 2, 3]]), "shape [rows, 2], got [1, 3]"),
    "one vector": (lambda i: i.add(["a"], [1, 2]), "shape [rows, 2], got [2]"),
    "ragged": (lambda i: i.add(["a", "b"], [[1, 2], [1]]), "is not"),
    "words as vectors": (lambda i: i.add(["a"], [["x", "y"]]), "is not"),
    "zero vector": (lambda i: i.add(["a", "b"], [[1, 1], [0, 0]]), "vector 1 (id 'b') is all zeros"),
    "bad behind none": (lambda i: i.add(["a", "b"], [None, [0, 0]], contents=[{"text": "x"}, {}]), "'b'"),
    "an id twice": (lambda i: i.add(["a", "a"], [[1, 2], [2, 1]]), "'a' comes twice"),
    "an id that is a number": (lambda i: i.add([1], [[1, 2]]), "ids are strings"),
    "a known and a bad one": (lambda i: i.add(["there", "b"], [[0, 1], [np.nan, 1]]), "'b'"),
    "too few vectors": (lambda i: i.add(["a", "b"], [[1, 2]]), "2 ids came with 1 vectors"),
    "too few metadata": (lambda i: i.add(["a"], [[1, 2]], []), "0 metadata"),
    "too few contents": (lambda i: i.add(["a"], [[1, 2]], contents=[]), "0 contents"),
    "neither vector nor text": (lambda i: i.add(["a"], [None]), "'a'"),
    "metadata nan": (lambda i: i.add(["a"], [[1, 2]], [{"x": float("nan")}]), "'x' of 'a' is not JSON"),
    "metadata object": (lambda i: i.add(["a"], [[1, 2]], [{"x": [object()]}]), "'x' of 'a' is not JSON"),
    "metadata key": (lambda i: i.add(["a"], [[1, 2]], [{1: 2}]), "keys are strings"),
    "content object": (lambda i: i.add(["a"], [[1, 2]], contents=[{"image": object()}]), "'a' is not JSON"),
    "text that is a number": (lambda i: i.add(["a"], [[1, 2]], contents=[{"text": 3}]), "'a'"),
    "add to an unknown field": (lambda i: i.add(["a"], {"sound": [[1, 2]]}), "sound"),
    "query nan": (lambda i: i.search([[np.nan, 0]], 1), "query 0 holds NaN"),
    "query zero": (lambda i: i.search([[1, 1], [0, 0]], 1), "query 1 is all zeros"),
    "query dim": (lambda i: i.search([[1, 1, 1]], 1), "shape [rows, 2]"),
    "no neighbours": (lambda i: i.search([[1, 1]], 0), "at least one"),
    "no texts": (lambda i: i.search_text(["x"], 0), "at least one"),
    "search an unknown field": (lambda i: i.search([[1, 1]], 1, field="sound"), "sound"),
    "unknown operator": (lambda i: i.search([[1, 1]], 1, where={"n": {"above": 1}}), '"min": low'),
    "unknown word": (lambda i: i.search([[1, 1]], 1, where={"$xor": []}), "$xor"),
    "or of no list": (lambda i: i.search_text(["x"], 1, where={"$or": {"n": 1}}), "$or"),
    "mixed range": (lambda i: i.search([[1, 1]], 1, where={"n": {"min": 1, "max": "b"}}), '"min": low'),
    "empty range": (lambda i: i.search([[1, 1]], 1, where={"n": {}}), '"min": low'),
    "in a string": (lambda i: i.search([[1, 1]], 1, where={"n": {"in": "abc"}}), '"min": low'),
    "filter object": (lambda i: i.search([[1, 1]], 1, where={"n": object()}), "is not JSON"),
}
"""What each refuses, and a part of the message; the index has the field "vector" of 2 numbers, under cosine."""
