from __future__ import annotations

import csv

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from triptych.encoders.yamnet import SHORTEST, YamnetEncoder, mel_filters
from triptych.errors import ConfigError, MissingError
from triptych.types import Waveform

from .values import sounds


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return YamnetEncoder.create(pretrained=False).eval()


@pytest.fixture
def trained(shared_data, monkeypatch):
    monkeypatch.setenv("TRIPTYCH_WEIGHTS", str(shared_data / "weights"))
    return YamnetEncoder.create().eval()


def noise(samples: int) -> Waveform:
    return Waveform(np.random.default_rng(0).normal(0, 0.1, samples).astype(np.float32), 16_000)


@pytest.mark.parametrize(
    ("samples", "patches"),
    [(1, 1), (SHORTEST, 1), (SHORTEST + 1, 2), (SHORTEST + 7_680, 2), (SHORTEST + 7_681, 3), (80_000, 10)],
)
def test_patches_start_every_half_second_and_the_last_may_be_partial(samples, patches):
    encoder = YamnetEncoder.create(pretrained=False, skip_silence=False)
    found, counts = encoder.patches(encoder.prepare([noise(samples)]))
    assert counts.tolist() == [patches]
    assert found.shape == (patches, 1, 96, 64)


def test_silent_patches_do_not_count(encoder):
    sound = noise(80_000)
    sound.samples[40_000:] = 0
    _, counts = encoder.patches(encoder.prepare([sound]))
    assert counts.tolist() == [5]  # of ten; the sixth has a tenth of a second of noise


def test_a_silent_sound_has_a_vector(encoder):
    vector = encoder.encode([Waveform(np.zeros(30_000, dtype=np.float32), 16_000)])
    assert bool(torch.isfinite(vector).all())


def test_what_lies_beyond_the_limit_is_not_heard():
    encoder = YamnetEncoder.create(pretrained=False, max_seconds=1.0)
    assert encoder.prepare([noise(80_000)])["samples"].shape == (1, 16_000)


def test_a_model_name_is_refused():
    with pytest.raises(ConfigError, match="yamnet:large"):
        YamnetEncoder.create("large", pretrained=False)


def test_missing_weights_offer_training_from_scratch(monkeypatch):
    monkeypatch.delenv("TRIPTYCH_WEIGHTS", raising=False)
    with pytest.raises(MissingError, match="pretrained=false"):
        YamnetEncoder.create()


def test_our_mel_filters_are_those_of_the_published_weights(shared_data):
    published = load_file(shared_data / "weights" / "yamnet_audioset_fp16.safetensors")["mel"]
    assert (mel_filters() - published).abs().max() < 2e-5


def test_published_weights_recognise_what_everybody_hears(shared_data, trained):
    """The classifier of the weights on our embedding of one clip of each kind."""
    tensors = load_file(shared_data / "weights" / "yamnet_audioset_fp16.safetensors")
    with (shared_data / "weights" / "yamnet_classes.csv").open(encoding="utf-8") as file:
        names = [row["display_name"] for row in csv.DictReader(file)]
    with (shared_data / "audio/esc10/clips.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    wanted = {"dog": "Dog", "rooster": "Rooster", "crying_baby": "Crying", "helicopter": "Engine", "rain": "Rain"}
    clips = [next(row["file"] for row in rows if row["label"] == label) for label in wanted]
    vectors = trained.encode([shared_data / "audio/esc10" / clip for clip in clips])
    scores = vectors @ tensors["classifier.weight"].float().T + tensors["classifier.bias"]
    for row, part in enumerate(wanted.values()):
        best = [names[i] for i in scores[row].topk(5).indices.tolist()]
        assert any(part.lower() in name.lower() for name in best), (part, best)


def test_short_and_long_sounds_share_a_batch_without_touching(trained):
    values = sounds(4)
    together = trained.encode(values, batch_size=4)
    alone = torch.cat([trained.encode([value]) for value in values])
    assert (together - alone).abs().max() < 1e-4
