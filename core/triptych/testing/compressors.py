"""Checks for compressors."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from triptych.compression.base import CompressionContext, Compressor
from triptych.compression.measure import size_mb
from triptych.host import default_host
from triptych.models.build import load_model
from triptych.models.multimodal import MultimodalModel

CLOSE = 1e-4
"""How far logits of one model, saved and loaded, may be apart."""


def check_compressor(compressor: Compressor, model: MultimodalModel, context: CompressionContext) -> None:
    """The promises of `Compressor`, on a model that it can compress; `context.workspace` is an empty directory.

    It is spelled as a chain spells it, the model that is given stays as it is, what comes out is ready to answer on
    the CPU, finite, saved and loaded without a difference, and no larger.
    """
    assert compressor.name == compressor.spelling.partition(":")[0], "the class needs a name, its part's"
    assert "+" not in compressor.spelling, "a + divides the steps of a chain and cannot stand in one"
    reason = compressor.obstacle(model)
    assert reason is None or (isinstance(reason, str) and reason.strip()), "obstacle says a sentence or None"
    assert reason is None, f"give a model that can be compressed; of this one it says: {reason}"
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    smaller = compressor.convert(model, context)
    notes = compressor.recover(smaller, context)
    assert all(isinstance(note, str) for note in notes), "recover returns notes, a list of strings"
    after = model.state_dict()
    untouched = before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    assert untouched, "the model that was given was changed; convert a copy of it"
    assert not smaller.training, "recover leaves the model in evaluation mode"
    assert smaller.device.type == "cpu", f"recover leaves the model on {smaller.device} instead of the CPU"
    assert smaller.head.settings == model.head.settings, "the head answers something else"
    logits = _logits(smaller, context)
    assert bool(torch.isfinite(logits).all()), "a logit holds NaN or infinity"
    saved = _saved(smaller, context.workspace / "smaller")
    again = _logits(load_model(saved, default_host()), context)
    assert torch.allclose(logits, again, atol=CLOSE, rtol=CLOSE), "saved and loaded, it gives other answers"
    given = _saved(model, context.workspace / "given")
    assert size_mb(saved) <= size_mb(given), f"{size_mb(saved):.3f} MB, where {size_mb(given):.3f} were given"


@torch.inference_mode()
def _logits(model: MultimodalModel, context: CompressionContext) -> Tensor:
    return model.fuse(model.features(context.validation)).logits


def _saved(model: MultimodalModel, directory: Path) -> Path:
    directory.mkdir(parents=True)
    model.save(directory)
    return directory
