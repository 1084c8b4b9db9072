"""Headers as ASGI gives them, for what every call is asked: Starlette's view of them encodes each name it compares."""

from __future__ import annotations

from typing import TypeVar

from starlette.types import Scope

T = TypeVar("T", str, None)


def header(scope: Scope, name: bytes, missing: T) -> str | T:
    """The first header of a call with this name, which is in small letters."""
    for key, value in scope["headers"]:
        if key == name:
            return str(value, "latin-1")
    return missing
