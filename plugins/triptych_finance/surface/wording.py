"""How the commands of `triptych finance` take times and print results."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import click

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


def plain(value: Any) -> Any:
    """A value as JSON has it: dataclasses as objects, times as ISO 8601, null for NaN and infinity."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(item) for item in value]
    return value


def print_json(value: Any) -> None:
    """One JSON value on standard output."""
    click.echo(json.dumps(plain(value), ensure_ascii=False, indent=2, allow_nan=False))


def say(text: str) -> None:
    """Talk: to standard error."""
    click.echo(text, err=True)


def minute(moment: datetime | None) -> str:
    """A time as people read it, in UTC."""
    return "-" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}"


def print_rows(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Rows below their header, in columns; the last one is not filled up."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    for row in (header, *rows):
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
