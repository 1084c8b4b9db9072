"""Parts by name to a model, and a saved model back to what it was."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from triptych.config import Config, PartConfig
from triptych.encoders.base import Encoder
from triptych.errors import BundleError, ConfigError, MissingError, TriptychError
from triptych.fusion.base import Fusion
from triptych.host import Host
from triptych.models.heads import build_head
from triptych.models.multimodal import ASSETS, CONFIG, WEIGHTS, MultimodalModel
from triptych.types import MODALITIES, Modality


def create_encoder(host: Host, modality: Modality, part: PartConfig) -> Encoder:
    """The encoder that `part` names, or its fallback where its weights are missing on this machine.

    The option `fallback` names what is used instead: by default "compact:<modality>", trained from scratch;
    `false` means that there is none. `Encoder.note` then says what is missing and what stands in.
    Raises `ConfigError` for a wrong option or an encoder of another modality, `MissingError` without a fallback,
    `UnknownNameError` for a name that no plugin offers.
    """
    options = part.options
    fallback = options.pop("fallback", f"compact:{modality}")
    try:
        return _create(host, modality, part.use, options)
    except MissingError as error:
        if not fallback or fallback == part.use:
            raise
        encoder = _create(host, modality, str(fallback), {})
        encoder.note = f"{part.use} is not at hand, so {fallback} is used instead ({error})"
        return encoder


def create_fusion(host: Host, part: PartConfig, modalities: int, dim: int) -> Fusion:
    """The fusion that `part` names. Raises `ConfigError` for a wrong option, `UnknownNameError` for a wrong name."""
    cls = host.load_part("fusion", part.use)
    _check_options(cls, (modalities, dim), part.options, "fusion", part.use)
    try:
        fusion: Fusion = cls(modalities, dim, **part.options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"fusion {part.use!r}: {error}") from error
    fusion.name = part.use
    return fusion


def build_model(
    config: Config, head: Mapping[str, Any], host: Host, encoders: Mapping[Modality, Encoder]
) -> MultimodalModel:
    """A model with untrained fusion and head. `head` is what `Head.settings` gives, `kind` included.

    Raises `ConfigError` when there is no encoder at all or a setting does not fit.
    """
    if not encoders:
        raise ConfigError("a model needs an encoder: set encoders.text, encoders.image or encoders.audio")
    if len(encoders) == 1:
        fusion, dim = None, next(iter(encoders.values())).dim
    else:
        dim = config.fusion_dim
        fusion = create_fusion(host, config.fusion, len(encoders), dim)
    return MultimodalModel(encoders, fusion, build_head(dim, dict(head)), dropout=config.dropout)


def load_model(directory: Path, host: Host) -> MultimodalModel:
    """The model that `MultimodalModel.save` wrote, in evaluation mode on the CPU.

    Executes no code from the directory. Raises `BundleError` when a file is missing or damaged, a part that it
    needs is not installed, or the tensors are not exactly those of the model.
    """
    config = _read_config(directory / CONFIG)
    try:
        model = _rebuild(config, directory, host)
    except TriptychError as error:
        raise BundleError(f"the model in {directory} cannot be rebuilt: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BundleError(f"{directory / CONFIG} does not describe a model of this version: {error!r}") from error
    _fill(model, _read_tensors(directory / WEIGHTS), directory / WEIGHTS)
    return model.eval()


def _create(host: Host, modality: Modality, name: str, options: dict[str, Any]) -> Encoder:
    cls, model = host.load_family("encoder", name)
    if cls.modality != modality:
        raise ConfigError(f"encoders.{modality}: {name!r} encodes {cls.modality}, not {modality}")
    _check_options(cls.create, (model,), options, f"encoders.{modality}", name)
    encoder: Encoder = cls.create(model, **options)
    encoder.name = name
    return encoder


def _check_options(
    call: Callable[..., Any], fixed: tuple[Any, ...], options: Mapping[str, Any], key: str, name: str
) -> None:
    try:
        inspect.signature(call).bind(*fixed, **options)
    except TypeError as error:
        raise ConfigError(f"{key}: {name!r} does not take these options: {error}") from error


def _rebuild(config: dict[str, Any], directory: Path, host: Host) -> MultimodalModel:
    encoders: dict[Modality, Encoder] = {}
    for modality in MODALITIES:
        if modality in config["encoders"]:
            saved = config["encoders"][modality]
            cls, _ = host.load_family("encoder", saved["use"])
            encoders[modality] = cls.restore(saved["settings"], directory / ASSETS / modality)
            encoders[modality].name = saved["use"]
    fusion = None
    if config["fusion"] is not None:
        part = PartConfig(use=config["fusion"]["use"], **config["fusion"]["options"])
        fusion = create_fusion(host, part, len(encoders), config["dim"])
    head = build_head(config["dim"], config["head"])
    return MultimodalModel(encoders, fusion, head, dropout=config["dropout"])


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BundleError(f"{path} cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise BundleError(f"{path} does not describe a model")
    return config


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise BundleError(f"{path} cannot be read: {error}") from error
    return tensors


def _fill(model: MultimodalModel, tensors: dict[str, Tensor], path: Path) -> None:
    """Set every parameter and buffer; a tensor too few, too many or of another shape is an error that names it."""
    wanted = model.state_dict()
    missing = sorted(wanted.keys() - tensors.keys())
    extra = sorted(tensors.keys() - wanted.keys())
    mismatched = [
        f"{k} ({list(tensors[k].shape)} where {list(wanted[k].shape)} is needed)"
        for k in wanted
        if k in tensors and tensors[k].shape != wanted[k].shape
    ]
    problems = [
        f"{what}: {', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"
        for what, names in (("missing", missing), ("not of this model", extra), ("of another shape", mismatched))
        if names
    ]
    if problems:
        raise BundleError(f"{path} does not fit the model that {CONFIG} beside it describes; " + "; ".join(problems))
    model.load_state_dict(tensors)
