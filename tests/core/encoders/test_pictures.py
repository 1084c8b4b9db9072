from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from triptych.encoders.pictures import check_framing, prepare_pictures, to_float, vary
from triptych.errors import ConfigError


@pytest.fixture
def wide():
    """A picture three times as wide as high: red, green, blue."""
    pixels = np.zeros((60, 180, 3), dtype=np.uint8)
    for i in range(3):
        pixels[:, 60 * i : 60 * (i + 1), i] = 200
    return pixels


def colour_at(batch: torch.Tensor, row: int, column: int) -> int:
    """0, 1 or 2 for red, green, blue; 3 for grey."""
    pixel = batch[0, row, column].tolist()
    return 3 if max(pixel) - min(pixel) < 10 else int(np.argmax(pixel))


@pytest.mark.parametrize(("framing", "seen"), [("squash", [0, 1, 2]), ("crop", [1, 1, 1]), ("pad", [0, 1, 2])])
def test_framing_decides_what_is_seen_of_a_wide_picture(wide, framing, seen):
    batch = prepare_pictures([wide], 30, framing=framing)
    assert batch.shape == (1, 30, 30, 3)
    assert batch.dtype == torch.uint8
    assert [colour_at(batch, 15, column) for column in (3, 15, 26)] == seen


def test_padding_is_grey(wide):
    batch = prepare_pictures([wide], 30, framing="pad")
    assert colour_at(batch, 1, 15) == colour_at(batch, 28, 15) == 3


def test_a_shrunk_jpeg_looks_like_the_whole_one(tmp_path):
    y, x = np.mgrid[0:900, 0:1200]
    pixels = np.stack([x * 255 / 1200, y * 255 / 900, 128 + 0 * x], axis=2).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "big.jpg", quality=95)
    small = prepare_pictures([tmp_path / "big.jpg"], 64, framing="squash").float()
    whole = prepare_pictures([pixels], 64, framing="squash").float()
    assert (small - whole).abs().mean() < 2


def test_standardised_pictures_are_channels_last(wide):
    half = torch.full((3,), 0.5)
    floats = to_float(prepare_pictures([wide], 30, framing="squash"), half, half)
    assert floats.shape == (1, 3, 30, 30)
    assert floats.is_contiguous(memory_format=torch.channels_last)
    assert -1 <= floats.min() <= floats.max() <= 1


def test_variation_follows_the_seed_and_keeps_the_shape():
    pictures = torch.rand(4, 3, 20, 20)
    torch.manual_seed(5)
    first = vary(pictures, 1.0, flip=True)
    torch.manual_seed(5)
    assert torch.equal(first, vary(pictures, 1.0, flip=True))
    assert first.shape == pictures.shape
    assert not torch.allclose(first, pictures)


def test_without_mirroring_left_stays_left():
    pictures = torch.zeros(64, 3, 20, 20)
    pictures[..., :10] = 1.0
    varied = vary(pictures, 0.5, flip=False)
    assert bool((varied[..., 0].mean(dim=(1, 2)) > varied[..., -1].mean(dim=(1, 2))).all())


def test_every_wrong_setting_is_named_at_once():
    with pytest.raises(ConfigError) as error:
        check_framing("squeeze", "cubic", 3)
    assert len(error.value.problems) == 3
