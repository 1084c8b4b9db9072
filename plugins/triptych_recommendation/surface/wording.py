"""How the commands of `triptych recommendation` print what they found."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, date
from pathlib import Path
from typing import Any

import click
from pydantic import BaseModel

from triptych_recommendation.data.times import moment_of
from triptych_recommendation.responses import RecommendationResponse


def plain(value: Any) -> Any:
    """A value as JSON has it: records as objects, times as ISO 8601, null for NaN and infinity."""
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


def print_answer(answer: RecommendationResponse, *, as_json: bool) -> None:
    """A list, with the reason for each place."""
    if as_json:
        print_json(answer)
        return
    click.echo(answer.answer)
    rows = [
        [str(place), item.id, item.title, f"{item.score:.2f}", item.reason or item.source]
        for place, item in enumerate(answer.items, start=1)
    ]
    if rows:
        print_rows(("", "id", "title", "score", "why"), rows)
    for note in answer.notes:
        say(f"note: {note}")


def say(text: str) -> None:
    """Talk: to standard error."""
    click.echo(text, err=True)


def minute(microseconds: int | None) -> str:
    """Microseconds since 1970 as people read a time, in UTC."""
    return "-" if microseconds is None else f"{moment_of(microseconds).astimezone(UTC):%Y-%m-%d %H:%M}"


def print_rows(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Rows below their header, in columns; the last one is not filled up."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    for row in (header, *rows):
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
