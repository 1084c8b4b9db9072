"""An index by where it is: a directory, or the URL of a server."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from triptych.host import default_host
from triptych.retrieval.base import Index

if TYPE_CHECKING:
    from triptych.host import Host

EMBEDDED = "embedded"
_SCHEME = re.compile(r"^([a-z][a-z0-9+.-]*)://")
_ALIASES = {"postgres": "postgresql"}


def backend_of(location: str | Path, host: Host | None = None) -> Any:
    """The class of backend for a location: of the part of kind "index" named by the URL's scheme.

    Raises `UnknownNameError` for a scheme that no part has.
    """
    found = _SCHEME.match(str(location))
    name = EMBEDDED if found is None else _ALIASES.get(found[1], found[1])
    return (host or default_host()).load_part("index", name)


def open_index(location: str | Path, *, read_only: bool = False, host: Host | None = None) -> Index:
    """Open an index that exists. Raises `DataError` or `MissingError` as the backend does."""
    return cast("Index", backend_of(location, host).open(location, read_only=read_only))
