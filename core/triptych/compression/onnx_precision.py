"""How the weights of an ONNX graph are stored and multiplied: float16 on disk, or eight-bit integers if they pay.

Eight bits make some networks slower or worse, so `choose_precision` measures both graphs and keeps what is better.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from triptych.compression.onnx_int8 import Inputs, outputs, quantize_graph, similarity
from triptych.runtime.graphs import open_graph

SMALL = 256  # numbers; halving fewer saves less than the node that restores them takes
ROUNDS = 15
GAIN = 0.95  # of float32's time is what int8 may take at most: less is within the noise
LEAST_ALIKE = 0.9  # cosine between the vectors of both graphs below which no speed is worth it


def halve_weights(path: Path) -> None:
    """Store the large float32 weights of a graph as float16, in place; they are computed in float32 as before.

    The runtime restores them once, when it opens the graph. What float16 cannot hold stays as it is, and so do the
    waves of a Fourier transform, whose errors a logarithm would blow up, and the scales of quantized numbers.
    """
    import onnx
    from onnx import numpy_helper

    model = onnx.load(path)
    graph = model.graph
    waves = {node.input[1] for node in graph.node if node.op_type == "Conv"}
    scales = {name for node in graph.node if node.op_type.endswith("QuantizeLinear") for name in node.input}
    casts = []
    for tensor in graph.initializer:
        wave = tensor.name in waves and len(tensor.dims) == 3
        if tensor.data_type != onnx.TensorProto.FLOAT or wave or tensor.name in scales:
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


def choose_precision(path: Path, calibration: Sequence[Inputs]) -> str:
    """Quantize a graph in place if that makes it faster here, else store its weights as float16; says which and why.

    The processor time of one value is measured in turns on one thread.
    """
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        candidate = Path(folder) / path.name
        candidate.write_bytes(path.read_bytes())
        quantize_graph(candidate, calibration)
        if candidate.read_bytes() == path.read_bytes():
            halve_weights(path)
            return "nothing in this graph gains from int8; weights are stored as float16 and computed in float32"
        alike = similarity(outputs(path, calibration), outputs(candidate, calibration))
        before, after = compare_speed((path, candidate), {name: v[:1] for name, v in calibration[0].items()})
        facts = f"{after:.2f} ms in int8, {before:.2f} ms in float32, cosine of their vectors {alike:.3f}"
        if after <= GAIN * before and alike >= LEAST_ALIKE:
            halve_weights(candidate)  # those of layers that stayed in float
            os.replace(candidate, path)
            return f"int8: {facts}"
    halve_weights(path)
    return f"int8 does not pay here, so weights are stored as float16 and computed in float32: {facts}"


def compare_speed(paths: Sequence[Path], inputs: Inputs, *, rounds: int = ROUNDS) -> list[float]:
    """The median CPU milliseconds of one call of each graph on one thread, measured in turns.

    What else the machine does meanwhile does not count.
    """
    sessions = [open_graph(path, threads=1, exact=True) for path in paths]
    for session in sessions:
        session.run(None, dict(inputs))  # the first call allocates
    times = np.zeros((rounds, len(sessions)))
    for i in range(rounds):
        for j, session in enumerate(sessions):
            start = time.thread_time()
            session.run(None, dict(inputs))
            times[i, j] = time.thread_time() - start
    return [float(seconds) * 1000 for seconds in np.median(times, axis=0)]
