"""A vertical with a request field of every kind, offered by a plugin that is installed for these tests.

Like a real plugin's, this module imports no torch, for `triptych ask shop --help` loads it.
"""

from __future__ import annotations

import array
import csv
import enum
import math
import wave
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from triptych.config import Section
from triptych.types import Document, Prediction, Sample, Task
from triptych.vertical import Evidence, Request, Response, Vertical

WORDS = {"red": "ripe tomato", "green": "fresh grass", "blue": "clear sky"}
RGB = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (30, 40, 220)}
HERTZ = {"red": 300, "green": 900, "blue": 2500}


class Channel(enum.Enum):
    """Where a message came from."""

    MAIL = "mail"
    PHONE = "phone"


class ShopRequest(Request):
    """A request with a field of every kind."""

    conversation: str | None = Field(None, description="The conversation that this message belongs to.")
    channel: Channel | None = None
    language: Literal["en", "zh"] = "en"
    limit: int = 3
    discount: float | None = None
    regular: bool = False
    tags: list[str] = Field(default_factory=list)
    address: dict[str, str] = Field(default_factory=dict)
    device: str | None = None  # an option of the command is called like this


class ShopResponse(Response):
    """What came in, so that a test can look at it."""

    conversation: str | None = None
    received: dict[str, Any] = Field(default_factory=dict)


class ShopSettings(Section):
    """Settings of the shop."""

    false_accept_rate: float = 0.1
    greeting: str = "It is"


class Shop(Vertical[ShopRequest, ShopResponse]):
    """Sells colours: which one is meant?"""

    name = "shop"
    title = "The colour shop"
    request_type = ShopRequest
    response_type = ShopResponse
    settings_type = ShopSettings

    def defaults(self) -> dict[str, Any]:
        """Small encoders, few epochs."""
        return {
            "encoders": {
                "text": {"use": "compact:text", "dim": 32, "buckets": 1024},
                "image": {"use": "compact:image"},
                "audio": {"use": "compact:audio"},
            },
            "fusion_dim": 32,
            "training": {"epochs": 8},
        }

    def task(self, settings: ShopSettings) -> Task:
        """Three colours."""
        return Task("classification", out_of_scope="other")

    def sample_data(self, directory: Path) -> Path:
        """Written on the spot."""
        return write_table(directory)

    def documents(self, settings: ShopSettings, data: Path) -> list[Document]:
        """One for each colour."""
        return [
            Document(Sample(f"doc-{colour}", text=f"about the {words}"), {"title": words})
            for colour, words in WORDS.items()
        ]

    def answer(self, request: ShopRequest, prediction: Prediction, context: Any) -> ShopResponse:
        """The colour, the nearest document, and the request's own fields."""
        hits = context.search(1)
        return ShopResponse(
            answer=f"{context.settings.greeting} {prediction.label}",
            confidence=prediction.confidence,
            evidence=[Evidence(id=h.id, kind="document", title=h.metadata["title"], score=h.score) for h in hits],
            conversation=request.conversation,
            received=request.model_dump(mode="json", exclude={"text", "image", "audio"}, exclude_unset=True),
        )

    def sample_request(self) -> ShopRequest:
        """Something green."""
        return ShopRequest(text="what fresh grass")


def write_table(directory: Path, *, rows: int = 90) -> Path:
    """A CSV of messages, every second with a picture, every fourth with a sound."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "shop.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text", "image", "audio", "label"])
        for row in range(rows):
            colour = list(WORDS)[row % 3]
            outside = row % 10 == 9
            text = f"number {row} {'tell me a joke' if outside else WORDS[colour]} {row * 7 % 31}"
            image = "" if outside or row % 2 else f"{row}.png"
            if image:
                write_picture(directory / image, colour)
            audio = "" if outside or row % 4 else f"{row}.wav"
            if audio:
                write_sound(directory / audio, colour)
            writer.writerow([f"m{row}", text, image, audio, "other" if outside else colour])
    return path


def write_picture(path: Path, colour: str, size: tuple[int, int] = (32, 32)) -> Path:
    """A picture of one colour."""
    from PIL import Image

    Image.new("RGB", size, RGB[colour]).save(path)
    return path


def write_sound(path: Path, colour: str, seconds: float = 0.3) -> Path:
    """A tone at 16 kHz."""
    wanted = 2 * math.pi * HERTZ[colour] / 16000
    samples = array.array("h", (int(12000 * math.sin(wanted * i)) for i in range(int(16000 * seconds))))
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(samples.tobytes())
    return path
