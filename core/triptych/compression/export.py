"""A model to a directory that answers without torch: what `triptych.runtime.exported` reads.

runtime.json        precision, head, temperatures, and for each modality the runner with its settings
<modality>/         graph or tables, tokenizer or vocabulary
fusion.onnx         projections, fusion and head in one graph
head.safetensors    with one modality, instead: the linear head
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from triptych.compression.base import Draft, Precision
from triptych.compression.onnx_export import export_encoder, export_fusion, halve_weights
from triptych.compression.packed import packing_obstacle, write_packed
from triptych.compression.static import export_hashed, export_static
from triptych.encoders.base import Encoder
from triptych.encoders.compact_text import CompactTextEncoder
from triptych.encoders.lexical import LexicalTable
from triptych.encoders.static_text import StaticTextEncoder
from triptych.encoders.transformer import TransformerTextEncoder
from triptych.models.heads import RegressionHead
from triptych.models.multimodal import MultimodalModel
from triptych.runtime.exported import FORMAT, FUSION, HEAD, RUNTIME
from triptych.runtime.lexical import LEXICAL
from triptych.runtime.text import GRAPH, TOKENIZER
from triptych.types import Sample

DESCRIPTION = "description.json"
CALIBRATION = 64
"""Values of each modality by which a graph's int8 ranges are set and its speed is compared."""


def export_obstacle(model: MultimodalModel) -> str | None:
    """Why a model cannot be exported, in a sentence that names the encoder; None where it can."""
    for m in model.modalities:
        encoder = model.encoder(m)
        if isinstance(encoder, StaticTextEncoder | CompactTextEncoder):
            continue
        if isinstance(encoder, TransformerTextEncoder) and packing_obstacle(encoder) is None:
            continue
        if encoder.exportable() is None:
            return f"the {m} encoder {encoder.name!r} cannot be exported, so it is served by torch"
    return None


def export_model(
    draft: Draft, directory: Path, *, variant: str, calibration: Sequence[Sample], cache: Path | None = None
) -> list[str]:
    """Write a draft into `directory`, which is made anew, and return what is worth telling of it.

    `calibration` are samples that show which values come; training samples will do. Graphs of encoders that were
    exported before are taken from `cache`. Raises `ValueError` for a model with an `export_obstacle`.
    """
    model = draft.model.to("cpu").eval()
    obstacle = export_obstacle(model)
    if obstacle is not None:
        raise ValueError(obstacle)
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    notes: list[str] = []
    modalities: dict[str, Any] = {}
    for m in model.modalities:
        folder = directory / m
        folder.mkdir()
        values = [s.value(m) for s in calibration if s.value(m) is not None][:CALIBRATION]
        modalities[m] = _export_encoder(model.encoder(m), folder, draft.precision, values, cache)
        notes += [f"{m}: {note}" for note in modalities[m].pop("notes", [])]
    export_top(draft, directory, cache=cache)
    (directory / RUNTIME).write_text(json.dumps(_describe(model, draft.precision, variant, modalities), indent=1))
    return notes


def export_top(draft: Draft, directory: Path, *, cache: Path | None = None) -> None:
    """Write what stands on the encoders (projections, fusion, head), over an earlier one where there is one."""
    if draft.model.fusion is None:
        _export_head(draft.model, directory / HEAD)
        return
    kept = None if cache is None else cache / f"{_fingerprint_of_top(draft.model)}-{draft.precision}.onnx"
    if kept is not None and kept.is_file():
        shutil.copyfile(kept, directory / FUSION)
        return
    export_fusion(draft.model, directory / FUSION)
    if draft.precision != "fp32":
        halve_weights(directory / FUSION)
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(directory / FUSION, kept.with_suffix(".part"))
        kept.with_suffix(".part").rename(kept)


def _fingerprint_of_top(model: MultimodalModel) -> str:
    """A hash of everything but the encoders: equal ones have the same graph."""
    digest = hashlib.sha256(repr([(m, model.encoder(m).dim) for m in model.modalities]).encode())
    digest.update(json.dumps([getattr(model.fusion, "name", ""), model.head.settings], sort_keys=True).encode())
    for key, tensor in sorted(model.state_dict().items()):
        if not key.startswith("encoders.") and key != "temperatures":
            digest.update(key.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:32]


def write_temperatures(directory: Path, temperatures: Sequence[float]) -> None:
    """Set the calibration of an exported model, which is found out with the exported model itself."""
    description = json.loads((directory / RUNTIME).read_text(encoding="utf-8"))
    description["temperatures"] = [float(t) for t in temperatures]
    (directory / RUNTIME).write_text(json.dumps(description, indent=1), encoding="utf-8")


def _describe(model: MultimodalModel, precision: Precision, variant: str, modalities: dict[str, Any]) -> dict[str, Any]:
    regression = None
    if isinstance(model.head, RegressionHead):
        regression = {"mean": model.head.mean.tolist(), "scale": model.head.scale.tolist()}
    return {
        "format": FORMAT,
        "variant": variant,
        "precision": precision,
        "devices": ["cpu"],
        "head": model.head.settings,
        "regression": regression,
        "modalities": modalities,
        "fusion": None if model.fusion is None else FUSION,
        "temperatures": model.temperatures.tolist(),
    }


def _export_encoder(
    encoder: Encoder, folder: Path, precision: Precision, values: Sequence[Any], cache: Path | None
) -> dict[str, Any]:
    if isinstance(encoder, StaticTextEncoder):
        return export_static(encoder, folder, precision)
    if isinstance(encoder, CompactTextEncoder):
        return export_hashed(encoder, folder, precision)
    if isinstance(encoder, TransformerTextEncoder) and packing_obstacle(encoder) is None:
        return _export_transformer(encoder, folder, precision)
    if cache is None:
        return dict(export_encoder(encoder, folder, precision, values))
    return _cached(encoder, folder, precision, values, cache)


def _cached(encoder: Encoder, folder: Path, precision: Precision, values: Sequence[Any], cache: Path) -> dict[str, Any]:
    """As `export_encoder`, which takes seconds, once for each encoder and precision."""
    kept = cache / f"{encoder.fingerprint[:32]}-{precision}"
    if not kept.is_dir():
        aside = kept.with_name(kept.name + ".part")
        shutil.rmtree(aside, ignore_errors=True)
        (aside / "files").mkdir(parents=True)
        description = export_encoder(encoder, aside / "files", precision, values)
        (aside / DESCRIPTION).write_text(json.dumps(description), encoding="utf-8")
        aside.rename(kept)
    shutil.copytree(kept / "files", folder, dirs_exist_ok=True)
    found: dict[str, Any] = json.loads((kept / DESCRIPTION).read_text(encoding="utf-8"))
    return found


def _export_transformer(encoder: TransformerTextEncoder, folder: Path, precision: Precision) -> dict[str, Any]:
    write_packed(encoder, folder / GRAPH, precision)
    encoder.tokenizer.save(str(folder / TOKENIZER), pretty=False)
    if encoder.lexical is not None:
        _export_lexical(encoder.lexical, folder / LEXICAL, precision)
    settings = {
        "dim": encoder.dim,
        "max_length": encoder.settings["max_length"],
        "lexical": encoder.lexical is not None,
    }
    return {"runner": "packed-text", "dim": encoder.dim, "settings": settings}


def _export_lexical(table: LexicalTable, path: Path, precision: Precision) -> None:
    rows = table.table.numpy()
    tensors = {"rarity": table.rarity.numpy(), "bias": table.bias.numpy(), "table": rows}
    if precision == "fp16":
        tensors |= {"rarity": tensors["rarity"].astype(np.float16), "table": rows.astype(np.float16)}
    elif precision == "int8":
        scale = np.maximum(np.abs(rows).max(axis=1), 1e-12) / 127  # [buckets]
        quantized = np.rint(rows / scale[:, None]).astype(np.int8)
        tensors |= {"table": quantized, "scale": scale.astype(np.float32)}
        tensors["rarity"] = tensors["rarity"].astype(np.float16)
    save_file(tensors, path)


def _export_head(model: MultimodalModel, path: Path) -> None:
    weight, bias = model.head.linear.weight.detach().numpy(), model.head.linear.bias.detach().numpy()
    save_file({"weight": np.ascontiguousarray(weight), "bias": bias}, path)
