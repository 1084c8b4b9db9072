"""Bets that windows of a stream are exchangeable, as a test for change with a set rate of false reports."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Any, Self

import numpy as np

_REMEMBERED = 260  # windows that a new one is compared with
_BETS = (0.7, 0.4, 0.15)  # bet k pays k * p^(k-1), whose mean over uniform p is 1; and the same for 1 - p
_LEAST = 1e-12


class Test:
    """A window's p-value is its rank among all windows so far; bets on p-values near 0 or near 1 are added up.

    A window is one number, ranked by itself, or several, ranked by their distance from the mean of all windows. The
    p-value is conformal: while windows are exchangeable, these are independent and uniform (Vovk, Nouretdinov and
    Gammerman, "Testing exchangeability on-line", 2003). A bet begins in each window anew, and all are added up, as in
    the rule of Shiryaev and Roberts (for e-values: Shin, Ramdas and Rinaldo, "E-detectors", 2022). Where no bet gains
    in the mean, their sum M grows by 1 a window. So M + c * (reports so far) - (windows so far) does not grow in the
    mean where a report, made at M >= c, sets M to 0: there is at most one false report in c windows, however long it
    goes on.
    """

    __slots__ = ("seen", "since", "sums", "windows")
    __test__ = False  # for pytest: the name means another kind of test

    def __init__(self, since: int) -> None:
        self.seen = 0
        self.since = since  # the first window after the last report
        self.windows: list[list[float]] = []
        self.sums = [0.0] * (2 * len(_BETS))

    def bet(self, window: Sequence[float], salt: str) -> float:
        """Take one more window. Returns its p-value; `salt` is a name for this test."""
        self.windows.append([round(value, 6) for value in window])
        self.seen += 1
        p_value = min(max(self._rank(f"{salt}:{self.seen}"), _LEAST), 1 - _LEAST)
        pays = [bet * p ** (bet - 1) for p in (p_value, 1 - p_value) for bet in _BETS]
        self.sums = [(total + 1) * pay for total, pay in zip(self.sums, pays, strict=True)]
        if len(self.windows) == _REMEMBERED:
            self.windows = []  # later windows are ranked among themselves; what was won stays
        return p_value

    def evidence(self) -> float:
        """M, as log10."""
        return math.log10(sum(self.sums) / len(self.sums))

    def restart(self, since: int) -> None:
        """Forget the past; a report was made."""
        self.since, self.windows, self.sums = since, [], [0.0] * len(self.sums)

    def dump(self) -> list[Any]:
        """The state as JSON."""
        return [self.seen, self.since, [list(window) for window in self.windows], list(self.sums)]

    @classmethod
    def load(cls, state: Sequence[Any]) -> Self:
        """What `dump` gave."""
        test = cls(0)
        test.seen, test.since, windows, sums = state
        test.windows, test.sums = [list(window) for window in windows], list(sums)
        return test

    def _rank(self, salt: str) -> float:
        """The share of windows whose value or distance is larger than that of the newest; a hash breaks ties."""
        table = np.asarray(self.windows)
        distance = np.round(((table - table.mean(axis=0)) ** 2).sum(axis=1), 12)
        values = table[:, 0] if table.shape[1] == 1 else distance
        larger, equal = int((values > values[-1]).sum()), int((values == values[-1]).sum())
        return (larger + _uniform(salt) * equal) / len(values)


def _uniform(salt: str) -> float:
    """A number in (0, 1) that anybody gets for the same text."""
    return (int.from_bytes(hashlib.sha256(salt.encode()).digest()[:6]) + 0.5) / 2**48
