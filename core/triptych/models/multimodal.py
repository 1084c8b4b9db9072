"""The model: an encoder for each modality, a fusion, a head. Any subset of the modalities answers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from triptych.encoders.base import Batch, Encoder
from triptych.errors import DataError
from triptych.fusion.base import Fusion, hide_absent
from triptych.models.heads import Head
from triptych.types import MODALITIES, Modality, Sample

CONFIG, WEIGHTS, ASSETS = "config.json", "model.safetensors", "assets"  # what `MultimodalModel.save` writes


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """Encoder outputs of many samples: `vectors[m]` is float32 [samples, dim of m], zero where absent.

    `mask` is bool [samples, modalities], its columns in the order of `vectors`.
    """

    vectors: dict[Modality, Tensor]
    mask: Tensor

    def __len__(self) -> int:
        return len(self.mask)

    def rows(self, index: Tensor) -> Features:
        """The features of some samples (an index or a bool mask over samples)."""
        return Features({m: v[index] for m, v in self.vectors.items()}, self.mask[index])

    def only(self, modalities: Sequence[Modality]) -> Features:
        """The same samples with every other modality absent."""
        kept = torch.tensor([m in modalities for m in self.vectors], device=self.mask.device)
        return Features(self.vectors, self.mask & kept)

    def to(self, device: torch.device) -> Features:
        """The same features on another device."""
        return Features({m: v.to(device) for m, v in self.vectors.items()}, self.mask.to(device))


@dataclass(frozen=True, slots=True, eq=False)
class ModelBatch:
    """Prepared samples: for each modality that any of them has, the rows and their encoder batch."""

    parts: dict[Modality, tuple[Tensor, Batch]]
    mask: Tensor  # bool [batch, modalities]

    def to(self, device: torch.device) -> ModelBatch:
        """The same batch on another device."""
        parts = {
            m: (rows.to(device), {k: v.to(device) for k, v in batch.items()}) for m, (rows, batch) in self.parts.items()
        }
        return ModelBatch(parts, self.mask.to(device))


@dataclass(frozen=True, slots=True, eq=False)
class ModelOutput:
    """`logits` [batch, outputs], `embedding` [batch, dim], `weights` [batch, modalities] (attribution)."""

    logits: Tensor
    embedding: Tensor
    weights: Tensor


class MultimodalModel(nn.Module):
    """Encoders, projections to one size, fusion, head.

    With one modality there is nothing to fuse: the encoder's vector goes to the head as it is, so that a linear
    classifier on a frozen encoder is exactly what it is called.
    """

    temperatures: Tensor

    def __init__(
        self, encoders: Mapping[Modality, Encoder], fusion: Fusion | None, head: Head, *, dropout: float = 0.1
    ) -> None:
        super().__init__()
        if (fusion is None) != (len(encoders) == 1):
            raise ValueError("a fusion is needed for two or more modalities, and only then")
        self.modalities: tuple[Modality, ...] = tuple(m for m in MODALITIES if m in encoders)
        self.encoders = nn.ModuleDict({m: encoders[m] for m in self.modalities})
        self.fusion = fusion
        self.head = head
        self.dropout = dropout
        self.projections = nn.ModuleDict()
        if fusion is not None:
            for m in self.modalities:
                self.projections[m] = nn.Sequential(
                    nn.LayerNorm(encoders[m].dim),
                    nn.Linear(encoders[m].dim, fusion.dim),
                    nn.GELU(),
                    nn.Dropout(dropout),
                )
        # one calibration temperature for each pattern of present modalities (evaluation.calibration sets them)
        self.register_buffer("temperatures", torch.ones(2 ** len(self.modalities)))

    @property
    def dim(self) -> int:
        """The size of the fused embedding."""
        return self.head.dim

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return self.temperatures.device

    def encoder(self, modality: Modality) -> Encoder:
        """The encoder of one modality."""
        encoder = self.encoders[modality]
        assert isinstance(encoder, Encoder)
        return encoder

    def mask(self, samples: Sequence[Sample]) -> Tensor:
        """Bool [samples, modalities]: what is present. Raises `DataError` for a sample with nothing to encode."""
        mask = torch.tensor([[s.value(m) is not None for m in self.modalities] for s in samples], dtype=torch.bool)
        mask = mask.reshape(len(samples), len(self.modalities))
        for row in (~mask.any(dim=1)).nonzero().flatten().tolist():
            raise DataError(f"sample {samples[row].id!r} has none of: {', '.join(self.modalities)}")
        return mask

    def prepare(self, samples: Sequence[Sample]) -> ModelBatch:
        """Samples to a CPU batch; only the parts that a sample has are prepared."""
        mask = self.mask(samples)
        parts: dict[Modality, tuple[Tensor, Batch]] = {}
        for column, m in enumerate(self.modalities):
            rows = mask[:, column].nonzero().flatten()
            if len(rows):
                parts[m] = (rows, self.encoder(m).prepare([samples[i].value(m) for i in rows.tolist()]))
        return ModelBatch(parts, mask)

    def features(self, samples: Sequence[Sample], *, batch_size: int = 32) -> Features:
        """The encoders' vectors of samples, without gradient, on the CPU."""
        mask = self.mask(samples)
        vectors: dict[Modality, Tensor] = {}
        for column, m in enumerate(self.modalities):
            encoder = self.encoder(m)
            rows = mask[:, column].nonzero().flatten()
            vectors[m] = torch.zeros(len(samples), encoder.dim)
            if len(rows):
                vectors[m][rows] = encoder.encode([samples[i].value(m) for i in rows.tolist()], batch_size=batch_size)
        return Features(vectors, mask)

    def forward(self, batch: ModelBatch, *, keep: Tensor | None = None) -> ModelOutput:
        """Encode, fuse, answer. `keep` is bool [batch, modalities]: False drops a part (modality dropout)."""
        vectors: dict[Modality, Tensor] = {}
        for m in self.modalities:
            encoder = self.encoder(m)
            vectors[m] = torch.zeros(len(batch.mask), encoder.dim, device=batch.mask.device)
            if m in batch.parts:
                rows, prepared = batch.parts[m]
                encoded = encoder(prepared).float()
                vectors[m] = vectors[m].index_copy(0, rows, encoded)
        return self.fuse(Features(vectors, batch.mask if keep is None else batch.mask & keep))

    def fuse(self, features: Features) -> ModelOutput:
        """Encoder vectors to logits, embedding and attribution. What stands for an absent part changes nothing."""
        if self.fusion is None:
            embedding = features.vectors[self.modalities[0]]
            return ModelOutput(self.head(embedding), embedding, features.mask.float())
        projected = []
        for column, m in enumerate(self.modalities):
            present = features.mask[:, column].unsqueeze(1)
            projected.append(self.projections[m](features.vectors[m].masked_fill(~present, 0.0)))
        # [batch, modalities, dim]; a projection makes something of zeros, so absent parts are zeroed once more
        stacked = hide_absent(torch.stack(projected, dim=1), features.mask)
        embedding, weights = self.fusion(stacked, features.mask)
        return ModelOutput(self.head(embedding), embedding, weights)

    def pattern(self, mask: Tensor) -> Tensor:
        """Bool [batch, modalities] to int64 [batch]: which of the 2^modalities patterns of presence."""
        return (mask.long() << torch.arange(len(self.modalities), device=mask.device)).sum(dim=1)

    def probabilities(self, output: ModelOutput, mask: Tensor) -> Tensor:
        """Temperature-calibrated probabilities [batch, outputs] (values, for a regression)."""
        if self.head.kind in ("regression", "embedding"):
            return self.head.probabilities(output.logits)
        return self.head.probabilities(output.logits / self.temperatures[self.pattern(mask)].unsqueeze(1))

    def save(self, directory: Path) -> None:
        """Write the config, all weights and the encoders' assets into an existing directory.

        `triptych.models.build.load_model` reads them back.
        """
        config: dict[str, Any] = {
            "encoders": {m: _describe(self.encoder(m)) for m in self.modalities},
            "fusion": None if self.fusion is None else {"use": self.fusion.name, "options": self.fusion.options},
            "head": self.head.settings,
            "dim": self.dim,
            "dropout": self.dropout,
        }
        (directory / CONFIG).write_text(json.dumps(config, indent=1, ensure_ascii=False), encoding="utf-8")
        # cloned: safetensors refuses tensors that share memory (tied weights) or lie in another order (channels last)
        tensors = {
            k: v.detach().cpu().clone(memory_format=torch.contiguous_format) for k, v in self.state_dict().items()
        }
        save_file(tensors, directory / WEIGHTS)
        for m in self.modalities:
            assets = directory / ASSETS / m
            assets.mkdir(parents=True, exist_ok=True)
            self.encoder(m).save_assets(assets)


def _describe(encoder: Encoder) -> dict[str, Any]:
    return {"use": encoder.name, "settings": encoder.settings}
