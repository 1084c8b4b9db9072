"""A domain application that makes its own table of samples, learns vectors, and keeps a file in its bundle."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np

from tests.core.toy import WORDS, Toy, ToySettings, write_table
from triptych.hookspecs import hookimpl
from triptych.host import Host
from triptych.predictor import AnswerContext
from triptych.types import Prediction, Sample, Task, VerticalSpec
from triptych.vertical import Extension, Request, Response


class Shelf(Toy):
    """Likes what was chosen together: its data are a folder, its model is an embedding, its bundle has a file."""

    name = "shelf"
    title = "What goes together"

    def defaults(self) -> dict[str, Any]:
        """A small text encoder."""
        return SHELF_CONFIG

    def task(self, settings: ToySettings) -> Task:
        """Vectors; samples with one target belong together."""
        return Task("embedding")

    def sample_data(self, directory: Path) -> Path:
        """A folder, which no reader of tables could make anything of."""
        write_table(directory / "shelf", media=False)
        return directory

    def training_data(self, settings: ToySettings, data: Path, directory: Path) -> Path:
        """The table in the folder, every message with its place in the order it was written."""
        rows = list(csv.DictReader((data / "shelf" / "toy.csv").open(encoding="utf-8")))
        table = directory / "samples.jsonl"
        lines = [{"text": row["text"], "label": row["label"], "place": [n]} for n, row in enumerate(rows)]
        table.write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
        return table

    def extend(self, extension: Extension) -> dict[str, Any]:
        """What the model in service makes of each colour's words."""
        vectors = extension.encode([Sample(c, text=w) for c, w in WORDS.items()])
        (extension.directory / "colours.json").write_text(json.dumps(dict(zip(WORDS, vectors.tolist(), strict=True))))
        return {"colours": len(vectors), "data": extension.data.name}

    def answer(self, request: Request, prediction: Prediction, context: AnswerContext) -> Response:
        """The colour whose words are nearest."""
        return self._nearest(context.vector, context)

    def answer_empty(self, request: Request, context: AnswerContext) -> Response:
        """The colour whose words are nearest to a tomato."""
        return self._nearest(context.encode([Sample("", text=WORDS["red"])])[0], context)

    def _nearest(self, vector: Any, context: AnswerContext) -> Response:
        colours = context.cached("colours", lambda: json.loads((context.files / "colours.json").read_text()))
        likeness = {colour: float(np.dot(vector, other)) for colour, other in colours.items()}
        best = max(likeness, key=likeness.__getitem__)
        return Response(answer=best, confidence=min(max(likeness[best], 0.0), 1.0))


class ShelfPlugin:
    """The plugin that offers it."""

    @hookimpl
    def triptych_verticals(self) -> list[VerticalSpec]:
        """One."""
        return [VerticalSpec("shelf", f"{__name__}:Shelf", "What goes together.")]


def shelf_host() -> Host:
    """A host with the shelf and nothing that happens to be installed."""
    return Host({"shelf": ShelfPlugin()}, installed=False)


SHELF_CONFIG = {
    "encoders": {"text": {"use": "compact:text", "dim": 64, "buckets": 4096}},
    "fusion_dim": 32,
    "training": {"epochs": 10},
    "compression": {"enabled": False, "memory": False},
}
