"""Readings that are kept, so that no picture and no recording is read twice."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from triptych.data.media import value_digest
from triptych.data.readers import Reader
from triptych.data.tables import read_table
from triptych.errors import DataError

KEPT_IN_MEMORY = 4_096

log = logging.getLogger(__name__)


class CachedReader(Reader):
    """A reader that remembers what it has read, by the digest of the content.

    It looks in memory, in `shipped` (digest to text: transcripts that came with the data, whichever version of the
    reader made them), and in `file`, a SQLite file that several processes may share and that keeps the readings of
    each version and setting of a reader apart. A file that cannot be written is only a loss of time: it is logged
    once, and the value is read again.
    """

    def __init__(self, reader: Reader, file: Path | None = None, *, shipped: Mapping[str, str] | None = None) -> None:
        self.reader = reader
        self.modality = reader.modality
        self.name = reader.name
        self.file = file
        self._shipped = shipped or {}
        self._memory: OrderedDict[str, str] = OrderedDict()
        self._memory_lock = threading.Lock()

    @property
    def fingerprint(self) -> str:
        """That of the reader."""
        return self.reader.fingerprint

    def read(self, value: Any, *, keep: bool = True) -> str:
        """What the reader reads; with `keep=False` the file is neither read nor written."""
        digest = value_digest(value, self.modality)
        with self._memory_lock:
            if digest in self._memory:
                self._memory.move_to_end(digest)
                return self._memory[digest]
        text = self._shipped.get(digest)
        if text is None and keep:
            text = self._stored(digest)
        if text is None:
            text = self.reader.read(value)
            if keep:
                self._store(digest, text)
        with self._memory_lock:
            self._memory[digest] = text
            if len(self._memory) > KEPT_IN_MEMORY:
                self._memory.popitem(last=False)
        return text

    def _stored(self, digest: str) -> str | None:
        if self.file is None:
            return None
        try:
            if not self.file.is_file():
                return None
            with contextlib.closing(_open(self.file)) as store:
                query = "SELECT text FROM transcript WHERE reader = ? AND digest = ?"
                found = store.execute(query, (self.fingerprint, digest)).fetchone()
        except (OSError, sqlite3.Error) as error:
            self._give_up(error)
            return None
        return None if found is None else str(found[0])

    def _store(self, digest: str, text: str) -> None:
        if self.file is None:
            return
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.closing(_open(self.file)) as store, store:
                store.execute("INSERT OR REPLACE INTO transcript VALUES (?, ?, ?)", (self.fingerprint, digest, text))
        except (OSError, sqlite3.Error) as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        log.warning("transcripts are not kept in %s (%s); media are read again where needed", self.file, error)
        self.file = None


def read_transcripts(file: Path, reader: str) -> dict[str, str]:
    """Digest to text of one reader from a JSON-lines file, for `CachedReader(shipped=...)`.

    A line is {"reader": "rapidocr", "digest": "<value_digest>", "text": "..."}. Raises `DataError` for a file or a line
    that cannot be read.
    """
    texts: dict[str, str] = {}
    for row in read_table(file, "jsonl").rows:
        if row.problem or not {"reader", "digest", "text"} <= row.values.keys():
            reason = row.problem or "a transcript needs reader, digest and text"
            raise DataError(reason, file=file, row=row.number)
        if row.values["reader"] == reader:
            texts[str(row.values["digest"])] = str(row.values["text"])
    return texts


def _open(file: Path) -> sqlite3.Connection:
    store = sqlite3.connect(file, timeout=30)
    store.execute(
        "CREATE TABLE IF NOT EXISTS transcript (reader TEXT, digest TEXT, text TEXT, PRIMARY KEY (reader, digest))"
    )
    return store
