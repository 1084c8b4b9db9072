"""The nouns that every floor agrees on. Standard library only."""

from __future__ import annotations

import dataclasses
import itertools
import pkgutil
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np

Modality = Literal["text", "image", "audio"]
MODALITIES: tuple[Modality, ...] = ("text", "image", "audio")
_PRESENT: dict[tuple[bool, ...], tuple[Modality, ...]] = {
    present: tuple(itertools.compress(MODALITIES, present)) for present in itertools.product((False, True), repeat=3)
}
_PIECE = r"(?:[A-Za-z0-9][A-Za-z0-9._-]*|\{[a-z_][a-z0-9_]*\})"


@dataclass(frozen=True, slots=True)
class Part:
    """Something a plugin offers under a name; its code is imported when it is used.

    `kind` is "encoder", "fusion", "strategy", "compressor", "runner", "reader", "index" or a kind of the plugin's own;
    `target` is "module:Name"; `summary` is one line for lists and help.
    """

    kind: str
    name: str
    target: str
    summary: str

    def load(self) -> Any:
        """The class or function that `target` names. Raises what the import raises."""
        return pkgutil.resolve_name(self.target)


@dataclass(frozen=True, slots=True)
class VerticalSpec:
    """A domain application that a plugin offers; `target` names a `triptych.vertical.Vertical` class."""

    name: str
    target: str
    summary: str


@dataclass(frozen=True, slots=True)
class CommandSpec:
    """A command that a plugin adds to the command line; `target` names a `click.Command`."""

    name: str
    target: str
    summary: str


@dataclass(frozen=True, slots=True)
class RouteSpec:
    """An endpoint that a plugin adds to a served vertical, at `/v1/<vertical>/<path>`; see `triptych.routes`.

    `path` has no slash at either end, as "alerts" or "alerts/{id}/verdict"; `method` is "GET", "POST" or "DELETE";
    `target` names a function, which is imported when the server starts; `help` is its line in the description of the
    API. `vertical` is "" only for what belongs to the server itself. Raises ValueError for a path or a method that
    is none of these.
    """

    vertical: str
    path: str
    target: str
    help: str
    method: str = "GET"

    def __post_init__(self) -> None:
        if self.method not in ("GET", "POST", "DELETE"):
            raise ValueError(f"the method of the route {self.path!r} is GET, POST or DELETE, not {self.method!r}")
        if not re.fullmatch(rf"{_PIECE}(?:/{_PIECE})*", self.path):
            reason = 'pieces of letters, digits and ._-, or names in braces, as in "alerts/{id}/verdict"'
            raise ValueError(f"the path of a route has {reason}, and {self.path!r} has not")

    @property
    def name(self) -> str:
        """Method and path, as "GET /v1/finance/alerts"."""
        return f"{self.method} /v1/{self.vertical or '_server'}/{self.path}"


@dataclass(frozen=True, slots=True)
class PageSpec:
    """A web page that a plugin adds to a served vertical, at `/pages/<vertical>/`.

    `help` is its line on the page of pages. `package` is importable and holds page.html (a Jinja2 template that extends
    "_base.html") and, where wanted, page.js, page.css and other .js, .css, .svg, .png, .jpg, .webp, .woff2 and .json
    files. They are public: data comes from routes. `vertical` is "" only for the page of the server itself.
    """

    vertical: str
    title: str
    package: str
    help: str

    @property
    def name(self) -> str:
        """Where it lies, as "/pages/finance/"."""
        return f"/pages/{self.vertical or '_operator'}/"


@dataclass(frozen=True, slots=True, eq=False)
class Media:
    """What a route returns that is no JSON: the bytes of a picture, a sound or a table, and their media type."""

    content: bytes
    media_type: str


@dataclass(frozen=True, slots=True, eq=False)
class Waveform:
    """Sound in memory: `samples` is float32 [frames] (mono) or [channels, frames], in [-1, 1]."""

    samples: np.ndarray[Any, Any]
    sample_rate_hz: int


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One example: an id, any subset of the three modalities, a target and metadata.

    A missing modality is None, never a blank picture or an empty string. A value is raw
    (`text`: str; `image`: path, bytes, PIL image or uint8 array [height, width, 3]; `audio`: path, bytes or
    `Waveform`) or a feature vector computed elsewhere (float array [features]).
    `target` is a label (str), several labels (tuple of str), a number (float) or None where unknown.
    """

    id: str
    text: Any = None
    image: Any = None
    audio: Any = None
    target: Any = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def value(self, modality: Modality) -> Any:
        """The raw value of one modality, or None."""
        return getattr(self, modality)

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """The modalities that are present, in the order of `MODALITIES`."""
        return _PRESENT[self.text is not None, self.image is not None, self.audio is not None]

    def only(self, modalities: Iterable[Modality]) -> Sample:
        """The same sample with every other modality removed."""
        kept = set(modalities)
        removed: dict[str, Any] = {m: None for m in self.modalities if m not in kept}
        return dataclasses.replace(self, **removed) if removed else self

    def replace(self, **changes: Any) -> Sample:
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)


@dataclass(frozen=True, slots=True)
class Task:
    """What is learnt: the head's kind and, where they are fixed beforehand, the labels and their descriptions."""

    kind: Literal["classification", "multilabel", "regression", "embedding"]
    labels: tuple[str, ...] | None = None  # None: those of the training data
    descriptions: Mapping[str, str] = field(default_factory=dict)  # label to a sentence, for zero-shot
    out_of_scope: str | None = None  # the target that marks samples outside every label; never a class itself


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What the model says of one request. `probabilities` has every label, highest first."""

    probabilities: dict[str, float]
    scope_score: float  # higher is more like the training data
    in_scope: bool  # scope_score is above the threshold set on validation data
    embedding: Any  # float32 [dim]
    attribution: dict[Modality, float]
    values: dict[str, float] = field(default_factory=dict)  # of a regression head

    @property
    def label(self) -> str:
        """The most probable label."""
        return next(iter(self.probabilities))

    @property
    def confidence(self) -> float:
        """The calibrated probability of that label."""
        return next(iter(self.probabilities.values()))


@dataclass(frozen=True, slots=True, eq=False)
class Document:
    """Something to be found by retrieval: what is encoded (a sample) and what is shown (metadata, JSON)."""

    sample: Sample
    metadata: Mapping[str, Any]
