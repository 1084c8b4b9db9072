"""JSON of clients: what a parser for friends would let through is refused before it costs memory or time."""

from __future__ import annotations

import math
from typing import Any

import pydantic_core
from pydantic import BaseModel

from triptych_apps.server.problems import Problem

MAX_DEPTH = 32  # objects and lists within each other


def parse_json(content: bytes, max_values: int) -> Any:
    """The value that stands in `content`.

    Raises `Problem`: 413 for more than `max_values` values, whose objects would take many times the memory of their
    bytes; 400 for what is no JSON or lies deeper than `MAX_DEPTH`; 422 for a number beyond a float's, such as 1e999.
    """
    if _parts(content, max_values) > max_values:
        raise Problem(413, f"the JSON has more than the {max_values:,} values that are allowed")
    try:
        value = pydantic_core.from_json(content, allow_inf_nan=False)
    except ValueError as error:
        raise Problem(400, f"this is not valid JSON: {error}") from error
    check_numbers(value)
    return value


def _parts(content: bytes, most: int) -> int:
    """How many values there are, nearly: commas and opening brackets, those within texts only where it matters."""
    found = _marks(content)
    if found <= most:
        return found
    bare = content.replace(b"\\\\", b"").replace(b'\\"', b"")
    if bare.count(b'"') > 4 * most:  # each value has a text and a name at most
        return most + 1
    return sum(map(_marks, bare.split(b'"')[::2]))


def _marks(content: bytes) -> int:
    return content.count(b",") + content.count(b"[") + content.count(b"{")


def check_numbers(value: Any) -> None:
    """Raises `Problem` for NaN and infinity, which a number may be called as a text, and for what lies too deep."""
    waiting = [(value, 1)]
    while waiting:
        part, depth = waiting.pop()
        if isinstance(part, float) and not math.isfinite(part):
            raise Problem(422, "a number is NaN or infinite")
        if isinstance(part, BaseModel):
            part = part.__dict__
        if isinstance(part, dict | list | tuple):
            if depth > MAX_DEPTH:
                raise Problem(400, f"the JSON is nested deeper than {MAX_DEPTH} levels")
            waiting += [(inner, depth + 1) for inner in (part.values() if isinstance(part, dict) else part)]
