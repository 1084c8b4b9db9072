from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from tests.core.encoders.values import pictures, sounds
from triptych.compression.onnx_export import export_encoder
from triptych.encoders.compact_audio import CompactAudioEncoder
from triptych.encoders.compact_image import CompactImageEncoder
from triptych.encoders.features import TextFeatures
from triptych.errors import BundleError, DataError
from triptych.runtime.media import Features, Pictures, Sounds


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    torch.manual_seed(0)
    encoder = CompactImageEncoder.create(image_size=48, framing="pad")
    encoder.fit(pictures(8))
    directory = tmp_path_factory.mktemp("image")
    return encoder, directory, export_encoder(encoder, directory, "fp32")["settings"]


@pytest.fixture(scope="module")
def heard(tmp_path_factory):
    encoder = CompactAudioEncoder.create(max_seconds=1.0)
    encoder.fit(sounds(8))
    directory = tmp_path_factory.mktemp("audio")
    return encoder, directory, export_encoder(encoder, directory, "fp32")["settings"]


@pytest.mark.parametrize("count", [0, 1, 5, 9])
@pytest.mark.parametrize(("kind", "runner", "values"), [("seen", Pictures, pictures), ("heard", Sounds, sounds)])
def test_runners_give_what_encoders_give(kind, runner, values, count, request):
    encoder, directory, settings = request.getfixturevalue(kind)
    loaded = runner.load(directory, settings, threads=1)
    found = loaded.encode(values(count))
    assert found.dtype == np.float32
    assert found.shape == (count, loaded.dim)
    np.testing.assert_allclose(found, encoder.encode(values(count)).numpy(), atol=1e-3)


@pytest.mark.parametrize(("kind", "runner"), [("seen", Pictures), ("heard", Sounds)])
def test_a_value_that_cannot_be_read_is_named(kind, runner, tmp_path, request):
    encoder, directory, settings = request.getfixturevalue(kind)
    bad = tmp_path / "broken.jpg"
    bad.write_bytes(b"neither a picture nor a sound")
    loaded = runner.load(directory, settings)
    with pytest.raises(DataError) as ours:
        loaded.encode([bad])
    with pytest.raises(DataError) as theirs:
        encoder.encode([bad])
    assert str(ours.value) == str(theirs.value)
    assert "broken.jpg" in str(ours.value)


def test_features_are_standardised_as_the_encoder_does(tmp_path):
    generator = np.random.default_rng(0)
    values = [*generator.normal(3, 2, (20, 4)).astype(np.float32), np.full(4, 1e6, dtype=np.float32)]
    encoder = TextFeatures.create()
    encoder.fit(values[:20])
    out = export_encoder(encoder, tmp_path, "fp32")
    runner = Features.load(tmp_path, out["settings"])
    assert runner.dim == out["dim"] == 4
    np.testing.assert_allclose(runner.encode(values), encoder.encode(values).numpy(), rtol=1e-6)
    with pytest.raises(DataError, match="text feature vector 1 has 3 numbers"):
        runner.encode([values[0], values[0][:3]])


def test_damaged_runners_are_refused(seen, heard, tmp_path):
    with pytest.raises(BundleError, match="cannot be opened"):
        Pictures.load(tmp_path, seen[2])
    with pytest.raises(BundleError, match="samples"):
        Sounds.load(seen[1], heard[2])
    with pytest.raises(BundleError, match="image_size"):
        Pictures.load(seen[1], {"framing": "pad"})
    with pytest.raises(BundleError, match=r"features\.safetensors"):
        Features.load(tmp_path, {})


def test_nothing_imports_torch(seen, heard, tmp_path):
    export_encoder(TextFeatures.create(dim=2), tmp_path, "fp32")
    code = f"""
import sys
from pathlib import Path
import numpy as np
from triptych.runtime.media import Features, Pictures, Sounds
from triptych.types import Waveform
picture = np.zeros((50, 40, 3), dtype=np.uint8)
sound = Waveform(np.zeros(12_000, dtype=np.float32), 8_000)
assert Pictures.load(Path({str(seen[1])!r}), {seen[2]!r}).encode([picture]).shape[0] == 1
assert Sounds.load(Path({str(heard[1])!r}), {heard[2]!r}).encode([sound]).shape[0] == 1
assert Features.load(Path({str(tmp_path)!r}), {{}}).encode([np.zeros(2)]).shape == (1, 2)
heavy = {{"torch", "transformers", "timm", "torchaudio", "torchvision", "onnx", "sklearn"}} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True)
