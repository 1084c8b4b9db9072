"""Event time: how far the stream has come, whatever the clocks of publishers and of this machine say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Self

from triptych.errors import DataError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HOUR = 3_600_000_000
_MICROSECOND = timedelta(microseconds=1)


def micros(time: datetime) -> int:
    """Microseconds since the epoch. Raises `DataError` for a time without a zone."""
    if time.tzinfo is None:
        raise DataError(f"the time {time.isoformat()} has no time zone; add one, as in 2026-01-31T12:00:00+00:00")
    return (time - EPOCH) // _MICROSECOND


def moment(time: int) -> datetime:
    """The time, UTC, of microseconds since the epoch."""
    return EPOCH + timedelta(microseconds=time)


class EventClock:
    """The watermark: the latest event time so far, which nothing from the future can push ahead of `now`.

    Nothing is published after it has arrived. A time ahead of `now` therefore counts as `now`, and a `now` that goes
    back is passed over; `future` and `backwards` count both.
    """

    __slots__ = ("backwards", "future", "now", "watermark")

    def __init__(self) -> None:
        self.now: int | None = None
        self.watermark: int | None = None
        self.future = 0
        self.backwards = 0

    def tick(self, now: int) -> int:
        """It is `now`. Returns the latest such time so far."""
        if self.now is not None and now < self.now:
            self.backwards += 1
        else:
            self.now = now
        return self.now

    def place(self, time: int) -> int:
        """The time that counts for something published at `time`."""
        assert self.now is not None, "tick comes first"
        if time > self.now:
            self.future += 1
            return self.now
        return time

    def reach(self, time: int) -> int:
        """Something of this (placed) time has come. Returns the watermark."""
        if self.watermark is None or time > self.watermark:
            self.watermark = time
        return self.watermark

    def dump(self) -> dict[str, Any]:
        """The state as JSON."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def load(cls, state: dict[str, Any]) -> Self:
        """What `dump` gave."""
        clock = cls()
        for name in cls.__slots__:
            setattr(clock, name, state[name])
        return clock
