"""What a domain application is. Subclass `Vertical`, name the class in a `VerticalSpec`, and the suite does the rest.

A vertical says what its data looks like, which labels exist, what goes into the index, and how a prediction with
its neighbours becomes a business answer. Everything else (data, training, calibration, bundle, serving) is the core's.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from triptych.config import Section, packaged_config
from triptych.errors import DataError
from triptych.types import Document, Modality, Prediction, Sample, Task

if TYPE_CHECKING:
    import numpy as np

    from triptych.predictor import AnswerContext
    from triptych.tuning.base import Progress


class Request(BaseModel):
    """What a user sends: any subset of the three modalities. `image` and `audio` are a path or the file's bytes."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)
    text: str | None = None
    image: Path | bytes | None = None
    audio: Path | bytes | None = None


class Evidence(BaseModel):
    """Something an answer rests on: a document or a past example, with its similarity."""

    id: str
    kind: str  # "document", "example", or the vertical's own
    title: str = ""
    text: str = ""
    score: float


class Response(BaseModel):
    """What every vertical answers at least; a vertical's own response adds its fields."""

    answer: str
    confidence: float
    evidence: list[Evidence] = Field(default_factory=list)
    attribution: dict[Modality, float] = Field(default_factory=dict)  # how much each modality weighed, summing to one
    variant: str = ""  # which model answered
    milliseconds: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Extension:
    """What `Vertical.extend` works with: the data, the settings, the model in service, and where files may be put."""

    directory: Path  # empty; what is put here belongs to the bundle: `AnswerContext.files`
    workspace: Path  # survives a run that is stopped, and is removed when the bundle is complete
    data: Path  # what the user gave, or the embedded sample
    splits: Mapping[str, Sequence[Sample]]  # train, validation and test as the model read them, enriched
    settings: Any  # an instance of `settings_type`
    seed: int
    encode: Callable[[Sequence[Sample]], np.ndarray[Any, Any]]
    """Samples to float32 [samples, dim]: what the head of the model in service answers (unit vectors, of an embedding).

    Raises `DataError` for a sample with nothing that the model can encode.
    """
    embed: Callable[[Sequence[Sample]], np.ndarray[Any, Any]]
    """Samples to float32 [samples, dim]: what `AnswerContext.embed` gives of them, all in one space."""
    progress: Callable[[Progress], None]


RequestT = TypeVar("RequestT", bound=Request)
ResponseT = TypeVar("ResponseT", bound=Response)


class Vertical(ABC, Generic[RequestT, ResponseT]):
    """A domain application. One instance serves many threads: keep no state of requests on it."""

    name: ClassVar[str]
    title: ClassVar[str]
    version: ClassVar[str] = "1"
    request_type: type[RequestT]
    response_type: type[ResponseT]
    settings_type: ClassVar[type[Section]] = Section  # checks the `[vertical]` section of the config
    # columns of the embedded sample that a user's data need not have, as {"group": "group"}
    sample_columns: ClassVar[Mapping[str, str]] = {}
    # False where the same request always gets the same answer and leaves no trace: a server may then remember it
    answers_depend_on_state: ClassVar[bool] = True
    # the request's field by which a server tells who asks (a conversation, a user), where it has one: all with one
    # value are answered by the same release while two share the requests
    sticky_field: ClassVar[str | None] = None

    def defaults(self) -> dict[str, Any]:
        """The config to start from, as nested dictionaries; here the packaged one of this name, where there is one.

        A plugin of your own returns its encoders and whatever else it wants otherwise than the core, for instance
        `{"encoders": {"text": {"use": "sentence:all-MiniLM-L6-v2"}}}`, or reads a TOML file of its package.
        """
        return packaged_config(self.name)

    @abstractmethod
    def task(self, settings: Any) -> Task:
        """What is learnt; `settings` is an instance of `settings_type`."""

    @abstractmethod
    def sample_data(self, directory: Path) -> Path:
        """Put the embedded sample data at `directory` (or return where it already lies): a path for `data.path`."""

    @abstractmethod
    def answer(self, request: RequestT, prediction: Prediction, context: AnswerContext) -> ResponseT:
        """The business answer. `context` is a `triptych.predictor.AnswerContext`.

        What it takes from elsewhere than the request and the bundle, and what it writes, goes through
        `context.recall`, so that `triptych replay` can give the same answer again and change nothing.
        """

    def answer_empty(self, request: RequestT, context: AnswerContext) -> ResponseT:
        """The answer to a request without any content, where the request has other fields to go by.

        Raises `DataError`, as here, where there is nothing to answer.
        """
        raise DataError("the request is empty: give a text, an image or an audio")

    def decided(self, response: ResponseT, prediction: Prediction | None) -> str | None:
        """The label that an answer stands for, which a reviewer confirms or corrects; None where it has none.

        Here the most probable one.
        """
        return next(iter(prediction.probabilities), None) if prediction is not None else None

    def attention(self, response: ResponseT) -> str | None:
        """Why a person should look at an answer, as "handed off"; None where there is no reason of the vertical's."""
        return None

    def training_data(self, settings: Any, data: Path, directory: Path) -> Path:
        """The table of samples that the model learns from, for a vertical whose users give something else.

        Files may be put into `directory`, which lives as long as the build. Here the data is that table.
        """
        return data

    def extend(self, extension: Extension) -> dict[str, Any]:
        """Put further files of the vertical's own into the bundle; called when the model in service is known.

        Returns what is worth keeping in the manifest under `metrics.vertical`, as JSON.
        """
        return {}

    def enrich(self, sample: Sample, settings: Any) -> Sample:
        """What is read out of media before encoding (OCR, speech); the same in training and in service."""
        return sample

    def documents(self, settings: Any, data: Path) -> Sequence[Document]:
        """What goes into the index beside the training examples, such as a knowledge base."""
        return ()

    def sample_request(self) -> RequestT | None:
        """A request that shows the vertical at its best, for the suggested next command."""
        return None
