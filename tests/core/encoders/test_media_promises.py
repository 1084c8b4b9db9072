"""Every image and sound encoder keeps the promises of `Encoder`."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from triptych.encoders.compact_audio import CompactAudioEncoder
from triptych.encoders.compact_image import CompactImageEncoder
from triptych.encoders.features import AudioFeatures, ImageFeatures, TextFeatures
from triptych.encoders.timm import MOBILENET_V1, TimmEncoder
from triptych.encoders.yamnet import YamnetEncoder
from triptych.testing import check_encoder

from .values import pictures, sounds


def learned(encoder):
    """A compact encoder whose network speaks, as after training."""
    torch.nn.init.normal_(encoder.gain)
    return encoder


def vectors() -> list[list[float]]:
    return [[1.0, 2.0, 5.0], [2.0, 2.0, 1.0], [3.0, 2.0, 0.5], [0.0, 2.0, 0.0]]


MAKERS = {
    "compact:image": (CompactImageEncoder.create, pictures),
    "compact:image learned": (lambda: learned(CompactImageEncoder.create(learned=16, image_size=48)), pictures),
    "compact:audio": (CompactAudioEncoder.create, sounds),
    "compact:audio learned": (lambda: learned(CompactAudioEncoder.create(learned=16)), sounds),
    "timm small": (lambda: TimmEncoder.create("test_efficientnet", pretrained=False, framing="pad"), pictures),
    "timm vit": (lambda: TimmEncoder.create("test_vit", pretrained=False, framing="squash"), pictures),
    "timm mobilenetv1": (lambda: TimmEncoder.create(MOBILENET_V1, pretrained=False, image_size=64), pictures),
    "yamnet": (lambda: YamnetEncoder.create(pretrained=False), sounds),
    "yamnet spread": (lambda: YamnetEncoder.create(pretrained=False, spread=True), sounds),
    "features:text": (TextFeatures.create, vectors),
    "features:image": (ImageFeatures.create, vectors),
    "features:audio": (AudioFeatures.create, vectors),
}


@pytest.mark.parametrize("name", MAKERS)
def test_promises_are_kept(name, tmp_path):
    torch.manual_seed(0)
    make, values = MAKERS[name]
    garbage = ["no such file", b"neither picture nor sound", np.full((3,), np.nan)]
    check_encoder(make(), values(), tmp_path, garbage=garbage)


@pytest.mark.parametrize("name", MAKERS)
def test_different_values_have_different_vectors(name):
    torch.manual_seed(0)
    make, values = MAKERS[name]
    encoder = make()
    encoder.fit(values())
    found = encoder.encode(values())
    distances = torch.cdist(found, found)
    assert distances[~torch.eye(len(found), dtype=torch.bool)].min() > 1e-4
