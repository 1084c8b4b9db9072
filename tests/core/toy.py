"""A domain application small enough to read and real enough to run: which colour is meant?

Text names a colour word, pictures are filled with it, sounds have its pitch; a message has any subset.
"""

from __future__ import annotations

import csv
import wave
from pathlib import Path

import numpy as np
from PIL import Image

from triptych.config import Section
from triptych.hookspecs import hookimpl
from triptych.host import Host
from triptych.predictor import AnswerContext
from triptych.types import Document, Prediction, Sample, Task, VerticalSpec
from triptych.vertical import Evidence, Request, Response, Vertical

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (30, 40, 220)}
PITCH_HZ = {"red": 300, "green": 900, "blue": 2500}
WORDS = {"red": "ripe tomato", "green": "fresh grass", "blue": "clear sky"}


class ToySettings(Section):
    """Settings of the toy."""

    false_accept_rate: float = 0.1
    greeting: str = "It is"


class Toy(Vertical[Request, Response]):
    """Answers with the colour."""

    name = "toy"
    title = "Colours"
    request_type = Request
    response_type = Response
    settings_type = ToySettings

    def task(self, settings: ToySettings) -> Task:
        """Three colours; "other" is out of scope."""
        return Task("classification", descriptions=dict(WORDS), out_of_scope="other")

    def sample_data(self, directory: Path) -> Path:
        """Written on the spot."""
        return write_table(directory)

    def documents(self, settings: ToySettings, data: Path) -> list[Document]:
        """One for each colour."""
        return [Document(Sample(f"doc-{c}", text=f"about the {w}"), {"colour": c}) for c, w in WORDS.items()]

    def answer(self, request: Request, prediction: Prediction, context: AnswerContext) -> Response:
        """The colour and the nearest document."""
        hits = context.search(1)
        evidence = [Evidence(id=hit.id, kind="document", score=hit.score) for hit in hits]
        answer = f"{context.settings.greeting} {prediction.label}"
        return Response(answer=answer, confidence=prediction.confidence, evidence=evidence)


def write_table(directory: Path, *, rows: int = 90, media: bool = True) -> Path:
    """A CSV of messages with their pictures and sounds."""
    directory.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    path = directory / "toy.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text", "image", "audio", "label"])
        for row in range(rows):
            colour = list(COLOURS)[row % 3]
            outside = row % 10 == 9
            text = f"number {row} {'tell me a joke' if outside else WORDS[colour]} {generator.integers(99)}"
            image, audio = "", ""
            if media and row % 2 == 0 and not outside:
                image = f"{row}.png"
                write_picture(directory / image, colour, generator)
            if media and row % 4 == 0 and not outside:
                audio = f"{row}.wav"
                write_sound(directory / audio, colour, generator)
            writer.writerow([f"m{row}", text, image, audio, "other" if outside else colour])
    return path


def write_picture(path: Path, colour: str, generator: np.random.Generator) -> None:
    """A noisy picture of one colour."""
    pixels = np.array(COLOURS[colour]) + generator.normal(0, 20, (48, 48, 3))
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)


def write_sound(path: Path, colour: str, generator: np.random.Generator) -> None:
    """A noisy tone of half a second at 16 kHz."""
    t = np.arange(8000) / 16000
    samples = 0.5 * np.sin(2 * np.pi * PITCH_HZ[colour] * t) + generator.normal(0, 0.05, t.size)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes((samples.clip(-1, 1) * 32767).astype(np.int16).tobytes())


class ToyPlugin:
    """The plugin that offers the toy."""

    @hookimpl
    def triptych_verticals(self) -> list[VerticalSpec]:
        """One."""
        return [VerticalSpec("toy", f"{__name__}:Toy", "Colours.")]


def toy_host(**more: object) -> Host:
    """A host with the toy and nothing that happens to be installed."""
    return Host({"toy": ToyPlugin(), **more}, installed=False)


TOY_CONFIG = {
    "encoders": {
        "text": {"use": "compact:text", "dim": 64, "buckets": 4096},
        "image": {"use": "compact:image"},
        "audio": {"use": "compact:audio"},
    },
    "fusion_dim": 32,
    "training": {"epochs": 15},
    "compression": {"enabled": False, "memory": False},  # tests of compression switch it on
}
