"""Text in pictures and speech in voice notes, read once for each content.

The same reading happens in training and in service: what was read is appended to the customer's text for the text
encoder, and the picture and the sound go on to their own encoders as they are. Where no reader is installed, or
reading is off, the sample stays as it came.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from triptych.bundle import triptych_home
from triptych.data.media import is_vector
from triptych.data.transcripts import CachedReader, read_transcripts
from triptych.errors import MissingError, PluginError
from triptych.host import default_host
from triptych.types import Sample
from triptych_customer_service.intents import SAMPLE
from triptych_customer_service.settings import Readers

ReadModality = Literal["image", "audio"]
AUTO: Mapping[ReadModality, tuple[str, ...]] = {"image": ("rapidocr",), "audio": ("whisper", "pocketsphinx")}
LONGEST = 600  # characters of one reading that are kept: a photographed page must not drown the message
SHIPPED = SAMPLE / "transcripts.jsonl"  # what real readers made of the sample's media


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
        reader = _reader(modality, choice, triptych_home() / "cache" / "transcripts.sqlite3")
        if reader is not None:
            # only the readings of labelled data are kept on disk, never those of customers' media
            text = reader.read(value, keep=sample.target is not None).strip()[:LONGEST]
            if text:
                readings[f"read_{modality}"] = text
    if not readings:
        return sample
    own = [sample.text] if isinstance(sample.text, str) else []
    text = "\n".join([*own, *readings.values()]) if sample.text is None or own else sample.text
    return sample.replace(text=text, metadata={**sample.metadata, **readings})


@functools.cache
def _reader(modality: ReadModality, choice: str, kept: Path) -> CachedReader | None:
    """The reader that the config asks for, or None where reading is off or nothing is installed.

    It remembers, in memory and in the file `kept`, and knows the transcripts that are shipped with the sample.
    """
    if choice == "off":
        return None
    for name in AUTO[modality] if choice == "auto" else (choice,):
        try:
            reader = default_host().load_part("reader", name)()
        except (MissingError, PluginError):
            if choice != "auto":
                raise
            continue
        shipped = read_transcripts(SHIPPED, reader.name) if SHIPPED.is_file() else {}
        return CachedReader(reader, kept, shipped=shipped)
    return None
