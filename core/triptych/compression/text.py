"""What the compressors of text transformers have in common: finding the encoder, and copies to be changed."""

from __future__ import annotations

import copy

from triptych.encoders.transformer import TransformerTextEncoder
from triptych.errors import ConfigError
from triptych.models.multimodal import MultimodalModel


def text_obstacle(model: MultimodalModel, *, stack: bool) -> str | None:
    """Why the model has no text transformer of ours; with `stack` it must be a plain stack of layers, too."""
    if "text" not in model.modalities:
        return "the model reads no text"
    encoder = model.encoder("text")
    if not isinstance(encoder, TransformerTextEncoder):
        return f"the text encoder {encoder.name} is not a transformer that Triptych runs itself"
    if stack and not encoder.layers:
        return f"the text encoder {encoder.name} ({encoder.model_config.model_type}) is not a plain stack of layers"
    return None


def text_encoder(model: MultimodalModel) -> TransformerTextEncoder:
    """The text encoder of a model without a `text_obstacle`."""
    encoder = model.encoder("text")
    assert isinstance(encoder, TransformerTextEncoder)
    return encoder


def copied(model: MultimodalModel) -> tuple[MultimodalModel, TransformerTextEncoder]:
    """A copy, on the CPU and in evaluation mode, and its text encoder."""
    student = copy.deepcopy(model).to("cpu").eval()
    return student, text_encoder(student)


def share_of(name: str, argument: str, default: float) -> float:
    """The share that "name:argument" keeps. Raises `ConfigError` unless it is a number between 0 and 1."""
    try:
        share = float(argument) if argument else default
    except ValueError:
        share = -1.0
    if not 0 < share < 1:
        raise ConfigError(f"compressor {name}:{argument} needs the share to keep, a number between 0 and 1")
    return share
