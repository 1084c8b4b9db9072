"""The file of decisions: one SQLite database in WAL mode, which any number of processes may read and write.

    release       a bundle's version and variant that answered
    decision      one request and what came of it, by batch and place in the batch
    disagreement  what another version, a shadow, answered otherwise
    blob          pictures, sounds and files of requests by hash, each once; attachment says who has it
    verdict       what reviewers said; the latest one of a decision counts

The id of a decision is "<batch>-<place>"; batches sort by time. A commit survives the end of the process, however it
ends (the operating system has it), and is on the disk within seconds; after a power cut the file is whole, but the
last seconds may be missing. To wait for the disk at every batch would cost more than most models.
"""

from __future__ import annotations

import os
import re
import secrets
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from triptych.bundle import triptych_home
from triptych.errors import DataError, MissingError, UnknownNameError
from triptych.sql.wal import write_ahead

FILE = "decisions.sqlite"
SCHEMA_VERSION = 1
PATIENCE_S = 10.0  # how long one waits for another one's writing
_ID = re.compile(r"([0-9a-f]{20})-(\d{1,5})")
_LARGEST_LOG = 16_384  # pages of the log from which on a batch moves them itself; usually `move_log` has by then
_SCHEMA = """
CREATE TABLE release (
    id INTEGER PRIMARY KEY, vertical TEXT NOT NULL, bundle TEXT NOT NULL, version TEXT NOT NULL, digest TEXT NOT NULL,
    index_digest TEXT NOT NULL, data_digest TEXT NOT NULL, vertical_version TEXT NOT NULL,
    triptych_version TEXT NOT NULL, variant TEXT NOT NULL, device TEXT NOT NULL,
    UNIQUE (digest, variant, bundle, triptych_version, device)
);
CREATE TABLE decision (
    batch TEXT NOT NULL, place INTEGER NOT NULL, size INTEGER NOT NULL,
    release INTEGER NOT NULL REFERENCES release (id),
    fallback INTEGER NOT NULL, cost REAL, milliseconds REAL, confidence REAL, margin REAL, in_scope INTEGER,
    lot REAL NOT NULL, label TEXT, attention TEXT, error TEXT,
    request TEXT, response TEXT, scores TEXT, recalled TEXT,
    PRIMARY KEY (batch, place)
);
CREATE TABLE blob (digest TEXT PRIMARY KEY, content BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE attachment (
    batch TEXT NOT NULL, place INTEGER NOT NULL, digest TEXT NOT NULL, PRIMARY KEY (batch, place, digest)
) WITHOUT ROWID;
CREATE INDEX attachment_of ON attachment (digest);
CREATE TABLE disagreement (
    batch TEXT NOT NULL, place INTEGER NOT NULL, version TEXT NOT NULL, answer TEXT NOT NULL,
    PRIMARY KEY (batch, place, version)
) WITHOUT ROWID;
CREATE TABLE verdict (
    id INTEGER PRIMARY KEY, batch TEXT NOT NULL, place INTEGER NOT NULL, verdict TEXT NOT NULL, label TEXT,
    reviewer TEXT NOT NULL, note TEXT NOT NULL, at TEXT NOT NULL
);
CREATE INDEX verdict_of ON verdict (batch, place);
"""
RELEASE = ("vertical", "bundle", "version", "digest", "index_digest", "data_digest", "vertical_version",
           "triptych_version", "variant", "device")  # fmt: skip
DECISION = ("batch", "place", "size", "release", "fallback", "cost", "milliseconds", "confidence", "margin", "in_scope",
            "lot", "label", "attention", "error", "request", "response", "scores", "recalled")  # fmt: skip
_SAME = ("digest", "variant", "bundle", "triptych_version", "device")
_NEW_RELEASE = "INSERT OR IGNORE INTO release VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_NEW_DECISION = "INSERT INTO decision VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_SAME_RELEASE = "SELECT id FROM release WHERE (digest, variant, bundle, triptych_version, device) = (?, ?, ?, ?, ?)"
_OLD = """
SELECT batch, place FROM decision d WHERE batch < ?
AND NOT EXISTS (SELECT 1 FROM verdict v WHERE v.batch = d.batch AND v.place = d.place) LIMIT 200
"""
_WHOLE = """
SELECT d.*, r.*, d.batch || '-' || d.place AS name,
    v.verdict, v.label AS verdict_label, v.reviewer, v.note, v.at AS reviewed
FROM decision d JOIN release r ON r.id = d.release
LEFT JOIN verdict v ON v.id = (SELECT max(id) FROM verdict w WHERE w.batch = d.batch AND w.place = d.place)
"""


@dataclass(frozen=True, slots=True)
class NewBatch:
    """One batch to be written: values in the order of `DECISION`, and the media of each place."""

    rows: Sequence[tuple[Any, ...]]
    blobs: Sequence[tuple[int, str, bytes]]  # place, hash, content


class DecisionStore:
    """The file at `path`, by default `decisions.sqlite` under the home. A store belongs to one thread at a time.

    Raises `DataError` for a file that is damaged or no store of decisions, and `MissingError` for one that cannot be
    opened or written, or, with `make=False`, is not there.
    """

    def __init__(self, path: Path | None = None, *, make: bool = True) -> None:
        self.path = path or triptych_home() / FILE
        if not self.path.exists():
            if not make:
                raise MissingError(
                    f"there are no decisions in {self.path}; `triptych serve` writes them down as it answers"
                )
            _make_file(self.path)
        with self.telling():
            self.connection = sqlite3.connect(
                self.path, timeout=PATIENCE_S, isolation_level=None, check_same_thread=False
            )
        try:
            with self.telling():
                self._prepare()
        except BaseException:
            self.connection.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self.connection.close()

    def release(self, values: tuple[str, ...]) -> int:
        """The number of a release, whose values are in the order of `RELEASE`."""
        key = tuple(values[RELEASE.index(name)] for name in _SAME)
        with self.writing():
            self.connection.execute(_NEW_RELEASE, values)
            return int(self.connection.execute(_SAME_RELEASE, key).fetchone()[0])

    def add(self, batch: NewBatch) -> None:
        """Write one batch, all of it or nothing."""
        with self.writing() as connection:
            connection.executemany(_NEW_DECISION, batch.rows)
            name = batch.rows[0][0]
            for place, digest, content in batch.blobs:
                connection.execute("INSERT OR IGNORE INTO blob VALUES (?, ?)", (digest, content))
                connection.execute("INSERT OR IGNORE INTO attachment VALUES (?, ?, ?)", (name, place, digest))

    def add_disagreement(self, name: str, version: str, answer: str) -> None:
        """Note what another version answered."""
        values = (*self.key(name), version, answer)
        with self.writing() as connection:
            connection.execute("INSERT OR REPLACE INTO disagreement VALUES (?, ?, ?, ?)", values)

    def find(self, name: str) -> dict[str, Any]:
        """One decision with its release and its verdict, None where it has none. Raises `UnknownNameError`."""
        batch, place = self.key(name)
        found = self.rows(f"{_WHOLE} WHERE d.batch = ? AND d.place = ?", (batch, place))
        if not found:
            raise self._unknown(name)
        return found[0]

    def batch(self, name: str) -> list[dict[str, Any]]:
        """What is left of the batch that a decision was made in, in its order. Raises `UnknownNameError`."""
        return self.rows(f"{_WHOLE} WHERE d.batch = ? ORDER BY d.place", (self.key(name)[0],))

    def blob(self, digest: str) -> bytes:
        """The content of a hash. Raises `DataError` where it is not there."""
        found = self.rows("SELECT content FROM blob WHERE digest = ?", (digest,))
        if not found:
            raise DataError(f"holds no content for the hash {digest}; restore it from a backup", file=self.path)
        return bytes(found[0]["content"])

    def key(self, name: str) -> tuple[str, int]:
        """Batch and place of a decision's id. Raises `UnknownNameError` for what is no id."""
        match = _ID.fullmatch(name)
        if match is None:
            raise self._unknown(name)
        return match[1], int(match[2])

    def rows(self, question: str, values: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """The answer to a question, by the names of its columns."""
        with self.telling():
            cursor = self.connection.execute(question, values)
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor]

    def erase(self, names: Sequence[str]) -> int:
        """Remove decisions with their verdicts, and the media that no other one has. Returns how many there were."""
        return self._erase([self.key(name) for name in names])

    def erase_before(self, milliseconds: int) -> int:
        """Remove the decisions from before a time (since 1970, UTC) but those with a verdict. Returns how many."""
        count = 0
        before = f"{max(0, milliseconds):012x}"
        while old := self.rows(_OLD, (before,)):  # some at a time, so that nobody who answers waits long
            count += self._erase([(row["batch"], row["place"]) for row in old])
        return count

    def move_log(self, *, whole: bool = False) -> bool:
        """Move what was written from the log into the file, as far as nobody is in the way.

        `whole` waits for others and empties the log, where what was erased is still to be read. Whether it could.
        """
        mode = "TRUNCATE" if whole else "PASSIVE"
        with self.telling():
            (busy, _, _) = self.connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
        return not busy

    def _erase(self, keys: Sequence[tuple[str, int]]) -> int:
        count = 0
        with self.writing() as connection:
            for key in keys:
                count += connection.execute("DELETE FROM decision WHERE batch = ? AND place = ?", key).rowcount
                connection.execute("DELETE FROM verdict WHERE batch = ? AND place = ?", key)
                connection.execute("DELETE FROM disagreement WHERE batch = ? AND place = ?", key)
                digests = connection.execute(
                    "SELECT digest FROM attachment WHERE batch = ? AND place = ?", key
                ).fetchall()
                connection.execute("DELETE FROM attachment WHERE batch = ? AND place = ?", key)
                for digest in digests:
                    connection.execute(
                        "DELETE FROM blob WHERE digest = ?1 AND NOT EXISTS "
                        "(SELECT 1 FROM attachment WHERE attachment.digest = ?1)",
                        digest,
                    )
        return count

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction; what is raised in it undoes it."""
        with self.telling():
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield self.connection
                self.connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # a full disk has undone it already
                    self.connection.execute("ROLLBACK")
                raise

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Raises `MissingError` or `DataError` that name the file in place of SQLite's errors."""
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorname", "")
            if code.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
                raise DataError(
                    f"is damaged, or no store of decisions ({error}); restore it from a backup, or move it away",
                    file=self.path,
                ) from error
            if isinstance(error, sqlite3.OperationalError):
                raise MissingError(f"{self.path} cannot be read or written: {error}") from error
            raise

    def _unknown(self, name: str) -> UnknownNameError:
        latest = self.rows("SELECT batch || '-' || place AS name FROM decision ORDER BY batch DESC, place DESC LIMIT 3")
        return UnknownNameError("decision", name, [row["name"] for row in latest])

    def _prepare(self) -> None:
        connection = self.connection
        for pragma in (f"wal_autocheckpoint = {_LARGEST_LOG}", "synchronous = NORMAL", "secure_delete = ON"):
            connection.execute(f"PRAGMA {pragma}")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version == SCHEMA_VERSION:
            return
        if version > SCHEMA_VERSION:
            raise MissingError(f"{self.path} was written by a newer version of Triptych (schema {version}); update it")
        if self._is_of_another_program():
            raise DataError("holds tables of another program; name another file for decisions", file=self.path)
        write_ahead(connection)
        with suppress(sqlite3.OperationalError):  # another process made the tables just now
            connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        if connection.execute("PRAGMA user_version").fetchone()[0] != SCHEMA_VERSION:
            raise MissingError(f"{self.path} cannot be written; check the rights of the file and the room on the disk")

    def _is_of_another_program(self) -> bool:
        """Whether tables are in it but no version: looked at in one transaction, for another process may make ours."""
        self.connection.execute("BEGIN")
        version = self.connection.execute("PRAGMA user_version").fetchone()[0]
        count = self.connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        self.connection.execute("COMMIT")
        return bool(version == 0 and count > 0)


def new_batch() -> str:
    """A name for a batch: the time, so that names sort by it, and a random part."""
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(4)}"


def time_of(name: str) -> int:
    """When a batch or decision was answered, in milliseconds since 1970, UTC."""
    return int(name[:12], 16)


def _make_file(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))  # for its owner alone
    except OSError as error:
        raise MissingError(f"decisions cannot be kept in {path}: {error.strerror}") from error
