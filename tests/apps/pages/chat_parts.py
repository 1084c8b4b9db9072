"""Runners and readers that stand in for models in the tests of the chat page: what they make of a message is plain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from triptych.data.media import load_audio, load_image
from triptych.data.readers import Reader
from triptych.hookspecs import hookimpl
from triptych.types import Part

TOPICS = {
    "double_charge": ("charged", "payment", "money"),
    "delivery_status": ("parcel", "delivery", "where"),
    "login_problem": ("login", "password", "account"),
}


class Words:
    """How often words of each topic are in a text; of no text all zeros, with which nothing could be compared."""

    dim = len(TOPICS)

    @classmethod
    def load(cls, directory: Path, settings: Mapping[str, Any], *, threads: int = 0) -> Self:
        return cls()

    def encode(self, values: Sequence[Any]) -> Any:
        counts = [[_count(text, words) for words in TOPICS.values()] for text in values]
        return np.array(counts, dtype=np.float32) + np.float32(0.05)


class Pictures(Words):
    """The mean red, green and blue of a picture."""

    def encode(self, values: Sequence[Any]) -> Any:
        return np.stack([np.asarray(load_image(v), dtype=np.float32).mean(axis=(0, 1)) / 255 for v in values])


class Sounds(Words):
    """A sound that is longer than half a second and not silent is about a delivery."""

    def encode(self, values: Sequence[Any]) -> Any:
        return np.stack([self._one(load_audio(v, 16_000)) for v in values]).astype(np.float32)

    def _one(self, sound: Any) -> Any:
        heard = len(sound) > 8_000 and float(np.abs(sound).max()) > 0.001
        return np.array([0.0, 1.0, 0.0] if heard else [0.0, 0.0, 0.0])


class Ocr(Reader):
    """Reads the same in every picture."""

    modality: ClassVar[Any] = "image"
    name: ClassVar[str] = "test-ocr"
    fingerprint = "test-ocr 1"

    def read(self, value: Any) -> str:
        return f"TOTAL 64.90 on {load_image(value).width} pixels"


class Asr(Reader):
    """Hears how long a sound is."""

    modality: ClassVar[Any] = "audio"
    name: ClassVar[str] = "test-asr"
    fingerprint = "test-asr 1"

    def read(self, value: Any) -> str:
        seconds = len(load_audio(value, 16_000)) / 16_000
        return "a parcel, for a while" if seconds > 0.5 else ""


def _count(text: str, words: Sequence[str]) -> int:
    return sum(word in text.lower() for word in words)


@hookimpl
def triptych_parts() -> list[Part]:
    return [
        Part("runner", "chat-words", f"{__name__}:Words", "Topics."),
        Part("runner", "chat-pictures", f"{__name__}:Pictures", "Mean colours."),
        Part("runner", "chat-sounds", f"{__name__}:Sounds", "Whether there is sound."),
        Part("reader", "test-ocr", f"{__name__}:Ocr", "Widths."),
        Part("reader", "test-asr", f"{__name__}:Asr", "Lengths."),
    ]
