"""What a fine-tuning strategy is: a model and samples in, the same model trained, with a report of what it cost."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from triptych.config import TrainingConfig
from triptych.device import DevicePlan
from triptych.models.multimodal import MultimodalModel
from triptych.types import Sample, Task


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a step of training is: `done` of `total`, with a word for the user."""

    step: str
    done: int
    total: int
    message: str = ""


def silent(progress: Progress) -> None:
    """Report nothing."""


@dataclass(frozen=True, slots=True)
class TuningContext:
    """What a strategy may use beside the model and the data.

    `workspace` is an existing directory of its own: feature cache, checkpoints and TensorBoard files go there, and a
    run that was killed goes on from what it finds there.
    """

    workspace: Path
    plan: DevicePlan
    seed: int
    task: Task
    progress: Callable[[Progress], None] = silent


@dataclass(frozen=True, slots=True)
class TuningReport:
    """What training did. Seconds are of the whole strategy, start and validation included.

    `samples_per_second` is training samples, times epochs, over the wall seconds of training alone (for a linear head
    on frozen features: over all seconds); `history` has a row for each epoch or setting tried; `best` is the
    validation metric of the weights kept. `choices` are what validation decided: given to the strategy's constructor,
    they train again on all data without choosing.
    """

    strategy: str
    epochs: int
    seconds: float
    cpu_seconds: float
    samples_per_second: float
    history: list[dict[str, Any]]
    best: float
    notes: list[str] = field(default_factory=list)
    choices: dict[str, float] = field(default_factory=dict)


class Strategy(ABC):
    """A way to fine-tune. Its constructor needs no arguments; settings come with `tune`."""

    name: ClassVar[str]

    @abstractmethod
    def tune(
        self,
        model: MultimodalModel,
        train: Sequence[Sample],
        validation: Sequence[Sample],
        settings: TrainingConfig,
        context: TuningContext,
    ) -> TuningReport:
        """Train `model` in place on samples that all have a target; leave it on the CPU, in evaluation mode.

        `validation` chooses (epochs, regularisation) and may be empty: then nothing is chosen, and training runs as
        the settings say. Raises `ConfigError` where the strategy does not fit the model or the task.
        """
