"""How the weights of an ONNX graph are stored and multiplied: float16 on disk, or eight-bit integers.

Eight bits make some networks slower or worse, so `choose_precision` measures both graphs and keeps what is better.
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from triptych.runtime.graphs import open_graph

Array = np.ndarray[Any, Any]
Inputs = Mapping[str, Array]  # by the names of a graph's inputs

SMALL = 256  # numbers; halving fewer saves less than the node that restores them takes
ROUNDS = 15
GAIN = 0.95  # of float32's time is what int8 may take at most: less is within the noise
ALIKE = 0.99  # cosine between the vectors of both graphs below which the first layer is left in float


def halve_weights(path: Path) -> None:
    """Store the large float32 weights of a graph as float16, in place; they are computed in float32 as before.

    The runtime restores them once, when it opens the graph. What float16 cannot hold stays as it is, and so do the
    waves of a Fourier transform, whose errors a logarithm would blow up.
    """
    import onnx
    from onnx import numpy_helper

    model = onnx.load(path)
    graph = model.graph
    waves = {node.input[1] for node in graph.node if node.op_type == "Conv" and _rank(graph, node.input[1]) == 3}
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT or tensor.name in waves:
            continue
        values = numpy_helper.to_array(tensor)
        if values.size < SMALL or not np.abs(values).max() < np.finfo(np.float16).max:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
        casts.append(onnx.helper.make_node("Cast", [f"{name}_half"], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.save(model, path)


def quantize_graph(path: Path, calibration: Sequence[Inputs], *, keep_first: bool = False) -> None:
    """Make the multiplications of a graph eight-bit, in place.

    A convolutional network gets fixed ranges for its activations, those that `calibration` shows, between its first
    and its last convolution (one scale for each output channel); `keep_first` leaves the first one in float. What has
    no convolution gets its ranges anew in every call. Weights use seven of the eight bits: processors without
    instructions for eight-bit products add pairs in sixteen bits, which would overflow. A graph with neither stays as
    it is.
    """
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    network = _network_nodes(graph, keep_first=keep_first)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder, _quiet():
        new = Path(folder) / path.name
        if network:
            _quantize_convolutions(path, new, calibration, network)
        elif _has_weight_products(graph):
            _quantize_products(path, new)
        else:
            return
        os.replace(new, path)


def choose_precision(path: Path, calibration: Sequence[Inputs]) -> str:
    """Quantize a graph in place if that makes it faster here, else store its weights as float16; says which and why.

    The time of one value is measured in turns on one thread. Where the vectors change much, the first layer is left
    in float.
    """
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        candidate = Path(folder) / path.name
        alike = 0.0
        for keep_first in (False, True):
            attempt = Path(folder) / f"{int(keep_first)}.onnx"
            attempt.write_bytes(path.read_bytes())
            quantize_graph(attempt, calibration, keep_first=keep_first)
            if attempt.read_bytes() == path.read_bytes():
                halve_weights(path)
                return "nothing in this encoder gains from int8; weights stored as float16"
            if (found := similarity(path, attempt, calibration)) > alike:
                alike = found
                os.replace(attempt, candidate)
            if alike >= ALIKE:
                break
        one = {name: values[:1] for name, values in calibration[0].items()}
        before, after = compare_speed((path, candidate), one)
        facts = f"{after:.2f} ms in int8, {before:.2f} ms in float32 (cosine of the vectors {alike:.4f})"
        if after <= GAIN * before:
            os.replace(candidate, path)
            return f"int8: {facts}"
    halve_weights(path)
    return f"int8 is not faster here, so weights are stored as float16 and computed in float32: {facts}"


def compare_speed(paths: Sequence[Path], inputs: Inputs, *, rounds: int = ROUNDS) -> list[float]:
    """The median milliseconds of one call of each graph on one thread, measured in turns."""
    sessions = [open_graph(path, threads=1) for path in paths]
    for session in sessions:
        session.run(None, dict(inputs))  # the first call allocates
    times: Array = np.zeros((rounds, len(sessions)))
    for i in range(rounds):
        for j, session in enumerate(sessions):
            start = time.perf_counter()
            session.run(None, dict(inputs))
            times[i, j] = time.perf_counter() - start
    return [float(seconds) * 1000 for seconds in np.median(times, axis=0)]


def similarity(one: Path, other: Path, batches: Sequence[Inputs]) -> float:
    """The mean cosine between the vectors that two graphs give."""
    first, second = (open_graph(path, threads=1) for path in (one, other))
    found = []
    for inputs in batches:
        a, b = first.run(None, dict(inputs))[0], second.run(None, dict(inputs))[0]
        norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        found.append((a * b).sum(axis=1) / np.maximum(norms, 1e-12))
    return float(np.concatenate(found).mean())


def _quantize_convolutions(path: Path, new: Path, calibration: Sequence[Inputs], nodes: Sequence[str]) -> None:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # ONNX Runtime has no types
        def __init__(self) -> None:
            self._batches = iter(calibration)

        def get_next(self) -> dict[str, Array] | None:
            batch = next(self._batches, None)
            return None if batch is None else dict(batch)

    quantize_static(
        path,
        new,
        Reader(),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=True,
        reduce_range=True,
        nodes_to_quantize=list(nodes),
    )


def _quantize_products(path: Path, new: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(
        path, new, op_types_to_quantize=["MatMul", "Gemm"], weight_type=QuantType.QInt8, per_channel=True,
        reduce_range=True,
    )  # fmt: skip


def _network_nodes(graph: Any, *, keep_first: bool) -> list[str]:
    """The names of the nodes of a convolutional network, from the first two-dimensional convolution to the last.

    What stands before (the preparation of inputs) and behind (pooling, statistics) stays in float, and so does a
    one-dimensional convolution, which is a Fourier transform.
    """
    convolutions = [n for n in graph.node if n.op_type == "Conv" and _rank(graph, n.input[1]) == 4]
    if keep_first:
        convolutions = convolutions[1:]
    after: set[str] = set()  # tensors that depend on a convolution
    for node in graph.node:
        if node in convolutions or after & set(node.input):
            after |= set(node.output)
    before: set[str] = set()  # tensors that a convolution depends on
    for node in reversed(graph.node):
        if node in convolutions or before & set(node.output):
            before |= set(node.input)
    direct = {name for node in convolutions for name in node.output}
    between = ("Add", "Mul", "Relu", "Clip", "MaxPool", "AveragePool", "GlobalAveragePool", "Concat")
    names = [node.name for node in convolutions]
    for node in graph.node:
        inside = after & set(node.input) and before & set(node.output)
        activation = node.op_type in ("Relu", "Clip") and direct & set(node.input)
        if node.op_type in between and (inside or activation):
            names.append(node.name)
    return names


def _has_weight_products(graph: Any) -> bool:
    """Whether there is a product with a weight matrix that is large enough to matter."""
    large = {t.name for t in graph.initializer if len(t.dims) == 2 and min(t.dims) >= 128}
    return any(node.op_type in ("MatMul", "Gemm") and large & set(node.input) for node in graph.node)


def _rank(graph: Any, name: str) -> int:
    """How many dimensions a weight has; 0 for what is no weight."""
    return next((len(t.dims) for t in graph.initializer if t.name == name), 0)


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
