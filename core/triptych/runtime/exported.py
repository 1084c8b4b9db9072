"""A model that answers without torch: encoders as runners, fusion and head as one ONNX graph, the rest in NumPy.

What lies in the directory is written by `triptych.compression.export`:

    runtime.json         `Settings` below
    <modality>/          the files of that modality's runner
    fusion.onnx          projections, fusion and head, where there are several modalities
    head.safetensors     `weight` [outputs, dim] and `bias` [outputs] instead, where there is one
    scope/, index/       the detector and the indexes of this model's own space
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load_file

from triptych.errors import BundleError, ConfigError, TriptychError
from triptych.evaluation.scope import ScopeDetector
from triptych.host import Host, default_host
from triptych.runtime.base import Array, Encoded, Fused, Runner
from triptych.runtime.graphs import open_graph
from triptych.runtime.space import Space, presence
from triptych.types import MODALITIES, Modality, Sample

RUNTIME, FUSION, HEAD, SCOPE = "runtime.json", "fusion.onnx", "head.safetensors", "scope"
FORMAT = 1
OUTPUTS = ("logits", "embedding", "weights")
_CALIBRATED = ("classification", "multilabel")  # heads whose logits have a temperature
T = TypeVar("T")


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RunnerSettings(_Section):
    """Which runner encodes a modality; `settings` is the runner's own."""

    runner: str
    dim: int = Field(gt=0)
    settings: dict[str, Any] = {}


class Standard(_Section):
    """A regression's targets were standardised by these; one number for each output."""

    mean: list[float]
    scale: list[float]


class HeadSettings(BaseModel):
    """What the head answers; further settings serve training alone."""

    model_config = ConfigDict(extra="allow", frozen=True)
    kind: Literal["classification", "multilabel", "regression", "embedding"]
    labels: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


class Settings(_Section):
    """The content of `runtime.json`."""

    format: int = FORMAT
    variant: str
    precision: Literal["fp32", "fp16", "int8"] = "fp32"
    devices: list[str] = Field(["cpu"], min_length=1)
    head: HeadSettings
    regression: Standard | None = None
    modalities: dict[Modality, RunnerSettings] = Field(min_length=1)
    fusion: str | None = None
    temperatures: list[float] = Field(min_length=2)

    def problem(self) -> str | None:
        """What does not fit together, in words."""
        order = [m for m in MODALITIES if m in self.modalities]
        if list(self.modalities) != order:
            return f"modalities are in the order {', '.join(order)}"
        if len(self.temperatures) != 2 ** len(order) or min(self.temperatures) <= 0:
            return f"{2 ** len(order)} positive temperatures are needed, one for each pattern of modalities"
        if self.fusion is None and len(order) > 1:
            return "several modalities need a fusion"
        if self.fusion is not None and Path(self.fusion).name != self.fusion:
            return f"fusion {self.fusion!r} is not the name of a file beside it"
        if self.head.kind in _CALIBRATED and not self.head.labels:
            return f"a {self.head.kind} head needs labels"
        numbers = self.regression
        if self.head.kind == "regression" and (numbers is None or len(numbers.mean) != len(numbers.scale)):
            return "a regression head needs the mean and the scale of its targets"
        return None


class ExportedModel(Space):
    """A session of an exported model; `ExportedModel.load` opens one.

    A runner is loaded when a sample has its modality for the first time: words alone bring no image model into memory.
    """

    def __init__(
        self,
        settings: Settings,
        home: Path,
        fuse: Callable[[Encoded], Fused],
        runners: Mapping[Modality, Callable[[], Runner]],
        scope: ScopeDetector | None,
    ) -> None:
        super().__init__(
            variant=settings.variant,
            home=home,
            modalities=tuple(settings.modalities),
            kind=settings.head.kind,
            labels=settings.head.labels,
            names=settings.head.names,
            scope=scope,
        )
        self.settings = settings
        self._fuse = fuse
        self._runners = {m: _Once(load) for m, load in runners.items()}
        self._temperatures = np.array(settings.temperatures, dtype=np.float32)

    @classmethod
    def load(cls, directory: Path, host: Host, *, device: str = "auto", threads: int = 0) -> ExportedModel:
        """Open an exported model. `threads` is how many cores one call may use; 0 leaves it to the runtime.

        Raises `BundleError` for files that are missing or do not fit together, `ConfigError` for a device that the
        model was not exported for.
        """
        settings = read_settings(directory / RUNTIME)
        _check_device(device, settings)
        runners = {m: _loader(directory / m, part, host, threads) for m, part in settings.modalities.items()}
        fuse: Callable[[Encoded], Fused]
        if settings.fusion is None:
            fuse = _LinearHead(directory / HEAD, settings)
        else:
            fuse = _FusionGraph(directory / settings.fusion, settings, threads)
        scope = ScopeDetector.load(directory / SCOPE) if (directory / SCOPE).is_dir() else None
        return cls(settings, directory, fuse, runners, scope)

    def encode(self, samples: Sequence[Sample]) -> Encoded:
        """The encoders' vectors. Raises `DataError` for a sample with nothing that the model can encode."""
        mask = presence(samples, self.modalities)
        vectors: dict[Modality, Array] = {}
        for column, m in enumerate(self.modalities):
            rows = mask[:, column].nonzero()[0].tolist()
            found = self._runners[m]().encode([samples[row].value(m) for row in rows]) if rows else None
            if found is not None and len(rows) == len(samples):
                vectors[m] = np.asarray(found, dtype=np.float32)
                continue
            vectors[m] = np.zeros((len(samples), self.settings.modalities[m].dim), dtype=np.float32)
            if found is not None:
                vectors[m][rows] = found
        return Encoded(vectors, mask)

    def fuse(self, encoded: Encoded) -> Fused:
        """Encoders' vectors to logits, embedding and attribution."""
        return self._fuse(encoded)

    def probabilities(self, logits: Array, mask: Array) -> Array:
        """Calibrated probabilities (or values), float32 [samples, outputs]."""
        if self.settings.regression is not None:
            scale, mean = self.settings.regression.scale, self.settings.regression.mean
            values: Array = logits * np.array(scale, dtype=np.float32) + np.array(mean, dtype=np.float32)
            return values
        if self.kind == "embedding":
            return _rows_of_length_one(logits)
        patterns = (mask << np.arange(len(self.modalities))).sum(axis=1)
        warm = logits / self._temperatures[patterns, None]
        return _softmax(warm) if self.kind == "classification" else _sigmoid(warm)


def open_whole(directory: str) -> ExportedModel:
    """Open an exported model with every runner, which otherwise wait for their first request: what it takes at most."""
    model = ExportedModel.load(Path(directory), default_host())
    for runner in model._runners.values():
        runner()
    return model


def read_settings(path: Path) -> Settings:
    """The content of a `runtime.json`. Raises `BundleError` where it is missing, damaged or of another version."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise BundleError(f"{path} cannot be read ({error}); export the model again") from error
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT:
        raise BundleError(f"{path} has format {found}, this triptych reads {FORMAT}: upgrade triptych")
    try:
        settings = Settings.model_validate(content)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:5])
        raise BundleError(f"{path} does not describe an exported model ({problems}); export the model again") from error
    problem = settings.problem()
    if problem is not None:
        raise BundleError(f"{path} does not fit together: {problem}; export the model again")
    return settings


def _check_device(device: str, settings: Settings) -> None:
    if device == "auto" or device.partition(":")[0] in settings.devices:
        return
    served = ", ".join(settings.devices)
    raise ConfigError(
        f"device {device!r} was asked for, and the variant {settings.variant!r} that this bundle answers with was "
        f"exported for {served} only; leave the device at auto, or build the bundle on the device that is to serve it"
    )


def _loader(directory: Path, part: RunnerSettings, host: Host, threads: int) -> Callable[[], Runner]:
    try:
        host.part("runner", part.runner)
    except TriptychError as error:
        raise BundleError(f"{directory} needs a runner that is not at hand: {error}") from error

    def load() -> Runner:
        runner: Runner = host.load_part("runner", part.runner).load(directory, part.settings, threads=threads)
        if runner.dim != part.dim:
            raise BundleError(f"{directory} gives vectors of {runner.dim} numbers where {RUNTIME} says {part.dim}")
        return runner

    return load


class _LinearHead:
    """The head of a model with one modality, whose embedding is the encoder's vector as it is."""

    def __init__(self, path: Path, settings: Settings) -> None:
        try:
            tensors = load_file(path)
            self.weight, self.bias = (tensors[name].astype(np.float32) for name in ("weight", "bias"))
        except (OSError, SafetensorError, KeyError) as error:
            raise BundleError(f"{path} cannot be read: {error!r}; export the model again") from error
        ((self.modality, part),) = settings.modalities.items()
        outputs = len(settings.head.labels or settings.head.names) or len(self.bias)
        if self.weight.shape != (outputs, part.dim) or self.bias.shape != (outputs,):
            raise BundleError(
                f"{path} holds {list(self.weight.shape)} weights where {[outputs, part.dim]} are needed; "
                "export the model again"
            )

    def __call__(self, encoded: Encoded) -> Fused:
        embedding = encoded.vectors[self.modality]
        return Fused(embedding @ self.weight.T + self.bias, embedding, encoded.mask.astype(np.float32))


class _FusionGraph:
    """Projections, fusion and head as one graph."""

    def __init__(self, path: Path, settings: Settings, threads: int) -> None:
        self.graph = open_graph(path, threads=threads)
        needed = {*settings.modalities, "mask"}
        given = {node.name for node in self.graph.get_inputs()}
        told = {node.name for node in self.graph.get_outputs()}
        if given != needed or not told.issuperset(OUTPUTS):
            raise BundleError(
                f"{path} takes {', '.join(sorted(given))} and gives {', '.join(sorted(told))}, where "
                f"{', '.join(sorted(needed))} and {', '.join(OUTPUTS)} are needed; export the model again"
            )

    def __call__(self, encoded: Encoded) -> Fused:
        given: dict[str, Array] = {"mask": encoded.mask}
        for modality, vectors in encoded.vectors.items():
            given[modality] = vectors
        return Fused(*self.graph.run(OUTPUTS, given))


class _Once(Generic[T]):
    """A value that the first caller makes and every thread gets."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: list[T] = []
        self._lock = threading.Lock()

    def __call__(self) -> T:
        if not self._made:
            with self._lock:
                if not self._made:
                    self._made.append(self._make())
        return self._made[0]


def _softmax(logits: Array) -> Array:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: Array = powers / powers.sum(axis=1, keepdims=True)
    return shares


def _sigmoid(logits: Array) -> Array:
    # of the two forms, each row of numbers takes the one that cannot overflow
    small = np.exp(-np.abs(logits))
    return np.where(logits >= 0, 1 / (1 + small), small / (1 + small))


def _rows_of_length_one(vectors: Array) -> Array:
    unit: Array = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-12))
    return unit
