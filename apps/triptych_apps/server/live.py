"""What the last minutes were like, for the page of the operator: small rings beside the counters of Prometheus.

Everything is of this process alone and is forgotten when it ends. What is written here belongs to the event loop's
thread, but for batches; it may be read in any thread.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence

from pydantic import BaseModel

SLOT_SECONDS = 5.0
SLOTS = 60  # five minutes
_NEWEST = 2_048  # latencies and batches that are remembered
BINS = 10  # of confidence, each a tenth wide

Clock = Callable[[], float]


class Figures(BaseModel):
    """What one release did. `rate` and latencies are of the last five minutes, all else since the server started."""

    answers: int = 0
    by_mode: dict[str, int] = {}  # model, fallback, cache
    by_variant: dict[str, int] = {}
    rate: float = 0.0  # answers a second, over the minutes in which the server ran
    rates: list[float] = []  # answers a second, of each slot of five seconds, the oldest first
    timed: int = 0  # calls that the latencies are of
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    confidence: list[int] = [0] * BINS
    cost: float = 0.0


class Load(BaseModel):
    """What one vertical did in the last five minutes, whichever release answered."""

    batch_mean: float | None = None
    batch_most: int | None = None
    refused: int = 0  # calls with a status of 400 to 499
    failed: int = 0  # calls with a status of 500 and more
    turned_away: int = 0  # of those that failed, the ones with 503: too busy, starting or stopping


class Live:
    """One for each server. `clock` gives seconds that never go back."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._releases: dict[tuple[str, str], _Release] = {}
        self._verticals: dict[str, _Vertical] = {}

    @property
    def seconds(self) -> float:
        """How long it has been counting."""
        return self._clock() - self._began

    def answer(
        self, vertical: str, release: str, *, variant: str, mode: str, confidence: float, cost: float | None
    ) -> None:
        """Count an answer."""
        found = self._release(vertical, release)
        found.modes[mode] += 1
        found.variants[variant] += 1
        found.confidence[min(BINS - 1, max(0, int(confidence * BINS)))] += 1
        found.cost += cost or 0.0
        found.slots.add(self._clock())

    def call(self, vertical: str, status: int) -> None:
        """Count a call that was answered or not."""
        if status >= 400:
            self._vertical(vertical).errors.append((self._clock(), status))

    def latency(self, vertical: str, release: str, seconds: float) -> None:
        """Count how long a client waited for one answer."""
        self._release(vertical, release).latencies.append((self._clock(), seconds))

    def batch(self, vertical: str, size: int) -> None:
        """Count a batch."""
        self._vertical(vertical).batches.append((self._clock(), size))

    def figures(self, vertical: str, release: str) -> Figures:
        """What a release did."""
        found = self._releases.get((vertical, release))
        if found is None:
            return Figures(rates=[0.0] * SLOTS)
        now = self._clock()
        times = sorted(_recent(found.latencies, now))
        rates = found.slots.rates(now)
        counted = min(self.seconds, SLOT_SECONDS * SLOTS)
        return Figures(
            answers=sum(found.modes.values()),
            by_mode=dict(found.modes),
            by_variant=dict(found.variants),
            rate=sum(rates) * SLOT_SECONDS / max(counted, 1.0),
            rates=rates,
            timed=len(times),
            p50_ms=_quantile_ms(times, 0.5),
            p95_ms=_quantile_ms(times, 0.95),
            p99_ms=_quantile_ms(times, 0.99),
            confidence=list(found.confidence),
            cost=found.cost,
        )

    def load(self, vertical: str) -> Load:
        """What a vertical did."""
        found = self._verticals.get(vertical)
        if found is None:
            return Load()
        now = self._clock()
        sizes, statuses = _recent(found.batches, now), _recent(found.errors, now)
        return Load(
            batch_mean=sum(sizes) / len(sizes) if sizes else None,
            batch_most=max(sizes, default=None),
            refused=sum(status < 500 for status in statuses),
            failed=sum(status >= 500 for status in statuses),
            turned_away=sum(status == 503 for status in statuses),
        )

    def _release(self, vertical: str, release: str) -> _Release:
        key = (vertical, release)
        if key not in self._releases:
            self._releases[key] = _Release()
        return self._releases[key]

    def _vertical(self, vertical: str) -> _Vertical:
        return self._verticals.setdefault(vertical, _Vertical())


class _Release:
    def __init__(self) -> None:
        self.latencies: deque[tuple[float, float]] = deque(maxlen=_NEWEST)
        self.slots = _Slots()
        self.modes: Counter[str] = Counter()
        self.variants: Counter[str] = Counter()
        self.confidence = [0] * BINS
        self.cost = 0.0


class _Vertical:
    def __init__(self) -> None:
        self.batches: deque[tuple[float, int]] = deque(maxlen=_NEWEST)
        self.errors: deque[tuple[float, int]] = deque(maxlen=_NEWEST)


class _Slots:
    """Counts of the last `SLOTS` times `SLOT_SECONDS`; a slot whose time has passed is used again."""

    def __init__(self) -> None:
        self._counts = [0] * SLOTS
        self._times = [-1] * SLOTS

    def add(self, now: float) -> None:
        time_slot = int(now / SLOT_SECONDS)
        place = time_slot % SLOTS
        if self._times[place] != time_slot:
            self._times[place], self._counts[place] = time_slot, 0
        self._counts[place] += 1

    def rates(self, now: float) -> list[float]:
        newest = int(now / SLOT_SECONDS)
        wanted = range(newest - SLOTS + 1, newest + 1)
        counts = [self._counts[slot % SLOTS] if self._times[slot % SLOTS] == slot else 0 for slot in wanted]
        return [count / SLOT_SECONDS for count in counts]


def _recent(ring: deque[tuple[float, float]] | deque[tuple[float, int]], now: float) -> list[float]:
    """Values of the last minutes; a copy, for another thread may add to the ring."""
    return [value for at, value in ring.copy() if now - at <= SLOT_SECONDS * SLOTS]


def _quantile_ms(ordered: Sequence[float], share: float) -> float | None:
    """The smallest value that at least this share is not above, of ordered seconds."""
    if not ordered:
        return None
    rank = max(1, -(-int(share * 100) * len(ordered) // 100))  # rounded up
    return round(1000 * ordered[rank - 1], 3)
