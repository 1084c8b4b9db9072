"""Metadata of many rows, kept in columns, and the filters over it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.errors import DataError
from triptych.retrieval.filters import Between, Both, Either, Filter, OneOf, Without, is_number, plain_value
from triptych.retrieval.growing import Growing

Mask = NDArray[np.bool_]
Codes = NDArray[np.int32]
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
        end = self._rows + len(rows)
        names = dict.fromkeys(name for row in rows for name in row)
        for name in names:
            column = self._columns.get(name) or Column(np.full(self._rows, _NONE, dtype=np.int32))
            column.extend(rows, name)
            self._columns[name] = column
        for name, column in self._columns.items():
            if name not in names:
                column.codes.extend(np.full(len(rows), _NONE, dtype=np.int32))
        self._rows = end

    def rows(self, indexes: NDArray[np.int64]) -> list[dict[str, Any]]:
        """Many rows as new dicts, in the order of `indexes` int64 [rows]."""
        found: list[dict[str, Any]] = [{} for _ in range(len(indexes))]
        for name, column in list(self._columns.items()):
            for row, code in zip(found, column.at(indexes).tolist(), strict=True):
                if code != _NONE:
                    row[name] = column.values[code]
        return found

    def take(self, keep: Mask) -> Columns:
        """The rows where `keep` (bool [rows]) holds; values and fields that no row has any more are dropped."""
        taken = {name: column.take(keep) for name, column in self._columns.items()}
        return Columns(int(keep.sum()), {name: column for name, column in taken.items() if column.values})

    def select(self, found: Filter, start: int = 0) -> Mask:
        """Bool [rows - start]: which rows from `start` on the filter lets through."""
        if isinstance(found, Both | Either):
            mask = np.full(self._rows - start, isinstance(found, Both), dtype=np.bool_)
            for part in found.parts:
                selected = self.select(part, start)
                mask = mask & selected if isinstance(found, Both) else mask | selected
            return mask
        if isinstance(found, Without):
            return ~self.select(found.part, start)
        column = self._columns.get(found.name)
        if column is None:
            return np.zeros(self._rows - start, dtype=np.bool_)
        return column.select(found, start, self._rows)


class Column:
    """One field: `codes` [rows] point into `values`, which are all different; -1 where the row lacks the field."""

    def __init__(self, codes: Codes, values: Sequence[Any] = ()) -> None:
        self.codes = Growing(np.int32, codes)
        self.values = list(values)
        self._index = {_key(value): code for code, value in enumerate(self.values)}
        self._numbers: NDArray[np.float64] | None = None

    def at(self, indexes: NDArray[np.int64]) -> Codes:
        """The codes of some rows, int32 [indexes]."""
        codes: Codes = self.codes.view[indexes]
        return codes

    def extend(self, rows: Sequence[Mapping[str, Any]], name: str) -> None:
        """Append what rows have under a name."""
        codes = np.full(len(rows), _NONE, dtype=np.int32)
        index, values = self._index, self.values
        for number, row in enumerate(rows):
            if name not in row:
                continue
            value = plain_value(row[name])
            key = _key(value)
            code = index.get(key)
            if code is None:
                code = index[key] = len(values)
                values.append(value)
            codes[number] = code
        self.codes.extend(codes)

    def take(self, keep: Mask) -> Column:
        """The column of the rows that are kept."""
        codes = self.codes.view[keep]
        used = np.unique(codes[codes != _NONE])
        renumbered = np.full(len(self.values) + 1, _NONE, dtype=np.int32)  # its last entry serves the code -1
        renumbered[used] = np.arange(len(used), dtype=np.int32)
        return Column(renumbered[codes], [self.values[code] for code in used.tolist()])

    def select(self, condition: OneOf | Between, start: int, end: int) -> Mask:
        """Bool [end - start]: where a condition holds."""
        allowed = np.zeros(len(self.values) + 1, dtype=np.bool_)  # its last entry serves the code -1
        if isinstance(condition, OneOf):
            for value in condition.values:
                allowed[self._equal(value)] = True
        else:
            allowed[:-1] = self._between(condition.low, condition.high)
        found: Mask = allowed[self.codes.view[start:end]]
        return found

    def _equal(self, value: Any) -> list[int]:
        """The codes of a value: 1 and 1.0 are equal, 1 and True are not."""
        keys = [_key(value)]
        if is_number(value):
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
            mask &= numbers >= _as_float(low)
        if high is not None:
            mask &= numbers <= _as_float(high)
        return mask

    def _all_numbers(self) -> NDArray[np.float64]:
        """`values` as float64 [values], NaN where a value is no number; computed anew when values were added."""
        numbers = self._numbers
        if numbers is None or len(numbers) != len(self.values):
            numbers = np.array([_as_float(v) for v in self.values], dtype=np.float64)
            self._numbers = numbers
        return numbers


def check_metadata(row: Mapping[str, Any], *, owner: str) -> None:
    """Raise `DataError`, naming the owner's id and the field, for metadata that is not JSON."""
    for name, value in row.items():
        if not isinstance(name, str):
            raise DataError(f"metadata of {owner!r} has the key {name!r}; keys are strings")
        value = plain_value(value)
        if value is None or isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value)):
            continue
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise DataError(f"metadata {name!r} of {owner!r} is not JSON: {error}") from error


def _as_float(value: Any) -> float:
    """For comparing; NaN for what is no number."""
    if not is_number(value):
        return math.nan
    try:
        return float(value)
    except OverflowError:  # an integer beyond all floats
        return math.inf if value > 0 else -math.inf


def _key(value: Any) -> tuple[type, Any]:
    """What makes two values the same one: their type too, for 1 == 1.0 == True in Python."""
    if isinstance(value, list | tuple | Mapping):
        return (list, json.dumps(value, sort_keys=True, default=repr))
    return (type(value), value)
