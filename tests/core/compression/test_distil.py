from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.core.compression.students import context_of, piece_encoder, teacher_model
from tests.core.models.tiny import HOST, SIZES, tiny_model, train, views
from tests.core.tuning.conftest import LABELS, make_samples
from triptych.compression.base import CompressionContext, Teacher
from triptych.compression.distil import answer_loss, distil, vector_loss
from triptych.compression.layers import Layers
from triptych.compression.quality import quality
from triptych.config import PartConfig
from triptych.device import choose_device
from triptych.models.build import create_fusion
from triptych.models.heads import ClassificationHead, EmbeddingHead, MultiLabelHead, RegressionHead
from triptych.models.multimodal import Features, MultimodalModel
from triptych.tuning.base import Progress
from triptych.types import Sample


def damaged(model: MultimodalModel) -> MultimodalModel:
    """A copy whose upper layers have forgotten everything."""
    student = copy.deepcopy(model)
    torch.manual_seed(9)
    for layer in student.encoder("text").backbone.encoder.layer[2:]:
        for parameter in layer.parameters():
            parameter.data += 0.3 * torch.randn_like(parameter)
    return student


def fused_context(
    model: MultimodalModel, workspace: Path, samples: int = 200, **changes: object
) -> tuple[CompressionContext, Features]:
    """Samples of feature vectors with all three parts, and the validation features."""

    def described(features: Features) -> list[Sample]:
        return [Sample(f"{i}", **{m: v[i].numpy() for m, v in features.vectors.items()}) for i in range(len(features))]

    (features, targets), (held, held_targets) = views(samples, seed=1), views(90, seed=2)
    context = CompressionContext(
        teacher=Teacher(model, features, held),
        train=described(features),
        validation=described(held),
        train_targets=targets,
        validation_targets=held_targets,
        workspace=workspace,
        plan=choose_device("cpu"),
    )
    return replace(context, **changes), held


def test_a_damaged_student_answers_as_its_teacher_again(tmp_path: Path) -> None:
    teacher = teacher_model()
    context = context_of(teacher, tmp_path)
    student = damaged(teacher)
    before = quality(student, student.features(context.validation), context.validation_targets)
    tokens = student.encoder("text").backbone.embeddings.word_embeddings.weight.clone()

    notes = distil(student, context, epochs=6, learning_rate=2e-3)

    after = quality(student, student.features(context.validation), context.validation_targets)
    assert before < 0.8 < 0.95 <= after
    assert f"{before:.4f} -> {after:.4f}" in notes[0]
    assert not student.training
    assert torch.equal(student.encoder("text").backbone.embeddings.word_embeddings.weight, tokens)
    assert {m.p for m in student.modules() if isinstance(m, torch.nn.Dropout)} == {0.1}  # as it was


def test_it_is_deterministic_and_leaves_the_teacher_alone(tmp_path: Path) -> None:
    teacher = teacher_model()
    context = context_of(teacher, tmp_path, effort=0.1)
    fingerprint = teacher.encoder("text").fingerprint
    first, second = damaged(teacher), damaged(teacher)
    state = torch.random.get_rng_state()

    distil(first, context, frozen_layers=1)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.rand(7)
    distil(second, context, frozen_layers=1)

    assert first.encoder("text").fingerprint == second.encoder("text").fingerprint
    assert teacher.encoder("text").fingerprint == fingerprint


def test_a_student_that_cannot_improve_keeps_its_weights(tmp_path: Path) -> None:
    teacher = teacher_model()
    student = copy.deepcopy(teacher)

    distil(student, context_of(teacher, tmp_path), epochs=1, learning_rate=1.0, head_learning_rate=1.0)

    assert student.encoder("text").fingerprint == teacher.encoder("text").fingerprint


def test_little_effort_sees_fewer_samples(tmp_path: Path) -> None:
    teacher = teacher_model()
    seen: list[Progress] = []
    context = replace(context_of(teacher, tmp_path, effort=0.25), progress=seen.append)

    notes = distil(copy.deepcopy(teacher), context, epochs=2)

    assert [(p.done, p.total) for p in seen] == [(1, 2), (2, 2)]
    assert notes[0].startswith("2 x 160 samples")  # never fewer than make ten steps


def test_every_subset_of_the_parts_is_taught(tmp_path: Path) -> None:
    teacher = train(tiny_model(), *views(300))
    context, held = fused_context(teacher, tmp_path)
    student = tiny_model()

    distil(student, context, modalities=[], epochs=30, head_learning_rate=5e-3)

    for parts in (["text", "image", "audio"], ["text", "audio"], ["text"], ["image"], ["audio"]):
        theirs = teacher.fuse(held.only(parts)).logits.argmax(dim=1)
        ours = student.fuse(held.only(parts)).logits.argmax(dim=1)
        assert (ours == theirs).float().mean() > 0.85, parts


def test_a_student_of_fewer_modalities_learns_from_a_richer_teacher(tmp_path: Path) -> None:
    teacher = train(tiny_model(), *views(300))
    context, held = fused_context(teacher, tmp_path)
    student = tiny_model(parts=("text",))
    own = Features({"text": held.vectors["text"]}, held.mask[:, :1])
    before = quality(student, own, context.validation_targets)

    distil(student, context, epochs=20, head_learning_rate=2e-2, ask_whole=True)

    assert quality(student, own, context.validation_targets) > max(before, 0.5)


def test_encoders_that_do_not_learn_are_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, audio = piece_encoder(), tiny_model(parts=("audio",)).encoder("audio")
    torch.manual_seed(2)
    fusion = create_fusion(HOST, PartConfig(use="gated"), 2, 16)
    teacher = MultimodalModel({"text": text, "audio": audio}, fusion, ClassificationHead(16, LABELS)).eval()
    clips = torch.randn(40, SIZES["audio"]).numpy()
    samples = [
        replace(s, text=None if i % 4 == 1 else s.text, audio=None if i % 4 == 2 else clips[i])
        for i, s in enumerate(make_samples(40, seed=1))
    ]
    features = teacher.features(samples)
    output = teacher.fuse(features)
    with torch.no_grad():  # decided answers, of every label
        teacher.head.linear.weight.mul_(30)
        teacher.head.linear.bias.copy_(-teacher.head.linear.weight @ output.embedding.mean(dim=0))
    targets = teacher.fuse(features).logits.argmax(dim=1)
    context = CompressionContext(
        Teacher(teacher, features, features), samples, samples, targets, targets, tmp_path, choose_device("cpu")
    )
    student = Layers("2").convert(teacher, context)
    monkeypatch.setattr(student.encoder("audio"), "prepare", None)
    wanted = teacher.fuse(features).logits.detach()
    before = answer_loss("classification", student_answers(student, features, samples), wanted)

    Layers("2").recover(student, context)

    after = answer_loss("classification", student_answers(student, features, samples), wanted)
    assert after < 0.5 * before
    assert student.encoder("audio").fingerprint == audio.fingerprint


def student_answers(student: MultimodalModel, features: Features, samples: list[Sample]) -> torch.Tensor:
    """With the student's texts and the teacher's sounds."""
    present = features.mask[:, 0]
    vectors = torch.zeros_like(features.vectors["text"])
    vectors[present] = student.encoder("text").encode([s.text for s in samples if s.text is not None])
    return student.fuse(Features({**features.vectors, "text": vectors}, features.mask)).logits.detach()


def test_samples_without_a_part_of_the_student_are_passed_over(tmp_path: Path) -> None:
    teacher = train(tiny_model(), *views(300))
    context, _ = fused_context(teacher, tmp_path, samples=64)
    mask = context.teacher.train.mask.clone()
    mask[::2, 0] = False
    samples = [replace(s, text=None) if i % 2 == 0 else s for i, s in enumerate(context.train)]
    context = replace(
        context,
        train=samples,
        teacher=Teacher(teacher, Features(context.teacher.train.vectors, mask), context.teacher.validation),
    )

    notes = distil(tiny_model(parts=("text",)), context, epochs=1)

    assert notes[0].startswith("1 x 32 samples")


@pytest.mark.parametrize(
    ("head", "targets"),
    [
        (MultiLabelHead(SIZES["text"], ["a", "b", "c"]), torch.eye(3)),
        (RegressionHead(SIZES["text"], ["x", "y", "z"]), torch.randn(3, 3)),
        (EmbeddingHead(SIZES["text"], 3), torch.arange(3)),
    ],
    ids=["multilabel", "regression", "embedding"],
)
def test_other_heads_are_distilled(head: torch.nn.Module, targets: torch.Tensor, tmp_path: Path) -> None:
    teacher = tiny_model(parts=("text",))
    teacher.head = copy.deepcopy(head)
    (features, rows), (held, _) = views(150, seed=1), views(60, seed=2)
    own = [Features({"text": f.vectors["text"]}, f.mask[:, :1]) for f in (features, held)]
    context, _ = fused_context(
        teacher,
        tmp_path,
        samples=150,
        teacher=Teacher(teacher, own[0], own[1].rows(torch.arange(0))),
        train_targets=targets[rows],
        validation=[],  # nothing to choose by: the last weights stay
        validation_targets=targets[:0],
    )
    student = copy.deepcopy(teacher)
    torch.manual_seed(4)
    torch.nn.init.normal_(student.head.linear.weight)
    wanted = teacher.fuse(own[1]).logits
    before = answer_loss(head.kind, student.fuse(own[1]).logits, wanted)

    distil(student, context, epochs=30, head_learning_rate=3e-2, truth=0.0)

    assert answer_loss(head.kind, student.fuse(own[1]).logits, wanted) < 0.5 * before


def test_equal_answers_and_vectors_cost_nothing() -> None:
    logits = torch.randn(5, 3)

    for kind in ("classification", "multilabel", "regression", "embedding"):
        assert float(answer_loss(kind, logits, logits)) == pytest.approx(0, abs=1e-6)
        assert float(answer_loss(kind, -logits, logits)) > 0.1
    assert float(vector_loss(logits, logits)) == 0
    assert float(vector_loss(torch.zeros(5, 3), logits)) == pytest.approx(1)


def test_quality_is_higher_when_better() -> None:
    model = tiny_model(parts=("text",), head={"kind": "regression", "names": ["x"]})
    features = Features({"text": torch.randn(20, SIZES["text"])}, torch.ones(20, 1, dtype=torch.bool))
    right = model.fuse(features).logits.detach()

    assert quality(model, features, right) == 0 > quality(model, features, right + 1)
