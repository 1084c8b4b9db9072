"""Which alerts are told of together, and when a group's next notice may go out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from triptych_finance.alerts.settings import AlertSettings

HOUR = 3_600_000_000
MINUTE = HOUR // 60


def group_of(entity: str, sector: str, group_by: str) -> str:
    """The group of an alert. Grouped by sector, an entity that has none stands alone."""
    return f"sector:{sector}" if group_by == "sector" and sector else entity


@dataclass(slots=True)
class Group:
    """What was said of a group, from its first alert until it has none left. Times in microseconds since 1970."""

    name: str
    opened: int  # when its first alert fired
    spoken: int | None = None  # when its last notice was made
    repeats: int = 0
    previous: dict[str, list[str]] = field(default_factory=dict)  # channel: alert and id of its last notice there

    def ready(self, settings: AlertSettings) -> int:
        """From when on there may be a notice of something new."""
        if self.spoken is None:
            return self.opened + round(settings.group_wait_minutes * MINUTE)
        return self.spoken + round(settings.group_interval_minutes * MINUTE)

    def repeat(self, settings: AlertSettings) -> int | None:
        """From when on what was told is told again; None: never."""
        if self.spoken is None or not settings.repeat_hours:
            return None
        return self.spoken + round(settings.repeat_hours * HOUR)

    def dump(self) -> dict[str, Any]:
        """The state as JSON."""
        return asdict(self)

    @classmethod
    def load(cls, state: Mapping[str, Any]) -> Self:
        """What `dump` gave."""
        return cls(**state)
