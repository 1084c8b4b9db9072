"""Eight-bit multiplications in ONNX graphs, but not where they would spoil what the network says."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from triptych.runtime.graphs import open_graph

Array = np.ndarray[Any, Any]
Inputs = Mapping[str, Array]  # by the names of a graph's inputs

ALIKE = 0.994  # cosine with the float vectors that a quantized network must keep
IN_FLOAT = (0.0, 0.12, 0.2, 0.34, 0.5)  # share of the convolutions, from the first on, that stay as they are
COVERED = 99.99  # percent of an activation's values that its range covers: the few beyond are clipped
SEEN = 40_000  # values of one activation in one batch are enough to know its range
NO_GAIN = 0.004  # of cosine is not worth layers in float
SPOILED = 0.9  # the same below which a part holds a layer that eight bits ruin, found by halving
PROBES = 32  # graphs that the search for such layers may try; each takes part of a second
PROBED = 16  # values that a choice is tried on
BETWEEN = ("Add", "Mul", "Relu", "Clip", "MaxPool", "AveragePool", "GlobalAveragePool", "Concat")


def quantize_graph(path: Path, calibration: Sequence[Inputs]) -> None:
    """Make the multiplications of a graph eight-bit, in place.

    A convolutional network is quantized between its first and its last convolution, with one scale for each output
    channel and fixed ranges for the activations, which `calibration` shows (quantization to integers as in Jacob et
    al. 2018). Layers that eight bits ruin are found by halving and stay in float. The errors of early layers are
    carried through all that follow, so where the vectors still change much the first convolutions stay in float too,
    no more of them than it takes. What has no convolution, but large products with
    weights, gets its ranges anew in every call. Anything else stays as it is.
    """
    import onnx

    graph = onnx.load(path).graph
    with tempfile.TemporaryDirectory(dir=path.parent) as folder, _quiet():
        new = Path(folder) / path.name
        if _convolutions(graph):
            network = _Network(path, calibration)
            ruined = _ruined(network, Path(folder) / "probe.onnx")
            kept = {}  # by the share in float, how much alike the vectors still are
            for share in IN_FLOAT:
                network.write(network.without(share, ruined), new)
                kept[share] = network.similarity(new)
                if kept[share] >= ALIKE:
                    break
            enough = min(ALIKE, max(kept.values()) - NO_GAIN)
            network.write(network.without(min(s for s in kept if kept[s] >= enough), ruined), new)
        elif _has_weight_products(graph):
            _quantize_products(path, new)
        else:
            return
        os.replace(new, path)


def similarity(first: Sequence[Array], second: Sequence[Array]) -> float:
    """The mean cosine between the rows of two sequences of [batch, dim]."""
    a, b = np.concatenate(first), np.concatenate(second)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float(((a * b).sum(axis=1) / np.maximum(norms, 1e-12)).mean())


def outputs(path: Path, batches: Sequence[Inputs]) -> list[Array]:
    """The first output of a graph for each of some batches."""
    session = open_graph(path, threads=1, exact=True)
    return [session.run(None, dict(inputs))[0] for inputs in batches]


class _Network:
    """A convolutional network in a graph, with the ranges of its activations."""

    def __init__(self, path: Path, calibration: Sequence[Inputs]) -> None:
        import onnx

        self.model = onnx.shape_inference.infer_shapes(onnx.load(path))
        self.nodes = {node.name: node for node in self.model.graph.node}
        self.convolutions = _convolutions(self.model.graph)
        weights = {tensor.name for tensor in self.model.graph.initializer}
        used = [self.nodes[name] for name in _inside(self.model.graph, self.convolutions)]
        self.ranges = self._measure({t for n in used for t in (*n.input, *n.output)} - weights, calibration)
        self.probes = [{name: values[:PROBED] for name, values in batch.items()} for batch in calibration[:1]]
        self.wanted = outputs(path, self.probes)

    def similarity(self, path: Path) -> float:
        """The cosine of a graph's vectors with those of the float network, on a few values."""
        return similarity(self.wanted, outputs(path, self.probes))

    def without(self, share: float, ruined: set[str]) -> list[str]:
        """The convolutions but for that share of them, from the first on, and those ruined."""
        later = self.convolutions[round(share * len(self.convolutions)) :]
        return [name for name in later if name not in ruined]

    def write(self, convolutions: Sequence[str], path: Path) -> None:
        """Write the graph with these convolutions, and what lies between them, in eight bits."""
        import copy

        from onnx import TensorProto
        from onnxruntime.quantization import CalibrationMethod, QuantType
        from onnxruntime.quantization.calibrate import TensorsData
        from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

        quantizer = QDQQuantizer(
            copy.deepcopy(self.model),
            per_channel=True,
            reduce_range=False,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QUInt8,
            tensors_range=TensorsData(CalibrationMethod.MinMax, dict(self.ranges)),
            nodes_to_quantize=_inside(self.model.graph, convolutions),
            nodes_to_exclude=[],
            op_types_to_quantize=["Conv", *BETWEEN],
            extra_options={"DefaultTensorType": TensorProto.FLOAT},
        )
        if convolutions:
            quantizer.quantize_model()
        quantizer.model.save_model_to_file(str(path))

    def _measure(self, names: set[str], calibration: Sequence[Inputs]) -> dict[str, tuple[Array, Array]]:
        """For each tensor the range that all but one in ten thousand of its values on either side lie in."""
        import onnx
        import onnxruntime

        ordered = sorted(names)
        talkative = onnx.ModelProto()
        talkative.CopyFrom(self.model)
        del talkative.graph.output[:]
        talkative.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in ordered)
        session = onnxruntime.InferenceSession(talkative.SerializeToString(), providers=["CPUExecutionProvider"])
        lows, highs, chance = np.zeros(len(ordered)), np.zeros(len(ordered)), np.random.default_rng(0)
        for inputs in calibration:
            for i, values in enumerate(session.run(ordered, dict(inputs))):
                flat = values.ravel()
                if flat.size > SEEN:  # at random: every n-th would meet the same places of every channel
                    flat = flat[chance.integers(0, flat.size, SEEN)]
                low, high = np.percentile(flat, (100 - COVERED, COVERED))
                lows[i], highs[i] = min(lows[i], low), max(highs[i], high)
        return {
            name: (np.array(low, dtype=np.float32), np.array(high, dtype=np.float32))
            for name, low, high in zip(ordered, lows, highs, strict=True)
        }


def _ruined(network: _Network, probe: Path) -> set[str]:
    """The convolutions whose quantization leaves little of the vectors."""
    tried = 0

    def search(group: Sequence[str]) -> set[str]:
        nonlocal tried
        if tried == PROBES:
            return set(group)
        tried += 1
        network.write(group, probe)
        if network.similarity(probe) >= SPOILED:
            return set()
        if len(group) == 1:
            return set(group)
        half = len(group) // 2
        return search(group[:half]) | search(group[half:])

    return search(network.convolutions)


def _quantize_products(path: Path, new: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    # seven bits: a processor without eight-bit products adds pairs in sixteen bits, which would overflow
    quantize_dynamic(
        path, new, op_types_to_quantize=["MatMul", "Gemm"], weight_type=QuantType.QInt8, per_channel=True,
        reduce_range=True,
    )  # fmt: skip


def _convolutions(graph: Any) -> list[str]:
    """The names of the two-dimensional convolutions; a one-dimensional one is a Fourier transform."""
    ranks = {tensor.name: len(tensor.dims) for tensor in graph.initializer}
    return [node.name for node in graph.node if node.op_type == "Conv" and ranks.get(node.input[1]) == 4]


def _inside(graph: Any, convolutions: Sequence[str]) -> list[str]:
    """The names of some convolutions, of their activations and of what lies between them.

    What stands before the first (the preparation of inputs) and behind the last (pooling, statistics) is left out.
    """
    chosen = [node for node in graph.node if node.name in set(convolutions)]
    direct = {name for node in chosen for name in node.output}
    after = set(direct)  # tensors that depend on a convolution
    for node in graph.node:
        if after & set(node.input):
            after |= set(node.output)
    before = {name for node in chosen for name in node.input}  # tensors that a convolution depends on
    for node in reversed(graph.node):
        if before & set(node.output):
            before |= set(node.input)
    names = []
    for node in graph.node:
        between = after & set(node.input) and before & set(node.output)
        activation = node.op_type in ("Relu", "Clip") and direct & set(node.input)
        if node in chosen or (node.op_type in BETWEEN and (between or activation)):
            names.append(node.name)
    return names


def _has_weight_products(graph: Any) -> bool:
    """Whether there is a product with a weight matrix that is large enough to matter."""
    large = {t.name for t in graph.initializer if len(t.dims) == 2 and min(t.dims) >= 128}
    return any(node.op_type in ("MatMul", "Gemm") and large & set(node.input) for node in graph.node)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the quantizer's advice, which is written to the root logger, off the user's screen."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
