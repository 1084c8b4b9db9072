"""Where an index is: made, opened, and named to the user."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from triptych.errors import ConfigError, DataError

if TYPE_CHECKING:
    from triptych.retrieval.base import Index, VectorField
    from triptych_apps.outcomes import IndexFieldOutcome


@contextmanager
def opened(location: str, *, read_only: bool = False) -> Iterator[Index]:
    """An index that is there, closed at the end; with `read_only` another process may be writing to it."""
    from triptych.retrieval.open import open_index

    index = open_index(location, read_only=read_only)
    try:
        yield index
    finally:
        index.close()


def refuse_existing(location: str) -> None:
    """Raise `DataError` where something is in the way of a new index, before any time is spent on it."""
    if is_url(location):
        return  # the database says so itself
    path = Path(location)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise DataError(
            f"{location} is there already; add to it with `triptych index add {shlex.quote(location)} --data FILE`, or "
            "give a new directory"
        )


def create(
    location: str, fields: Sequence[VectorField], *, kind: str | None, recall: float | None, words: str | None
) -> Index:
    """A new, empty index. Raises `DataError` where one is there, `ConfigError` for settings that it cannot have."""
    given: dict[str, Any] = {"kind": kind, "recall": recall, "words": words}
    given = {name: value for name, value in given.items() if value is not None}
    made: Index
    if not is_url(location):
        from triptych.retrieval.collection import Collection, CollectionSettings

        made = Collection.create(location, fields, settings=CollectionSettings(**given))
        return made
    if {"kind", "recall"} & given.keys():
        raise ConfigError("--kind and --recall are for an index in a directory; a database searches in its own way")
    from triptych.retrieval.open import backend_of

    made = backend_of(location).create(location, fields, **given)
    return made


def is_url(location: str) -> bool:
    """Whether the index is in a database rather than a directory."""
    return "://" in location


def shown(location: str) -> str:
    """The location without a password."""
    if not is_url(location):
        return location
    parts = urlsplit(location)
    user, _, host = parts.netloc.rpartition("@")
    netloc = f"{user.partition(':')[0]}@{host}" if user else host
    query = "&".join(part for part in parts.query.split("&") if not part.lower().startswith("password="))
    end = (f"?{query}" if query else "") + (f"#{parts.fragment}" if parts.fragment else "")
    return f"{parts.scheme}://{netloc}{parts.path}{end}"


def described(fields: Sequence[VectorField]) -> list[IndexFieldOutcome]:
    """The fields as `--json` has them."""
    from triptych_apps.outcomes import IndexFieldOutcome

    return [IndexFieldOutcome(**field.model_dump()) for field in fields]


def field_lines(fields: Sequence[IndexFieldOutcome]) -> str:
    """The fields for people, one a line."""
    return "\n".join(f"{f.name}: {f.dim} numbers, {f.metric}, {f.source or 'made elsewhere'}" for f in fields)
