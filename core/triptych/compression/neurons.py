"""A narrower text transformer: "neurons:0.5" keeps half of each layer's neurons, "heads:0.5" half of its heads.

What remains is fitted to stand in for what is gone (see `activations.spare_inputs`), so that little is left to be
recovered by training. Every layer keeps the same number, and all matrices stay dense.
"""

from __future__ import annotations

from torch import nn

from triptych.compression.activations import input_moments, spare_inputs
from triptych.compression.base import CompressionContext, Compressor
from triptych.compression.distil import distil
from triptych.compression.text import copied, share_of, text_encoder, text_obstacle
from triptych.encoders.slim import head_size, keep_heads, linear_of, rows_of
from triptych.models.multimodal import MultimodalModel


class _Narrower(Compressor):
    """What both have in common."""

    def __init__(self, argument: str = "0.5") -> None:
        super().__init__(argument or "0.5")
        self.share = share_of(self.name, self.argument, 0.5)

    def obstacle(self, model: MultimodalModel) -> str | None:
        """See the base."""
        if reason := text_obstacle(model, stack=True):
            return reason
        if "thin" in text_encoder(model).settings:
            return f"the text encoder has low-rank matrices; {self.name} must come before low-rank in the chain"
        return None

    def recover(self, model: MultimodalModel, context: CompressionContext) -> list[str]:
        """See the base."""
        return distil(model, context, modalities=["text"], step=self.name)


class Neurons(_Narrower):
    """Keep a share of the neurons between the two dense maps of each layer."""

    name = "neurons"

    def obstacle(self, model: MultimodalModel) -> str | None:
        """See the base."""
        reason = super().obstacle(model)
        if reason is None and self._kept(model) < 1:
            return "no neuron would be left"
        return reason

    def convert(self, model: MultimodalModel, context: CompressionContext) -> MultimodalModel:
        """See the base."""
        student, encoder = copied(model)
        keep = self._kept(student)
        outputs = [linear(layer, "output.dense") for layer in encoder.stack]
        found = input_moments(encoder, outputs, context.train, context.seed)
        for layer, output, moments in zip(encoder.stack, outputs, found, strict=True):
            kept, weight, bias = spare_inputs(output, moments, keep)
            inner = linear(layer, "intermediate.dense")
            layer.set_submodule("intermediate.dense", rows_of(inner, kept))
            layer.set_submodule("output.dense", linear_of(weight, bias))
        encoder.model_config.intermediate_size = keep
        return student

    def _kept(self, model: MultimodalModel) -> int:
        return int(self.share * text_encoder(model).model_config.intermediate_size)


class Heads(_Narrower):
    """Keep a share of the attention heads of each layer (Michel et al. 2019, "Are Sixteen Heads Really Better")."""

    name = "heads"

    def obstacle(self, model: MultimodalModel) -> str | None:
        """See the base."""
        reason = super().obstacle(model)
        if reason is None and self._kept(model) < 1:
            return f"of {_heads(model)} attention heads none would be left"
        return reason

    def convert(self, model: MultimodalModel, context: CompressionContext) -> MultimodalModel:
        """See the base."""
        student, encoder = copied(model)
        keep = self._kept(student)
        outputs = [linear(layer, "attention.output.dense") for layer in encoder.stack]
        found = input_moments(encoder, outputs, context.train, context.seed)
        for layer, output, moments in zip(encoder.stack, outputs, found, strict=True):
            kept, weight, bias = spare_inputs(output, moments, keep, group=head_size(layer))
            keep_heads(layer, kept, linear_of(weight, bias))
        encoder.amend(heads=keep)
        return student

    def _kept(self, model: MultimodalModel) -> int:
        return int(self.share * _heads(model))


def linear(layer: nn.Module, name: str) -> nn.Linear:
    """A linear map inside a layer."""
    module = layer.get_submodule(name)
    assert isinstance(module, nn.Linear)
    return module


def _heads(model: MultimodalModel) -> int:
    heads: int = text_encoder(model).stack[0].attention.self.num_attention_heads  # type: ignore[union-attr,assignment]
    return heads
