"""A session runs the model of a bundle: samples in, predictions out. Safe to call from many threads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from triptych.device import DevicePlan
from triptych.evaluation.scope import ScopeDetector, evidence_of
from triptych.host import Host
from triptych.models.build import load_model
from triptych.models.multimodal import Features, MultimodalModel
from triptych.types import Modality, Prediction, Sample

MODEL, SCOPE = "model", "scope"  # directories in a bundle


class TorchSession:
    """The eager torch runtime: serves every device that torch serves."""

    def __init__(self, model: MultimodalModel, scope: ScopeDetector | None, plan: DevicePlan) -> None:
        self.model = model.to(plan.device).eval()
        self.scope = scope
        self.plan = plan
        self.labels: tuple[str, ...] = getattr(model.head, "labels", ())

    @classmethod
    def load(cls, directory: Path, host: Host, plan: DevicePlan) -> TorchSession:
        """Open the model of a bundle whose hashes were checked. Raises `BundleError`."""
        scope = ScopeDetector.load(directory / SCOPE) if (directory / SCOPE).is_dir() else None
        return cls(load_model(directory / MODEL, host), scope, plan)

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """What the model was trained on."""
        return self.model.modalities

    def features(self, samples: Sequence[Sample]) -> Features:
        """The encoders' vectors. Raises `DataError` for a sample with nothing that the model can encode."""
        return self.model.features(samples)

    @torch.inference_mode()
    def embed(self, features: Features) -> np.ndarray[Any, Any]:
        """Fused embeddings, float32 [samples, dim]."""
        embedding = self.model.fuse(features.to(self.plan.device)).embedding
        return embedding.float().cpu().numpy()

    @torch.inference_mode()
    def probabilities(self, features: Features) -> np.ndarray[Any, Any]:
        """Calibrated probabilities (or values), float32 [samples, outputs]."""
        features = features.to(self.plan.device)
        probabilities = self.model.probabilities(self.model.fuse(features), features.mask)
        return probabilities.float().cpu().numpy()

    @torch.inference_mode()
    def predict(self, features: Features) -> list[Prediction]:
        """One prediction for each sample."""
        features = features.to(self.plan.device)
        output = self.model.fuse(features)
        outputs = self.model.probabilities(output, features.mask).float().cpu()
        embeddings, weights = output.embedding.float().cpu(), output.weights.float().cpu()
        scores, threshold = torch.ones(len(outputs)), 0.0
        if self.scope is not None:
            scores = self.scope.score(embeddings, outputs, evidence_of(features))
            threshold = self.scope.threshold
        return [
            self._prediction(outputs[i], embeddings[i], weights[i], float(scores[i]), threshold)
            for i in range(len(outputs))
        ]

    def _prediction(
        self, outputs: torch.Tensor, embedding: torch.Tensor, weights: torch.Tensor, score: float, threshold: float
    ) -> Prediction:
        names = getattr(self.model.head, "names", ())
        order = outputs.argsort(descending=True).tolist() if self.labels else []
        return Prediction(
            probabilities={self.labels[i]: float(outputs[i]) for i in order},
            scope_score=score,
            in_scope=score >= threshold,
            embedding=embedding.numpy(),
            attribution={m: float(w) for m, w in zip(self.modalities, weights, strict=True) if w > 0},
            values=dict(zip(names, outputs.tolist(), strict=True)) if names else {},
        )
