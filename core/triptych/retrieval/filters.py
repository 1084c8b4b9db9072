"""The filter language over metadata: read once, then a small tree that every backend turns into its own.

    {"price": 10}                                   equal
    {"price": {"in": [10, 12]}}                     one of
    {"price": {"min": 5, "max": 20}}                a range, both ends included, one may be left out
    {"price": {"min": 5}, "colour": "red"}          both
    {"$or": [{...}, {...}]}, {"$and": [...]}        any, all
    {"$not": {...}}                                 what the inner filter does not find

A row that lacks a field meets no condition on it, and so meets its `$not`. A value that is an object is written as
`{"box": {"in": [{"w": 1}]}}`; lists and objects are equal when their JSON is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from triptych.errors import DataError

Bound: TypeAlias = int | float | str | None


@dataclass(frozen=True, slots=True)
class OneOf:
    """The field has one of the values; 1 and 1.0 are equal, 1 and True are not."""

    name: str
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Between:
    """The field is a number (or a string) between two of its kind, both included; None is no bound."""

    name: str
    low: Bound
    high: Bound


@dataclass(frozen=True, slots=True)
class Both:
    """Every part is met; without parts, everything is."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Either:
    """At least one part is met; without parts, nothing is."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Without:
    """The part is not met."""

    part: Filter


Filter: TypeAlias = OneOf | Between | Both | Either | Without


def parse(where: Mapping[str, Any]) -> Filter:
    """A filter as its tree. Raises `DataError` naming the field or operator that is not understood."""
    if not isinstance(where, Mapping):
        raise DataError(f"a filter is a mapping of fields to conditions, not {where!r}")
    parts = [_parse_entry(name, condition) for name, condition in where.items()]
    return parts[0] if len(parts) == 1 else Both(tuple(parts))


def key_of(where: Mapping[str, Any] | None) -> str:
    """A text that is equal for equal filters. Raises `DataError` for a filter that is not JSON."""
    try:
        return json.dumps(where or {}, sort_keys=True, default=_plain)
    except (TypeError, ValueError) as error:
        raise DataError(f"the filter {where!r} is not JSON: {error}") from error


def plain_value(value: Any) -> Any:
    """A number of NumPy as Python's own, anything else as it is."""
    return value.item() if isinstance(value, np.generic) else value


def is_number(value: Any) -> bool:
    """Whether a range compares it as a number; booleans are none."""
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def _parse_entry(name: Any, condition: Any) -> Filter:
    if not isinstance(name, str):
        raise DataError(f"the filter names the field {name!r}; names are strings")
    if name in ("$and", "$or"):
        if not _is_list(condition) or not all(isinstance(part, Mapping) for part in condition):
            raise DataError(f"{name} in a filter takes a list of filters, not {condition!r}")
        parts = tuple(parse(part) for part in condition)
        return Both(parts) if name == "$and" else Either(parts)
    if name == "$not":
        if not isinstance(condition, Mapping):
            raise DataError(f"$not in a filter takes a filter, not {condition!r}")
        return Without(parse(condition))
    if name.startswith("$"):
        raise DataError(f"{name!r} is no operator of filters; there are $and, $or and $not")
    return _parse_condition(name, condition)


def _parse_condition(name: str, condition: Any) -> Filter:
    if not isinstance(condition, Mapping):
        key_of({name: condition})  # refuses what is not JSON
        return OneOf(name, (plain_value(condition),))
    if set(condition) == {"in"} and isinstance(condition["in"], list | tuple | set | frozenset):
        key_of(condition)
        return OneOf(name, tuple(plain_value(value) for value in condition["in"]))
    if condition and set(condition) <= {"min", "max"}:
        low, high = plain_value(condition.get("min")), plain_value(condition.get("max"))
        bounds = [bound for bound in (low, high) if bound is not None]
        numbers = all(is_number(bound) for bound in bounds)
        if bounds and (numbers or all(isinstance(bound, str) for bound in bounds)):
            return Between(name, low, high)
    raise DataError(
        f"the filter on {name!r} is {condition!r}; write a value, "
        '{"in": [values]}, or {"min": low, "max": high} with two numbers or two strings'
    )


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _plain(value: Any) -> Any:
    """NumPy numbers and sets in a filter, for its key."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, set | frozenset):
        return sorted(value, key=repr)
    raise TypeError(f"{value!r} is {type(value).__name__}")
