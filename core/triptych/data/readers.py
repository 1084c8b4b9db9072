"""Readers: text out of pictures (OCR) and out of speech (ASR).

A reader is cheap to construct and says at once, with `MissingError`, when its package or weights are not at hand; its
engine starts with the first reading. All readers may be used from several threads; an engine reads one value at a
time.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import threading
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from triptych.data.media import load_audio, load_image
from triptych.data.ocr_layout import TextBox, lay_out
from triptych.errors import MissingError
from triptych.types import Modality

SPEECH_RATE_HZ = 16_000


class Reader(ABC):
    """Text out of the values of one modality. Subclasses set `modality` and `name`."""

    modality: Modality
    name: str

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Name, version and settings in one line: equal fingerprints read the same."""

    @abstractmethod
    def read(self, value: Any) -> str:
        """What is written or said in a raw value (a path, bytes, a picture, a waveform); "" where nothing is found.

        Raises `DataError` when the value cannot be decoded, `MissingError` when the engine cannot start.
        """


class EngineReader(Reader):
    """A reader whose engine starts with the first reading and then takes one value at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._engine: Any = None

    def read(self, value: Any) -> str:
        """Decode the value, start the engine where it is not running, and read."""
        decoded = self.decode(value)
        with self._lock:  # engines keep state while they read
            if self._engine is None:
                self._engine = self.start()
            return self.read_decoded(self._engine, decoded)

    @abstractmethod
    def decode(self, value: Any) -> NDArray[Any]:
        """A raw value as the array that `read_decoded` takes; runs outside the lock."""

    @abstractmethod
    def start(self) -> Any:
        """The engine; called once."""

    @abstractmethod
    def read_decoded(self, engine: Any, decoded: NDArray[Any]) -> str:
        """The text of one decoded value; never called twice at a time."""


class RapidOcr(EngineReader):
    """Printed text in pictures, Chinese and English, with the PP-OCR weights that come in the package rapidocr.

    `min_side` is the number of pixels that the shorter side is enlarged to before text is looked for: more finds
    smaller letters at a higher price (on receipts, 736 found 4 % more lines than 480 in 1.2 times the time, on small
    screenshots in twice the time). One thread: two took 1.6 times the CPU time for the same text.
    """

    modality = "image"
    name = "rapidocr"

    def __init__(self, *, min_side: int = 480, max_pixels: int = 40_000_000) -> None:
        super().__init__()
        self.min_side = min_side
        self.max_pixels = max_pixels
        for package in ("rapidocr", "onnxruntime"):
            _require(package, "text in pictures is read by rapidocr")

    @property
    def fingerprint(self) -> str:
        """Name, version of the package, size."""
        return f"{self.name} {importlib.metadata.version('rapidocr')} min_side={self.min_side}"

    def decode(self, value: Any) -> NDArray[np.uint8]:
        """A picture as uint8 [height, width, 3]."""
        return np.asarray(load_image(value, max_pixels=self.max_pixels))

    def start(self) -> Any:
        """RapidOCR, silent and on one thread."""
        # from release 1.29 on the runtime reports to its maker unless told not to, and it looks when it is imported
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        from rapidocr import RapidOCR

        return RapidOCR(
            params={
                "Global.log_level": "critical",
                "Global.return_word_box": True,
                "Global.return_single_char_box": True,
                "Det.limit_side_len": self.min_side,
                "EngineConfig.onnxruntime.intra_op_num_threads": 1,
                "EngineConfig.onnxruntime.inter_op_num_threads": 1,
            }
        )

    def read_decoded(self, engine: Any, decoded: NDArray[np.uint8]) -> str:
        """The lines of a picture from top to bottom."""
        result = engine(decoded[:, :, ::-1])  # the engine wants blue first
        if getattr(result, "boxes", None) is None or getattr(result, "txts", None) is None:
            return ""
        words = result.word_results or ()
        if len(words) != len(result.txts):  # the engine leaves lines out where it could not place a character
            words = ((),) * len(result.txts)
        boxes = [
            TextBox(text.strip(), np.asarray(corners, dtype=np.float64), _centres(text, line))
            for text, corners, line in zip(result.txts, result.boxes, words, strict=True)
        ]
        return lay_out(boxes, decoded)


class PocketSphinx(EngineReader):
    """English speech, with the small model that comes in the package pocketsphinx: quick to have, often wrong."""

    modality = "audio"
    name = "pocketsphinx"

    def __init__(self, *, max_seconds: float = 120.0) -> None:
        super().__init__()
        self.max_seconds = max_seconds
        _require("pocketsphinx", "speech is read by pocketsphinx")

    @property
    def fingerprint(self) -> str:
        """Name and version of the package."""
        return f"{self.name} {importlib.metadata.version('pocketsphinx')} max_seconds={self.max_seconds:g}"

    def decode(self, value: Any) -> NDArray[np.float32]:
        """Sound as float32 [frames] at 16 kHz."""
        return load_audio(value, SPEECH_RATE_HZ, max_seconds=self.max_seconds)

    def start(self) -> Any:
        """A decoder with the English model of the package, silent."""
        from pocketsphinx import Decoder

        return Decoder(samprate=SPEECH_RATE_HZ, loglevel="FATAL")

    def read_decoded(self, engine: Any, decoded: NDArray[np.float32]) -> str:
        """The words, in lower case and without punctuation."""
        pcm = (np.clip(decoded, -1, 1) * 32_767).astype("<i2").tobytes()
        engine.reinit_feat()  # otherwise what it heard before decides what it hears now
        engine.start_utt()
        engine.process_raw(pcm, full_utt=True)
        engine.end_utt()
        hypothesis = engine.hyp()
        return "" if hypothesis is None else str(hypothesis.hypstr).strip()


class Whisper(EngineReader):
    """Speech in many languages, with Whisper weights that lie on this machine (Radford et al. 2022).

    `model` is a folder (also below `$TRIPTYCH_WEIGHTS`) or a hub name whose files are in the hub's cache; by default
    the first of `MODELS` that is found. Nothing is downloaded. `language` is a code such as "de"; by default the
    model finds out. Longer recordings are cut into windows of at most 30 s where it is quietest.
    """

    modality = "audio"
    name = "whisper"
    MODELS: ClassVar[tuple[str, ...]] = ("openai/whisper-base", "openai/whisper-small", "openai/whisper-tiny")
    WINDOW_S: ClassVar[int] = 30

    def __init__(
        self, model: str | None = None, *, language: str | None = None, device: str = "cpu", max_seconds: float = 120.0
    ) -> None:
        super().__init__()
        self.language = language
        self.device = device
        self.max_seconds = max_seconds
        _require("transformers", "speech is read by Whisper through transformers")
        wanted = self.MODELS if model is None else (model,)
        found = next((place for name in wanted if (place := _local_model(name)) is not None), None)
        if found is None:
            hint = f"give a folder as model=..., or fetch one beforehand: hf download {wanted[0]}"
            raise MissingError(f"no Whisper weights on this machine (looked for {', '.join(wanted)}); {hint}")
        self.model = found

    @property
    def fingerprint(self) -> str:
        """Name, version of transformers, the model and a stamp of its weights, the language."""
        weights = self.model / "model.safetensors"
        size = weights.stat().st_size if weights.is_file() else 0
        version = importlib.metadata.version("transformers")
        return f"{self.name} {version} {self.model.name} {size} language={self.language}"

    def decode(self, value: Any) -> NDArray[np.float32]:
        """Sound as float32 [frames] at 16 kHz."""
        return load_audio(value, SPEECH_RATE_HZ, max_seconds=self.max_seconds)

    def start(self) -> Any:
        """Processor and model; from safetensors only, for other weights could run code."""
        from transformers import WhisperForConditionalGeneration, WhisperProcessor

        try:
            processor = WhisperProcessor.from_pretrained(self.model, local_files_only=True)
            model = WhisperForConditionalGeneration.from_pretrained(
                self.model, local_files_only=True, use_safetensors=True
            )
        except (OSError, ValueError) as error:
            raise MissingError(f"the Whisper model in {self.model} cannot be loaded: {error}") from error
        return processor, model.eval().to(self.device)

    def read_decoded(self, engine: Any, decoded: NDArray[np.float32]) -> str:
        """The words of all windows."""
        processor, model = engine
        windows = _windows(decoded, self.WINDOW_S * SPEECH_RATE_HZ)
        inputs = processor(windows, sampling_rate=SPEECH_RATE_HZ, return_tensors="pt", return_attention_mask=True)
        # models for English alone refuse to be told a language
        options = {} if self.language is None else {"language": self.language, "task": "transcribe"}
        tokens = model.generate(**inputs.to(self.device), **options)
        texts = processor.batch_decode(tokens, skip_special_tokens=True)
        return " ".join(text.strip() for text in texts if text.strip())


def _windows(samples: NDArray[np.float32], longest: int) -> list[NDArray[np.float32]]:
    """Float32 [frames] in pieces of at most `longest`, cut in the quietest tenth of a second of their last third."""
    hop = SPEECH_RATE_HZ // 10
    first = longest * 2 // 3
    pieces = []
    while len(samples) > longest:
        tail = samples[first:longest]
        blocks = tail[: len(tail) // hop * hop].reshape(-1, hop)
        cut = first + int(np.square(blocks).mean(axis=1).argmin()) * hop + hop // 2
        pieces.append(samples[:cut])
        samples = samples[cut:]
    return [*pieces, samples]


def _centres(text: str, line: Any) -> list[float]:
    """The x of each character of a line; empty where the engine's characters are not those of its text."""
    if "".join(str(character) for character, _, _ in line) != text.replace(" ", ""):
        return []
    return [float(np.mean([x for x, _ in corners])) for _, _, corners in line]


def _local_model(name: str) -> Path | None:
    """The folder of a model: a path, one below `$TRIPTYCH_WEIGHTS`, or in the hub's cache."""
    for place in (Path(name), Path(os.environ.get("TRIPTYCH_WEIGHTS", ""), name)):
        if (place / "config.json").is_file():
            return place
    if importlib.util.find_spec("huggingface_hub") is None or name.count("/") > 1:
        return None
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = [try_to_load_from_cache(name, file) for file in ("config.json", "model.safetensors")]
    except HFValidationError:  # a path, not the name of a model
        return None
    return Path(str(found[0])).parent if all(isinstance(file, str) for file in found) else None


def _require(package: str, purpose: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise MissingError(f"{purpose}, but the package {package} is not installed: pip install 'triptych[offline]'")
