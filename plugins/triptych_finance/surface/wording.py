"""How the commands of `triptych finance` take times."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from triptych.errors import ConfigError

_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
_LENGTH = re.compile(r"(\d+(?:\.\d+)?)\s*([mhdw])")


def time_of(text: str, option: str) -> datetime:
    """A time as 2026-01-31T12:00; without a zone it is UTC, a date alone its midnight. Raises `ConfigError`."""
    try:
        moment = datetime.fromisoformat(text.strip())
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ConfigError(f"{option}: {text!r} is no time; write it as 2026-01-31 or 2026-01-31T12:00+01:00") from error


def length_of(text: str, option: str) -> timedelta:
    """A length of time as 30m, 2h, 3d or 1w. Raises `ConfigError`."""
    found = _LENGTH.fullmatch(text.strip().lower())
    try:
        length = timedelta(0) if found is None else float(found[1]) * _UNITS[found[2]]
    except OverflowError:
        length = timedelta(0)
    if not timedelta(0) < length < timedelta(days=36_525):
        raise ConfigError(f"{option}: {text!r} is no length of time; write it as 30m, 2h, 3d or 1w")
    return length
