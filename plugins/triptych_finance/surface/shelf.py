"""The store as a server holds it: opened at the first question, and anew where another one has taken its place."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from triptych.errors import DataError
from triptych.predictor import Predictor
from triptych.sql.databases import place_of
from triptych_finance.store.store import Store
from triptych_finance.store.transaction import Transaction
from triptych_finance.surface.opening import store_place

COMMAND = "triptych finance monitor --source directory:inbox"
ABSENT = f"There is no store yet. A monitor makes one: {COMMAND}"


class Shelf:
    """The store that the commands use, for reading and for what may be written beside the monitor. For any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._store: Store | None = None
        self._identity: object = None

    @contextmanager
    def reading(self) -> Iterator[Transaction]:
        """As `Store.reading`. Raises `DataError` where there is no store, with the command that makes one.

        Raises `MissingError` where the store cannot be reached, or is of a newer version.
        """
        with self._opened().reading() as tx:
            yield tx

    @contextmanager
    def posting(self) -> Iterator[Transaction]:
        """As `Store.posting`; raises as `reading`."""
        with self._opened().posting() as tx:
            yield tx

    def kind(self) -> str:
        """What the store is: "SQLite" or "PostgreSQL"."""
        return "SQLite" if isinstance(place_of(store_place(None)), Path) else "PostgreSQL"

    def _opened(self) -> Store:
        place = place_of(store_place(None))
        identity = _identity(place) if isinstance(place, Path) else place
        with self._lock:
            if self._store is not None and identity == self._identity:
                return self._store
            if identity is None:
                raise DataError(ABSENT)
            if self._store is not None:
                self._store.close()  # questions under way keep their connections
            self._store = None
            self._store = Store.open(store_place(None), writer=False)
            self._identity = identity
            return self._store


def shelf_of(predictor: Predictor) -> Shelf:
    """The one shelf of a bundle in service."""
    return predictor.cached("finance store", Shelf)


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file lies there; None: none does."""
    try:
        state = path.expanduser().stat()
    except OSError:
        return None
    return state.st_dev, state.st_ino
