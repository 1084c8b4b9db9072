"""What one answer took from outside of its request and its bundle, so that the same answer can be given again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from triptych.errors import DataError
from triptych.types import Prediction

T = TypeVar("T")


class Trace:
    """The record of one answer while it is made; with `recalled` of an earlier one, it makes that answer again.

    `prediction` is what the model said, None where it was not asked. One trace serves one request, in one thread.
    """

    __slots__ = ("prediction", "recalled", "replaying")

    def __init__(self, recalled: Mapping[str, Any] | None = None) -> None:
        self.replaying = recalled is not None
        self.recalled: dict[str, Any] = dict(recalled or {})
        self.prediction: Prediction | None = None

    def recall(self, name: str, make: Callable[[], T]) -> T:
        """What `make` gave at the first call under this name; in a replay what it gave then, and it is not called.

        Raises `DataError` in a replay where the answer did not ask for it then.
        """
        if name not in self.recalled:
            if self.replaying:
                raise DataError(f"the answer asks for {name!r}, which it did not ask for when it was given")
            self.recalled[name] = make()
        found: T = self.recalled[name]
        return found
