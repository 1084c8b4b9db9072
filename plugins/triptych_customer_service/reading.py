"""Text in pictures and speech in voice notes, read once for each content.

The same reading happens in training and in service: what was read is appended to the customer's text for the text
encoder, and the picture and the sound go on to their own encoders as they are. Where no reader is installed, or
reading is off, the sample stays as it came.
"""

from __future__ import annotations

import contextlib
import functools
import json
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from triptych.bundle import triptych_home
from triptych.data.media import is_vector, value_digest
from triptych.errors import MissingError, PluginError
from triptych.host import default_host
from triptych.types import Sample
from triptych_customer_service.intents import SAMPLE
from triptych_customer_service.settings import Readers

if TYPE_CHECKING:
    from triptych.data.readers import Reader

ReadModality = Literal["image", "audio"]
AUTO: Mapping[ReadModality, tuple[str, ...]] = {"image": ("rapidocr",), "audio": ("whisper", "pocketsphinx")}
LONGEST = 600  # characters of one reading that are kept: a photographed page must not drown the message
KEPT_IN_MEMORY = 4_096


def read_media(sample: Sample, readers: Readers) -> Sample:
    """The sample with what its picture and its voice note say appended to the text.

    Each reading is in the metadata as well, as `read_image` and `read_audio`. Raises `MissingError` when a reader
    that the config names is not installed, and `DataError` for media that cannot be decoded.
    """
    readings: dict[str, str] = {}
    chosen: tuple[tuple[ReadModality, str], ...] = (("audio", readers.asr), ("image", readers.ocr))
    for modality, choice in chosen:
        value = sample.value(modality)
        if value is None or is_vector(value):
            continue
        reader = _reader(modality, choice)
        if reader is not None:
            # a label means training data: only their readings are kept on disk, never those of customers' media
            text = reader.read(value, keep=sample.target is not None).strip()[:LONGEST]
            if text:
                readings[f"read_{modality}"] = text
    if not readings:
        return sample
    own = [sample.text] if isinstance(sample.text, str) else []
    text = "\n".join([*own, *readings.values()]) if sample.text is None or own else sample.text
    return sample.replace(text=text, metadata={**sample.metadata, **readings})


class CachedReader:
    """A reader that remembers: in memory, in the transcripts shipped with the sample, on disk for training data."""

    def __init__(self, reader: Reader, shipped: Mapping[tuple[str, str], str]) -> None:
        self._reader = reader
        self._shipped = shipped
        self._memory: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, value: Any, *, keep: bool) -> str:
        """What is written in the picture or said in the sound; empty where nothing is found."""
        digest = value_digest(value, self._reader.modality)
        with self._lock:
            if digest in self._memory:
                self._memory.move_to_end(digest)
                return self._memory[digest]
        text = self._shipped.get((self._reader.name, digest))
        if text is None:
            text = self._from_disk(digest, value) if keep else self._reader.read(value)
        with self._lock:
            self._memory[digest] = text
            if len(self._memory) > KEPT_IN_MEMORY:
                self._memory.popitem(last=False)
        return text

    def _from_disk(self, digest: str, value: Any) -> str:
        """From the transcripts of earlier runs; without a folder to write to, a run merely reads again."""
        key = (self._reader.fingerprint, digest)
        with contextlib.suppress(OSError, sqlite3.Error), contextlib.closing(_open_cache()) as cache:
            found = cache.execute("SELECT text FROM transcript WHERE reader = ? AND digest = ?", key).fetchone()
            if found is not None:
                return str(found[0])
        text = self._reader.read(value)
        with contextlib.suppress(OSError, sqlite3.Error), contextlib.closing(_open_cache()) as cache, cache:
            cache.execute("INSERT OR REPLACE INTO transcript VALUES (?, ?, ?)", (*key, text))
        return text


def _open_cache() -> sqlite3.Connection:
    folder = triptych_home() / "cache"
    folder.mkdir(parents=True, exist_ok=True)
    cache = sqlite3.connect(folder / "transcripts.sqlite3", timeout=30)
    cache.execute("PRAGMA journal_mode = WAL")
    cache.execute(
        "CREATE TABLE IF NOT EXISTS transcript (reader TEXT, digest TEXT, text TEXT, PRIMARY KEY (reader, digest))"
    )
    return cache


@functools.cache
def _reader(modality: ReadModality, choice: str) -> CachedReader | None:
    """The reader that the config asks for, or None where reading is off or nothing is installed."""
    if choice == "off":
        return None
    for name in AUTO[modality] if choice == "auto" else (choice,):
        try:
            reader = default_host().load_part("reader", name)()
        except (MissingError, PluginError):
            if choice != "auto":
                raise
            continue
        return CachedReader(reader, shipped_transcripts())
    return None


@functools.cache
def shipped_transcripts() -> Mapping[tuple[str, str], str]:
    """What real readers made of the sample's media: (reader, digest of the content) to text."""
    path = SAMPLE / "transcripts.jsonl"
    if not path.is_file():
        return {}
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {(row["reader"], row["digest"]): row["text"] for row in rows}
