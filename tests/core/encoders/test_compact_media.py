from __future__ import annotations

import numpy as np
import pytest
import torch

from triptych.encoders.compact import CLIP
from triptych.encoders.compact_audio import CompactAudioEncoder
from triptych.encoders.compact_image import CompactImageEncoder
from triptych.errors import ConfigError
from triptych.types import Waveform

from .values import pictures, sounds


@pytest.mark.parametrize(("cls", "values"), [(CompactImageEncoder, pictures), (CompactAudioEncoder, sounds)])
class TestBoth:
    def test_a_fresh_network_says_nothing(self, cls, values):
        encoder = cls.create(learned=16)
        encoder.fit(values())
        assert encoder.encode(values())[:, -16:].abs().max() == 0

    def test_without_a_network_there_is_nothing_to_train(self, cls, values):
        assert not list(cls.create().parameters())

    def test_fitting_standardises(self, cls, values):
        encoder = cls.create()
        encoder.fit(values(40))
        vectors = encoder.encode(values(40))
        changing = encoder.scale != 1
        assert vectors.mean(dim=0).abs().max() < 0.5
        assert (vectors.std(dim=0, correction=0)[changing] - 1).abs().median() < 0.05
        assert vectors.abs().max() <= CLIP

    def test_training_opens_the_gain_and_reaches_the_network(self, cls, values):
        torch.manual_seed(0)
        encoder = cls.create(learned=16).train()
        optimizer = torch.optim.Adam(encoder.parameters(), lr=1e-2)
        batch = encoder.prepare(values())
        for _ in range(2):
            optimizer.zero_grad()
            encoder(batch)[:, -16:].sum().backward()
            optimizer.step()
        assert encoder.gain.abs().min() > 0
        assert any(p.grad.abs().sum() > 0 for p in encoder.network.parameters())

    def test_the_family_name_is_all_there_is(self, cls, values):
        with pytest.raises(ConfigError, match="compact:large"):
            cls.create("large")

    def test_impossible_sizes_are_refused(self, cls, values):
        with pytest.raises(ConfigError, match="learned"):
            cls.create(learned=-1)


def nearest(encoder, first, second):
    """For each of `first` the index of the nearest of `second`."""
    encoder.fit([*first, *second])
    return torch.cdist(encoder.encode(first), encoder.encode(second)).argmin(dim=1).tolist()


def test_untrained_pictures_of_one_layout_are_neighbours():
    generator = np.random.default_rng(0)

    def layout(kind: int) -> np.ndarray:
        pixels = generator.normal(200, 15, (80, 80, 3))
        if kind == 0:
            pixels[::8] -= 150  # lines of text
        elif kind == 1:
            pixels[:, ::8] -= 150
        else:
            pixels[20:60, 20:60, 0] -= 150
        return pixels.clip(0, 255).astype(np.uint8)

    assert nearest(CompactImageEncoder.create(), [layout(k) for k in range(3)], [layout(k) for k in range(3)]) == [
        0,
        1,
        2,
    ]


def test_untrained_sounds_tell_rising_from_falling():
    generator = np.random.default_rng(0)

    def sweep(kind: int) -> Waveform:
        seconds = generator.uniform(0.6, 1.0)
        t = np.arange(int(16_000 * seconds)) / 16_000
        pitch = {0: 300 + 1500 * t / seconds, 1: 1800 - 1500 * t / seconds, 2: 1000 + 0 * t}[kind]
        tone = np.sin(2 * np.pi * np.cumsum(pitch) / 16_000) + generator.normal(0, 0.05, len(t))
        return Waveform((0.3 * tone).astype(np.float32), 16_000)

    assert nearest(CompactAudioEncoder.create(), [sweep(k) for k in range(3)], [sweep(k) for k in range(3)]) == [
        0,
        1,
        2,
    ]


@pytest.mark.parametrize("samples", [1, 399, 400, 560, 720, 1_040])
def test_the_shortest_sounds_have_finite_vectors(samples):
    encoder = CompactAudioEncoder.create(learned=8)
    torch.nn.init.ones_(encoder.gain)
    vector = encoder.encode([Waveform(np.full(samples, 0.1, dtype=np.float32), 16_000)])
    assert bool(torch.isfinite(vector).all())


def test_a_picture_of_one_colour_has_a_finite_vector():
    vector = CompactImageEncoder.create().encode([np.zeros((20, 20, 3), dtype=np.uint8)])
    assert bool(torch.isfinite(vector).all())
