from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.core.compression.students import piece_encoder
from triptych.compression.export import _export_transformer
from triptych.compression.packed import packing_obstacle
from triptych.encoders.lexical import LexicalTable
from triptych.encoders.transformer import TransformerTextEncoder
from triptych.runtime.graphs import SLOWER
from triptych.runtime.text import ONE_ROW, PackedText, pack

TEXTS = ["my card was lost", "loan", "please send the transfer of my payment now please", "", "weather " * 30]


def exported(encoder: TransformerTextEncoder, folder: Path, precision: str) -> PackedText:
    described = _export_transformer(encoder, folder, precision)  # type: ignore[arg-type]
    assert described["dim"] == encoder.dim
    return PackedText.load(folder, described["settings"], threads=1)


@pytest.mark.parametrize("pooling", ["mean", "cls", "mean_sqrt_len_tokens"])
@pytest.mark.parametrize("normalize", [True, False])
def test_float32_gives_the_vectors_of_the_encoder(tmp_path: Path, pooling: str, normalize: bool) -> None:
    encoder = piece_encoder()
    encoder._settings |= {"pooling": pooling, "normalize": normalize}

    runner = exported(encoder, tmp_path, "fp32")

    np.testing.assert_allclose(runner.encode(TEXTS), encoder.encode(TEXTS).numpy(), atol=1e-5)
    np.testing.assert_allclose(runner.encode(TEXTS[:1]), encoder.encode(TEXTS[:1]).numpy(), atol=1e-5)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_norms_stand_alone_when_the_graph_is_opened(tmp_path: Path, precision: str) -> None:
    exported(piece_encoder(), tmp_path, precision)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")

    kinds = {}
    for name, left in (("ours", SLOWER), ("theirs", [])):
        onnxruntime.InferenceSession(str(tmp_path / "graph.onnx"), options, disabled_optimizers=left)
        kinds[name] = {node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node}

    assert "SkipLayerNormalization" in kinds["theirs"]  # else there is nothing to switch off
    assert "SkipLayerNormalization" not in kinds["ours"]
    assert "LayerNormalization" in kinds["ours"]


@pytest.mark.parametrize(("precision", "least"), [("fp16", 0.9999), ("int8", 0.98)])
def test_fewer_bits_give_nearly_the_same_vectors_in_a_smaller_file(
    tmp_path: Path, precision: str, least: float
) -> None:
    encoder = piece_encoder()
    wanted = encoder.encode(TEXTS).numpy()
    exported(encoder, tmp_path, "fp32")
    whole = (tmp_path / "graph.onnx").stat().st_size

    found = exported(encoder, tmp_path, precision).encode(TEXTS)

    assert ((found * wanted).sum(axis=1) > least).all()  # both of unit length
    assert (tmp_path / "graph.onnx").stat().st_size < 0.8 * whole


def test_fewer_heads_and_neurons_are_read_from_the_weights(tmp_path: Path) -> None:
    encoder = piece_encoder()
    for layer in encoder.backbone.encoder.layer:
        layer.intermediate.dense = torch.nn.Linear(32, 20)
        layer.output.dense = torch.nn.Linear(20, 32)

    runner = exported(encoder.eval(), tmp_path, "fp32")

    np.testing.assert_allclose(runner.encode(TEXTS), encoder.encode(TEXTS).numpy(), atol=1e-5)


@pytest.mark.parametrize(("precision", "error"), [("fp32", 1e-5), ("fp16", 1e-2), ("int8", 2e-2)])
def test_the_lexical_table_travels_along(tmp_path: Path, precision: str, error: float) -> None:
    encoder = piece_encoder()
    encoder._settings["lexical"] = 0
    torch.manual_seed(0)
    table = LexicalTable(3, buckets=512)
    table.table.normal_()
    table.rarity.uniform_(1, 3)
    table.bias.normal_()
    encoder.set_lexical(table)
    texts = [t for t in TEXTS if t]

    found = exported(encoder, tmp_path, precision).encode(texts)

    np.testing.assert_allclose(found[:, -3:], encoder.encode(texts).numpy()[:, -3:], atol=error)


def test_what_cannot_be_packed_is_said() -> None:
    encoder = piece_encoder()
    assert packing_obstacle(encoder) is None
    encoder._settings["pooling"] = "max"
    assert "max pooling" in str(packing_obstacle(encoder))
    encoder.model_config.model_type = "deberta-v2"
    assert "deberta-v2" in str(packing_obstacle(encoder))


@given(st.lists(st.integers(1, 90), max_size=60), st.integers(1, 200))
def test_packing_keeps_every_token_once(lengths: list[int], tokens: int) -> None:
    ids = [[1000 * i + k + 1 for k in range(n)] for i, n in enumerate(lengths)]

    batches = pack(ids, width=32, tokens=tokens)

    assert sorted(row for batch in batches for row in batch.rows) == list(range(len(ids)))
    for batch in batches:
        feed = batch.feed
        for number, row in enumerate(batch.rows, start=1):
            mine = feed["segments"] == number
            assert feed["input_ids"][mine].tolist() == ids[row]
            assert feed["positions"][mine].tolist() == list(range(len(ids[row])))
            assert len(set(np.nonzero(mine)[0].tolist())) == 1  # within one row
        assert not feed["input_ids"][feed["segments"] == 0].any()
        if sum(lengths[row] for row in batch.rows) <= ONE_ROW:
            assert (len(feed["segments"]), feed["segments"].all()) == (1, True)
