"""What an encoder is: raw values of one modality in, one vector per value out.

An encoder author writes `__init__`, `prepare`, `forward`, `settings`, `create` and `restore`; batching, device,
fingerprint and saving come from the base.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from triptych.types import Modality

Batch = dict[str, Tensor]
"""What `prepare` returns and `forward` takes: named tensors, each with the batch as its first dimension."""


@dataclass(frozen=True, slots=True, eq=False)
class Exportable:
    """What it takes to run an encoder without torch.

    `module` takes the tensors of `example` (two values, in that order, by position) and gives [batch, dim]; it is
    written as an ONNX graph whose inputs have the names in `example`. `dynamic` has, for each input, which dimensions
    vary (dimension to a name; the first is "batch" everywhere). `runner` is the part that prepares raw values in
    service (see `triptych.runtime.base.Runner`) and `settings` its JSON.
    """

    module: nn.Module
    example: Batch
    dynamic: Mapping[str, Mapping[int, str]]
    runner: str
    settings: Mapping[str, Any] = field(default_factory=dict)


class Encoder(nn.Module, ABC):
    """One modality to vectors. Subclasses set `modality` (class) and `dim` (instance)."""

    modality: ClassVar[Modality]
    name: str  # the name it was created by, as "family:model"
    dim: int
    pretrained: bool = False  # whether the weights come from training elsewhere
    note: str | None = None  # what the user should know of this choice (weights missing, what is used instead)

    @classmethod
    @abstractmethod
    def create(cls, model: str = "", **options: Any) -> Self:
        """A new encoder from the name behind the colon; loads pretrained weights where they are at hand.

        Raises `MissingError`, saying where weights can come from, when a pretrained model cannot be had, and
        `ConfigError` for an unknown option.
        """

    @classmethod
    @abstractmethod
    def restore(cls, settings: dict[str, Any], assets: Path) -> Self:
        """The same architecture from `settings` and the files of `save_assets`; its weights are set by the caller.

        Must work without a network and without the original checkpoint.
        """

    @property
    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """JSON that, with the saved assets, rebuilds the architecture and the preparation of inputs."""

    @abstractmethod
    def prepare(self, values: Sequence[Any]) -> Batch:
        """Raw values to one CPU batch. Raises `DataError` naming the value that cannot be read."""

    @abstractmethod
    def forward(self, batch: Batch) -> Tensor:
        """A prepared batch to float [batch, dim]."""

    def fit(self, values: Sequence[Any]) -> None:
        """See the training values once before training (standardisation, vocabulary). Nothing by default."""

    def save_assets(self, directory: Path) -> None:
        """Write whatever `restore` needs beside `settings` (a tokenizer). Nothing by default."""

    def costs(self, values: Sequence[Any]) -> list[int]:
        """Relative cost of each value, for batches of like length. Equal by default."""
        return [1] * len(values)

    def exportable(self) -> Exportable | None:
        """How this encoder runs without torch; None (the default) where it cannot, and then it is served by torch."""
        return None

    @property
    def backbone(self) -> nn.Module:
        """The module that LoRA adapts; the encoder itself by default."""
        return self

    @property
    def device(self) -> torch.device:
        """Where the parameters are; CPU for an encoder without any."""
        tensor = next(self.parameters(), None)
        return torch.device("cpu") if tensor is None else tensor.device

    @property
    def fingerprint(self) -> str:
        """A hash of settings and weights: equal fingerprints give equal vectors."""
        digest = hashlib.sha256(json.dumps(self.settings, sort_keys=True).encode())
        for key, tensor in sorted(self.state_dict().items()):
            digest.update(key.encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    @torch.inference_mode()
    def encode(self, values: Sequence[Any], *, batch_size: int = 32) -> Tensor:
        """All values to float32 [len(values), dim] on the CPU, in the order given.

        Values of like cost share a batch, so that little padding is computed.
        """
        was_training = self.training
        self.eval()
        vectors = torch.zeros(len(values), self.dim)
        order = sorted(range(len(values)), key=self.costs(values).__getitem__)
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            batch = {k: v.to(self.device) for k, v in self.prepare([values[i] for i in rows]).items()}
            vectors[rows] = self(batch).float().cpu()
        self.train(was_training)
        return vectors
