"""The options of `triptych serve` that say whether, where and how long decisions are kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from triptych.errors import ConfigError
from triptych_apps.server.decisions import Recorder


@contextmanager
def recorder(where: str | None, *, keep_days: float) -> Iterator[Recorder | None]:
    """What writes decisions into the file `where`, by default the one of the home; none where that is "off".

    Raises `ConfigError` where `where` is no file, `DataError` and `MissingError` for the file.
    """
    if where == "off":
        yield None
        return
    if where is not None and "://" in where:
        raise ConfigError(f"decisions are kept in a file, not at {where.partition('://')[0]}://")
    place = None if where is None else Path(where).expanduser()
    found = Recorder(place, keep_days=keep_days)
    try:
        found.start()
        yield found
    finally:
        found.close()
