"""What a compressor is: a model in, a cheaper model out, with what was lost and what was won back.

A chain such as "layers:3+int8" is a sequence of compressors. Those that change the architecture give a smaller
`MultimodalModel` and train it again against the teacher; those that change the arithmetic say in which precision the
model is exported. Each goes through the same three steps, which are logged: convert, measure the loss, recover.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from torch import Tensor

from triptych.device import DevicePlan
from triptych.models.multimodal import Features, MultimodalModel
from triptych.tuning.base import Progress, silent
from triptych.types import Sample

Precision = Literal["fp32", "fp16", "int8"]
"""How weights are stored and multiplied in the exported model: "fp16" halves the file and computes in float32."""


@dataclass(frozen=True, slots=True, eq=False)
class Teacher:
    """The model that is compressed, never changed, and what it made of the context's samples (encoded once).

    `model.fuse(train.only(...))` gives its answer for any subset of the parts of a training sample.
    """

    model: MultimodalModel
    train: Features
    validation: Features


@dataclass(frozen=True, slots=True, eq=False)
class CompressionContext:
    """What a compressor may use beside the model.

    `train` and `validation` are samples in the rows of the teacher's features; `train_targets` and
    `validation_targets` are their targets as the head encodes them. `train` may go on with samples that have no label
    (a transfer set): `train_targets` are of the first ones only, and a student learns of the others what the teacher
    answers. `effort` in (0, 1] is the share of the full
    recovery training that is asked for: the search first tries many with little. `workspace` is a directory of this
    candidate's own.
    """

    teacher: Teacher
    train: Sequence[Sample]
    validation: Sequence[Sample]
    train_targets: Tensor
    validation_targets: Tensor
    workspace: Path
    plan: DevicePlan
    seed: int = 0
    effort: float = 1.0
    progress: Callable[[Progress], None] = silent

    @property
    def labelled(self) -> Sequence[Sample]:
        """The training samples that have a target."""
        return self.train[: len(self.train_targets)]


@dataclass(frozen=True, slots=True)
class StepLog:
    """One compressor at work. Qualities are the task's headline metric on validation data.

    `converted` is right after the change, `recovered` after the training that follows; equal where there is none.
    """

    name: str
    before: float
    converted: float
    recovered: float
    seconds: float
    cpu_seconds: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Draft:
    """A model on its way through a chain: what it is now, in which precision it will be exported, and how it came."""

    model: MultimodalModel
    precision: Precision = "fp32"
    log: tuple[StepLog, ...] = field(default=())


class Compressor(ABC):
    """One step of a chain. `Part("compressor", name, ...)` offers it; "name:argument" gives its constructor a string.

    The constructor raises `ConfigError` for an argument that it does not understand.
    """

    name: ClassVar[str]
    precision: ClassVar[Precision | None] = None  # set by those that change the arithmetic alone

    def __init__(self, argument: str = "") -> None:
        self.argument = argument

    @abstractmethod
    def obstacle(self, model: MultimodalModel) -> str | None:
        """Why this model cannot be compressed so, in a sentence; None where it can."""

    def convert(self, model: MultimodalModel, context: CompressionContext) -> MultimodalModel:
        """The smaller model, untrained; `model` itself is left as it is. The same model by default."""
        return model

    def recover(self, model: MultimodalModel, context: CompressionContext) -> list[str]:
        """Train the converted model in place to win back what was lost; returns notes for the log.

        Leaves it in evaluation mode on the CPU. Nothing by default.
        """
        return []

    @property
    def spelling(self) -> str:
        """The compressor as chains spell it."""
        return f"{self.name}:{self.argument}" if self.argument else self.name


def describe_chain(compressors: Sequence[Compressor]) -> str:
    """As "vocabulary+layers:3+int8"."""
    return "+".join(c.spelling for c in compressors)
