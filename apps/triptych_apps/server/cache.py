"""Answers that are remembered, found by the content of the request."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

import pydantic_core

from triptych.vertical import Request

V = TypeVar("V")
_SMALL = 10_000  # bytes or characters whose hash is made sooner than a thread is asked for it


async def content_keys(requests: Sequence[Request]) -> list[bytes]:
    """`content_key` of each; in a thread where that takes long, for the event loop belongs to all clients."""
    if len(requests) == 1 and all(map(_is_small, requests[0].__dict__.values())):
        return [content_key(requests[0])]
    return await asyncio.to_thread(lambda: [content_key(request) for request in requests])


def content_key(request: Request) -> bytes:
    """Sha256 of every field of a request, however deep its parts lie; files count by their content."""
    digest = hashlib.sha256()
    _add(digest, request.model_dump())
    return digest.digest()


def _is_small(value: Any) -> bool:
    if isinstance(value, str | bytes):
        return len(value) <= _SMALL
    return not value or isinstance(value, int | float)


def _add(digest: Any, value: Any) -> None:
    """Every part with its kind and its length, so that no two values give the same bytes."""
    if isinstance(value, Mapping):
        digest.update(b"map %d\0" % len(value))
        for name in sorted(value, key=str):
            _add(digest, name)
            _add(digest, value[name])
    elif isinstance(value, list | tuple):
        digest.update(b"list %d\0" % len(value))
        for part in value:
            _add(digest, part)
    else:
        content = value if isinstance(value, bytes) else pydantic_core.to_json(value)
        digest.update(b"bytes " if isinstance(value, bytes) else b"json ")
        digest.update(b"%d\0" % len(content))
        digest.update(content)


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
