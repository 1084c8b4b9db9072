"""Answers that are remembered, found by the content of the request."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Generic, TypeVar

import pydantic_core

from triptych.vertical import Request

V = TypeVar("V")


def content_key(request: Request) -> bytes:
    """Sha256 of every field of a request; files count by their content."""
    digest = hashlib.sha256()
    for name, value in sorted(request.model_dump().items()):
        content = value if isinstance(value, bytes) else pydantic_core.to_json(value)
        kind = "bytes" if isinstance(value, bytes) else "json"
        digest.update(f"{name}\0{kind}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.digest()


class Cache(Generic[V]):
    """The `size` values that were asked for last. Used by one thread only."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: OrderedDict[bytes, V] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: bytes) -> V | None:
        """A value, which becomes the newest; None where it is not known."""
        if key not in self._values:
            return None
        self._values.move_to_end(key)
        return self._values[key]

    def put(self, key: bytes, value: V) -> None:
        """Remember a value; the oldest one goes where there is no room."""
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > self._size:
            self._values.popitem(last=False)
