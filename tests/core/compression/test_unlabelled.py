"""A transfer set: what has no label teaches a student its teacher's answers, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.core.compression.students import context_of, teacher_model
from tests.core.compression.test_distil import damaged
from tests.core.tuning.conftest import make_samples
from triptych.compression import distil as distilling
from triptych.compression import static_training
from triptych.compression.base import CompressionContext, Teacher
from triptych.compression.distil import distil
from triptych.compression.static import StaticDistillation
from triptych.models.multimodal import MultimodalModel
from triptych.types import Sample


def few(workspace: Path, labelled: int, unlabelled: int) -> CompressionContext:
    """Some labelled texts, more without a label whose targets would mislead, and nothing to choose weights by."""
    whole = context_of(teacher_model(), workspace)
    model = whole.teacher.model
    strangers = [replace(s, target="nonsense") for s in make_samples(unlabelled, seed=11)]
    train = [*whole.train[:labelled], *strangers]
    return replace(
        whole,
        teacher=Teacher(model, model.features(train), whole.teacher.validation),
        train=train,
        train_targets=whole.train_targets[:labelled],
    )


def agreement(student: MultimodalModel, teacher: MultimodalModel, samples: list[Sample]) -> float:
    """The share of samples to which both give the same label."""
    ours, theirs = (m.fuse(m.features(samples)).logits.argmax(dim=1) for m in (student, teacher))
    return float((ours == theirs).float().mean())


def test_a_student_agrees_better_with_its_teacher_on_new_texts(tmp_path: Path) -> None:
    new = make_samples(150, seed=21)
    found = []
    for unlabelled in (0, 400):
        context = few(tmp_path, 8, unlabelled)
        student = damaged(context.teacher.model)
        distil(student, context, epochs=1600 / len(context.train), learning_rate=2e-3)
        found.append(agreement(student, context.teacher.model, new))
    assert found[1] > found[0] + 0.05


def test_so_does_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(static_training, "VIEWS", 8_000)
    new = make_samples(150, seed=21)
    found = []
    for unlabelled in (0, 400):
        context = few(tmp_path, 8, unlabelled)
        student = StaticDistillation("16").convert(context.teacher.model, context)
        StaticDistillation("16").recover(student, context)
        found.append(agreement(student, context.teacher.model, new))
    assert found[1] > found[0] + 0.05


@pytest.mark.parametrize("kind", ["distil", "static"])
def test_without_any_label_the_weight_of_the_truth_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(static_training, "VIEWS", 2_000)
    context = few(tmp_path, 0, 60)
    prints = set()
    for truth in (0.0, 5.0):
        monkeypatch.setattr(static_training, "TRUTH", truth)
        if kind == "distil":
            student = damaged(context.teacher.model)
            distil(student, context, epochs=2, truth=truth)
        else:
            student = StaticDistillation("8").convert(context.teacher.model, context)
            StaticDistillation("8").recover(student, context)
        prints.add(student.encoder("text").fingerprint)
    assert len(prints) == 1


def test_the_truth_weighs_as_much_as_there_are_labels(tmp_path: Path) -> None:
    """A batch in which half has a label counts its loss half, however the samples are ordered."""
    context = few(tmp_path, 3, 3)
    model = context.teacher.model
    lessons = distilling._Lessons(model, context.teacher, context.train, context.teacher.train, ("text",))
    logits = context.teacher.train.rows(torch.arange(6))
    answers = model.fuse(logits).logits.detach()
    alone = model.head.loss(answers[:3], context.train_targets)
    mixed = lessons._truth(model, answers[[4, 0, 3, 1, 5, 2]], torch.tensor([4, 0, 3, 1, 5, 2]), context.train_targets)
    assert float(mixed) == pytest.approx(float(alone) / 2)


def test_only_labelled_texts_are_crossed(tmp_path: Path) -> None:
    context = few(tmp_path, 40, 60)
    lessons = static_training._lessons(StaticDistillation("8").convert(context.teacher.model, context), context)
    assert len(lessons.texts) == 100 + lessons.crossed
    assert 0 < lessons.crossed <= 40
    assert len(lessons.targets) == 40
    assert list(context.labelled) == list(context.train[:40])
