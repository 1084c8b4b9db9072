"""Encoders and fusions as ONNX graphs: what ONNX Runtime needs to answer without torch.

Graphs are traced by torch.export, hold their weights and take a batch of any size. How their weights are stored and
multiplied is `triptych.compression.onnx_precision`'s business.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from triptych.compression.base import Precision
from triptych.compression.onnx_int8 import Inputs, quantize_graph
from triptych.compression.onnx_precision import choose_precision, halve_weights
from triptych.encoders.base import Encoder, Exportable
from triptych.errors import ConfigError, DataError
from triptych.models.multimodal import Features, MultimodalModel
from triptych.runtime.media import FEATURES, GRAPH

__all__ = [
    "choose_precision",
    "export_encoder",
    "export_fusion",
    "export_graph",
    "halve_weights",
    "quantize_graph",
]

OPSET = 18
CALIBRATION_VALUES, CALIBRATION_BATCH = 64, 8


def export_graph(exportable: Exportable, path: Path) -> None:
    """Write an encoder as a graph whose inputs are named as in `exportable.example` and whose output is "vectors"."""
    _write(exportable.module, exportable.example, exportable.dynamic, ("vectors",), path)


def export_fusion(model: MultimodalModel, path: Path) -> None:
    """Write projections, fusion and head of a model of several modalities.

    Inputs: for each modality float32 [batch, dim], and "mask" bool [batch, modalities]. Outputs: "logits",
    "embedding" and "weights". What stands for an absent modality changes nothing.
    """
    example: dict[str, Tensor] = {m: torch.randn(2, model.encoder(m).dim) for m in model.modalities}
    example["mask"] = torch.ones(2, len(model.modalities), dtype=torch.bool)
    dynamic = {name: {0: "batch"} for name in example}
    _write(_Fusing(model), example, dynamic, ("logits", "embedding", "weights"), path)


def export_encoder(
    encoder: Encoder, directory: Path, precision: Precision, calibration_values: Sequence[Any] = ()
) -> dict[str, Any]:
    """Write the runner of an encoder into an existing directory.

    Returns {"runner": the part's name, "dim": int, "settings": JSON, "notes": list of sentences}. At "int8" the
    activations' ranges come from (at most 64 of) `calibration_values`, raw values of the training data.
    Raises `ConfigError` for an encoder that cannot run without torch, `DataError` where calibration data are needed
    and missing.
    """
    exportable = encoder.exportable()
    if exportable is None:
        raise ConfigError(f"{encoder.name} cannot run without torch: choose another encoder, or leave it uncompressed")
    described: dict[str, Any] = {
        "runner": exportable.runner,
        "dim": encoder.dim,
        "settings": dict(exportable.settings),
        "notes": [],
    }
    if exportable.runner == "features":  # two vectors: no graph is worth its loading
        tensors = {k: v.detach().cpu().contiguous() for k, v in exportable.module.state_dict().items()}
        save_file(tensors, directory / FEATURES)
        return described
    if precision == "int8" and not len(calibration_values):
        raise DataError(f"{encoder.name} cannot be quantized without calibration data: give some training values")
    export_graph(exportable, directory / GRAPH)
    if precision == "fp16":
        halve_weights(directory / GRAPH)
    elif precision == "int8":
        calibration = _calibration(encoder, list(exportable.example), calibration_values)
        described["notes"] = [choose_precision(directory / GRAPH, calibration)]
    return described


def _calibration(encoder: Encoder, names: Sequence[str], values: Sequence[Any]) -> list[Inputs]:
    """Evenly chosen values, prepared in batches of eight."""
    step = -(-len(values) // CALIBRATION_VALUES)
    chosen = list(values[::step])
    batches: list[Inputs] = []
    for start in range(0, len(chosen), CALIBRATION_BATCH):
        prepared = encoder.prepare(chosen[start : start + CALIBRATION_BATCH])
        batches.append({name: prepared[name].numpy() for name in names})
    return batches


class _Fusing(nn.Module):
    """`MultimodalModel.fuse` with tensors by position: a vector for each modality, then the mask."""

    def __init__(self, model: MultimodalModel) -> None:
        super().__init__()
        # the encoders stay behind: copying them would be dear, and the graph does not need them
        bare = copy.copy(model)
        bare._modules = {k: v for k, v in model._modules.items() if k != "encoders"}
        self.model = bare

    def forward(self, *tensors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        vectors = dict(zip(self.model.modalities, tensors[:-1], strict=True))
        output = self.model.fuse(Features(vectors, tensors[-1]))
        return output.logits, output.embedding, output.weights


def _write(
    module: nn.Module,
    example: Mapping[str, Tensor],
    dynamic: Mapping[str, Mapping[int, str]],
    outputs: Sequence[str],
    path: Path,
) -> None:
    import onnx

    module = copy.deepcopy(module).cpu().float().eval()  # whoever trains on with the original notices nothing
    shapes = tuple(dict.fromkeys(dynamic.get(name, {}), torch.export.Dim.DYNAMIC) for name in example)
    with _quiet():
        program = torch.onnx.export(
            module,
            tuple(example.values()),
            dynamo=True,
            input_names=list(example),
            output_names=list(outputs),
            dynamic_shapes=shapes if not isinstance(module, _Fusing) else (shapes,),
            opset_version=OPSET,
            verbose=False,
        )
        assert program is not None
        graph = program.model_proto
    _forget_origin(graph)
    onnx.save(graph, path)


def _forget_origin(model: Any) -> None:
    """Drop the traces of source code that the exporter leaves on every node: paths of this machine, half the file."""
    model.graph.doc_string = ""
    del model.metadata_props[:], model.graph.metadata_props[:]
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        value.doc_string = ""
        del value.metadata_props[:]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's progress and its warnings about its own insides off the user's screen."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
