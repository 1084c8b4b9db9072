"""Encoder outputs on disk, so that a frozen encoder sees every value once in its life."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from triptych.data.media import value_digest
from triptych.encoders.base import Encoder
from triptych.models.multimodal import Features, MultimodalModel
from triptych.types import Modality, Sample

CHUNK = 1_024
"""Values encoded between two writes: what a killed run loses at most."""


class FeatureCache:
    """Vectors by encoder fingerprint and digest of the raw value, in shards under `directory`.

    A shard is a safetensors file with `vectors` [values, dim] and `digests` uint8 [values, 32]; it is written aside
    and renamed, so that a killed run leaves whole shards only.
    """

    def __init__(self, directory: Path, *, progress: Callable[[int, int], None] | None = None) -> None:
        self.directory = directory
        self.progress = progress

    def features(self, model: MultimodalModel, samples: Sequence[Sample], *, batch_size: int = 32) -> Features:
        """As `model.features`, encoding only values that were never encoded with these weights."""
        mask = model.mask(samples)
        vectors: dict[Modality, Tensor] = {}
        for column, m in enumerate(model.modalities):
            encoder = model.encoder(m)
            rows = mask[:, column].nonzero().flatten()
            vectors[m] = torch.zeros(len(samples), encoder.dim)
            if len(rows):
                values = [samples[i].value(m) for i in rows.tolist()]
                vectors[m][rows] = self._vectors(encoder, values, batch_size)
        return Features(vectors, mask)

    def _vectors(self, encoder: Encoder, values: Sequence[Any], batch_size: int) -> Tensor:
        folder = self.directory / f"{encoder.modality}-{encoder.fingerprint[:32]}"
        folder.mkdir(parents=True, exist_ok=True)
        digests = [value_digest(value, encoder.modality) for value in values]
        known = _read(folder)
        missing = {d: v for d, v in zip(digests, values, strict=True) if d not in known}
        todo = list(missing)
        # like lengths share a chunk and then a batch
        costs = dict(zip(todo, encoder.costs(list(missing.values())), strict=True)) if todo else {}
        todo.sort(key=costs.__getitem__)
        for start in range(0, len(todo), CHUNK):
            chunk = todo[start : start + CHUNK]
            encoded = encoder.encode([missing[d] for d in chunk], batch_size=batch_size)
            _write(folder, chunk, encoded)
            known.update(zip(chunk, encoded, strict=True))
            if self.progress is not None:
                self.progress(min(start + CHUNK, len(todo)), len(todo))
        return torch.stack([known[d] for d in digests])


def _read(folder: Path) -> dict[str, Tensor]:
    known: dict[str, Tensor] = {}
    for shard in sorted(folder.glob("*.safetensors")):
        content = load_file(shard)
        names = [bytes(row).hex() for row in content["digests"].numpy()]
        known.update(zip(names, content["vectors"], strict=True))
    return known


def _write(folder: Path, digests: list[str], vectors: Tensor) -> None:
    rows = torch.tensor([list(bytes.fromhex(d)) for d in digests], dtype=torch.uint8)
    final = folder / f"{digests[0]}.safetensors"
    aside = folder / f".{digests[0]}.{os.getpid()}"
    save_file({"vectors": vectors.contiguous(), "digests": rows}, aside)
    aside.replace(final)
