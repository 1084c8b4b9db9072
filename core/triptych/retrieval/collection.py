"""The embedded index that one may put into production: FAISS for speed, SQLite for the promises.

    log.sqlite      the truth: every acknowledged write (`log.py`)
    snapshots/      what opens fast: FAISS files, ids and metadata, each with its hash (`snapshots.py`)
    .lock           held by the one process that writes

One process writes, any number read the same directory beside it.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from triptych.errors import DataError, MissingError, TriptychError
from triptych.files import Lock, sync, tree_bytes
from triptych.retrieval import log as truth
from triptych.retrieval import snapshots, upkeep
from triptych.retrieval.base import Item, Metadata, VectorField, Vectors, Where
from triptych.retrieval.checks import check_batch, check_encoder, check_k, check_texts, check_utf8, pick_field
from triptych.retrieval.engines.base import Plan
from triptych.retrieval.filters import parse
from triptych.retrieval.log import Log, Mark
from triptych.retrieval.replay import build_state, catch_up
from triptych.retrieval.results import Results
from triptych.retrieval.settings import CollectionSettings, read_settings
from triptych.retrieval.state import State, check_kind, plan_of
from triptych.retrieval.words import search_words

_LOOKS = 5  # of a reader that sees a problem while another process writes
_REFRESH_S = 1.0  # a reader looks for news at most this often
_TAKEN = "is written to by {owner}; one process writes, others open it for reading only"

__all__ = ["Collection", "CollectionSettings"]

log = logging.getLogger(__name__)


class Collection:
    """A durable `Index` in a directory. Safe to call from many threads; use it as a context manager, or `close` it."""

    def __init__(self, path: Path, keep: Log, lock: Lock | None, settings: CollectionSettings) -> None:
        self.path = path
        self.settings = settings
        self._log = keep
        self._lock = lock
        self._closed = False
        self._behind = False  # whether memory may lack what the log has
        self._writing = threading.RLock()  # whoever changes the log or swaps the state
        self._watch = keep.another_reader()
        self._version = self._data_version()
        self._looked = time.monotonic()
        self._state, self._mark, self._snapshot = self._open_state()
        self.upkeep = upkeep.Upkeep(self)

    @classmethod
    def create(
        cls, path: str | Path, fields: Sequence[VectorField], *, settings: CollectionSettings | None = None
    ) -> Self:
        """A new collection with these vector fields. Raises `DataError` where something is there already.

        Raises `MissingError` for a directory that cannot be written or a full disk.
        """
        path, settings = Path(path), settings or CollectionSettings()
        names = [field.name for field in fields]
        if len(set(names)) != len(names):
            raise DataError(f"vector fields need different names, got {', '.join(names)}")
        check_kind(settings.kind, fields)
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise DataError("is there already; open it, or choose another place", file=path)
        with _rights_explained(path):
            path.absolute().parent.mkdir(parents=True, exist_ok=True)
            work = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.absolute().parent))
        try:
            work.chmod(0o777 & ~_umask())
            Log.create(work, {"settings": settings.model_dump_json()}, fields, truth.TOKENIZERS[settings.words])
            os.rename(work, path)
            sync(path.absolute().parent)
        except OSError as error:
            raise DataError(f"cannot be made: {error.strerror}", file=path) from error
        finally:
            shutil.rmtree(work, ignore_errors=True)
        return cls.open(path)

    @classmethod
    def open(cls, path: str | Path, *, read_only: bool = False, self_test_seconds: float | None = None) -> Self:
        """Open a collection, to write to it or beside the process that does.

        `self_test_seconds` is how often recall is compared with exact search in the background; None for never.
        Raises `DataError` for a directory that is no collection or is damaged, and `MissingError` where another
        process writes to it or the directory cannot be written.
        """
        path = Path(path)
        if not (path / truth.FILE).is_file():
            raise DataError(f"is not a collection: it has no {truth.FILE}", file=path)
        lock = None
        if not read_only:
            with _rights_explained(path):
                lock = Lock(path, taken=f"{path} {_TAKEN}", error=MissingError)
        keep = None
        try:
            keep = Log(path, read_only=read_only)
            with truth.translated(keep.path):
                opened = cls(path, keep, lock, read_settings(keep))
        except BaseException:
            if keep is not None:
                keep.close()
            if lock is not None:
                lock.release()
            raise
        if self_test_seconds is not None:
            opened.upkeep.test_every(self_test_seconds)
        return opened

    @property
    def read_only(self) -> bool:
        """Whether another process may be the one that writes."""
        return self._lock is None

    @property
    def fields(self) -> Mapping[str, VectorField]:
        """The vector fields by name."""
        return self._state.fields

    def __len__(self) -> int:
        return self._current().table.alive

    def __contains__(self, key: object) -> bool:
        if not isinstance(key, str) or not truth.is_utf8(key):
            return False
        with self._reading() as connection:
            return connection.execute("SELECT 1 FROM items WHERE id = ?", (key,)).fetchone() is not None

    def ids(self) -> list[str]:
        """All ids, in the order in which they were added or last replaced."""
        with self._reading() as connection:
            return [name for (name,) in connection.execute("SELECT id FROM items ORDER BY key")]

    def get(self, ids: Sequence[str]) -> list[Item | None]:
        """Items by id, None for unknown ones."""
        with self._reading() as connection:
            connection.execute("BEGIN")  # so that an item is not replaced between its parts
            try:
                return truth.read_items(connection, ids, truth.field_rows(connection))
            finally:
                connection.execute("ROLLBACK")

    def add(
        self,
        ids: Sequence[str],
        vectors: Vectors | Mapping[str, Vectors],
        metadata: Sequence[Metadata] | None = None,
        *,
        contents: Sequence[Mapping[str, Any]] | None = None,
        encoder: str | Mapping[str, str] | None = None,
    ) -> None:
        """Add or replace items, see `Index.add`; on the disk when it returns. Raises `MissingError` for a full disk."""
        with self._change():
            batch = check_batch(self._fields, ids, vectors, metadata, contents, encoder)
            check_utf8(batch.ids)
            if not batch.ids:
                return
            with self._written() as connection:
                keys, gone = truth.write_batch(connection, batch, self._numbers)
                mark = truth.read_mark(connection)
            self._state.apply(keys, batch, gone)
            self._mark, self._behind = mark, False
        self.upkeep.after_write()

    def delete(self, ids: Iterable[str]) -> int:
        """Delete by id and say how many were there."""
        with self._change():
            with self._written() as connection:
                gone = truth.delete_ids(connection, dict.fromkeys(filter(_is_name, ids)))
                mark = truth.read_mark(connection)
            self._state.remove(gone)
            self._mark, self._behind = mark, False
        self.upkeep.after_write()
        return len(gone)

    def search(
        self,
        queries: ArrayLike,
        k: int,
        *,
        field: str | None = None,
        where: Where | None = None,
        encoder: str | None = None,
    ) -> Results:
        """The `k` nearest to each query, see `Index.search`."""
        state = self._current()
        picked = pick_field(state.fields, field)  # those of the log may have been swapped meanwhile
        check_encoder(picked, encoder)
        found = state.search(picked.name, queries, k, where)
        self.upkeep.remember(picked.name, queries)
        return found

    def search_text(self, texts: Sequence[str], k: int, *, where: Where | None = None) -> Results:
        """The `k` best of each text by BM25, see `Index.search_text`."""
        check_k(k)
        asked = check_texts(texts)
        parse(where or {})  # refuses what it does not understand, whether or not a text has hits
        state = self._current()
        k = min(k, max(1, len(state.table)))
        scores = np.zeros((len(asked), k), dtype=np.float32)
        positions = np.full((len(asked), k), -1, dtype=np.int64)
        with self._reading() as connection:
            for row, text in enumerate(asked):
                best, found = search_words(connection, state, text, k, where, self.settings.words)
                scores[row, : len(found)], positions[row, : len(found)] = best, found
        return Results(state.table, scores, positions)

    def stats(self) -> dict[str, Any]:
        """What is kept and how it is searched, as JSON."""
        state = self._current()
        fields = {}
        with state.lock.reading():
            alive = {name: search.alive() for name, search in state.searches.items()}
        for name, search in state.searches.items():
            fields[name] = search.field.model_dump() | {
                "vectors": alive[name],
                "rows": search.rows.rows,
                "kind": search.rows.engine.kind,
                "parameters": search.rows.engine.parameters,
                "exact": search.rows.exact,
                "recall": round(search.rows.recall, 4),
                "self_test": self.upkeep.measured.get(name),
            }
        return {
            "backend": "embedded",
            "items": len(self),
            "fields": fields,
            "settings": self.settings.model_dump(),
            "deleted_rows": len(state.table.deaths),
            "snapshot": self._snapshot.name if self._snapshot else None,
            "recall_alarm": self.upkeep.alarm,
            "disk_bytes": tree_bytes(self.path),
            "read_only": self.read_only,
        }

    def verify(self) -> list[str]:
        """Every problem found in the log, the snapshot and memory; empty where all is well."""
        from triptych.retrieval.verify import verify  # late: nothing else needs it

        with self._writing:
            for _ in range(_LOOKS if self.read_only else 1):
                self.refresh()
                problems = verify(self._log, self._current(), self.path, self._snapshot)
                if not problems or self._data_version() == self._version:
                    break  # otherwise the process that writes has written since the last look
        return problems

    def refresh(self) -> bool:
        """See what the process that writes has written since; says whether there was anything."""
        if not self.read_only:
            return False
        with self._writing:
            version = self._data_version()
            if version == self._version:
                return False
            with self._reading() as connection:
                pointer = snapshot_of(connection)
                forgotten = int(truth.read_meta(connection, "forgotten", "0"))
                same_fields = {row.field for row in truth.field_rows(connection)} == set(self._fields.values())
                if same_fields and forgotten <= self._mark.seq and pointer == self._snapshot:
                    try:
                        self._mark = catch_up(self._state, connection, self._mark)
                    except BaseException:
                        self._behind = True  # by half, nobody knows how far: it is read anew
                        raise
                    self._version = version
                    return True
            self._swap(*self._open_state())
            self._version = version
            return True

    def snapshot(self) -> None:
        """Write a snapshot now, so that the next opening is fast. Raises `MissingError` for a full disk."""
        with self._change():
            self.upkeep.write_snapshot()

    @contextmanager
    def bulk(self) -> Iterator[None]:
        """For writing much at once: the search is fitted when the block ends, and not in the background meanwhile.

        Until then what is added to an index that is searched exactly takes four bytes a number in memory.
        """
        with self.upkeep.suspended():
            yield
        self.fit()

    def fit(self) -> None:
        """Fit the searches to what is there, where much has come since they were fitted last."""
        with self._change():
            wanted = any(search.rows.stale for search in self._state.searches.values())
        if wanted:
            self.upkeep.compact(clean=False)

    def compact(self) -> None:
        """Build the searches anew, fitted to what is there, and leave no trace of what was deleted.

        Searches and writes go on meanwhile, but for the last moments. Raises `MissingError` for a full disk.
        """
        with self._change():
            pass  # says that it is closed or read-only before the work begins
        self.upkeep.compact(clean=True)

    def erase(self, ids: Iterable[str]) -> dict[str, Any]:
        """Delete items, compact, and search every file for what they were.

        Returns {"erased": items, "files": files searched, "bytes": bytes searched, "traces": [file and what was found
        in it]}; without traces, nothing of them is left in the directory.
        """
        from triptych.retrieval.erasure import erase  # late: nothing else needs it

        return erase(self, list(ids))

    def self_test(self, queries: int = 64) -> dict[str, float]:
        """Recall of the ten nearest by field, against exact search over the log; below the target it alarms."""
        return self.upkeep.self_test(queries)

    def migrate(
        self,
        fields: Sequence[VectorField],
        encode: Callable[..., Mapping[str, Sequence[Any]]],
        *,
        batch_size: int = 256,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Encode every item's content again and swap the vector fields for `fields`, all in one step at the end.

        `encode` takes contents and gives, by field, a vector or None for each; where it has a parameter `ids`, it is
        told whose contents they are. Searches and writes go on with the old fields until the swap; a migration that
        was killed goes on where it was when it is asked for again. Raises `DataError` for items without content.
        """
        from triptych.retrieval.migration import migrate  # late: nothing else needs it

        migrate(self, fields, encode, batch_size=batch_size, progress=progress)

    def close(self) -> None:
        """Let go of the directory; a second time does nothing."""
        if self._closed:
            return
        self.upkeep.close()
        with self._writing:
            self._closed = True
            self._state.close()
            self._log.close()
            if self._lock is not None:
                self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _plans(self, fields: Mapping[str, VectorField] | None = None) -> dict[str, Plan]:
        """How vectors are to be held, by field; by default those of the fields in service."""
        s = self.settings
        return {
            name: plan_of(field, kind=s.kind, recall=s.recall, flat_below=s.flat_below)
            for name, field in (self._fields if fields is None else fields).items()
        }

    def _load_fields(self, connection: Any) -> None:
        rows = truth.field_rows(connection)
        self._fields = {row.field.name: row.field for row in rows}
        self._numbers = {row.field.name: row.number for row in rows}

    def _open_state(self) -> tuple[State, Mark, snapshots.Pointer | None]:
        """From the snapshot and what the log has beyond it, or where there is none that is whole, from the log."""
        tried: snapshots.Pointer | None = None
        while True:
            with self._log.frozen() as connection:
                self._load_fields(connection)
                pointer = snapshot_of(connection)
                if pointer is None or pointer == tried:
                    return *build_state(connection, self._plans()), None
                try:
                    state, mark = snapshots.load_snapshot(
                        self.path, pointer, self._fields.values(), self._plans(), mapped=self.read_only
                    )
                except DataError as error:
                    tried, reason = pointer, error
                else:
                    connection.execute("ROLLBACK")
                    return state, catch_up(state, connection, mark), pointer
            with self._log.frozen() as connection:  # unless the process that writes has put another in its place
                if snapshot_of(connection) == tried:
                    log.warning("the snapshot is not used, the index is built from the log again: %s", reason)

    def _swap(self, state: State, mark: Mark, pointer: snapshots.Pointer | None) -> None:
        """Put another state in service. The caller holds `_writing`."""
        old, self._state = self._state, state
        self._mark, self._snapshot = mark, pointer
        old.close(wait=False)

    def _current(self) -> State:
        """The state to search in: up to date for a writer, at most a second old for a reader."""
        if self._closed:
            raise DataError("is closed", file=self.path)
        if self.read_only and time.monotonic() - self._looked > _REFRESH_S:
            self._looked = time.monotonic()
            if self._writing.acquire(blocking=False):  # otherwise somebody is at it: answer from what there is
                try:
                    self.refresh()
                finally:
                    self._writing.release()
        if self._behind:
            with self._writing:  # somebody is between the log and memory, or was stopped there
                if self._behind:
                    self._swap(*self._open_state())
                    self._behind = False
        return self._state

    @contextmanager
    def _change(self) -> Iterator[None]:
        """Be the one who writes. Raises `DataError` where nobody may."""
        with self._writing:
            self._current()
            if self._lock is None:
                raise DataError("was opened for reading only; open it for writing", file=self.path)
            yield

    @contextmanager
    def _written(self) -> Iterator[Any]:
        """A transaction whose changes memory lacks from its commit on, until the caller has applied them."""
        try:
            with self._log.writing() as connection:
                yield connection
                self._behind = True  # whatever stops us from here on
        except TriptychError:
            self._behind = False  # refused by the disk: nothing was written
            raise

    @contextmanager
    def _reading(self) -> Iterator[Any]:
        if self._closed:
            raise DataError("is closed", file=self.path)
        with truth.translated(self._log.path), self._log.reading() as connection:
            yield connection

    def _data_version(self) -> int:
        return int(self._watch.execute("PRAGMA data_version").fetchone()[0])


def snapshot_of(connection: Any) -> snapshots.Pointer | None:
    """The snapshot that the log points to."""
    text = truth.read_meta(connection, "snapshot")
    return snapshots.Pointer.model_validate_json(text) if text else None


@contextmanager
def _rights_explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise MissingError(f"{path} cannot be written: {error.strerror}; open it for reading only") from error


def _is_name(key: object) -> bool:
    return isinstance(key, str) and truth.is_utf8(key)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
