"""Exported models and bundles of the plugin in `serving`, written by hand: their encoders need no training."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

from tests.core.runtime import serving
from triptych.bundle import BundleWriter, Manifest
from triptych.config import RetrievalConfig
from triptych.evaluation.scope import ScopeDetector
from triptych.host import Host
from triptych.indexing import write_documents, write_examples
from triptych.runtime.exported import ExportedModel
from triptych.runtime.open import variant_path

RUNNERS = {"text": "test-words", "image": "test-pictures", "audio": "test-sounds"}


def serving_host() -> Host:
    """A host with the plugin and nothing that happens to be installed."""
    return Host({"served": sys.modules[serving.__name__]}, installed=False)


def write_exported(
    directory: Path,
    parts: tuple[str, ...] = ("text", "image", "audio"),
    *,
    variant: str = "tiny",
    sharpness: float = 8.0,
    **changes: Any,
) -> Path:
    """An exported model that adds up what the parts say. `changes` are to `runtime.json`."""
    directory.mkdir(parents=True)
    runtime: dict[str, Any] = {
        "format": 1,
        "variant": variant,
        "precision": "fp32",
        "devices": ["cpu"],
        "head": {"kind": "classification", "labels": list(serving.COLOURS)},
        "regression": None,
        "modalities": {m: {"runner": RUNNERS[m], "dim": 3, "settings": {}} for m in parts},
        "fusion": "fusion.onnx" if len(parts) > 1 else None,
        "temperatures": [1.0] * 2 ** len(parts),
    }
    (directory / "runtime.json").write_text(json.dumps(runtime | changes))
    for m in parts:
        (directory / m).mkdir()
        (directory / m / "runner.json").write_text("{}")
    if len(parts) > 1:
        write_fusion(directory / "fusion.onnx", parts, sharpness)
    else:
        head = {"weight": sharpness * np.eye(3, dtype=np.float32), "bias": np.zeros(3, dtype=np.float32)}
        save_file(head, directory / "head.safetensors")
    return directory


def write_fusion(path: Path, modalities: tuple[str, ...], sharpness: float) -> None:
    """The mean of what is present, times `sharpness`."""
    initial = {
        "axes": np.array([1]),
        "middle": np.array([2]),
        "sharpness": np.array([sharpness], dtype=np.float32),
    }
    nodes = [helper.make_node("Unsqueeze", [m, "axes"], [f"{m}_row"]) for m in modalities]
    nodes += [
        helper.make_node("Concat", [f"{m}_row" for m in modalities], ["rows"], axis=1),
        helper.make_node("Cast", ["mask"], ["present"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["present", "axes"], ["count"], keepdims=1),
        helper.make_node("Div", ["present", "count"], ["weights"]),
        helper.make_node("Unsqueeze", ["weights", "middle"], ["shares"]),
        helper.make_node("Mul", ["rows", "shares"], ["weighed"]),
        helper.make_node("ReduceSum", ["weighed", "axes"], ["embedding"], keepdims=0),
        helper.make_node("Mul", ["embedding", "sharpness"], ["logits"]),
    ]
    given = [helper.make_tensor_value_info(m, TensorProto.FLOAT, ["batch", 3]) for m in modalities]
    given.append(helper.make_tensor_value_info("mask", TensorProto.BOOL, ["batch", len(modalities)]))
    told = [
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3]),
        helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", 3]),
        helper.make_tensor_value_info("weights", TensorProto.FLOAT, ["batch", len(modalities)]),
    ]
    tensors = [numpy_helper.from_array(value, name) for name, value in initial.items()]
    graph = helper.make_graph(nodes, "fusion", given, told, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def write_space(directory: Path) -> None:
    """Scope detector and indexes of an exported model, in its own space."""
    model = ExportedModel.load(directory, serving_host())
    encoded = model.encode(serving.EXAMPLES)
    seen = model.seen(encoded)
    labels = np.array([serving.COLOURS.index(s.target) for s in serving.EXAMPLES])
    detector = ScopeDetector.fit(seen.embeddings, labels, evidence=seen.evidence)
    detector.set_threshold(inside=seen, rate=0.2)  # of so few, a smaller rate would reject none
    (directory / "scope").mkdir()
    detector.save(directory / "scope")
    write_examples(directory, serving.EXAMPLES, model, RetrievalConfig(), encoded=encoded)
    write_documents(directory, serving.DOCUMENTS, model, RetrievalConfig())


def write_bundle(
    output: Path, workspace: Path, *, variant: str = "tiny:3", cascade: dict[str, Any] | None = None
) -> Path:
    """A bundle that answers with an exported model; with `cascade`, with a cascade of "tiny:3" and a "sure" one."""
    with BundleWriter(output, workspace) as writer:
        write_exported(variant_path(writer.path, "tiny:3"), variant="tiny:3")
        write_space(variant_path(writer.path, "tiny:3"))
        if cascade is not None:
            write_exported(variant_path(writer.path, "sure"), variant="sure", sharpness=40.0)
            write_space(variant_path(writer.path, "sure"))
            variant_path(writer.path, variant).mkdir()
            (variant_path(writer.path, variant) / "cascade.json").write_text(json.dumps(cascade))
        writer.commit(Manifest(vertical="served", config={"vertical": {}}, ledger={"chosen": variant}))
    return output
