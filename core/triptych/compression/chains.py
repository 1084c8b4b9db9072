"""Chains of compressors: how they are spelled, and which ones are worth trying on a model."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from triptych.compression.base import Compressor
from triptych.encoders.compact_text import CompactTextEncoder
from triptych.encoders.features import FeatureEncoder
from triptych.encoders.timm import TimmEncoder
from triptych.encoders.transformer import TransformerTextEncoder
from triptych.errors import ConfigError, TriptychError
from triptych.host import Host
from triptych.models.multimodal import MultimodalModel

log = logging.getLogger(__name__)

JOIN = "+"
PLAIN = ("onnx", "fp16", "int8")
"""The same model in other arithmetic: what a chain may end with."""


def parse_chain(spelling: str, host: Host) -> list[Compressor]:
    """The compressors of a chain such as "layers:3+vocabulary:common+int8".

    Raises `ConfigError` for an empty chain, one that is exported in two precisions or changed after that, or a wrong
    argument; `UnknownNameError` for a compressor that no plugin offers.
    """
    compressors: list[Compressor] = []
    for part in spelling.split(JOIN):
        name, _, argument = part.strip().partition(":")
        if not name:
            raise ConfigError(f"the chain {spelling!r} has an empty step; write it as in layers:3+int8")
        compressor: Compressor = host.load_part("compressor", name)(argument)
        if compressors and compressors[-1].precision is not None:
            raise ConfigError(f"the chain {spelling!r} must end with {compressors[-1].spelling!r}: it is the export")
        compressors.append(compressor)
    return compressors


def check_chains(spellings: Iterable[str], host: Host) -> None:
    """Refuse what `parse_chain` refuses, before minutes are spent. What a plugin's own code raises waits for its turn.

    Raises as `parse_chain`.
    """
    for spelling in spellings:
        try:
            parse_chain(spelling, host)
        except TriptychError:
            raise
        except Exception:
            log.debug("the chain %s cannot be made", spelling, exc_info=True)


def default_chains(model: MultimodalModel) -> list[str]:
    """What is tried where nothing else is asked for, cheap ideas first."""
    text = model.encoders["text"] if "text" in model.modalities else None
    image = model.encoders["image"] if "image" in model.modalities else None
    chains = ["onnx", "int8"]  # where int8 is no faster it stores half precision, so that fp16 is not tried beside it
    if text is not None and not isinstance(text, FeatureEncoder | CompactTextEncoder):
        chains.append("static+int8")
    if isinstance(text, TransformerTextEncoder):
        chains.append("vocabulary:common+int8")
        # what shortens the transformer is trained once and shared by the chains that begin with it
        half = text.layers // 2
        if half:
            chains += [f"layers:{half}+vocabulary:common+int8", f"layers:{half}+neurons:0.5+vocabulary:common+int8"]
            chains += ["neurons:0.5+vocabulary:common+int8", "neurons:0.25+vocabulary:common+int8"]
    if isinstance(image, TimmEncoder):
        chains += ["channels:0.75+int8", "channels:0.5+int8"]
    return chains


def parents(spelling: str) -> list[str]:
    """The chains that a chain adds one step to, the export left as it is: it must beat them in something."""
    steps = spelling.split(JOIN)
    body, export = (steps[:-1], steps[-1:]) if steps[-1] in PLAIN else (steps, [])
    return [JOIN.join([*body[:i], *body[i + 1 :], *export]) for i in range(len(body)) if len(body) + len(export) > 1]
