"""Several models in a row, the cheapest first: what one is not sure of goes on to the next.

`cascade.json` names the stages (sibling directories; "torch" is the parent model of the bundle), a threshold for each
but the last, and what was promised when the thresholds were set (`triptych.evaluation.risk`).
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from triptych.errors import BundleError
from triptych.runtime.base import Outcome, Session
from triptych.types import Prediction, Sample

CASCADE = "cascade.json"
FORMAT = 1


class CascadeSettings(BaseModel):
    """The content of `cascade.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    format: int = FORMAT
    stages: list[str] = Field(min_length=2)
    thresholds: list[float]
    promise: dict[str, Any] = {}

    @classmethod
    def read(cls, directory: Path) -> CascadeSettings:
        """What `write` wrote. Raises `BundleError`."""
        path = directory / CASCADE
        try:
            content = json.loads(path.read_bytes())
            found = content.get("format") if isinstance(content, dict) else None
            if found != FORMAT:
                raise BundleError(f"{path} has format {found}, this triptych reads {FORMAT}: upgrade triptych")
            settings = cls.model_validate(content)
        except (OSError, ValidationError, ValueError) as error:
            raise BundleError(f"{path} does not describe a cascade: {error}; build the bundle again") from error
        if len(settings.thresholds) != len(settings.stages) - 1:
            raise BundleError(f"{path} needs a threshold for every stage but the last; build the bundle again")
        return settings

    def write(self, directory: Path) -> None:
        """Write `cascade.json` into an existing directory."""
        (directory / CASCADE).write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")


class Cascade:
    """A session of several. The first stage is opened at once, each later one when a sample first gets there.

    `counts` says how many samples each stage was asked. Raises `BundleError` for stages that answer with other labels
    or understand other modalities than the first, or have no probabilities to be unsure by.
    """

    def __init__(self, variant: str, stages: Sequence[Callable[[], Session]], thresholds: Sequence[float]) -> None:
        if len(stages) < 2 or len(thresholds) != len(stages) - 1:
            raise ValueError("a cascade has two stages or more, and a threshold for each but the last")
        self.variant = variant
        self.thresholds = tuple(thresholds)
        self._open = list(stages)
        self._stages: list[Session | None] = [None] * len(stages)
        self._lock = threading.Lock()
        self._counts = [0] * len(stages)
        first = stages[0]()
        if first.kind not in ("classification", "multilabel"):
            raise BundleError(f"a cascade needs probabilities, and the head of {variant!r} is a {first.kind} head")
        self._stages[0] = first
        self.modalities, self.kind, self.labels = first.modalities, first.kind, first.labels

    def run(self, samples: Sequence[Sample]) -> list[Outcome]:
        """One outcome for each sample, from the stage that was sure of it or from the last one."""
        outcomes: dict[int, Outcome] = {}
        rows = list(range(len(samples)))
        for number in range(len(self._open)):
            if not rows:
                break
            self._count(number, len(rows))
            found = self._stage(number).run([samples[row] for row in rows])
            outcomes |= dict(zip(rows, found, strict=True))
            if number < len(self.thresholds):
                rows = [row for row in rows if self._unsure(outcomes[row].prediction, self.thresholds[number])]
        return [outcomes[row] for row in range(len(samples))]

    @property
    def counts(self) -> tuple[int, ...]:
        """How many samples each stage was asked so far."""
        with self._lock:
            return tuple(self._counts)

    @property
    def escalation_rate(self) -> float:
        """The share of samples that the first stage did not settle; zero before the first sample."""
        asked, escalated = self.counts[:2]
        return escalated / asked if asked else 0.0

    def _unsure(self, prediction: Prediction, threshold: float) -> bool:
        return not prediction.in_scope or confidence_of(self.kind, prediction.probabilities) < threshold

    def _count(self, number: int, samples: int) -> None:
        with self._lock:
            self._counts[number] += samples

    def _stage(self, number: int) -> Session:
        with self._lock:
            stage = self._stages[number]
            if stage is None:
                stage = self._open[number]()
                if (stage.labels, stage.modalities) != (self.labels, self.modalities):
                    raise BundleError(
                        f"{stage.variant!r} and the first stage of {self.variant!r} differ in labels or modalities; "
                        "build the bundle again"
                    )
                self._stages[number] = stage
            return stage


def confidence_of(kind: str, probabilities: Mapping[str, float]) -> float:
    """How sure an answer is: the probability of its label, or, with several labels, of the one it is least sure of."""
    if kind == "multilabel":
        return min(max(p, 1 - p) for p in probabilities.values())
    return max(probabilities.values())
