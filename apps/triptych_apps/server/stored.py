"""Requests and responses as they are written down: JSON, with pictures, sounds and files by the hash of their content.

A field with bytes, or with the path of a file, becomes `{"$blob": "<sha256>"}`; the bytes are kept once, elsewhere.
What a client sent in just that form becomes `{"$blob": {...}}` around it, so that it is never taken for a file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic_core import to_json, to_jsonable_python

from triptych.vertical import Request, Response

_BLOB = "$blob"
IGNORED = ("milliseconds",)  # of a response: how long it took is no part of what was decided


def request_json(request: Request) -> tuple[str, dict[str, bytes]]:
    """The fields that were given, as JSON, and the content of its media by hash. Raises `OSError` for a lost file."""
    fields = request.model_dump(exclude_unset=True)
    blobs: dict[str, bytes] = {}
    return to_json(_without_bytes(fields, blobs)).decode(), blobs


def request_fields(text: str, blob: Callable[[str], bytes]) -> dict[str, Any]:
    """What `request_json` wrote, as the fields of a request; `blob` gives the content of a hash."""
    fields: dict[str, Any] = _with_bytes(json.loads(text), blob)
    return fields


def response_fields(response: Response) -> dict[str, Any]:
    """A response as JSON would have it, without what is ignored when two are compared."""
    fields: dict[str, Any] = json.loads(response.model_dump_json())
    return {name: value for name, value in fields.items() if name not in IGNORED}


def differences(before: Any, after: Any, where: str = "") -> dict[str, tuple[Any, Any]]:
    """The places in which two values of JSON differ, as "evidence.0.score", with both values; empty: the same.

    Numbers are compared exactly.
    """
    if isinstance(before, dict) and isinstance(after, dict):
        found: dict[str, tuple[Any, Any]] = {}
        for name in [*before, *(name for name in after if name not in before)]:
            place = f"{where}.{name}" if where else str(name)
            found |= differences(before.get(name), after.get(name), place)
        return found
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        found = {}
        for row, pair in enumerate(zip(before, after, strict=True)):
            found |= differences(*pair, f"{where}.{row}")
        return found
    same = before == after and isinstance(before, bool) == isinstance(after, bool)
    return {} if same else {where: (before, after)}


def _without_bytes(value: Any, blobs: dict[str, bytes]) -> Any:
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, dict):
        parts = {str(name): _without_bytes(part, blobs) for name, part in value.items()}
        return {_BLOB: parts} if set(parts) == {_BLOB} else parts
    if isinstance(value, list | tuple | set | frozenset):
        return [_without_bytes(part, blobs) for part in value]
    if isinstance(value, Path):
        value = value.read_bytes()
    if not isinstance(value, bytes | bytearray | memoryview):
        return to_jsonable_python(value)
    content = bytes(value)
    digest = hashlib.sha256(content).hexdigest()
    blobs[digest] = content
    return {_BLOB: digest}


def _with_bytes(value: Any, blob: Callable[[str], bytes]) -> Any:
    if isinstance(value, dict):
        if set(value) == {_BLOB}:
            kept = value[_BLOB]
            if isinstance(kept, str):
                return blob(kept)
            value = kept
        return {name: _with_bytes(part, blob) for name, part in value.items()}
    if isinstance(value, list):
        return [_with_bytes(part, blob) for part in value]
    return value
