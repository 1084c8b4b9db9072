"""What answering is made of, without torch: encoded samples, outcomes, and what a session and a runner must do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np

from triptych.types import Modality, Prediction, Sample

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """Encoder outputs of many samples: `vectors[m]` is float32 [samples, dim of m], zero where absent.

    `mask` is bool [samples, modalities], its columns in the order of `vectors`.
    """

    vectors: dict[Modality, Array]
    mask: Array

    def __len__(self) -> int:
        return len(self.mask)


@dataclass(frozen=True, slots=True, eq=False)
class Fused:
    """`logits` [samples, outputs], `embedding` [samples, dim], `weights` [samples, modalities]; all float32."""

    logits: Array
    embedding: Array
    weights: Array


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What a session says of one sample.

    `vectors` are those of the parts that were present, float32 [dim of m]; `variant` names the model that answered,
    and `home` is the directory with the indexes that live in its space. `output` is what the head answers, float32
    [outputs]: of an embedding, the vector of unit length.
    """

    prediction: Prediction
    vectors: Mapping[Modality, Array]
    variant: str
    home: Path
    output: Array | None = None


class Session(Protocol):
    """A model that answers: torch, exported, or a cascade of several. Safe to call from many threads."""

    variant: str  # the name of the ledger's row
    modalities: tuple[Modality, ...]
    kind: str  # of the head: "classification", "multilabel", "regression" or "embedding"
    labels: tuple[str, ...]

    def run(self, samples: Sequence[Sample]) -> list[Outcome]:
        """One outcome for each sample, in the order given.

        Raises `DataError` for a sample with nothing that the model can encode.
        """


class SpaceSession(Session, Protocol):
    """A session of one model, and so with one space of vectors: what indexes and detectors are built from."""

    def encode(self, samples: Sequence[Sample]) -> Encoded:
        """The encoders' vectors. Raises `DataError` for a sample with nothing that the model can encode."""

    def fuse(self, encoded: Encoded) -> Fused:
        """Encoders' vectors to logits, embedding and attribution; what stands for an absent part changes nothing."""

    def probabilities(self, logits: Array, mask: Array) -> Array:
        """Calibrated probabilities (or values) float32 [samples, outputs] of logits, given which parts were present."""


def answers_of(session: SpaceSession, samples: Sequence[Sample]) -> Array:
    """What the head answers to samples, float32 [samples, outputs]; parts that the model does not know are left out.

    Raises `DataError` for a sample with nothing that the model can encode.
    """
    encoded = session.encode([sample.only(session.modalities) for sample in samples])
    return session.probabilities(session.fuse(encoded).logits, encoded.mask)


def embeddings_of(session: SpaceSession, samples: Sequence[Sample]) -> Array:
    """The fused vectors of samples, float32 [samples, dim], as `answers_of`."""
    return session.fuse(session.encode([sample.only(session.modalities) for sample in samples])).embedding


class Runner(Protocol):
    """Raw values of one modality to vectors without torch: what stands for an encoder in an exported model.

    A part of kind "runner" names a class with this interface, and `ExportedModel` finds it by that name.
    """

    dim: int

    @classmethod
    def load(cls, directory: Path, settings: Mapping[str, Any], *, threads: int = 0) -> Self:
        """From the files and the JSON settings that the exporter wrote. Raises `BundleError` where they do not fit.

        `threads` is how many cores one call may use; 0 leaves the choice to the runtime.
        """

    def encode(self, values: Sequence[Any]) -> Array:
        """Float32 [len(values), dim], in the order given. Raises `DataError` naming the value that cannot be read."""
