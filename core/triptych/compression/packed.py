"""A transformer of the BERT family as one ONNX graph that computes no padding.

Texts of a batch are packed behind one another into rows, and a bias on the attention scores keeps each to itself
(sequence packing, Krell et al. 2021). Operators are written fused: attention, residual with layer norm, GELU. In int8
the weights have one scale for each output (seven bits, so that instruction sets without VNNI do not saturate) and
activations are quantized as they come.

    input_ids, positions, segments   int64 [rows, width]; positions count from 0 in each text
    texts                            int64 [texts]: 1, 2, ...; `segments` says to which text a token belongs, 0: padding
    vectors                          float32 [texts, dim]
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from triptych.compression.base import Precision
from triptych.encoders.transformer import LAYERED, TransformerTextEncoder

MICROSOFT = "com.microsoft"
HIDDEN_FROM = -1e4  # added to the scores of tokens of other texts
GELU = {"gelu": "BiasGelu", "gelu_new": "FastGelu", "gelu_pytorch_tanh": "FastGelu", "gelu_fast": "FastGelu"}
POOLED = ("mean", "cls", "mean_sqrt_len_tokens")
INT8_LIMIT = 63  # seven bits with sign

Array = np.ndarray[Any, Any]


def packing_obstacle(encoder: TransformerTextEncoder) -> str | None:
    """Why this encoder has no packed graph, or None."""
    config = encoder.model_config
    if config.model_type not in LAYERED:
        return f"models of type {config.model_type} are not a plain stack of layers"
    if config.hidden_act not in (*GELU, "relu"):
        return f"the activation {config.hidden_act} has no fused operator"
    if encoder.settings["pooling"] not in POOLED:
        return f"{encoder.settings['pooling']} pooling does not work on packed texts"
    if getattr(config, "position_embedding_type", "absolute") not in ("absolute", None):
        return "relative positions are not packed"
    return None


def write_packed(encoder: TransformerTextEncoder, path: Path, precision: Precision) -> None:
    """Write the graph of an encoder without `packing_obstacle`; its lexical table is not in it."""
    graph = _Graph(precision)
    config = encoder.model_config
    backbone: Any = encoder.backbone
    hidden = _embed(graph, backbone.embeddings, config)
    bias = _attention_bias(graph)
    for number, layer in enumerate(backbone.encoder.layer):
        hidden = _layer(graph, layer, hidden, bias, config, f"layer{number}")
    vectors = _pool(graph, hidden, encoder.settings["pooling"], config.hidden_size)
    for number, projection in enumerate(encoder.dense):
        vectors = _project(graph, projection, vectors, f"dense{number}")
    if encoder.settings["normalize"]:
        length = graph.node("ReduceL2", [vectors], axes=[-1], keepdims=1)
        vectors = graph.node("Div", [vectors, graph.node("Max", [length, graph.floats("tiny", 1e-12)])])
    graph.node("Identity", [vectors], output="vectors")
    graph.write(path, encoder.dense_dim)


class _Graph:
    """Nodes and weights as they are added."""

    def __init__(self, precision: Precision) -> None:
        self.precision = precision
        self.nodes: list[Any] = []
        self.weights: dict[str, Any] = {}

    def node(self, kind: str, inputs: list[str], *, domain: str = "", output: str = "", **attributes: Any) -> str:
        """Add an operator with one output, and return the output's name."""
        name = output or f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, domain=domain, **attributes))
        return name

    def constant(self, name: str, value: Array) -> str:
        """Add a weight under a name; a second one of the same name is the same weight."""
        self.weights.setdefault(name, numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def ints(self, name: str, values: list[int]) -> str:
        return self.constant(name, np.array(values, dtype=np.int64))

    def floats(self, name: str, value: float) -> str:
        return self.constant(name, np.array(value, dtype=np.float32))

    def table(self, name: str, rows: Array, indices: str) -> str:
        """Rows of a table [n, hidden] by their numbers: float32, whatever the precision they are stored in."""
        if self.precision == "fp16":
            found = self.node("Gather", [self.constant(name, rows.astype(np.float16)), indices])
            return self.node("Cast", [found], to=TensorProto.FLOAT)
        if self.precision == "fp32":
            return self.node("Gather", [self.constant(name, rows), indices])
        scale = np.maximum(np.abs(rows).max(axis=1, keepdims=True), 1e-12) / 127
        quantized = np.rint(rows / scale).astype(np.int8)
        found = self.node("Gather", [self.constant(name, quantized), indices])
        scales = self.node("Gather", [self.constant(f"{name}.scale", scale.astype(np.float32)), indices])
        return self.node("Mul", [self.node("Cast", [found], to=TensorProto.FLOAT), scales])

    def linear(self, name: str, weight: Array, bias: Array | None, inputs: str) -> str:
        """`inputs` times `weight` [outputs, inputs], plus `bias`."""
        if self.precision == "int8":
            scale = np.maximum(np.abs(weight).max(axis=1), 1e-12) / INT8_LIMIT  # [outputs]
            quantized = np.rint(weight / scale[:, None]).astype(np.int8).T
            arguments = [
                inputs,
                self.constant(f"{name}.weight", quantized),
                self.constant(f"{name}.scale", scale.astype(np.float32)),
                self.constant(f"{name}.zero", np.zeros(len(scale), dtype=np.int8)),
            ]
            if bias is not None:
                arguments.append(self.constant(f"{name}.bias", bias))
            return self.node("DynamicQuantizeMatMul", arguments, domain=MICROSOFT)
        if self.precision == "fp16":
            stored = self.constant(f"{name}.weight", weight.T.astype(np.float16))
            product = self.node("MatMul", [inputs, self.node("Cast", [stored], to=TensorProto.FLOAT)])
        else:
            product = self.node("MatMul", [inputs, self.constant(f"{name}.weight", weight.T)])
        return product if bias is None else self.node("Add", [product, self.constant(f"{name}.bias", bias)])

    def write(self, path: Path, dim: int) -> None:
        """Check the graph and write it. Raises what onnx raises: a graph that it refuses is a mistake here."""
        tokens = [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["rows", "width"])
            for name in ("input_ids", "positions", "segments")
        ]
        texts = helper.make_tensor_value_info("texts", TensorProto.INT64, ["texts"])
        vectors = helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["texts", dim])
        graph = helper.make_graph(self.nodes, "packed", [*tokens, texts], [vectors], list(self.weights.values()))
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid(MICROSOFT, 1)]
        model = helper.make_model(graph, opset_imports=opsets, producer_name="triptych", ir_version=8)
        onnx.checker.check_model(model)
        onnx.save(model, str(path))


def _embed(graph: _Graph, embeddings: Any, config: Any) -> str:
    """Token, position and type embeddings, normalised: float32 [rows, width, hidden]."""
    words = _numpy(embeddings.word_embeddings.weight)
    places = _numpy(embeddings.position_embeddings.weight)
    if config.model_type != "bert":  # these count positions from behind the padding id
        places = places[config.pad_token_id + 1 :]
    types = _numpy(embeddings.token_type_embeddings.weight)
    summed = graph.node(
        "Add", [graph.table("words", words, "input_ids"), graph.table("places", places + types[0], "positions")]
    )
    return _norm(graph, embeddings.LayerNorm, summed, "embeddings.norm")


def _attention_bias(graph: _Graph) -> str:
    """Zero between tokens of one text, far below zero elsewhere: float32 [rows, 1, width, width]."""
    down = graph.node("Unsqueeze", ["segments", graph.ints("axis_2", [2])])
    across = graph.node("Unsqueeze", ["segments", graph.ints("axis_1", [1])])
    same = graph.node("Equal", [down, across])
    bias = graph.node("Where", [same, graph.floats("zero", 0.0), graph.floats("hidden", HIDDEN_FROM)])
    return graph.node("Unsqueeze", [bias, graph.ints("axis_1", [1])])


def _layer(graph: _Graph, layer: Any, hidden: str, bias: str, config: Any, name: str) -> str:
    attention = layer.attention.self
    parts = [attention.query, attention.key, attention.value]
    size = parts[0].out_features
    heads = size // (config.hidden_size // config.num_attention_heads)
    weight = np.concatenate([_numpy(part.weight) for part in parts])
    joined = graph.linear(f"{name}.qkv", weight, np.concatenate([_numpy(part.bias) for part in parts]), hidden)
    names = [f"{name}.{part}" for part in ("query", "key", "value")]
    graph.nodes.append(
        helper.make_node(
            "Split", [joined, graph.ints(f"{name}.sizes", [size] * 3)], names, name=f"{name}.split", axis=-1
        )
    )
    mixed = graph.node("MultiHeadAttention", [*names, "", "", bias], domain=MICROSOFT, num_heads=heads)
    hidden = _add_and_norm(graph, layer.attention.output, mixed, hidden, f"{name}.attention")
    wide, bias_of_wide = _before_bias(graph, layer.intermediate.dense, hidden, f"{name}.inner")
    arguments = [wide, graph.constant(f"{name}.inner.bias", bias_of_wide)]
    if config.hidden_act == "relu":
        inner = graph.node("Relu", [graph.node("Add", arguments)])
    else:
        inner = graph.node(GELU[config.hidden_act], arguments, domain=MICROSOFT)
    return _add_and_norm(graph, layer.output, inner, hidden, f"{name}.output")


def _add_and_norm(graph: _Graph, module: Any, inputs: str, skip: str, name: str) -> str:
    """A linear layer, the residual, and layer norm.

    The norm stands alone: the operator that adds and normalises at once is several times slower in ONNX Runtime.
    """
    product, bias = _before_bias(graph, module.dense, inputs, name)
    added = graph.node("Add", [graph.node("Add", [product, graph.constant(f"{name}.bias", bias)]), skip])
    return _norm(graph, module.LayerNorm, added, f"{name}.norm")


def _before_bias(graph: _Graph, dense: Any, inputs: str, name: str) -> tuple[str, Array]:
    """The product of a linear layer, or of a pair of thin ones, and the bias that is still to be added."""
    if isinstance(dense, nn.Sequential):
        down, dense = dense
        inputs = graph.linear(f"{name}.down", *_weights(down), inputs)
    return graph.linear(name, _numpy(dense.weight), None, inputs), _numpy(dense.bias)


def _norm(graph: _Graph, norm: nn.LayerNorm, inputs: str, name: str) -> str:
    gain, shift = (
        graph.constant(f"{name}.gain", _numpy(norm.weight)),
        graph.constant(f"{name}.shift", _numpy(norm.bias)),
    )
    return graph.node("LayerNormalization", [inputs, gain, shift], axis=-1, epsilon=float(norm.eps))


def _pool(graph: _Graph, hidden: str, pooling: str, size: int) -> str:
    """Tokens to texts by a matrix of who belongs to whom: float32 [texts, hidden]."""
    flat = graph.node("Reshape", ["segments", graph.ints("row", [1, -1])])
    wanted = graph.node("Unsqueeze", ["texts", graph.ints("axis_1", [1])])
    member = graph.node("Equal", [wanted, flat])  # [texts, tokens]
    if pooling == "cls":
        first = graph.node("Equal", ["positions", graph.ints("zero_int", [0])])
        member = graph.node("And", [member, graph.node("Reshape", [first, graph.ints("row", [1, -1])])])
    share = graph.node("Cast", [member], to=TensorProto.FLOAT)
    tokens = graph.node("Reshape", [hidden, graph.ints("tokens", [-1, size])])
    summed = graph.node("MatMul", [share, tokens])
    if pooling == "cls":
        return summed
    count = graph.node("ReduceSum", [share, graph.ints("axis_1", [1])], keepdims=1)
    if pooling == "mean_sqrt_len_tokens":
        count = graph.node("Sqrt", [count])
    return graph.node("Div", [summed, count])


def _project(graph: _Graph, projection: Any, vectors: str, name: str) -> str:
    linear, activation = projection
    projected = graph.linear(name, *_weights(linear), vectors)
    return graph.node("Tanh", [projected]) if isinstance(activation, nn.Tanh) else projected


def _weights(linear: Any) -> tuple[Array, Array | None]:
    return _numpy(linear.weight), None if linear.bias is None else _numpy(linear.bias)


def _numpy(tensor: Tensor) -> Array:
    array: Array = tensor.detach().cpu().float().numpy()
    return array
