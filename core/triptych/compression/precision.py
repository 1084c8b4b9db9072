"""Compressors that change the arithmetic alone: the model is exported as it is, in fewer bits."""

from __future__ import annotations

from triptych.compression.base import Compressor
from triptych.errors import ConfigError
from triptych.models.multimodal import MultimodalModel


class _Arithmetic(Compressor):
    """Needs no training; whether it pays is found out by measuring."""

    def __init__(self, argument: str = "") -> None:
        super().__init__(argument)
        if argument:
            raise ConfigError(f"the compressor {self.name!r} takes no argument, got {argument!r}")

    def obstacle(self, model: MultimodalModel) -> str | None:
        """None: whatever can be exported has weights."""
        return None


class Float32(_Arithmetic):
    """`onnx`: ONNX Runtime in float32, operators fused. The same answers, faster."""

    name = "onnx"
    precision = "fp32"


class Float16(_Arithmetic):
    """`fp16`: weights stored in half precision and computed in float32: half the file, nearly the same answers."""

    name = "fp16"
    precision = "fp16"


class Int8(_Arithmetic):
    """`int8`: weights in eight bits with a scale for each output; where that is slower, a part stays in float32."""

    name = "int8"
    precision = "int8"
