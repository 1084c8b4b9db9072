"""A plugin as light as one in service: a vertical, and runners that stand in for encoders. It imports no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from triptych.config import Section
from triptych.data.media import load_audio, load_image
from triptych.hookspecs import hookimpl
from triptych.types import Document, Part, Prediction, Sample, Task, VerticalSpec
from triptych.vertical import Evidence, Request, Response, Vertical

COLOURS = ("red", "green", "blue")
DOCUMENTS = [Document(Sample(f"doc-{c}", text=f"all about {c}"), {"title": c}) for c in COLOURS]
EXAMPLES = [Sample(f"{c}{i}", text=f"{c} number {i}", target=c) for c in COLOURS for i in range(4)]
PITCH_HZ = {"red": 300, "green": 900, "blue": 2500}


class Words:
    """Three numbers: which colour a text names."""

    dim = 3
    loads = 0  # how often one of them was loaded, for tests

    @classmethod
    def load(cls, directory: Path, settings: Mapping[str, Any], *, threads: int = 0) -> Self:
        json.loads((directory / "runner.json").read_text())
        cls.loads += 1
        return cls()

    def encode(self, values: Sequence[Any]) -> Any:
        return np.array([[colour in text for colour in COLOURS] for text in values], dtype=np.float32)


class Pictures(Words):
    """The mean colour of a picture."""

    def encode(self, values: Sequence[Any]) -> Any:
        pixels = [np.asarray(load_image(v), dtype=np.float32).mean(axis=(0, 1)) / 255 for v in values]
        return np.stack(pixels)


class Sounds(Words):
    """How much of a sound is at the pitch of each colour."""

    def encode(self, values: Sequence[Any]) -> Any:
        return np.stack([self._one(load_audio(v, 16_000)) for v in values]).astype(np.float32)

    def _one(self, sound: Any) -> Any:
        power = np.abs(np.fft.rfft(sound))
        hertz = np.fft.rfftfreq(len(sound), 1 / 16_000)
        near = np.array([power[np.abs(hertz - pitch) < 100].sum() for pitch in PITCH_HZ.values()])
        return near / near.sum()


class Served(Vertical[Request, Response]):
    """Says the colour, and shows the nearest document."""

    name = "served"
    title = "Colours"
    request_type = Request
    response_type = Response
    settings_type = Section

    def task(self, settings: Any) -> Task:
        return Task("classification", out_of_scope="other")

    def sample_data(self, directory: Path) -> Path:
        raise AssertionError("a bundle that serves asks for no data")

    def answer(self, request: Request, prediction: Prediction, context: Any) -> Response:
        found = [("document", hit) for hit in context.search(1)] + [("example", hit) for hit in context.examples(1)]
        evidence = [Evidence(id=hit.id, kind=kind, score=hit.score) for kind, hit in found]
        return Response(answer=f"It is {prediction.label}", confidence=prediction.confidence, evidence=evidence)


@hookimpl
def triptych_verticals() -> list[VerticalSpec]:
    return [VerticalSpec("served", f"{__name__}:Served", "Colours.")]


@hookimpl
def triptych_parts() -> list[Part]:
    return [
        Part("runner", "test-words", f"{__name__}:Words", "Names of colours."),
        Part("runner", "test-pictures", f"{__name__}:Pictures", "Mean colours."),
        Part("runner", "test-sounds", f"{__name__}:Sounds", "Pitches."),
    ]
