"""How commands of plugins print what they found: as JSON, in columns, and what is talk to standard error."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import click
from pydantic import BaseModel


def plain(value: Any) -> Any:
    """A value as JSON has it: records as objects, times as ISO 8601, paths as text, null for NaN and infinity."""
    if isinstance(value, BaseModel):
        return plain(value.model_dump())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(item) for item in value]
    return value


def print_json(value: Any) -> None:
    """One JSON value on standard output."""
    click.echo(json.dumps(plain(value), ensure_ascii=False, indent=2, allow_nan=False))


def print_rows(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Rows below their header, in columns; the last one is not filled up."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    for row in (header, *rows):
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def say(text: str) -> None:
    """Talk: to standard error."""
    click.echo(text, err=True)


def minute(moment: datetime | None) -> str:
    """A time as people read it, in UTC."""
    return "-" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}"
