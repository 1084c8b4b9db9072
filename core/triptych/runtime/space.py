"""What every session of one model does alike, whatever computes its vectors: from encodings to outcomes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from triptych.errors import DataError
from triptych.evaluation.scope import ScopeDetector, Seen, evidence_of
from triptych.runtime.base import Array, Encoded, Fused, Outcome
from triptych.types import Modality, Prediction, Sample


class Space(ABC):
    """A `SpaceSession` that lacks only `encode`, `fuse` and `probabilities`.

    `names` are those of a regression's numbers; `scope` judges what is within the training data, where there is one.
    """

    def __init__(
        self,
        *,
        variant: str,
        home: Path,
        modalities: tuple[Modality, ...],
        kind: str,
        labels: tuple[str, ...] = (),
        names: tuple[str, ...] = (),
        scope: ScopeDetector | None = None,
    ) -> None:
        self.variant, self.home = variant, home
        self.modalities, self.kind, self.labels, self.names = modalities, kind, labels, names
        self.scope = scope
        self._labels = np.array(labels, dtype=object)

    @abstractmethod
    def encode(self, samples: Sequence[Sample]) -> Encoded:
        """The encoders' vectors. Raises `DataError` for a sample with nothing that the model can encode."""

    @abstractmethod
    def fuse(self, encoded: Encoded) -> Fused:
        """Encoders' vectors to logits, embedding and attribution."""

    @abstractmethod
    def probabilities(self, logits: Array, mask: Array) -> Array:
        """Calibrated probabilities (or values) float32 [samples, outputs]."""

    def run(self, samples: Sequence[Sample]) -> list[Outcome]:
        """One outcome for each sample. Raises `DataError` for one with nothing that the model can judge."""
        if not samples:
            return []
        return self.outcomes(self.encode(samples))

    def outcomes(self, encoded: Encoded) -> list[Outcome]:
        """What the model says of samples that were encoded before. Raises `DataError` where that is no number."""
        fused = self.fuse(encoded)
        outputs = self.probabilities(fused.logits, encoded.mask)
        for row in np.logical_not(np.isfinite(outputs).all(axis=1)).nonzero()[0].tolist():
            raise DataError(f"the model gives no number for sample {row + 1} of {len(outputs)}: is it empty?")
        scores, threshold = np.ones(len(encoded)), 0.0
        if self.scope is not None:
            evidence = None if self.scope.probe is None else evidence_of(encoded)  # nothing else looks at it
            scores = self.scope.score(fused.embedding, outputs, evidence)
            threshold = self.scope.threshold
        named = self._named(outputs)
        weights, mask = fused.weights.tolist(), encoded.mask.tolist()
        found = []
        for row, score in enumerate(scores.tolist()):
            prediction = Prediction(
                probabilities=named[row] if self.labels else {},
                scope_score=score,
                in_scope=score >= threshold,
                embedding=fused.embedding[row],
                attribution={m: w for m, w in zip(self.modalities, weights[row], strict=True) if w > 0},
                values={} if self.labels else named[row],
            )
            vectors = {m: encoded.vectors[m][row] for m, there in zip(self.modalities, mask[row], strict=True) if there}
            found.append(Outcome(prediction, vectors, self.variant, self.home, outputs[row]))
        return found

    def _named(self, outputs: Array) -> list[dict[str, float]]:
        """For each sample its labels, most probable first, or its numbers; all samples at once, for there are many."""
        if not self.labels:
            return [dict(zip(self.names, row, strict=False)) for row in outputs.tolist()]
        order = (-outputs).argsort(axis=1, kind="stable")
        labels = self._labels[order].tolist()
        values = outputs[np.arange(len(outputs))[:, None], order].tolist()
        return [dict(zip(*row, strict=False)) for row in zip(labels, values, strict=True)]

    def seen(self, encoded: Encoded) -> Seen:
        """What detectors are fitted on and verdicts are made of."""
        fused = self.fuse(encoded)
        return Seen(fused.embedding, self.probabilities(fused.logits, encoded.mask), evidence_of(encoded))


def presence(samples: Sequence[Sample], modalities: Sequence[Modality]) -> Array:
    """Bool [samples, modalities]. Raises `DataError` for a sample with none of the modalities."""
    mask: Array = np.array(
        [[m in present for m in modalities] for present in (s.modalities for s in samples)], dtype=bool
    )
    mask = mask.reshape(len(samples), len(modalities))
    for row in np.logical_not(mask.any(axis=1)).nonzero()[0].tolist():
        raise DataError(f"sample {samples[row].id!r} has none of: {', '.join(modalities)}")
    return mask
