"""The items of an index in memory, by position: ids, metadata, and which of them are still there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from triptych.retrieval.columns import Columns, Mask
from triptych.retrieval.growing import Growing
from triptych.retrieval.ids import Ids

Positions = NDArray[np.int64]


class Table:
    """Items in the order in which they came. What is deleted keeps its position until the table is made anew.

    `keys` (int64, rising) are the numbers that whoever keeps the items durably gave them.
    """

    def __init__(self) -> None:
        self.keys = Growing(np.int64)
        self.columns = Columns()
        self._ids = Ids()
        self.deaths = Growing(np.int64)  # positions, in the order in which they were deleted

    @classmethod
    def of(cls, keys: NDArray[np.int64], ids: Ids, columns: Columns) -> Self:
        """A table with everything alive."""
        table = cls()
        table.keys = Growing(np.int64, keys)
        table._ids = ids
        table.columns = columns
        return table

    def __len__(self) -> int:
        """How many positions there are, those of deleted items included."""
        return len(self.keys)

    @property
    def alive(self) -> int:
        """How many items there are."""
        return len(self.keys) - len(self.deaths)

    def extend(self, keys: Sequence[int], ids: Sequence[str], metadata: Sequence[Mapping[str, Any]]) -> None:
        """Append items; `keys` go on rising."""
        self._ids.extend(ids)
        self.columns.extend(metadata)
        self.keys.extend(np.array(keys, dtype=np.int64))

    def find(self, keys: Iterable[int]) -> Positions:
        """The positions of keys, int64 [found]; keys that the table does not have are passed over."""
        wanted = np.fromiter(keys, dtype=np.int64)
        known = self.keys.view
        if not len(known):
            return np.empty(0, dtype=np.int64)
        positions = np.searchsorted(known, wanted)
        there = (positions < len(known)) & (known[np.minimum(positions, len(known) - 1)] == wanted)
        found: Positions = positions[there].astype(np.int64)
        return found

    def bury(self, positions: Positions) -> None:
        """Mark items as deleted, each once."""
        self.deaths.extend(positions)

    def ids_at(self, positions: Positions) -> list[str]:
        """The ids at int64 [positions]."""
        return self._ids.at(positions)

    def alive_mask(self) -> Mask:
        """Bool [positions]."""
        mask = np.ones(len(self), dtype=np.bool_)
        mask[self.deaths.view] = False
        return mask

    def take(self, keep: Mask) -> Table:
        """A table of the items at the positions where `keep` holds."""
        return Table.of(self.keys.view[keep], self._ids.take(keep), self.columns.take(keep))
