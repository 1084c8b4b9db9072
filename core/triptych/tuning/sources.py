"""What the training loop draws batches from: raw samples, cached features, or cached outputs of frozen layers."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import accumulate
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from triptych.data.media import value_digest
from triptych.encoders.base import Batch
from triptych.models.multimodal import Features, ModelBatch, MultimodalModel
from triptych.types import Modality, Sample

LOWER_LIMIT_MB = 1_500
"""Outputs of frozen layers are kept in memory up to this size; beyond it they are computed anew each epoch."""


class Source(Protocol):
    """Examples by row. `costs` are relative (tokens), for batches of like length; `mask` says what is present."""

    costs: list[int]
    mask: Tensor  # bool [examples, modalities]

    def batch(self, rows: Sequence[int]) -> ModelBatch | Features:
        """The model's input for these rows, on the CPU."""

    def digest(self) -> str:
        """A hash of everything that the batches are made of."""


@runtime_checkable
class Layered(Protocol):
    """An encoder whose lowest layers can be frozen and computed beforehand (`TransformerTextEncoder` is one)."""

    layers: int
    hidden: int

    def freeze_lowest(self, layers: int) -> None:
        """Fix the lowest layers; `lower` then computes them."""

    def lower(self, batch: Batch) -> Batch:
        """A prepared batch to `hidden` [batch, tokens, hidden] with its `attention_mask`; `forward` takes either."""


class SampleSource:
    """Raw samples, prepared batch by batch."""

    def __init__(self, model: MultimodalModel, samples: Sequence[Sample]) -> None:
        self.model = model
        self.samples = samples
        self.mask = model.mask(samples)
        self.costs = [0] * len(samples)
        for column, m in enumerate(model.modalities):
            rows = self.mask[:, column].nonzero().flatten().tolist()
            costs = model.encoder(m).costs([samples[i].value(m) for i in rows])
            for row, cost in zip(rows, costs, strict=True):
                self.costs[row] += cost

    def batch(self, rows: Sequence[int]) -> ModelBatch:
        """The prepared samples."""
        return self.model.prepare([self.samples[i] for i in rows])

    def digest(self) -> str:
        """Over all values of all samples."""
        digest = hashlib.sha256()
        for sample in self.samples:
            for m in self.model.modalities:
                value = sample.value(m)
                digest.update(b"-" if value is None else value_digest(value, m).encode())
        return digest.hexdigest()


class FeatureSource:
    """Encoder outputs computed beforehand: only fusion and head are trained."""

    def __init__(self, features: Features) -> None:
        self.features = features
        self.mask = features.mask
        self.costs = [1] * len(features)

    def batch(self, rows: Sequence[int]) -> Features:
        """The features of these rows."""
        return self.features.rows(torch.tensor(list(rows), dtype=torch.int64))

    def digest(self) -> str:
        """Over all vectors and the mask."""
        digest = hashlib.sha256(self.mask.numpy().tobytes())
        for vectors in self.features.vectors.values():
            digest.update(vectors.contiguous().numpy().tobytes())
        return digest.hexdigest()


class LowerSource(SampleSource):
    """Raw samples, of which one modality's frozen layers are computed once and kept in memory as float16.

    Rows of tokens lie one after another without padding: [tokens of all samples, hidden].
    """

    def __init__(
        self, model: MultimodalModel, samples: Sequence[Sample], modality: Modality, *, batch_size: int = 64
    ) -> None:
        super().__init__(model, samples)
        self.modality = modality
        encoder = model.encoder(modality)
        assert isinstance(encoder, Layered)
        present = [i for i, s in enumerate(samples) if s.value(modality) is not None]
        lengths = model.encoder(modality).costs([samples[i].value(modality) for i in present])
        starts = [0, *accumulate(lengths)]
        self._place = {row: (starts[k], lengths[k]) for k, row in enumerate(present)}
        self._tokens = torch.empty(starts[-1], encoder.hidden, dtype=torch.float16)
        order = sorted(present, key=lambda row: self._place[row][1])
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            prepared = model.encoder(modality).prepare([samples[i].value(modality) for i in rows])
            with torch.inference_mode():
                lower = encoder.lower({k: v.to(model.device) for k, v in prepared.items()})["hidden"].cpu()
            for row, tokens in zip(rows, lower, strict=True):
                place, length = self._place[row]
                self._tokens[place : place + length] = tokens[:length]

    @staticmethod
    def size_mb(model: MultimodalModel, samples: Sequence[Sample], modality: Modality) -> float:
        """What the cache would take."""
        encoder = model.encoder(modality)
        assert isinstance(encoder, Layered)
        tokens = sum(encoder.costs([v for s in samples if (v := s.value(modality)) is not None]))
        return tokens * encoder.hidden * 2 / 1e6

    def batch(self, rows: Sequence[int]) -> ModelBatch:
        """The prepared samples, `hidden` in the place of tokens."""
        mask = self.mask[list(rows)]
        parts: dict[Modality, tuple[Tensor, Batch]] = {}
        for column, m in enumerate(self.model.modalities):
            present = mask[:, column].nonzero().flatten()
            if not len(present):
                continue
            chosen = [rows[i] for i in present.tolist()]
            if m == self.modality:
                parts[m] = (present, self._lower(chosen))
            else:
                parts[m] = (present, self.model.encoder(m).prepare([self.samples[i].value(m) for i in chosen]))
        return ModelBatch(parts, mask)

    def _lower(self, rows: Sequence[int]) -> Batch:
        longest = max(self._place[row][1] for row in rows)
        hidden = torch.zeros(len(rows), longest, self._tokens.shape[1])
        mask = torch.zeros(len(rows), longest, dtype=torch.int64)
        for i, row in enumerate(rows):
            start, length = self._place[row]
            hidden[i, :length] = self._tokens[start : start + length]
            mask[i, :length] = 1
        return {"hidden": hidden, "attention_mask": mask}
