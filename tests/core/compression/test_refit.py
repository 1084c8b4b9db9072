from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.core.compression.students import context_of, teacher_model
from tests.core.models.tiny import tiny_model, train, views
from triptych.compression.base import CompressionContext, Draft, Teacher
from triptych.compression.quality import quality
from triptych.compression.refit import refit
from triptych.device import choose_device
from triptych.models.multimodal import Features
from triptych.types import Sample


def moved(features: Features, seed: int) -> Features:
    """What a coarse quantization might do: each number of a vector shifted and stretched, the same for all samples."""
    chance = torch.Generator().manual_seed(seed)
    vectors = {
        m: v * (1 + 0.8 * torch.randn(v.shape[1], generator=chance)) + torch.randn(v.shape[1], generator=chance)
        for m, v in features.vectors.items()
    }
    return Features(vectors, features.mask)


def fused_context(tmp_path: Path) -> tuple[CompressionContext, Features, Features]:
    """A trained model of three modalities with its vectors."""
    seen, targets = views(300, seed=1)
    held, held_targets = views(200, seed=2)
    model = train(tiny_model(), seen, targets)
    samples = [Sample(str(i)) for i in range(300)]
    context = CompressionContext(
        Teacher(model, seen, held),
        samples,
        samples[:200],
        targets,
        held_targets,
        tmp_path,
        choose_device("cpu"),
        seed=1,
    )
    return context, seen, held


def test_fusion_and_head_win_back_what_moved_vectors_lost(tmp_path: Path) -> None:
    context, seen, held = fused_context(tmp_path)
    model = context.teacher.model
    before = {k: v.clone() for k, v in model.state_dict().items()}
    lost = quality(model, moved(held, 3), context.validation_targets)

    draft = refit(Draft(model, "int8"), moved(seen, 3), moved(held, 3), context)

    (step,) = draft.log
    assert (step.name, step.converted) == ("int8", pytest.approx(lost))
    assert step.before == pytest.approx(quality(model, held, context.validation_targets))
    assert step.recovered > step.converted + 0.05
    assert step.recovered == pytest.approx(quality(draft.model, moved(held, 3), context.validation_targets))
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())  # the teacher is as it was


def test_where_nothing_was_lost_nothing_gets_worse(tmp_path: Path) -> None:
    model = teacher_model()
    context = context_of(model, tmp_path)
    draft = refit(Draft(model, "int8"), context.teacher.train, context.teacher.validation, context)
    assert draft.log[0].recovered >= draft.log[0].converted
