"""One run's settings: a TOML file, environment, `key=value` overrides; every problem reported at once.

Precedence, lowest first: defaults below, the vertical's packaged config, `--config FILE`, environment variables
(`TRIPTYCH__TRAINING__EPOCHS=3` sets `training.epochs`), `--set training.epochs=3`.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from triptych.errors import ConfigError, UnknownNameError
from triptych.types import Modality

ENVIRONMENT_PREFIX = "TRIPTYCH__"


class Section(BaseModel):
    """Base of every section: unknown keys are errors, values are checked, nothing changes afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Columns(Section):
    """Which column of the data carries what. None means: the data has no such column."""

    id: str | None = None  # an id for each row; without it, rows are numbered
    text: str | None = "text"  # the words
    image: str | None = "image"  # path of a picture, relative to the data
    audio: str | None = "audio"  # path of a sound, relative to the data
    target: str | None = "label"  # what is learnt
    group: str | None = None  # samples of one group (a customer, a speaker) never stand in two splits
    time: str | None = None  # ISO 8601 or a number; for split = "time"
    split: str | None = None  # a column that already says train, validation or test
    features: dict[Modality, list[str]] = Field(default_factory=dict)  # numeric columns, "a00" or a pattern "a*"
    target_separator: str | None = None  # several labels in one cell, as "billing|refund"


class DataConfig(Section):
    """Where the examples are and how they are split."""

    path: str | None = None  # file, folder or `hub:NAME`; None: the vertical's embedded sample
    validation_path: str | None = None  # a file for validation, instead of a share of the rest
    test_path: str | None = None  # a file for the test, instead of a share of the rest
    reviewed_path: str | None = None  # what reviewers labelled, for training alone; `--verdicts` sets it
    format: Literal["auto", "csv", "tsv", "jsonl", "parquet", "folder", "hub"] = "auto"  # auto: by the name
    columns: Columns = Columns()
    on_error: Literal["skip", "fail"] = "skip"  # what to do with a row that cannot be read
    max_skipped: Annotated[float, Field(ge=0, le=1)] = 0.2  # more than this share of bad rows is fatal all the same
    split: Literal["stratified", "group", "time"] = "stratified"  # by label, by columns.group, or the newest last
    validation: Annotated[float, Field(gt=0, lt=0.9)] = 0.15  # share of the rows
    test: Annotated[float, Field(gt=0, lt=0.9)] = 0.2  # share of the rows
    max_image_pixels: Annotated[int, Field(gt=0)] = 40_000_000  # a larger picture is a row that cannot be read
    max_audio_seconds: Annotated[float, Field(gt=0)] = 120.0  # a longer sound is cut


class PartConfig(BaseModel):
    """A part by name (`use`) and the keyword arguments of its constructor."""

    model_config = ConfigDict(extra="allow", frozen=True)
    use: str

    @property
    def options(self) -> dict[str, Any]:
        """Everything but `use`."""
        return dict(self.model_extra or {})


class TrainingConfig(Section):
    """How the model is fine-tuned."""

    strategy: str = "frozen"  # zero-shot, frozen, lora, full, or one of a plugin's
    epochs: Annotated[int, Field(ge=1)] = 40  # at most; see patience
    batch_size: Annotated[int, Field(ge=1)] = 32  # samples in a step
    learning_rate: Annotated[float, Field(gt=0)] = 1e-4  # of the encoders
    head_learning_rate: Annotated[float, Field(gt=0)] = 2e-3  # of fusion and head
    weight_decay: Annotated[float, Field(ge=0)] = 0.01  # AdamW's
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.1  # share of all steps
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1  # keeps probabilities from extremes
    modality_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.3  # chance that a modality is hidden in training
    token_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0  # chance that a token is hidden in training (full, lora)
    bfloat16: bool = False  # multiply in bfloat16 on processors that can: training is faster, and less exact
    average: Annotated[float, Field(ge=0, lt=1)] = 0.0  # of the weights over the steps, as 0.99; 0: the last ones
    frozen_layers: Annotated[int, Field(ge=0)] = 2  # lowest transformer layers that stay as they are (full, lora)
    patience: Annotated[int, Field(ge=1)] = 8  # epochs without gain on validation before it stops
    lora_rank: Annotated[int, Field(ge=1)] = 16  # width of the adapters (lora)
    checkpoint_every: Annotated[int, Field(ge=1)] = 1  # epochs
    tensorboard: bool = False  # write event files for TensorBoard


class RetrievalConfig(Section):
    """The index in the bundle."""

    metric: Literal["cosine", "dot", "l2"] = "cosine"  # how vectors are compared
    flat_below: Annotated[int, Field(ge=0)] = 100_000  # exact search below this many vectors, IVF above
    neighbours: Annotated[int, Field(ge=1)] = 3  # how many decide whether a request is in scope


class CompressionConfig(Section):
    """What is looked for after the training: the cheapest variant that holds these limits."""

    enabled: bool = True  # false: the trained model itself goes into service
    max_drop: Annotated[float, Field(ge=0)] | None = 0.5  # points of the metric that may be lost (percent of an error)
    max_p95_ms: Annotated[float, Field(gt=0)] | None = None  # for one request
    max_mb: Annotated[float, Field(gt=0)] | None = None  # of the model on disk
    max_cost: Annotated[float, Field(gt=0)] | None = None  # of a million requests, in the currency of the prices
    seconds: Annotated[float, Field(gt=0)] | None = 120.0  # of search; the best so far is taken after that
    chains: list[str] = Field(default_factory=list)  # as "layers:3+int8"; empty: what suits the model
    unlabelled: list[str] = Field(default_factory=list)  # files or folders a smaller model also learns from
    memory: bool = True  # load every variant once more in a process of its own, to know what it takes
    cascade: bool = True  # try cheap variants that hand on what they are not sure of
    assurance: Annotated[float, Field(ge=0, lt=1)] = 0.9  # with which a cascade keeps its promise; 0: it gives none


class Config(Section):
    """All settings of a run. `vertical` belongs to the vertical, which checks it with its own model."""

    seed: int = 42  # of splits, initial weights and batches
    device: str = "auto"  # auto, cpu, cuda, cuda:N or mps
    prices: str | None = None  # a TOML file with the prices of an hour; None: the packaged examples, prices.toml
    encoders: dict[Modality, PartConfig] = Field(default_factory=dict)  # one for each modality to be understood
    fusion: PartConfig = PartConfig(use="gated")  # how the modalities become one vector
    fusion_dim: Annotated[int, Field(ge=8)] = 256  # its length
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1  # in fusion and head
    data: DataConfig = DataConfig()
    training: TrainingConfig = TrainingConfig()
    compression: CompressionConfig = CompressionConfig()
    retrieval: RetrievalConfig = RetrievalConfig()
    vertical: dict[str, Any] = Field(default_factory=dict)  # the keys of the vertical itself

    def fingerprint_source(self) -> str:
        """Canonical JSON of all settings that the trained model depends on."""
        return json.dumps(self.model_dump(mode="json", exclude={"compression", "prices"}), sort_keys=True)


def read_toml(path: Path) -> dict[str, Any]:
    """The content of a TOML file. Raises `ConfigError` naming the file and the place."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"config file {path} does not exist") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"config file {path} cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"config file {path} is not valid TOML: {error}") from error


def packaged_config(name: str) -> dict[str, Any]:
    """A packaged config by name, as "customer-service"; nothing is packaged under a third party's name: {}."""
    resource = resources.files("triptych_configs") / f"{name}.toml"
    return tomllib.loads(resource.read_text(encoding="utf-8")) if resource.is_file() else {}


def packaged_names() -> list[str]:
    """The names that `packaged_config` knows."""
    files = resources.files("triptych_configs").iterdir()
    return sorted(f.name.removesuffix(".toml") for f in files if f.name.endswith(".toml") and f.name != "prices.toml")


def load_config(
    base: Mapping[str, Any],
    *,
    file: str | None = None,
    overrides: Iterable[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Config:
    """Merge all layers and check them. `file` is a path or the name of a packaged config.

    Raises `ConfigError` with every problem found, each naming its key.
    """
    problems: list[str] = []
    merged = dict(base)
    if file is not None:
        merged = _merge(merged, _open_by_name(file))
    for key, value in sorted((environment or {}).items()):
        if key.startswith(ENVIRONMENT_PREFIX):
            path = key.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")
            merged = _merge(merged, _nest(path, parse_value(value)))
    for override in overrides:
        key, separator, value = override.partition("=")
        if not separator or not key.strip():
            problems.append(f"--set {override!r} is not of the form key=value")
            continue
        merged = _merge(merged, _nest(key.strip().split("."), parse_value(value.strip())))
    try:
        config = Config.model_validate(merged)
    except ValidationError as error:
        problems += describe_problems(error, Config)
    if problems:
        raise ConfigError(problems)
    return config


def describe_problems(error: ValidationError, model: type[BaseModel], prefix: str = "") -> list[str]:
    """Pydantic's findings as sentences, each with the key and, for an unknown one, the nearest right key."""
    known = _known_keys(model)
    problems = []
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            near = _nearest(key, known)
            hint = f"; did you mean {prefix + near!r}?" if near else ""
            problems.append(f"unknown key {prefix + key!r}{hint}")
        else:
            problems.append(f"{prefix + key}: {item['msg']} (got {item['input']!r})")
    return problems


def check_section(model: type[Section], values: Mapping[str, Any], prefix: str) -> Section:
    """A plugin's own section, checked like the rest. Raises `ConfigError`."""
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise ConfigError(describe_problems(error, model, prefix)) from error


def parse_value(text: str) -> Any:
    """A value as TOML would read it; what TOML cannot read is a string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _open_by_name(file: str) -> dict[str, Any]:
    path = Path(file)
    if path.suffix == ".toml" or path.exists():
        return read_toml(path)
    if file not in packaged_names():
        raise UnknownNameError("packaged config (nor any file)", file, packaged_names())
    return packaged_config(file)


def _nest(path: list[str], value: Any) -> dict[str, Any]:
    for key in reversed(path):
        value = {key: value}
    return dict(value)


def _merge(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in top.items():
        old = merged.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            # another part brings its own options: those of the part it replaces do not carry over
            merged[key] = dict(value) if "use" in value and value["use"] != old.get("use") else _merge(old, value)
        else:
            merged[key] = value
    return merged


def _nearest(key: str, known: list[str]) -> str | None:
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    if not near:  # the right name in the wrong section
        near = [k for k in known if k.rpartition(".")[2] == key.rpartition(".")[2]]
    return near[0] if near else None


def _known_keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    keys = []
    for name, info in model.model_fields.items():
        keys.append(prefix + name)
        if isinstance(info.annotation, type) and issubclass(info.annotation, Section):
            keys += _known_keys(info.annotation, f"{prefix}{name}.")
    return keys
