"""Metadata of many rows, kept in columns, and the filters over it."""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.errors import DataError

Mask = NDArray[np.bool_]
_NONE = -1  # the code of a row without the field


class Columns:
    """Rows of JSON objects. Equal values of a field are stored once, so that repeated ones cost four bytes a row.

    Values that come back are shared between rows: do not change lists or objects among them.
    """

    def __init__(self, rows: int = 0, columns: Mapping[str, Column] | None = None) -> None:
        self._columns = dict(columns or {})
        self._rows = rows

    def __len__(self) -> int:
        return self._rows

    @property
    def names(self) -> list[str]:
        """The fields that any row has or had."""
        return list(self._columns)

    def column(self, name: str) -> Column:
        """One field."""
        return self._columns[name]

    def extend(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append rows that `check_metadata` accepted."""
        for row in rows:
            for name in row:
                if name not in self._columns:
                    self._columns[name] = Column(array("i", [_NONE]) * self._rows)
            for name, column in self._columns.items():
                column.append(row[name]) if name in row else column.codes.append(_NONE)
            self._rows += 1

    def row(self, index: int) -> dict[str, Any]:
        """One row as a new dict."""
        found = {}
        for name, column in self._columns.items():
            code = column.codes[index]
            if code != _NONE:
                found[name] = column.values[code]
        return found

    def take(self, keep: Mask) -> Columns:
        """The rows where `keep` (bool [rows]) holds; values and fields that no row has any more are dropped."""
        taken = {name: column.take(keep) for name, column in self._columns.items()}
        return Columns(int(keep.sum()), {name: column for name, column in taken.items() if column.values})

    def select(self, where: Mapping[str, Any]) -> Mask:
        """Bool [rows]: the rows that meet every condition of `where`. A field that no row has meets none.

        A condition is a value (equal), {"in": [values]}, or {"min": low, "max": high} (both included, one may be
        left out; numbers compare with numbers, strings with strings). Raises `DataError` for anything else.
        """
        mask = np.ones(self._rows, dtype=np.bool_)
        for name, condition in where.items():
            check_condition(name, condition)
            column = self._columns.get(name)
            mask &= column.matches(condition) if column is not None else False
        return mask


class Column:
    """One field: `codes` [rows] point into `values`, which are all different; -1 where the row lacks the field."""

    def __init__(self, codes: array[int], values: Sequence[Any] = ()) -> None:
        self.codes = codes
        self.values = list(values)
        self._index = {_key(value): code for code, value in enumerate(self.values)}
        self._numbers: NDArray[np.float64] | None = None

    def append(self, value: Any) -> None:
        """Add one row."""
        value = value.item() if isinstance(value, np.generic) else value
        code = self._index.setdefault(_key(value), len(self.values))
        if code == len(self.values):
            self.values.append(value)
        self.codes.append(code)

    def take(self, keep: Mask) -> Column:
        """The column of the rows that are kept."""
        codes = np.array(self.codes, dtype=np.int32)[keep]
        used = np.unique(codes[codes != _NONE])
        renumbered = np.full(len(self.values) + 1, _NONE, dtype=np.int32)  # its last entry serves the code -1
        renumbered[used] = np.arange(len(used), dtype=np.int32)
        return Column(array("i", renumbered[codes].tobytes()), [self.values[code] for code in used.tolist()])

    def matches(self, condition: Any) -> Mask:
        """Bool [rows]: where a condition that `check_condition` accepted holds."""
        allowed = np.zeros(len(self.values) + 1, dtype=np.bool_)  # its last entry serves the code -1
        if not isinstance(condition, Mapping):
            allowed[self._equal(condition)] = True
        elif "in" in condition:
            for value in condition["in"]:
                allowed[self._equal(value)] = True
        else:
            allowed[:-1] = self._between(condition.get("min"), condition.get("max"))
        found: Mask = allowed[np.array(self.codes, dtype=np.int32)]
        return found

    def _equal(self, value: Any) -> list[int]:
        """The codes of a value: 1 and 1.0 are equal, 1 and True are not."""
        value = value.item() if isinstance(value, np.generic) else value
        keys = [_key(value)]
        if isinstance(value, int | float) and not isinstance(value, bool):
            keys = [(int, value), (float, value)]
        return [self._index[key] for key in keys if key in self._index]

    def _between(self, low: Any, high: Any) -> Mask | list[bool]:
        bound = low if low is not None else high
        if isinstance(bound, str):
            return [
                isinstance(value, str) and (low is None or low <= value) and (high is None or value <= high)
                for value in self.values
            ]
        numbers = self._all_numbers()
        mask = ~np.isnan(numbers)
        if low is not None:
            mask &= numbers >= low
        if high is not None:
            mask &= numbers <= high
        return mask

    def _all_numbers(self) -> NDArray[np.float64]:
        """`values` as float64 [values], NaN where a value is no number; computed anew when values were added."""
        numbers = self._numbers
        if numbers is None or len(numbers) != len(self.values):
            numbers = np.array([float(v) if _is_number(v) else math.nan for v in self.values], dtype=np.float64)
            self._numbers = numbers
        return numbers


def check_metadata(row: Mapping[str, Any], *, owner: str) -> None:
    """Raise `DataError`, naming the owner's id and the field, for metadata that is not JSON."""
    for name, value in row.items():
        if not isinstance(name, str):
            raise DataError(f"metadata of {owner!r} has the key {name!r}; keys are strings")
        value = value.item() if isinstance(value, np.generic) else value
        if value is None or isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value)):
            continue
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise DataError(f"metadata {name!r} of {owner!r} is not JSON: {error}") from error


def check_condition(name: str, condition: Any) -> None:
    """Raise `DataError` for a condition that no filter has."""
    if not isinstance(condition, Mapping):
        return
    if set(condition) == {"in"} and isinstance(condition["in"], list | tuple | set | frozenset):
        return
    if condition and set(condition) <= {"min", "max"}:
        bounds = [bound for bound in condition.values() if bound is not None]
        numbers = all(_is_number(bound) for bound in bounds)
        if bounds and (numbers or all(isinstance(bound, str) for bound in bounds)):
            return
    raise DataError(
        f"the filter on {name!r} is {condition!r}; write a value, "
        '{"in": [values]}, or {"min": low, "max": high} with two numbers or two strings'
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def _key(value: Any) -> tuple[type, Any]:
    """What makes two values the same one: their type too, for 1 == 1.0 == True in Python."""
    if isinstance(value, list | tuple | Mapping):
        return (list, json.dumps(value, sort_keys=True, default=repr))
    return (type(value), value)
