"""What is kept of one entity or sector, and of all of them together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from triptych_finance.signal.calibration import Account, Budget
from triptych_finance.signal.detector import Detector, Past

_NOTHING = 1e-12  # a weight under which old news is forgotten


class Series:
    """One entity's or sector's decayed sums as of the last closed bucket, its open buckets, its account and past."""

    __slots__ = ("account", "first", "index", "open", "past", "scored", "weight")

    def __init__(self, first: int, past: Past) -> None:
        self.first = first  # bucket
        self.scored = self.weight = self.index = 0.0
        self.open: dict[int, list[float]] = {}  # bucket: volume, decayed sum of weight * score, decayed weight
        self.account = Account()
        self.past = past

    def fold(self, bucket: int, fade: float, prior: float) -> tuple[float, float]:
        """Let the sums decay by `fade`, over a bucket, and add the bucket. Returns the index' change and the volume."""
        scored, weight, volume = self.scored * fade, self.weight * fade, 0.0
        if self.open:
            sums = self.open.pop(bucket, None)
            if sums is not None:
                volume = sums[0]
                scored += sums[1]
                weight += sums[2]
        if weight < _NOTHING:
            scored = weight = 0.0
        index = scored / (weight + prior)
        change = index - self.index
        self.scored, self.weight, self.index = scored, weight, index
        return change, volume

    def dump(self) -> dict[str, Any]:
        """The state as JSON, without the past."""
        buckets = [[bucket, *sums] for bucket, sums in self.open.items()]
        sums = [self.scored, self.weight, self.index]
        return {"first": self.first, "sums": sums, "open": buckets, "account": self.account.dump()}

    @classmethod
    def load(cls, state: Mapping[str, Any], past: Past) -> Self:
        """What `dump` gave."""
        series = cls(state["first"], past)
        series.scored, series.weight, series.index = state["sums"]
        series.open = {bucket: sums for bucket, *sums in state["open"]}
        series.account = Account.load(state["account"])
        return series


class Group:
    """Series that share a detector and a budget: the entities, or the sectors."""

    def __init__(self, detector: Detector, budget: Budget) -> None:
        self.detector, self.budget = detector, budget
        self.series: dict[str, Series] = {}
        self.ordered: list[str] = []  # names; sums over entities are taken in this order

    def put(self, name: str, series: Series) -> None:
        """Add a series."""
        self.series[name] = series
        self.ordered = sorted(self.series)
