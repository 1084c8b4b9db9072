"""No training at all: what the labels mean, encoded as text, becomes the classifier."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

from triptych.config import TrainingConfig
from triptych.errors import ConfigError
from triptych.models.heads import ClassificationHead
from triptych.models.multimodal import MultimodalModel
from triptych.tuning.base import Strategy, TuningContext, TuningReport
from triptych.types import Sample

SHARPNESS = (5.0, 10.0, 20.0, 40.0, 80.0)
"""Factors on the cosine that are tried on validation data; only confidence depends on them, never the label."""
DEFAULT_SHARPNESS = 20.0


class ZeroShot(Strategy):
    """Cosine of a text with each label's description; a label without one is read as words ("card_lost")."""

    name = "zero-shot"

    def tune(
        self,
        model: MultimodalModel,
        train: Sequence[Sample],
        validation: Sequence[Sample],
        settings: TrainingConfig,
        context: TuningContext,
    ) -> TuningReport:
        """See the base. Raises `ConfigError` unless text is the only modality and the task is a classification."""
        wall, cpu = time.perf_counter(), time.process_time()
        head = model.head
        if model.modalities != ("text",):
            raise ConfigError(
                "training.strategy = 'zero-shot' compares texts with label descriptions and needs text as the only "
                f"encoder; this model has {', '.join(model.modalities)}. Use 'frozen', or drop the other encoders."
            )
        if not isinstance(head, ClassificationHead):
            raise ConfigError(f"training.strategy = 'zero-shot' needs a classification, not a {head.kind} head")
        encoder = model.encoder("text")
        if not encoder.pretrained:
            raise ConfigError(f"training.strategy = 'zero-shot' needs a pretrained text encoder, not {encoder.name}")
        encoder.to(context.plan.device)
        texts = [context.task.descriptions.get(label, label.replace("_", " ")) for label in head.labels]
        directions = F.normalize(encoder.encode(texts), dim=-1)  # [labels, dim]
        model.to("cpu").eval()
        sharpness, history = DEFAULT_SHARPNESS, list[dict[str, Any]]()
        known = [s for s in validation if s.target in head.labels]
        if known:
            vectors = model.features(known).vectors["text"]
            targets = head.encode([s.target for s in known])
            for factor in SHARPNESS:
                logits = factor * vectors @ directions.T
                right = (logits.argmax(dim=-1) == targets).float().mean()
                history.append(
                    {"sharpness": factor, "loss": float(head.loss(logits, targets)), "accuracy": float(right)}
                )
            sharpness = min(history, key=lambda row: row["loss"])["sharpness"]
        with torch.no_grad():
            head.linear.weight.copy_(sharpness * directions)
            head.linear.bias.zero_()
        best = history[0]["accuracy"] if history else 0.0
        return TuningReport(self.name, 0, time.perf_counter() - wall, time.process_time() - cpu, 0.0, history, best)
