"""What a search found: whole columns for a program in a hurry, hits for everybody else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from triptych.retrieval.base import Hit
from triptych.retrieval.engines.base import some_missing
from triptych.retrieval.table import Table

_NOTHING = -1  # the position where there were fewer than k


class Results(Sequence[list[Hit]]):
    """For each query its hits, best first; made when they are asked for.

    `scores` is float32 [queries, k] and `positions` int64 [queries, k] into the table, -1 where there are fewer.
    Hits stay what they were at the time of the search, whatever is written afterwards.
    """

    def __init__(self, table: Table, scores: NDArray[np.float32], positions: NDArray[np.int64]) -> None:
        self._table = table
        self.scores = scores
        self.positions = positions

    def __len__(self) -> int:
        return len(self.positions)

    @overload
    def __getitem__(self, index: int) -> list[Hit]: ...

    @overload
    def __getitem__(self, index: slice) -> list[list[Hit]]: ...

    def __getitem__(self, index: int | slice) -> list[Hit] | list[list[Hit]]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        positions = self.positions[index]
        found = positions != _NOTHING
        rows = positions[found]
        parts = zip(
            self._table.ids_at(rows),
            self.scores[index][found].tolist(),
            self._table.columns.rows(rows),
            strict=True,
        )
        return [Hit(*part) for part in parts]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(list(self))

    @property
    def ids(self) -> list[list[str]]:
        """The ids of each query's hits; "" where there are fewer than k."""
        if not some_missing(self.positions):
            return _in_rows(self._table.ids_at(self.positions.ravel()), self.positions.shape[1])
        return [
            self._table.ids_at(row[row != _NOTHING]) + [""] * int((row == _NOTHING).sum()) for row in self.positions
        ]

    def metadata(self, name: str) -> list[list[Any]]:
        """One metadata field of each query's hits; None where a hit lacks it or there are fewer than k."""
        columns = self._table.columns
        if name not in columns.names:
            return [[None] * self.positions.shape[1] for _ in self.positions]
        column = columns.column(name)
        codes = column.at(self.positions.ravel())
        if some_missing(self.positions):
            codes[self.positions.ravel() == _NOTHING] = _NOTHING
        values = column.values
        if codes.size and int(codes.min()) >= 0:
            found = list(map(values.__getitem__, codes.tolist()))
        else:
            found = [None if code < 0 else values[code] for code in codes.tolist()]
        return _in_rows(found, self.positions.shape[1])


def _in_rows(found: list[Any], width: int) -> list[list[Any]]:
    return [found[start : start + width] for start in range(0, len(found), width or 1)]
