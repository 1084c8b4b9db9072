"""Arrays that grow at the end and never move under a reader."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


class Growing:
    """A one-dimensional array with room to grow.

    A view taken before an append stays valid and keeps its length: entries are only ever added, and a buffer that is
    full is copied into a larger one while readers hold on to the old.
    """

    def __init__(self, dtype: Any, values: Any = None) -> None:
        self._buffer: Array = np.empty(0, dtype=dtype) if values is None else np.asarray(values, dtype=dtype)
        self._length = len(self._buffer)

    def __len__(self) -> int:
        return self._length

    @property
    def view(self) -> Array:
        """The entries so far, without a copy."""
        return self._buffer[: self._length]

    def extend(self, values: Any) -> None:
        """Append entries."""
        values = np.asarray(values, dtype=self._buffer.dtype)
        end = self._length + len(values)
        if end > len(self._buffer):
            larger = np.empty(max(end, end + end // 4, 16), dtype=self._buffer.dtype)
            larger[: self._length] = self.view
            self._buffer = larger
        self._buffer[self._length : end] = values
        self._length = end
