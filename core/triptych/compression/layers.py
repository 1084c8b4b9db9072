"""Fewer transformer layers in the text encoder: "layers:3" keeps three, "layers:0,2,5" keeps these.

Layers spread evenly, with the first and the last among them, are the start of choice for a shallower student (Sanh et
al. 2019, "DistilBERT"; Sajjad et al. 2023, "On the effect of dropping layers of pre-trained transformer models").
"""

from __future__ import annotations

from torch import nn

from triptych.compression.base import CompressionContext, Compressor
from triptych.compression.distil import distil
from triptych.compression.text import copied, text_encoder, text_obstacle
from triptych.errors import ConfigError
from triptych.models.multimodal import MultimodalModel


class Layers(Compressor):
    """Keep some layers of a plain stack; the others are gone, and the rest learns to do without them."""

    name = "layers"

    def __init__(self, argument: str = "3") -> None:
        super().__init__(argument or "3")
        try:
            numbers = [int(n) for n in self.argument.split(",")]
        except ValueError:
            numbers = []
        listed = "," in self.argument
        if not numbers or min(numbers) < (0 if listed else 1) or sorted(set(numbers)) != numbers:
            raise ConfigError(
                f"compressor layers:{argument} needs how many layers to keep (layers:3) "
                "or which, from 0, in ascending order (layers:0,2,5)"
            )
        self._listed = numbers if listed else None
        self._count = len(numbers) if listed else numbers[0]

    def obstacle(self, model: MultimodalModel) -> str | None:
        """See the base."""
        if reason := text_obstacle(model, stack=True):
            return reason
        layers = text_encoder(model).layers
        if self._count >= layers:
            return f"the text encoder has no more than {layers} layers"
        if self._listed and self._listed[-1] >= layers:
            return f"the text encoder has layers 0 to {layers - 1} only"
        return None

    def convert(self, model: MultimodalModel, context: CompressionContext) -> MultimodalModel:
        """See the base."""
        student, encoder = copied(model)
        kept = self._listed or spread(encoder.layers, self._count)
        stack = nn.ModuleList(encoder.stack[i] for i in kept)
        for number, layer in enumerate(stack):
            layer.attention.self.layer_idx = number  # type: ignore[union-attr]
        encoder.set_stack(stack)
        return student

    def recover(self, model: MultimodalModel, context: CompressionContext) -> list[str]:
        """See the base."""
        return distil(model, context, modalities=["text"], step="layers")


def spread(layers: int, count: int) -> list[int]:
    """`count` of the numbers below `layers`, evenly spaced: the first and the last; the last alone."""
    if count == 1:
        return [layers - 1]
    return [round(i * (layers - 1) / (count - 1)) for i in range(count)]
