"""Weights from items to items, a few for each: as float32, or as 8 bits with a scale for each row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from triptych.errors import BundleError

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

_NARROW = 1 << 16  # columns below this fit 16 bits
_FEW = 4  # entries are sorted where they are fewer than the items by this factor


@dataclass(frozen=True, slots=True, eq=False)
class ItemWeights:
    """A sparse matrix [items, items] by rows: how much an item in a history speaks for each other item."""

    starts: NDArray[np.int64]  # [items + 1]
    columns: NDArray[Any]  # [weights], uint16 or int32, rising in each row
    values: NDArray[Any]  # [weights], float32 or int8
    scales: NDArray[np.float32] | None  # [items], of int8 values

    @property
    def items(self) -> int:
        """How many rows and columns there are."""
        return len(self.starts) - 1

    @classmethod
    def of(cls, matrix: csr_matrix, *, int8: bool) -> Self:
        """A square matrix, with 8 bits for each value where that is asked for (the largest of its row is 127)."""
        matrix.sort_indices()
        starts = matrix.indptr.astype(np.int64)
        columns = matrix.indices.astype(np.uint16 if matrix.shape[1] <= _NARROW else np.int32)
        values = matrix.data.astype(np.float32)
        if not int8:
            return cls(starts, columns, values, None)
        row = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
        scales = np.zeros(len(starts) - 1, dtype=np.float32)
        np.maximum.at(scales, row, np.abs(values) / 127)
        steps = np.rint(values / np.maximum(scales[row], np.finfo(np.float32).tiny)).astype(np.int8)
        kept = steps != 0
        starts = np.concatenate([[0], np.cumsum(np.bincount(row[kept], minlength=len(scales)))]).astype(np.int64)
        return cls(starts, columns[kept], steps[kept], scales)

    def total(
        self, rows: NDArray[np.int32], weights: NDArray[np.float32]
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """The sum of the rows, each times its weight: the columns where any of them has a value, rising, and the sums.

        Where the rows hold little of what there is, nothing as long as a row is looked at.
        """
        places, owners = self._entries(rows)
        heavy = self._heavy(rows, weights)[owners] * self.values[places]
        columns = self.columns[places]
        if len(columns) * _FEW > self.items:
            sums = np.bincount(columns, heavy, minlength=self.items)
            there = np.bincount(columns, minlength=self.items) > 0
            return np.flatnonzero(there).astype(np.int32), sums[there].astype(np.float32)
        order = np.argsort(columns, kind="stable")
        columns = columns[order]
        if not len(columns):
            return np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.float32)
        begins = np.concatenate([[0], np.flatnonzero(columns[1:] != columns[:-1]) + 1])
        sums = np.add.reduceat(heavy[order].astype(np.float64), begins)
        return columns[begins].astype(np.int32), sums.astype(np.float32)

    def column(self, rows: NDArray[np.int32], column: int) -> NDArray[np.float32]:
        """Float32 [rows]: the value of each row in one column."""
        places, owners = self._entries(rows)
        hits = self.columns[places] == column
        found = np.zeros(len(rows), dtype=np.float32)
        found[owners[hits]] = self.values[places[hits]]
        return self._heavy(rows, found)

    def between(self, rows: NDArray[np.int32], columns: NDArray[np.int32]) -> NDArray[np.float32]:
        """Float32 [rows, columns]: the values at some rows and some columns, in any order, each once."""
        found = np.zeros((len(rows), len(columns)), dtype=np.float32)
        if not len(columns):
            return found
        order = np.argsort(columns)
        places, owners = self._entries(rows)
        there = np.searchsorted(columns, self.columns[places], sorter=order)
        there = order[np.minimum(there, len(order) - 1)]
        hits = columns[there] == self.columns[places]
        found[owners[hits], there[hits]] = self.values[places[hits]]
        return found if self.scales is None else found * self.scales[rows][:, None]

    def product(self, profiles: csr_matrix) -> NDArray[np.float32]:
        """Float32 [profiles, items]: `total` of each row of weights [profiles, items]."""
        from scipy.sparse import csr_matrix

        values = self.values.astype(np.float32)
        if self.scales is not None:
            values *= np.repeat(self.scales, np.diff(self.starts))
        matrix: Any = csr_matrix((values, self.columns.astype(np.int32), self.starts), (self.items, self.items))
        found: NDArray[np.float32] = (profiles @ matrix).toarray()
        return found

    def tensors(self) -> dict[str, NDArray[Any]]:
        """All that `from_tensors` needs."""
        held = {"starts": self.starts, "columns": self.columns, "values": self.values}
        return held if self.scales is None else held | {"scales": self.scales}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[Any]], items: int) -> Self:
        """What `tensors` gave. Raises `BundleError` where something is missing or does not fit together."""
        try:
            found = cls(tensors["starts"], tensors["columns"], tensors["values"], tensors.get("scales"))
        except KeyError as error:
            raise BundleError(f"a model of item weights lacks the tensor {error}; fit it again") from error
        ends = found.starts
        whole = (
            len(ends) == items + 1
            and ends[0] == 0
            and ends[-1] == len(found.columns) == len(found.values)
            and bool(np.all(np.diff(ends) >= 0))
            and (not len(found.columns) or int(found.columns.max()) < items)
            and (found.scales is None or len(found.scales) == items)
        )
        if not whole:
            raise BundleError("a model of item weights has tensors that do not fit together; fit it again")
        return found

    def _entries(self, rows: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The places of all entries of some rows, and for each which of the rows it belongs to."""
        begins = self.starts[rows]
        counts = self.starts[rows.astype(np.int64) + 1] - begins
        owners = np.repeat(np.arange(len(rows)), counts)
        before = np.cumsum(counts) - counts
        return np.arange(len(owners)) + (begins - before)[owners], owners

    def _heavy(self, rows: NDArray[np.int32], weights: NDArray[np.float32]) -> NDArray[np.float32]:
        return weights if self.scales is None else weights * self.scales[rows]


def largest(matrix: csr_matrix, kept: int) -> csr_matrix:
    """The matrix with the `kept` entries of each row that are largest by magnitude, of equals the lower columns."""
    from scipy.sparse import csr_matrix

    counts = np.diff(matrix.indptr)
    row = np.repeat(np.arange(matrix.shape[0]), counts)
    order = np.lexsort((matrix.indices, -np.abs(matrix.data), row))
    place = np.arange(len(order)) - np.repeat(matrix.indptr[:-1], counts)
    order = np.sort(order[place < kept])
    starts = np.concatenate([[0], np.cumsum(np.minimum(counts, kept))])
    found: Any = csr_matrix((matrix.data[order], matrix.indices[order], starts), matrix.shape)
    found.eliminate_zeros()
    found.sort_indices()
    return found
