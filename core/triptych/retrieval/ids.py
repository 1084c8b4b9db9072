"""The ids of many items, by position."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.retrieval.growing import Growing

_WIDEST = 40  # bytes: a UUID and a little more
_TEXT = np.dtypes.StringDType()


class Ids:
    """Strings by position; readers go on while one is appended to.

    Short ones are kept as UTF-8 of one width, side by side, and only become strings when they are asked for: a third
    of the time of numpy's variable strings, into which all go once one is long.
    """

    def __init__(self, names: Sequence[str] = ()) -> None:
        self._kept = Growing(np.dtype("S1"))
        self.extend(names)

    def __len__(self) -> int:
        return len(self._kept)

    def extend(self, names: Sequence[str]) -> None:
        """Append ids that are valid Unicode."""
        if not len(names):
            return
        dtype = self._kept.view.dtype
        if dtype != _TEXT:
            encoded = [name.encode("utf-8") for name in names]
            width = max(map(len, encoded))
            if width <= _WIDEST and not any(name.endswith(b"\0") for name in encoded):  # numpy takes NULs for padding
                if width > dtype.itemsize:
                    self._kept = Growing(np.dtype(f"S{width}"), self._kept.view)
                self._kept.extend(encoded)
                return
            self._kept = Growing(_TEXT, self.at(np.arange(len(self))))
        self._kept.extend(names)

    def at(self, positions: NDArray[np.int64]) -> list[str]:
        """The ids at int64 [positions]."""
        kept = self._kept.view  # taken once, for it may be exchanged meanwhile
        found: list[Any] = kept[positions].tolist()
        return found if kept.dtype == _TEXT else list(map(bytes.decode, found))

    def take(self, keep: NDArray[np.bool_]) -> Ids:
        """Those where `keep` (bool [ids]) holds."""
        taken = Ids()
        taken._kept = Growing(self._kept.view.dtype, self._kept.view[keep])
        return taken
