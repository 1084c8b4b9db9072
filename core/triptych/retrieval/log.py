"""The truth of a collection: one SQLite file in which every acknowledged write stands.

| table | what |
| --- | --- |
| meta | format, settings, the snapshot in use |
| fields | vector fields; "live" ones are searched, "coming" ones are being filled by a migration |
| items | key (rising, never used twice), id, metadata and content as JSON, checksum |
| vectors_N | the vectors of field N by key: float32, little endian, and a checksum |
| tombstones | keys that were deleted or replaced, in order, for whoever holds them in memory |
| words | full-text index (FTS5) over the contents' "text" |

A commit waits for the disk (WAL, synchronous FULL), and deleted content is overwritten (secure_delete).
"""

from __future__ import annotations

import json
import sqlite3
import threading
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from triptych.errors import DataError, MissingError
from triptych.retrieval.base import Item, VectorField
from triptych.retrieval.checks import Batch, FieldVectors
from triptych.retrieval.engines.base import BLOCK, Floats

FORMAT = 1
FILE = "log.sqlite"
_CHUNK = 500  # ids in one question
_SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE fields (number INTEGER PRIMARY KEY AUTOINCREMENT, state TEXT NOT NULL, spec TEXT NOT NULL);
CREATE TABLE items (
    key INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE,
    metadata TEXT NOT NULL, content TEXT NOT NULL, checksum INTEGER NOT NULL
);
CREATE TABLE tombstones (seq INTEGER PRIMARY KEY AUTOINCREMENT, key INTEGER NOT NULL);
"""
TOKENIZERS = {
    "unicode": "unicode61 remove_diacritics 2",
    "porter": "porter unicode61 remove_diacritics 2",
    "trigram": "trigram",
}


class Mark(NamedTuple):
    """How far somebody has read: the last key and the last tombstone."""

    key: int = 0
    seq: int = 0


class Rows(NamedTuple):
    """Items in the order of their keys, as the log has them."""

    keys: list[int]
    batch: Batch


class FieldRow(NamedTuple):
    """A vector field and the number of its table."""

    number: int
    field: VectorField


class Log:
    """Connections to the file: one that writes (none where `read_only`), and one for each search at a time."""

    def __init__(self, directory: Path, *, read_only: bool) -> None:
        self.path = directory / FILE
        self.read_only = read_only
        self._idle: list[sqlite3.Connection] = []
        self._readers: list[sqlite3.Connection] = []
        self._mutex = threading.Lock()
        self._writer = None if read_only else _connect(self.path, read_only=False)

    @classmethod
    def create(cls, directory: Path, meta: dict[str, str], fields: Sequence[VectorField], tokenizer: str) -> None:
        """Write a new file with no items. Raises `MissingError` for a full disk or an SQLite without FTS5."""
        connection = _connect(directory / FILE, read_only=False)
        try:
            with translated(directory / FILE):
                connection.execute("PRAGMA page_size = 16384")
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("BEGIN IMMEDIATE")
                for statement in filter(None, (part.strip() for part in _SCHEMA.split(";"))):
                    connection.execute(statement)
                connection.execute(f"CREATE VIRTUAL TABLE words USING fts5(text, content='', tokenize='{tokenizer}')")
                connection.executemany("INSERT INTO meta VALUES (?, ?)", {"format": str(FORMAT), **meta}.items())
                for field in fields:
                    _add_field(connection, field, "live")
                connection.execute("COMMIT")
        finally:
            connection.close()

    @property
    def writer(self) -> sqlite3.Connection:
        """The connection that writes; its user holds the collection's lock."""
        if self._writer is None:
            raise DataError("was opened for reading only; open it for writing", file=self.path.parent)
        return self._writer

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection for reading that nobody else uses meanwhile; as many are kept as were used at once."""
        with self._mutex:
            connection = self._idle.pop() if self._idle else None
        connection = connection or self.another_reader()
        try:
            yield connection
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            with self._mutex:
                self._idle.append(connection)

    def another_reader(self) -> sqlite3.Connection:
        """A connection of its own for reading, closed with the log."""
        connection = _connect(self.path, read_only=True)
        with self._mutex:
            self._readers.append(connection)
        return connection

    @contextmanager
    def frozen(self) -> Iterator[sqlite3.Connection]:
        """A connection that sees the log as it is now, whatever is written meanwhile."""
        connection = _connect(self.path, read_only=True)
        try:
            connection.execute("BEGIN")
            connection.execute("SELECT count(*) FROM meta").fetchone()  # the view begins with the first read
            yield connection
        finally:
            connection.close()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: on the disk when the block ends, undone when it raises. Raises `MissingError`."""
        connection = self.writer
        with translated(self.path):
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close every connection; the last one folds the WAL into the file."""
        with self._mutex:
            for connection in self._readers:
                connection.close()
            self._readers.clear()
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def write_batch(connection: sqlite3.Connection, batch: Batch, numbers: dict[str, int]) -> tuple[list[int], list[int]]:
    """Add items, replacing those with the same id. Returns the new keys and the keys that they replace.

    `numbers` has the field tables by name; the caller began the transaction.
    """
    gone = delete_ids(connection, batch.ids)
    (last,) = connection.execute(
        "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'items'), 0)"
    ).fetchone()
    keys = list(range(last + 1, last + 1 + len(batch.ids)))
    rows, words = [], []
    for key, name, metadata, content in zip(keys, batch.ids, batch.metadata, batch.contents, strict=True):
        texts = (dumps(metadata), dumps(content))
        rows.append((key, name, *texts, checksum_of(name, *texts)))
        if text := words_of(content):
            words.append((key, text))
    connection.executemany("INSERT INTO items VALUES (?, ?, ?, ?, ?)", rows)
    connection.executemany("INSERT INTO words(rowid, text) VALUES (?, ?)", words)
    for field, present in batch.vectors.items():
        write_vectors(connection, numbers[field], [keys[row] for row in present.rows.tolist()], present.vectors)
    return keys, gone


def write_vectors(connection: sqlite3.Connection, number: int, keys: Sequence[int], vectors: Floats) -> None:
    """Write float32 [keys, dim] into a field's table."""
    blobs = (vector.tobytes() for vector in vectors.astype("<f4", copy=False))
    rows = ((key, blob, zlib.crc32(blob)) for key, blob in zip(keys, blobs, strict=True))
    connection.executemany(f"INSERT OR REPLACE INTO vectors_{number} VALUES (?, ?, ?)", rows)


def delete_ids(connection: sqlite3.Connection, ids: Iterable[str]) -> list[int]:
    """Delete items by id, leaving tombstones. Returns the keys that they had."""
    names = list(ids)
    found: list[tuple[int, str]] = []
    for start in range(0, len(names), _CHUNK):
        some = names[start : start + _CHUNK]
        question = f"SELECT key, content FROM items WHERE id IN ({', '.join('?' * len(some))})"
        found += connection.execute(question, some).fetchall()
    keys = [(key,) for key, _ in found]
    texts = [(key, text) for key, content in found if (text := words_of(json.loads(content)))]
    connection.executemany("INSERT INTO words(words, rowid, text) VALUES ('delete', ?, ?)", texts)
    for row in field_rows(connection, state=None):
        connection.executemany(f"DELETE FROM vectors_{row.number} WHERE key = ?", keys)
    connection.executemany("DELETE FROM items WHERE key = ?", keys)
    connection.executemany("INSERT INTO tombstones(key) VALUES (?)", keys)
    return [key for key, _ in found]


def read_meta(connection: sqlite3.Connection, name: str, default: str = "") -> str:
    """One entry of `meta`."""
    row = connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
    return default if row is None else str(row[0])


def write_meta(connection: sqlite3.Connection, name: str, value: str) -> None:
    """Set one entry of `meta`."""
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))


def field_rows(connection: sqlite3.Connection, state: str | None = "live") -> list[FieldRow]:
    """The vector fields of a state, or all of them, in the order in which they were declared."""
    rows = connection.execute(
        "SELECT number, spec FROM fields WHERE ? IS NULL OR state = ? ORDER BY number", (state,) * 2
    )
    return [FieldRow(number, VectorField.model_validate_json(spec)) for number, spec in rows]


def add_coming_field(connection: sqlite3.Connection, field: VectorField) -> int:
    """A field that a migration will fill: the number of its table."""
    return _add_field(connection, field, "coming")


def read_mark(connection: sqlite3.Connection) -> Mark:
    """How far the log goes."""
    counters = dict(connection.execute("SELECT name, seq FROM sqlite_sequence"))
    return Mark(counters.get("items", 0), counters.get("tombstones", 0))


def read_rows(connection: sqlite3.Connection, after: int, fields: Sequence[FieldRow]) -> Iterator[Rows]:
    """Items with keys above `after`, some at a time, with their vectors in the given fields."""
    while True:
        rows = connection.execute(
            "SELECT key, id, metadata, content FROM items WHERE key > ? ORDER BY key LIMIT ?", (after, BLOCK // 10)
        ).fetchall()
        if not rows:
            return
        keys = [row[0] for row in rows]
        places = {key: place for place, key in enumerate(keys)}
        vectors = {}
        for number, field in fields:
            found = connection.execute(
                f"SELECT key, vector FROM vectors_{number} WHERE key BETWEEN ? AND ? ORDER BY key", (keys[0], keys[-1])
            ).fetchall()
            if found:
                here = np.array([places[key] for key, _ in found], dtype=np.intp)
                vectors[field.name] = FieldVectors(here, joined((blob for _, blob in found), field.dim))
        batch = Batch(
            [row[1] for row in rows],
            vectors,
            [json.loads(row[2]) for row in rows],
            [json.loads(row[3]) for row in rows],
        )
        yield Rows(keys, batch)
        after = keys[-1]


def read_items(connection: sqlite3.Connection, ids: Sequence[str], fields: Sequence[FieldRow]) -> list[Item | None]:
    """Items by id, None for unknown ones."""
    found: list[Item | None] = []
    for name in ids:
        question = "SELECT key, metadata, content FROM items WHERE id = ?"
        row = connection.execute(question, (name,)).fetchone() if is_utf8(name) else None
        if row is None:
            found.append(None)
            continue
        vectors = {}
        for number, field in fields:
            blob = connection.execute(f"SELECT vector FROM vectors_{number} WHERE key = ?", (row[0],)).fetchone()
            if blob is not None:
                vectors[field.name] = np.frombuffer(blob[0], dtype="<f4").astype(np.float32)
        found.append(Item(name, vectors, json.loads(row[1]), json.loads(row[2])))
    return found


def joined(blobs: Iterable[bytes], dim: int) -> Floats:
    """Float32 [blobs, dim]."""
    found: Floats = np.frombuffer(b"".join(blobs), dtype="<f4").reshape(-1, dim).astype(np.float32, copy=False)
    return found


class LogSource:
    """The vectors of one field as the source of an engine, read through one frozen connection."""

    def __init__(self, connection: sqlite3.Connection, row: FieldRow) -> None:
        self._connection = connection
        self._number, self._dim = row.number, row.field.dim
        keys = connection.execute(f"SELECT key FROM vectors_{row.number} ORDER BY key")
        self.keys: NDArray[np.int64] = np.fromiter((key for (key,) in keys), dtype=np.int64)

    @property
    def rows(self) -> int:
        """How many there are."""
        return len(self.keys)

    def sample(self, count: int, seed: int) -> Floats:
        """Some of them."""
        chosen = np.sort(np.random.default_rng(seed).permutation(self.rows)[:count])
        question = f"SELECT vector FROM vectors_{self._number} WHERE key = ?"
        blobs = (self._connection.execute(question, (key,)).fetchone()[0] for key in self.keys[chosen].tolist())
        return joined(blobs, self._dim)

    def blocks(self) -> Iterator[Floats]:
        """All of them."""
        cursor = self._connection.execute(f"SELECT vector FROM vectors_{self._number} ORDER BY key")
        while some := cursor.fetchmany(BLOCK):
            yield joined((blob for (blob,) in some), self._dim)


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """SQLite's errors as a user should read them."""
    try:
        yield
    except sqlite3.OperationalError as error:
        text = str(error)
        if "full" in text or "disk I/O error" in text:
            raise MissingError(f"{path}: nothing was written, for the disk is full or failing ({text})") from error
        if "readonly" in text or "unable to open" in text:
            raise MissingError(f"{path} cannot be written: {text}; check the rights of the directory") from error
        if "no such table" in text:
            raise DataError("is no log of a collection; was it made by something else?", file=path) from error
        if "no such module" in text:
            raise MissingError("this Python's SQLite has no FTS5, which the search by words needs") from error
        raise
    except sqlite3.ProgrammingError as error:
        raise DataError(f"is closed ({error})", file=path) from error
    except sqlite3.DataError as error:
        raise DataError(f"cannot hold what it was given ({error})", file=path) from error
    except sqlite3.DatabaseError as error:
        raise DataError(f"is damaged ({error}); restore it from a backup", file=path) from error


def dumps(value: Any) -> str:
    """JSON as the log keeps it; half a surrogate pair, which UTF-8 cannot hold, is escaped."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text if is_utf8(text) else json.dumps(value, allow_nan=False, separators=(",", ":"))


def words_of(content: Mapping[str, Any]) -> str:
    """What the full-text index holds of an item; "" for nothing."""
    return str(content.get("text", "")).encode("utf-8", errors="replace").decode("utf-8")


def _add_field(connection: sqlite3.Connection, field: VectorField, state: str) -> int:
    cursor = connection.execute("INSERT INTO fields(state, spec) VALUES (?, ?)", (state, field.model_dump_json()))
    number = int(cursor.lastrowid or 0)
    connection.execute(
        f"CREATE TABLE vectors_{number} (key INTEGER PRIMARY KEY, vector BLOB NOT NULL, checksum INTEGER NOT NULL)"
    )
    return number


def is_utf8(text: str) -> bool:
    """Whether SQLite can keep it: half a surrogate pair is no text."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def checksum_of(*texts: str) -> int:
    """What stands beside an item: of its id, metadata and content as they are kept."""
    return zlib.crc32("\0".join(texts).encode("utf-8"))


def _connect(path: Path, *, read_only: bool) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}"
    with translated(path):
        connection = sqlite3.connect(uri, uri=True, timeout=30, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.OperationalError:
            connection.close()
            wal = path.with_name(path.name + "-wal")
            if not read_only or (wal.exists() and wal.stat().st_size):
                raise
            # a directory that cannot be written has no room for the WAL's companion; without a WAL none is needed
            connection = sqlite3.connect(f"{uri}&immutable=1", uri=True, isolation_level=None, check_same_thread=False)
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if not read_only:
            for pragma in ("synchronous = FULL", "secure_delete = ON", "cache_size = -8192"):
                connection.execute(f"PRAGMA {pragma}")
    return connection
