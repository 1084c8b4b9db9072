"""Pictures, sounds and feature vectors to vectors without torch: the runners of exported models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from triptych.encoders.framing import check_framing, frame_pictures
from triptych.encoders.sounds import SAMPLE_RATE_HZ, pad_sounds, read_sounds
from triptych.encoders.vectors import CLIP, stack_vectors
from triptych.errors import BundleError
from triptych.runtime.graphs import open_graph

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

GRAPH, FEATURES = "graph.onnx", "features.safetensors"  # files in a runner's directory
AT_ONCE = 2  # values in one call of a network: its activations stay in the cache, one call more costs little

Vectors = np.ndarray[Any, np.dtype[np.float32]]


class Pictures:
    """Decoded, brought to one size, and through a graph that takes their bytes.

    `settings` are `image_size`, `framing`, `interpolation` and `crop` as in `triptych.encoders.framing`.
    """

    def __init__(self, graph: InferenceSession, settings: Mapping[str, Any]) -> None:
        self._graph = graph
        self._size = int(settings["image_size"])
        self._options = {k: v for k, v in settings.items() if k in ("framing", "interpolation", "crop")}
        check_framing(self._options["framing"], self._options.get("interpolation", "bilinear"), self._size)
        self.dim = _dim(graph)

    @classmethod
    def load(cls, directory: Path, settings: Mapping[str, Any], *, threads: int = 0) -> Self:
        """See `Runner.load`."""
        return cls(_open(directory, {"pixels"}, threads), _checked(cls, directory, settings, "image_size", "framing"))

    def encode(self, values: Sequence[Any]) -> Vectors:
        """Pictures to float32 [len(values), dim]. Raises `DataError` naming the one that cannot be read."""
        vectors = np.zeros((len(values), self.dim), dtype=np.float32)
        for start in range(0, len(values), AT_ONCE):
            pixels = frame_pictures(values[start : start + AT_ONCE], self._size, **self._options)
            vectors[start : start + AT_ONCE] = self._graph.run(None, {"pixels": pixels})[0]
        return vectors


class Sounds:
    """Decoded, resampled, padded with silence, and through a graph that takes samples and lengths.

    `settings` are `max_seconds` and, where it is not 16,000, `sample_rate_hz`.
    """

    def __init__(self, graph: InferenceSession, settings: Mapping[str, Any]) -> None:
        self._graph = graph
        self._seconds = float(settings["max_seconds"])
        self._rate_hz = int(settings.get("sample_rate_hz", SAMPLE_RATE_HZ))
        self.dim = _dim(graph)

    @classmethod
    def load(cls, directory: Path, settings: Mapping[str, Any], *, threads: int = 0) -> Self:
        """See `Runner.load`."""
        return cls(_open(directory, {"samples", "lengths"}, threads), _checked(cls, directory, settings, "max_seconds"))

    def encode(self, values: Sequence[Any]) -> Vectors:
        """Sounds to float32 [len(values), dim]. Raises `DataError` naming the one that cannot be read."""
        sounds = read_sounds(values, max_seconds=self._seconds, sample_rate_hz=self._rate_hz)
        vectors = np.zeros((len(values), self.dim), dtype=np.float32)
        order = sorted(range(len(sounds)), key=lambda i: len(sounds[i]))  # like lengths together: little padding
        for start in range(0, len(order), AT_ONCE):
            rows = order[start : start + AT_ONCE]
            samples, lengths = pad_sounds([sounds[i] for i in rows])
            vectors[rows] = self._graph.run(None, {"samples": samples, "lengths": lengths})[0]
        return vectors


class Features:
    """Vectors that were computed elsewhere, standardised: `FeatureEncoder` without torch.

    `settings` has the `modality`, for messages.
    """

    def __init__(self, centre: Vectors, scale: Vectors, modality: str) -> None:
        self._centre, self._scale, self._modality = centre, scale, modality
        self.dim = len(centre)

    @classmethod
    def load(cls, directory: Path, settings: Mapping[str, Any], *, threads: int = 0) -> Self:
        """See `Runner.load`."""
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        path = directory / FEATURES
        try:
            tensors = load_file(path)
            return cls(tensors["centre"], tensors["scale"], str(settings.get("modality", "")))
        except (OSError, SafetensorError, KeyError) as error:
            raise BundleError(f"{path} does not hold the mean and deviation of features: {error!r}") from error

    def encode(self, values: Sequence[Any]) -> Vectors:
        """Vectors to float32 [len(values), dim]. Raises `DataError` naming the one that does not fit."""
        vectors = stack_vectors(values, self.dim, self._modality)
        standardised: Vectors = np.clip((vectors - self._centre) / self._scale, -CLIP, CLIP)
        return standardised


def _open(directory: Path, inputs: set[str], threads: int) -> InferenceSession:
    """The graph of a runner, with just these inputs. Raises `BundleError`."""
    graph = open_graph(directory / GRAPH, threads=threads, exact=True)
    found = {i.name for i in graph.get_inputs()}
    if found != inputs:
        raise BundleError(
            f"{directory / GRAPH} takes {', '.join(sorted(found))} where {', '.join(sorted(inputs))} fits"
        )
    return graph


def _checked(cls: type, directory: Path, settings: Mapping[str, Any], *needed: str) -> Mapping[str, Any]:
    missing = [key for key in needed if key not in settings]
    if missing:
        raise BundleError(f"the settings of {directory} lack {', '.join(missing)}, which {cls.__name__} need")
    return settings


def _dim(graph: InferenceSession) -> int:
    """The size of the vectors that a graph gives."""
    return int(graph.get_outputs()[0].shape[1])
