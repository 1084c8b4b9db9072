"""Static distillation: a table of words and pairs of words instead of a transformer; and tables as files.

The rows begin as what the teacher makes of the texts that a unit is in (the idea of model2vec, Tulkens & van Dongen
2024, with texts of the task in place of single words: it costs no further encoding), and are then trained against the
teacher's answers and vectors.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import Tensor

from triptych.compression.base import CompressionContext, Compressor, Precision
from triptych.compression.static_training import teach
from triptych.encoders.compact_text import CompactTextEncoder
from triptych.encoders.features import FeatureEncoder
from triptych.encoders.static_text import StaticTextEncoder
from triptych.errors import ConfigError
from triptych.models.multimodal import MultimodalModel
from triptych.runtime.static_text import SCALE, TABLE, WORDS

TABLE_DIM, ROWS, BUCKETS, HIDDEN = 192, 8_000, 1_024, 384
START = 0.3
"""The mean length of a row at the start."""
LAYERS = ("norm.weight", "norm.bias", "hidden.weight", "hidden.bias", "output.weight", "output.bias")


class StaticDistillation(Compressor):
    """The text encoder becomes a table look-up. "static:128" sets the table's dim, "static:256,20000" its rows too."""

    name = "static"

    def __init__(self, argument: str = "") -> None:
        super().__init__(argument)
        try:
            sizes = [int(size) for size in argument.split(",")] if argument else []
        except ValueError:
            sizes = [0]
        if len(sizes) > 2 or min(sizes, default=1) < 1:
            raise ConfigError(f"static takes the table's dim and its most rows (static:256,20000), not {argument!r}")
        self.table = sizes[0] if sizes else TABLE_DIM
        self.rows = sizes[1] if len(sizes) > 1 else ROWS

    def obstacle(self, model: MultimodalModel) -> str | None:
        """There must be a text encoder that reads words and that is slower than a table."""
        if "text" not in model.modalities:
            return "the model has no text encoder that a table could replace"
        encoder = model.encoder("text")
        if isinstance(encoder, FeatureEncoder):
            return "the text encoder takes vectors that were computed elsewhere, so there are no words to look up"
        if isinstance(encoder, StaticTextEncoder):
            return "the text encoder is a static table already"
        if isinstance(encoder, CompactTextEncoder):
            return "the text encoder is a table of hashed n-grams already"
        return None

    def convert(self, model: MultimodalModel, context: CompressionContext) -> MultimodalModel:
        """The model with a table in place of its text encoder; everything else is copied, nothing shared."""
        old = model.encoder("text")
        texts = [s.text for s in context.train if s.text is not None]
        wanted = _vectors(model, context)
        lengths = wanted.norm(dim=1)
        normalize = len(wanted) > 0 and bool((lengths - 1).abs().max() < 1e-3)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(context.seed)
            encoder = StaticTextEncoder.create(
                dim=old.dim, table=self.table, hidden=HIDDEN, buckets=BUCKETS, rows=self.rows, normalize=normalize
            )
            encoder.fit(texts)
        if len(wanted):
            _begin(encoder, texts, wanted)
        encoders = {m: encoder if m == "text" else copy.deepcopy(model.encoder(m)).cpu() for m in model.modalities}
        student = MultimodalModel(
            encoders, copy.deepcopy(model.fusion), copy.deepcopy(model.head), dropout=model.dropout
        )
        student.projections.load_state_dict(model.projections.state_dict())
        student.temperatures.copy_(model.temperatures)
        return student.cpu().eval()

    def recover(self, model: MultimodalModel, context: CompressionContext) -> list[str]:
        """Train table, fusion and head against the teacher (see `triptych.compression.static_training`)."""
        encoder = model.encoder("text")
        assert isinstance(encoder, StaticTextEncoder)
        words, pairs = len(encoder.vocabulary.words), len(encoder.vocabulary.pairs)
        table = f"a table of {words:,} words, {pairs:,} pairs of words and {BUCKETS:,} spellings"
        return [f"{table}, {self.table} numbers each", *teach(model, context)]


def export_static(encoder: StaticTextEncoder, directory: Path, precision: Precision) -> dict[str, Any]:
    """Write what `triptych.runtime.static_text.StaticText` reads; returns its entry in runtime.json."""
    state = encoder.state_dict()
    tensors = {"table": state["table.weight"], **{name: state[name] for name in LAYERS}}
    vocabulary = encoder.vocabulary
    numbers = np.uint16 if len(vocabulary.words) <= np.iinfo(np.uint16).max else np.int64
    pairs = np.array(vocabulary.pairs, dtype=numbers).reshape(-1, 2)
    save_file({**_stored(tensors, precision), "pairs": pairs}, directory / TABLE)
    words = json.dumps(vocabulary.words, ensure_ascii=False, separators=(",", ":"))
    (directory / WORDS).write_text(words, encoding="utf-8")
    settings = {"buckets": vocabulary.buckets, "normalize": encoder.settings["normalize"]}
    return {"runner": "static-text", "dim": encoder.dim, "settings": settings}


def export_hashed(encoder: CompactTextEncoder, directory: Path, precision: Precision) -> dict[str, Any]:
    """Write what `triptych.runtime.static_text.HashedText` reads; returns its entry in runtime.json."""
    state = encoder.state_dict()
    tensors = {"table": state["table.weight"], "rarity": state["rarity"]}
    tensors |= {name: state[name] for name in ("norm.weight", "norm.bias")}
    save_file(_stored(tensors, precision), directory / TABLE)
    return {"runner": "hashed-text", "dim": encoder.dim, "settings": {}}


def _stored(tensors: dict[str, Tensor], precision: Precision) -> dict[str, Any]:
    """As NumPy arrays of the precision; with "int8" a matrix has a scale for each row, and vectors stay floats."""
    stored: dict[str, Any] = {}
    for name, tensor in tensors.items():
        values = tensor.detach().cpu().float().contiguous().numpy()
        if precision == "fp16":
            stored[name] = values.astype(np.float16)
        elif precision == "int8" and values.ndim == 2:
            scale = np.maximum(np.abs(values).max(axis=1), 1e-12) / 127  # [rows]
            stored[name] = np.rint(values / scale[:, None]).astype(np.int8)
            stored[name + SCALE] = scale.astype(np.float32)
        else:
            stored[name] = values
    return stored


def _vectors(model: MultimodalModel, context: CompressionContext) -> Tensor:
    """What the teacher made of the training texts, [texts, dim]."""
    taught = context.teacher.train
    column = context.teacher.model.modalities.index("text")
    vectors = taught.vectors["text"][taught.mask[:, column]]
    if vectors.shape[1] == model.encoder("text").dim:
        return vectors
    return model.encoder("text").encode([s.text for s in context.train if s.text is not None])


@torch.no_grad()
def _begin(encoder: StaticTextEncoder, texts: list[str], vectors: Tensor) -> None:
    """Each row to the mean of its texts' vectors in their main directions; shrunk for rare units."""
    rows = [encoder.vocabulary.look_up(text) for text in texts]
    unit = torch.tensor([row for found in rows for row in found])
    text = torch.repeat_interleave(torch.arange(len(rows)), torch.tensor([len(found) for found in rows]))
    centred = vectors - vectors.mean(dim=0)
    size = encoder.settings["table"]
    # main directions from the covariance, which is small however many texts there are
    directions = torch.linalg.eigh(centred.T @ centred).eigenvectors.flip(1)[:, :size]
    projected = centred @ directions  # [texts, at most size]
    table = encoder.table.weight
    sums = torch.zeros(len(table), projected.shape[1]).index_add_(0, unit, projected[text])
    counts = torch.zeros(len(table)).index_add_(0, unit, torch.ones(len(unit)))
    means = sums / (counts + 1)[:, None]
    used = counts > 0
    means *= START / means[used].norm(dim=1).mean().clamp_min(1e-12)
    table[:, : means.shape[1]] += means
    table[0] = 0.0
