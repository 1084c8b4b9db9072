from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from tests.core.compression.students import context_of, teacher_model
from tests.core.models.tiny import HOST
from triptych.compression.activations import Moments
from triptych.compression.low_rank import LowRank, thin_pair
from triptych.compression.quality import quality
from triptych.encoders.slim import thin_rank
from triptych.models.build import load_model


def test_a_thin_model_recovers_and_can_be_saved(tmp_path: Path) -> None:
    teacher = teacher_model()
    context = context_of(teacher, tmp_path, effort=0.3)
    compressor = LowRank("0.5")

    student = compressor.convert(teacher, context)
    compressor.recover(student, context)

    features = student.features(context.validation)
    assert quality(student, features, context.validation_targets) >= 0.9
    layer = student.encoder("text").stack[0]
    assert [tuple(m.weight.shape) for m in layer.intermediate.dense] == [(10, 32), (64, 10)]
    student.save(tmp_path)
    again = load_model(tmp_path, HOST)
    assert torch.equal(again.features(context.validation).vectors["text"], features.vectors["text"])


def test_the_rank_makes_the_share_of_multiplications() -> None:
    assert thin_rank(384, 1536, 0.5) == 153
    assert 153 * (384 + 1536) <= 0.5 * 384 * 1536
    assert thin_rank(4, 4, 0.1) == 1


def test_directions_that_inputs_take_are_kept() -> None:
    torch.manual_seed(0)
    inputs = torch.randn(500, 3) @ torch.randn(3, 16) + 2.0  # three directions and an offset
    centred = inputs - inputs.mean(dim=0)
    matrix = nn.Linear(16, 12)

    pair = thin_pair(matrix, Moments(inputs.mean(dim=0), centred.T @ centred / 500), 3)

    torch.testing.assert_close(pair(inputs), matrix(inputs), atol=0.05, rtol=0.05)
    assert sum(p.numel() for p in pair.parameters()) == 3 * 16 + 3 * 12 + 12
