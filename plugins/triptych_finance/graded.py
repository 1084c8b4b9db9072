"""Fine-tuning on sentences that not all annotators read alike: what two of three agree on is not certain.

A label with two thirds of the votes is taught as a probability of two thirds (soft labels, Peterson et al. 2019,
"Human uncertainty makes classification more robust"). The rest goes to what lies beside it: a sentence that is hardly
positive is rather neutral than negative.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from triptych.config import TrainingConfig
from triptych.errors import ConfigError
from triptych.models.heads import ClassificationHead
from triptych.models.multimodal import MultimodalModel
from triptych.tuning.again import tune_again
from triptych.tuning.base import TuningContext
from triptych.tuning.deep import tune_encoders
from triptych.tuning.full import Full
from triptych.tuning.loop import LoopResult
from triptych.types import Sample
from triptych_finance.scoring import LABELS

AGREEMENT = "agreement"
"""The column of the data, metadata of a sample, with the share of annotators who chose the label."""
LEVELS = {"all": 0.97, "75": 0.85, "66": 0.7, "50": 0.58}
"""Levels as Financial PhraseBank names them: at least so many percent, so that the mean share is a little above."""
LEAST, MOST = 0.5, 0.97
"""Bounds of a probability: the label stays the most probable, and nothing is certain."""
REST = {
    "negative": {"neutral": 0.9, "positive": 0.1},
    "neutral": {"negative": 0.35, "positive": 0.65},
    "positive": {"neutral": 0.9, "negative": 0.1},
}
"""Where the other votes went, as shares of them."""


class Graded(Full):
    """`full`, with targets softened by the column "agreement": all, 75, 66, 50, or a share such as 0.8.

    A sentence without an agreement is taught with the label as it is. Set `training.label_smoothing = 0` beside it.
    """

    name = "graded"

    def __init__(
        self,
        strength: float | None = None,
        share: float | None = None,
        *,
        unlabelled: Sequence[Sample] | None = None,
        again: TrainingConfig | None = None,
    ) -> None:
        super().__init__(strength, share)
        if again is not None and unlabelled is None:
            raise ConfigError("settings of a second training need what it is trained on: give unlabelled=[] at least")
        self.unlabelled = unlabelled  # not None: train again on the first model's answers to training data and these
        self.again = again  # settings of that second training; None: those of the first

    def tune_encoders(
        self,
        model: MultimodalModel,
        train: Sequence[Sample],
        validation: Sequence[Sample],
        settings: TrainingConfig,
        context: TuningContext,
        notes: list[str],
    ) -> LoopResult:
        """The training of `full` on softer targets. Raises `ConfigError` for other labels than a sentiment's."""
        head = model.head
        if not isinstance(head, ClassificationHead) or set(head.labels) != set(LABELS):
            raise ConfigError(f"training.strategy = 'graded' needs the labels {', '.join(LABELS)}; take 'full'")
        known = sum(share_of(sample) is not None for sample in train)
        notes.append(f"targets softened by the annotators' agreement: {known:,} of {len(train):,} sentences")
        targets = graded_targets(train, head.labels)
        if self.unlabelled is None:
            return tune_encoders(model, train, validation, settings, context, notes, step=self.name, targets=targets)
        return tune_again(
            model,
            train,
            self.unlabelled,
            validation,
            settings,
            context,
            notes,
            step=self.name,
            targets=targets,
            again=self.again,
        )


def graded_targets(samples: Sequence[Sample], labels: Sequence[str]) -> Tensor:
    """The probability of each label, float32 [samples, labels]."""
    targets = torch.zeros(len(samples), len(labels))
    for row, sample in enumerate(samples):
        share = share_of(sample)
        certain = 1.0 if share is None else share
        targets[row, labels.index(sample.target)] = certain
        for label, part in REST[sample.target].items():
            targets[row, labels.index(label)] = (1 - certain) * part
    return targets


def share_of(sample: Sample) -> float | None:
    """The share of annotators who chose the label, within bounds; None where it is not known."""
    found: Any = sample.metadata.get(AGREEMENT)
    if found is None:
        return None
    level = LEVELS.get(str(found).strip().removesuffix(".0"))
    if level is not None:
        return level
    try:
        share = float(found)
    except (TypeError, ValueError):
        return None
    if not math.isfinite(share):
        return None
    return min(max(share if share <= 1 else share / 100, LEAST), MOST)
