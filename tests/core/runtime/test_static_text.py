"""Exported tables say in NumPy what the encoders say in torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from triptych.compression.base import Precision
from triptych.compression.static import export_hashed, export_static
from triptych.encoders.compact_text import CompactTextEncoder
from triptych.encoders.static_text import StaticTextEncoder
from triptych.errors import BundleError, DataError
from triptych.runtime.static_text import CHUNK, TABLE, WORDS, HashedText, StaticText, gelu

TEXTS = ["I lost my card", "my card was lost", "lost my 卡 again", "", "卡 again", "pay by card?", "...", "unheard 😀"]


def static_encoder(*, normalize: bool = False) -> StaticTextEncoder:
    torch.manual_seed(0)
    encoder = StaticTextEncoder.create(dim=12, table=16, hidden=20, buckets=32, normalize=normalize)
    encoder.fit(TEXTS)
    torch.nn.init.normal_(encoder.table.weight[1:])
    torch.nn.init.normal_(encoder.norm.bias)
    return encoder.eval()


def hashed_encoder() -> CompactTextEncoder:
    torch.manual_seed(0)
    encoder = CompactTextEncoder.create(dim=12, buckets=256)
    encoder.fit(TEXTS)
    torch.nn.init.normal_(encoder.norm.bias)
    return encoder.eval()


def exported(directory: Path, encoder: StaticTextEncoder, precision: Precision) -> StaticText:
    entry = export_static(encoder, directory, precision)
    assert entry["runner"] == "static-text"
    assert entry["dim"] == encoder.dim
    return StaticText.load(directory, entry["settings"])


@pytest.mark.parametrize("normalize", [False, True])
def test_the_table_in_floats_gives_the_encoders_vectors(tmp_path: Path, normalize: bool) -> None:
    encoder = static_encoder(normalize=normalize)
    runner = exported(tmp_path, encoder, "fp32")
    vectors = runner.encode(TEXTS)
    assert vectors.dtype == np.float32
    assert np.allclose(vectors, encoder.encode(TEXTS).numpy(), atol=1e-5)


@pytest.mark.parametrize(("precision", "share"), [("fp16", 0.7), ("int8", 0.5)])
def test_fewer_bits_make_a_smaller_file_with_nearly_the_same_vectors(
    tmp_path: Path, precision: Precision, share: float
) -> None:
    encoder = static_encoder()
    whole, small = tmp_path / "whole", tmp_path / "small"
    whole.mkdir()
    small.mkdir()
    exported(whole, encoder, "fp32")
    ours, theirs = exported(small, encoder, precision).encode(TEXTS), encoder.encode(TEXTS).numpy()
    assert (small / TABLE).stat().st_size < share * (whole / TABLE).stat().st_size + 1_000
    cosine = (ours * theirs).sum(axis=1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)
    assert cosine.min() > 0.999


def test_vectors_do_not_depend_on_the_batch(tmp_path: Path) -> None:
    runner = exported(tmp_path, static_encoder(), "fp32")
    many = TEXTS * (CHUNK // len(TEXTS) + 2)
    together = runner.encode(many)
    assert len(many) > CHUNK
    assert np.allclose(together, np.concatenate([runner.encode([text]) for text in many]), atol=1e-5)


def test_no_texts_give_no_vectors(tmp_path: Path) -> None:
    assert exported(tmp_path, static_encoder(), "fp32").encode([]).shape == (0, 12)
    export_hashed(hashed_encoder(), tmp_path, "fp32")
    assert HashedText.load(tmp_path, {}).encode([]).shape == (0, 12)


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a text is wanted, not float"):
        exported(tmp_path, static_encoder(), "int8").encode(["fine", 1.5])


def test_hashed_tables_give_the_encoders_vectors(tmp_path: Path) -> None:
    encoder = hashed_encoder()
    entry = export_hashed(encoder, tmp_path, "fp32")
    assert entry == {"runner": "hashed-text", "dim": 12, "settings": {}}
    vectors = HashedText.load(tmp_path, {}).encode(TEXTS)
    assert vectors.dtype == np.float32
    assert np.allclose(vectors, encoder.encode(TEXTS).numpy(), atol=1e-5)


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_hashed_tables_of_fewer_bits_are_near(tmp_path: Path, precision: Precision) -> None:
    encoder = hashed_encoder()
    export_hashed(encoder, tmp_path, precision)
    vectors = HashedText.load(tmp_path, {}).encode(TEXTS)
    assert np.abs(vectors - encoder.encode(TEXTS).numpy()).max() < 0.05


def test_the_activation_is_that_of_torch() -> None:
    values = torch.linspace(-6, 6, 200)
    wanted = torch.nn.functional.gelu(values, approximate="tanh").numpy()
    assert np.allclose(gelu(values.numpy()), wanted, atol=1e-6)


def test_a_damaged_table_is_told(tmp_path: Path) -> None:
    entry = export_static(static_encoder(), tmp_path, "int8")
    (tmp_path / WORDS).write_text('["only"]', encoding="utf-8")
    with pytest.raises(BundleError, match="rows, its words need"):
        StaticText.load(tmp_path, entry["settings"])
    (tmp_path / WORDS).unlink()
    with pytest.raises(BundleError, match="cannot be read"):
        StaticText.load(tmp_path, entry["settings"])
    (tmp_path / TABLE).write_bytes(b"nothing")
    with pytest.raises(BundleError, match="cannot be read"):
        StaticText.load(tmp_path, entry["settings"])
    with pytest.raises(BundleError, match="cannot be read"):
        HashedText.load(tmp_path, {})


def test_answering_needs_neither_torch_nor_a_tokenizer(tmp_path: Path) -> None:
    entry = export_static(static_encoder(), tmp_path, "int8")
    code = f"""
import sys
from pathlib import Path
from triptych.runtime.static_text import StaticText
print(StaticText.load(Path({str(tmp_path)!r}), {entry["settings"]!r}).encode(["lost card"]).shape)
print(sorted({{"torch", "tokenizers", "transformers", "onnxruntime", "scipy"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["(1, 12)", "[]"]
