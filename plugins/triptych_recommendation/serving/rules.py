"""Business rules: which items may stand in a list, and why one came out empty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych_recommendation.serving.settings import RuleSettings
from triptych_recommendation.serving.shelf import Mask, Shelf


@dataclass(frozen=True, slots=True, eq=False)
class Allowed:
    """Which items may stand in a list: `mask` is bool [items]; `steps` say what each rule left."""

    mask: Mask
    steps: tuple[tuple[str, int], ...]

    @property
    def count(self) -> int:
        """How many may."""
        return self.steps[-1][1]

    def emptied_by(self) -> str:
        """The rule after which nothing was left, in words; "" where something was."""
        before = ""
        for name, left in self.steps:
            if not left:
                return f"{name} ({before} before)" if before else name
            before = f"{left:,} items"
        return ""


class Rules:
    """The rules of a shop over a shelf. What does not depend on the request is computed once for each change."""

    def __init__(self, settings: RuleSettings, shelf: Shelf) -> None:
        self.settings = settings
        self._shelf = shelf
        self._kept: tuple[int, Allowed] | None = None

    def allowed(self, where: Mapping[str, Any] | None, seen: NDArray[np.int32]) -> Allowed:
        """What may be shown to somebody who had to do with the rows `seen`, under a filter of the request.

        Raises `DataError` for a filter that is not understood.
        """
        found = self._always()
        mask, steps = found.mask, list(found.steps)
        if where:
            mask = mask & self._shelf.select(where)
            steps.append(("the filter of the request", int(np.count_nonzero(mask))))
        if len(seen) and not self.settings.repeats:
            mask = mask.copy()
            mask[seen] = False
            steps.append(("leaving out what the user knows", int(np.count_nonzero(mask))))
        return Allowed(mask, tuple(steps))

    def pinned(self, allowed: Allowed) -> list[int]:
        """The rows of the pinned items that may be shown, in the order of the settings."""
        rows = [self._shelf.rows[name] for name in self.settings.pinned if name in self._shelf.rows]
        return [row for row in dict.fromkeys(rows) if allowed.mask[row]]

    def _always(self) -> Allowed:
        """The rules that hold for everybody."""
        version = self._shelf.version
        if self._kept is None or self._kept[0] != version:
            self._kept = (version, self._applied())
        return self._kept[1]

    def _applied(self) -> Allowed:
        mask = self._shelf.alive.copy()
        steps = [("the catalogue", int(np.count_nonzero(mask)))]
        for name, passing in self._tests():
            mask &= passing
            steps.append((name, int(np.count_nonzero(mask))))
        return Allowed(mask, tuple(steps))

    def _tests(self) -> list[tuple[str, Mask]]:
        s, shelf = self.settings, self._shelf
        tests: list[tuple[str, Mask]] = []
        if s.in_stock:
            tests.append(("the rule of stock", shelf.stock != 0))
        if s.categories:
            tests.append(("the rule of categories", shelf.select({"category": {"in": s.categories}})))
        if s.blocked_categories:
            tests.append(("blocked categories", ~shelf.select({"category": {"in": s.blocked_categories}})))
        if s.least_price is not None:
            tests.append(("the least price", shelf.price >= s.least_price))
        if s.most_price is not None:
            tests.append(("the most price", shelf.price <= s.most_price))
        if s.blocked:
            tests.append(("blocked items", ~shelf.select({"id": {"in": s.blocked}})))
        return tests
