"""How surprising a bucket of news is for its entity: a statistic, and its p-value in bits.

The statistic joins two robust deviations, each from the entity's own past: of the change of the index, either way,
and of the volume, upwards, on a log scale and without the pattern of the week. Its p-value is conformal (Vovk,
Gammerman and Shafer, "Algorithmic learning in a random world", 2005): the rank among the entity's own past
statistics, to which the latest ones of all entities are added with a fixed weight, which carries a new entity until
it has a past. Ranks know no tails: a distribution that is heavy or drifts changes what a bit stands for by little,
and the rest is the account's (see `calibration`). A bucket without news has no surprise.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Self

from triptych_finance.signal.settings import WEEK_HOURS, SignalSettings

_POOLED = 500  # latest values of all entities
_SCALE_WEIGHT = 10.0  # values that the common scale counts for in an entity's own
_LEAST_SCALE = 1e-3
_WEEKS = 8  # over which the pattern of the week is averaged
_CLEAR = 1.0  # deviations from which on a change has a direction
_IQR = 1.349  # interquartile range of a standard normal distribution


class Window:
    """The latest `size` numbers, in order of arrival and of size. Numbers are rounded: a state is short that way."""

    __slots__ = ("_arrived", "_size", "_sorted")

    def __init__(self, size: int, values: Iterable[float] = ()) -> None:
        self._size = size
        self._arrived = list(values)[-size:]
        self._sorted = sorted(self._arrived)

    def __len__(self) -> int:
        return len(self._arrived)

    def add(self, value: float) -> None:
        """Take one more; the oldest goes where there are too many."""
        value = round(value, 5)
        self._arrived.append(value)
        bisect.insort(self._sorted, value)
        if len(self._arrived) > self._size:
            gone = self._arrived.pop(0)
            del self._sorted[bisect.bisect_left(self._sorted, gone)]

    def reaching(self, value: float) -> int:
        """How many are at least `value`."""
        return len(self._sorted) - bisect.bisect_left(self._sorted, value)

    def middle(self) -> float:
        """The median; 0 of nothing."""
        values, half = self._sorted, len(self._sorted) // 2
        if not values:
            return 0.0
        return values[half] if len(values) % 2 else (values[half - 1] + values[half]) / 2

    def spread(self) -> float:
        """The standard deviation that a normal distribution with these quartiles has; 0 of nothing."""
        values, last = self._sorted, len(self._sorted) - 1
        if last < 1:
            return 0.0
        return (values[(3 * last + 2) // 4] - values[last // 4]) / _IQR

    def dump(self) -> list[float]:
        """The numbers in order of arrival."""
        return list(self._arrived)


class Past:
    """What an entity is compared with: changes, log volumes and statistics of its latest buckets with news."""

    __slots__ = ("changes", "statistics", "volumes")

    def __init__(self, size: int, state: Sequence[Sequence[float]] = ((), (), ())) -> None:
        self.changes, self.volumes, self.statistics = (Window(size, values) for values in state)

    def dump(self) -> list[list[float]]:
        """The state as JSON."""
        return [self.changes.dump(), self.volumes.dump(), self.statistics.dump()]


class Measure(NamedTuple):
    """A bucket with news, measured. `direction` is that of a clear change, else 0."""

    change: float
    volume: float  # log(1 + volume) without the pattern of the week
    statistic: float
    surprise: float  # bits
    direction: int


class Detector:
    """Measures buckets of entities that have a past in common."""

    def __init__(self, settings: SignalSettings) -> None:
        self._weight = settings.pooled_weight
        self._size = settings.window
        self._bucket_hours = settings.bucket_hours
        self._common = Past(_POOLED)
        slots = -(-WEEK_HOURS // settings.bucket_hours)
        self._pattern = [0.0] * slots
        self._weeks = [0] * slots

    def most_bits(self) -> float:
        """No surprise is larger than this."""
        return math.log2(1 + self._size + self._weight)

    def measure(self, past: Past, bucket: int, change: float, volume: float) -> Measure:
        """Measure a bucket that has news, by what was learnt before it."""
        level = math.log1p(volume) - self._usual(bucket)
        moved = (change - past.changes.middle()) / self._scale(past.changes, self._common.changes)
        grown = 0.0
        if len(past.volumes):
            spread = self._scale(past.volumes, self._common.volumes)
            grown = max(0.0, (level - past.volumes.middle()) / spread)
        statistic = round(math.hypot(moved, grown), 5)
        direction = 0 if abs(moved) < _CLEAR else 1 if moved > 0 else -1
        return Measure(change, level, statistic, self._bits(past, statistic), direction)

    def learn(self, bucket: int, measured: Sequence[tuple[Past, Measure]]) -> None:
        """Add a bucket of all entities that had news to their pasts, to the common one and to the pattern."""
        strays = []
        for past, measure in measured:
            if len(past.volumes):
                stray = measure.volume - past.volumes.middle()
                strays.append(stray)
                self._common.volumes.add(stray)
            self._common.changes.add(measure.change)
            self._common.statistics.add(measure.statistic)
            past.changes.add(measure.change)
            past.volumes.add(measure.volume)
            past.statistics.add(measure.statistic)
        if strays:
            slot = self._slot(bucket)
            self._weeks[slot] += 1
            self._pattern[slot] += sum(strays) / len(strays) / (min(self._weeks[slot], _WEEKS) + 1)

    def dump(self) -> dict[str, Any]:
        """The state as JSON."""
        return {"common": self._common.dump(), "pattern": list(self._pattern), "weeks": list(self._weeks)}

    @classmethod
    def load(cls, settings: SignalSettings, state: dict[str, Any]) -> Self:
        """What `dump` gave."""
        detector = cls(settings)
        detector._common = Past(_POOLED, state["common"])
        detector._pattern, detector._weeks = list(state["pattern"]), list(state["weeks"])
        return detector

    def _slot(self, bucket: int) -> int:
        return bucket * self._bucket_hours % WEEK_HOURS // self._bucket_hours

    def _usual(self, bucket: int) -> float:
        """What the time of the week adds to log volumes."""
        return self._pattern[self._slot(bucket)] - sum(self._pattern) / len(self._pattern)

    def _scale(self, own: Window, common: Window) -> float:
        count = len(own)
        scale = (count * own.spread() + _SCALE_WEIGHT * common.spread()) / (count + _SCALE_WEIGHT)
        return max(scale, _LEAST_SCALE)

    def _bits(self, past: Past, statistic: float) -> float:
        count, reaching = len(past.statistics), float(past.statistics.reaching(statistic))
        common = self._common.statistics
        if len(common):
            reaching += self._weight * common.reaching(statistic) / len(common)
            total = count + self._weight
        else:
            total = float(count)
        return math.log2((1 + total) / (1 + reaching))
