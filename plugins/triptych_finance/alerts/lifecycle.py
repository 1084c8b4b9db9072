"""The life of one alert: pending, firing, keep-firing, resolved; as Prometheus has it, in event time.

All times here are whole microseconds since 1970. A bucket can be known only when it is closed, so what happens to an
alert happens then, and not at the end of the bucket: an alert tells of nothing before it could have.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from triptych_finance.signal.board import SignalReading
from triptych_finance.signal.clock import micros, moment
from triptych_finance.store.schema import AlertRow

KINDS = {-1: "negative", 0: "volume", 1: "positive"}  # an alert's kind, by the direction of its alarm
INACTIVE, PENDING, FIRING, KEEP_FIRING, RESOLVED = "inactive", "pending", "firing", "keep_firing", "resolved"
ALLOWED: Mapping[str, frozenset[str]] = {
    INACTIVE: frozenset({PENDING, FIRING}),
    PENDING: frozenset({FIRING, INACTIVE}),
    FIRING: frozenset({KEEP_FIRING, RESOLVED}),
    KEEP_FIRING: frozenset({FIRING, RESOLVED}),
    RESOLVED: frozenset(),
}
REMEMBERED = 64  # alarms of one alert that a verdict reaches


def alert_id(entity: str, kind: str, started: int) -> str:
    """The id of an alert: what it is about and since when, so that a replay gives the same one."""
    return hashlib.sha256(f"{entity}\x1f{kind}\x1f{started}".encode()).hexdigest()[:16]


@dataclass(slots=True)
class Alert:
    """An alert that is not over, or whose end is still to be told."""

    id: str
    entity: str
    sector: str  # "" where the entity has none
    kind: str
    group: str  # those that are told of together
    started: int  # end of the first bucket in alarm
    state: str = INACTIVE
    fired: int | None = None
    ended: int | None = None
    held: int = 0  # buckets in alarm after the first, while pending
    until: int | None = None  # end of keep-firing
    openings: list[int] = field(default_factory=list)  # starts of the buckets with which an alarm began
    reading: dict[str, Any] = field(default_factory=dict)  # the one that it fired with; while pending, the first
    told: int | None = None  # when a notice said that it fires
    withheld: dict[str, str] = field(default_factory=dict)  # event: why no notice tells of it

    @classmethod
    def begin(cls, reading: SignalReading, sector: str, group: str) -> Self:
        """An alert on the first reading in alarm; it is inactive until `on_alarm` has seen that reading."""
        kind, started = KINDS[reading.direction], micros(reading.end)
        return cls(alert_id(reading.entity, kind, started), reading.entity, sector, kind, group, started)

    @property
    def firing(self) -> bool:
        """Whether it fires, be it only for the alarm of a while ago."""
        return self.state in (FIRING, KEEP_FIRING)

    @property
    def over(self) -> bool:
        """Whether nothing can happen to it any more."""
        return self.ended is not None

    def on_alarm(self, reading: SignalReading, at: int, for_buckets: int) -> bool:
        """A bucket in alarm, known at `at`. Returns whether the state changed."""
        if self.state in (INACTIVE, KEEP_FIRING):
            self.openings = [*self.openings, micros(reading.start)][-REMEMBERED:]
        if self.state == INACTIVE:
            self.reading = _as_json(reading)
            if for_buckets:
                return self._move(PENDING)
            self.fired = at
            return self._move(FIRING)
        if self.state == PENDING:
            self.held += 1
            if self.held < for_buckets:
                return False
            self.reading, self.fired = _as_json(reading), at
            return self._move(FIRING)
        self.until = None
        return self.state == KEEP_FIRING and self._move(FIRING)

    def on_quiet(self, at: int, keep_firing: int) -> bool:
        """A bucket without alarm, known at `at`; `keep_firing` in microseconds. Returns whether the state changed."""
        if self.state == PENDING:
            self.ended = at
            return self._move(INACTIVE)
        if self.state != FIRING:
            return False
        if keep_firing:
            self.until = at + keep_firing
            return self._move(KEEP_FIRING)
        self.ended = at
        return self._move(RESOLVED)

    def on_time(self, at: int) -> bool:
        """It is `at`. Returns whether the state changed."""
        if self.until is None or self.until > at:
            return False
        self.until, self.ended = None, self.until
        return self._move(RESOLVED)

    def row(self) -> AlertRow:
        """The alert as the store keeps it."""
        details = {
            "sector": self.sector, "group": self.group, "reading": dict(self.reading),
            "openings": [moment(start).isoformat() for start in self.openings],
            "told": None if self.told is None else moment(self.told).isoformat(),
            "withheld": dict(self.withheld),
        }  # fmt: skip
        return AlertRow(
            self.id, self.entity, self.kind, self.state, moment(self.started),
            None if self.fired is None else moment(self.fired),
            None if self.ended is None else moment(self.ended),
            details,
        )  # fmt: skip

    def dump(self) -> dict[str, Any]:
        """The state as JSON."""
        return asdict(self)

    @classmethod
    def load(cls, state: Mapping[str, Any]) -> Self:
        """What `dump` gave."""
        return cls(**state)

    def _move(self, after: str) -> bool:
        assert after in ALLOWED[self.state], f"{self.state} -> {after}"
        self.state = after
        return True


def _as_json(reading: SignalReading) -> dict[str, Any]:
    values = asdict(reading)
    values |= {"start": reading.start.isoformat(), "end": reading.end.isoformat()}
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}
