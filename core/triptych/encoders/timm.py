"""Images through any timm model: `timm:<name>`, as in `timm:mobilenetv2_100`.

timm is imported where a model is built: with torchvision it takes seconds, and a bundle without pictures never pays.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from triptych.encoders.base import Batch, Encoder, Exportable
from triptych.encoders.chunks import in_chunks
from triptych.encoders.framing import check_framing
from triptych.encoders.narrow import resize, sizes_of
from triptych.encoders.pictures import Standardise, prepare_pictures, to_float, vary
from triptych.encoders.weights import fill, find_weights, hub_file, load_weights
from triptych.errors import ConfigError, MissingError, UnknownNameError

MOBILENET_V1 = "mobilenetv1_075"
"""MobileNetV1 of width 0.75 as Keras defines it, for which timm has a builder but no name."""


class TimmEncoder(Encoder):
    """The pooled features of a timm model.

    Options of `create`:

    | option | meaning |
    | --- | --- |
    | `weights` | a safetensors file of this architecture (a relative name is also sought in `$TRIPTYCH_WEIGHTS`) |
    | `pretrained` | without `weights`: true takes timm's own from the hub or its cache, false starts at random |
    | `image_size` | side in pixels; by default what the model was trained with |
    | `mean`, `std` | standardisation, of values between zero and one; by default timm's data config |
    | `interpolation` | "bicubic", "bilinear", ...; by default timm's data config |
    | `framing` | "crop" (timm's centre crop, the default), "squash" or "pad", which keep all of it (documents) |
    | `augment` | strength of the random zoom, shift and light in training; 0 is none |
    | `flip` | mirror half of the pictures in training; not for writing |
    | `train_norm` | let batch normalisation follow small training batches; by default only without pretrained weights |

    Any other option goes to the model (`pad_type="same"` for weights that come from TensorFlow).
    """

    modality = "image"
    mean: Tensor
    std: Tensor

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__()
        check_framing(settings["framing"], settings["interpolation"], settings["image_size"])
        self._settings = settings
        self.name = f"timm:{settings['model']}"
        self.pretrained = settings["pretrained"]
        model = _build(settings["model"], settings["model_options"])
        if "sizes" in settings:
            resize(model, settings["sizes"])
        self.dim = int(model.head_hidden_size)
        self.model: nn.Module = model.to(memory_format=torch.channels_last)
        self.register_buffer("mean", torch.tensor(settings["mean"]), persistent=False)
        self.register_buffer("std", torch.tensor(settings["std"]), persistent=False)

    @classmethod
    def create(
        cls,
        model: str = "",
        *,
        weights: str | None = None,
        pretrained: bool = True,
        image_size: int | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        interpolation: str | None = None,
        framing: str = "crop",
        augment: float = 1.0,
        flip: bool = False,
        train_norm: bool | None = None,
        **model_options: Any,
    ) -> Self:
        """A timm model by name; see the class for the options.

        Raises `UnknownNameError` for a name that timm does not know, `MissingError` when the weights cannot be had,
        `ConfigError` for an option that the model does not take or weights of another architecture.
        """
        path = find_weights(weights) if weights is not None else None  # fails before seconds are spent on a model
        if model == MOBILENET_V1:
            model_options.setdefault("pad_type", "same")
        data = _data_config(model, model_options)
        size = image_size or data["input_size"][-1]
        if data["fixed"] and image_size:
            model_options.setdefault("img_size", image_size)
        settings = {
            "model": model,
            "model_options": model_options,
            "pretrained": path is not None or pretrained,
            "image_size": size,
            "mean": _three("mean", mean or data["mean"]),
            "std": _three("std", std or data["std"]),
            "interpolation": interpolation or data["interpolation"],
            "framing": framing,
            "crop": data["crop_pct"],
            "augment": float(augment),
            "flip": bool(flip),
            "train_norm": not (path is not None or pretrained) if train_norm is None else train_norm,
        }
        encoder = cls(settings)
        if path is not None:
            fill(encoder.model, load_weights(path), path)
        elif pretrained:
            _fill_from_hub(encoder.model, model, model_options)
        return encoder

    @classmethod
    def restore(cls, settings: dict[str, Any], assets: Path) -> Self:
        """The architecture with random weights; needs nothing from `assets`."""
        return cls(settings)

    @property
    def settings(self) -> dict[str, Any]:
        """The model's name and options, and how pictures are prepared."""
        return self._settings

    @property
    def backbone(self) -> nn.Module:
        """The timm model."""
        return self.model

    def prepare(self, values: Sequence[Any]) -> Batch:
        """Pictures to {"pixels": uint8 [batch, size, size, 3]}."""
        s = self._settings
        pixels = prepare_pictures(
            values, s["image_size"], framing=s["framing"], interpolation=s["interpolation"], crop=s["crop"]
        )
        return {"pixels": pixels}

    def forward(self, batch: Batch) -> Tensor:
        """Pooled features [batch, dim]."""
        pictures = self.standardise(batch["pixels"])
        if self.training and self._settings["augment"] > 0:
            pictures = vary(pictures, self._settings["augment"], flip=self._settings["flip"])
        pictures = pictures.contiguous(memory_format=torch.channels_last)  # twice as fast on a CPU
        return in_chunks(self.model, pictures, on_cpu=4)

    def standardise(self, pixels: Tensor) -> Tensor:
        """uint8 [batch, size, size, 3] to what the network takes, float [batch, 3, size, size]."""
        return to_float(pixels, self.mean, self.std)

    def keep_sizes(self) -> None:
        """Remember in `settings` that layers of the network were made narrower than its builder makes them."""
        self._settings = {**self._settings, "sizes": sizes_of(self.model)}

    def exportable(self) -> Exportable:
        """The graph takes bytes of pixels; see `triptych.runtime.media.Pictures`."""
        size = self._settings["image_size"]
        settings = {k: self._settings[k] for k in ("image_size", "framing", "interpolation", "crop")}
        module = nn.Sequential(Standardise(self.mean, self.std), self.model)
        example = {"pixels": torch.arange(2 * size * size * 3).remainder(251).to(torch.uint8).view(2, size, size, 3)}
        return Exportable(module, example, {"pixels": {0: "batch"}}, "pictures", settings)

    def train(self, mode: bool = True) -> Self:
        """Training mode; batch normalisation keeps its pretrained statistics unless `train_norm`."""
        super().train(mode)
        if not self._settings["train_norm"]:
            for module in self.model.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self


def _build(name: str, options: dict[str, Any]) -> Any:
    """A timm model without classifier and with random weights (Any: its attributes are its own)."""
    import timm

    try:
        if name == MOBILENET_V1:
            from timm.models.efficientnet import _gen_mobilenet_v1

            model: Any = _gen_mobilenet_v1("mobilenetv1_100", 0.75, num_classes=0, **options)
        else:
            model = timm.create_model(name, num_classes=0, **options)
    except TypeError as error:
        raise ConfigError(f"timm model {name!r} does not take these options ({', '.join(options)}): {error}") from error
    except (RuntimeError, ValueError) as error:  # an unknown tag behind the dot, a value that does not fit
        raise ConfigError(f"timm model {name!r} cannot be built: {error}") from error
    return model


def _data_config(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """Input size, mean, std, interpolation and crop that the model's own weights expect."""
    import timm
    from timm.data import resolve_data_config

    if name == MOBILENET_V1:
        half = (0.5, 0.5, 0.5)
        return {
            "input_size": (3, 224, 224),
            "mean": half,
            "std": half,
            "interpolation": "bilinear",
            "crop_pct": 0.875,
            "fixed": False,
        }
    if not timm.is_model(name):
        known = timm.list_models()
        near = difflib.get_close_matches(name, known, n=8, cutoff=0.5)
        raise UnknownNameError("timm model", name, near or ["mobilenetv2_100", "resnet18", "vit_tiny_patch16_224"])
    published = timm.get_pretrained_cfg(name)
    published = published.to_dict() if published is not None else {}
    data: dict[str, Any] = resolve_data_config(args=options, pretrained_cfg=published)
    return {**data, "fixed": bool(published.get("fixed_input_size"))}


def _fill_from_hub(model: nn.Module, name: str, options: dict[str, Any]) -> None:
    """Load timm's own weights. Raises `MissingError` where there are none or they cannot be had."""
    import timm

    published = timm.get_pretrained_cfg(name) if name != MOBILENET_V1 else None
    repository = published.hf_hub_id if published is not None else None
    if not repository:
        raise MissingError(
            f"timm has no published weights for {name!r}; give a safetensors file as `weights`, "
            "or train from scratch with pretrained=false."
        )
    file = hub_file(repository, "model.safetensors")
    overlay = {"file": str(file)}  # timm renames the tensors of models whose weights come from elsewhere
    loaded = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay, num_classes=0, **options)
    model.load_state_dict(loaded.state_dict())


def _three(what: str, values: Sequence[float]) -> list[float]:
    try:
        numbers = [float(v) for v in values]
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{what} must be three numbers, one for each colour (got {values!r})") from error
    if len(numbers) != 3:
        raise ConfigError(f"{what} must be three numbers, one for each colour (got {values!r})")
    return numbers
