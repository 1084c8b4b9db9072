"""A transformer becomes a table: what is copied, what is learnt, what is refused."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.core.compression.students import context_of, teacher_model
from tests.core.models.tiny import HOST, SIZES, tiny_model
from tests.core.tuning.conftest import LABELS, make_samples
from triptych.compression import static_training
from triptych.compression.base import CompressionContext, Teacher
from triptych.compression.quality import quality
from triptych.compression.static import StaticDistillation, export_static
from triptych.compression.static_training import Units, crossed
from triptych.device import choose_device
from triptych.encoders.compact_text import CompactTextEncoder
from triptych.encoders.static_text import StaticTextEncoder
from triptych.encoders.units import PADDING, Vocabulary
from triptych.errors import ConfigError
from triptych.fusion.gated import Gated
from triptych.models.build import load_model
from triptych.models.heads import ClassificationHead, EmbeddingHead, Head, MultiLabelHead, RegressionHead
from triptych.models.multimodal import MultimodalModel
from triptych.runtime.static_text import StaticText


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiny teachers need no long lessons."""
    monkeypatch.setattr(static_training, "VIEWS", 8_000)


def test_a_table_learns_what_the_teacher_answers(tmp_path: Path) -> None:
    teacher = teacher_model()
    context = context_of(teacher, tmp_path)
    before = teacher.encoder("text").fingerprint
    compressor = StaticDistillation("16")
    student = compressor.convert(teacher, context)
    notes = compressor.recover(student, context)

    assert isinstance(student.encoder("text"), StaticTextEncoder)
    assert teacher.encoder("text").fingerprint == before
    assert not student.training
    wanted = quality(teacher, context.teacher.validation, context.validation_targets)
    assert quality(student, student.features(context.validation), context.validation_targets) >= wanted - 0.05
    assert any("crossed" in note for note in notes)
    unseen = make_samples(40, seed=9)
    student.save(tmp_path)
    again = load_model(tmp_path, HOST)
    assert torch.equal(student.features(unseen).vectors["text"], again.features(unseen).vectors["text"])

    vectors = student.features(unseen).vectors["text"].numpy()
    texts = [s.text for s in unseen]
    weight, bias = (p.detach().numpy() for p in (student.head.linear.weight, student.head.linear.bias))
    labels = {}
    for precision in ("fp32", "int8"):
        entry = export_static(student.encoder("text"), tmp_path, precision)
        exported = StaticText.load(tmp_path, entry["settings"]).encode(texts)
        if precision == "fp32":
            assert np.allclose(exported, vectors, atol=1e-4)
        labels[precision] = (exported @ weight.T + bias).argmax(axis=1)
    assert (labels["fp32"] == labels["int8"]).mean() >= 0.99


def test_vectors_of_unit_length_stay_so_and_are_near_the_teachers(tmp_path: Path) -> None:
    teacher = teacher_model()
    context = context_of(teacher, tmp_path)
    student = StaticDistillation("16").convert(teacher, context)
    StaticDistillation("16").recover(student, context)
    ours = student.features(context.validation).vectors["text"]
    theirs = context.teacher.validation.vectors["text"]
    assert torch.allclose(ours.norm(dim=1), torch.ones(len(ours)), atol=1e-5)
    assert torch.cosine_similarity(ours, theirs).mean() > 0.8


def test_the_same_seed_makes_the_same_table(tmp_path: Path) -> None:
    context = context_of(teacher_model(), tmp_path, effort=0.2)
    prints = set()
    for _ in range(2):
        student = StaticDistillation("8").convert(context.teacher.model, context)
        StaticDistillation("8").recover(student, context)
        prints.add(student.encoder("text").fingerprint)
    assert len(prints) == 1


def test_nothing_is_shared_with_the_old_model(tmp_path: Path) -> None:
    context = fused_context(tmp_path)
    teacher = context.teacher.model
    student = StaticDistillation("8").convert(teacher, context)
    shared = {p.data_ptr() for p in teacher.state_dict().values()} & {
        p.data_ptr() for p in student.state_dict().values() if p.numel()
    }
    assert not shared
    assert torch.equal(student.head.linear.weight, teacher.head.linear.weight)
    for name, tensor in teacher.projections.state_dict().items():
        assert torch.equal(student.projections.state_dict()[name], tensor)


def fused_context(tmp_path: Path) -> CompressionContext:
    """Text and sound; some samples lack one of them."""
    text, audio = copy.deepcopy(teacher_model().encoder("text")), tiny_model(parts=("audio",)).encoder("audio")
    torch.manual_seed(0)
    model = MultimodalModel({"text": text, "audio": audio}, Gated(2, 16), ClassificationHead(16, LABELS))
    model.temperatures.copy_(torch.tensor([1.0, 1.5, 2.0, 2.5]))

    def with_sounds(count: int, seed: int) -> list:
        chance = np.random.default_rng(seed)
        found = []
        for i, s in enumerate(make_samples(count, seed=seed)):
            clip = chance.normal(size=SIZES["audio"]).astype(np.float32)
            clip[LABELS.index(s.target)] += 3
            found.append(replace(s, text=None if i % 5 == 1 else s.text, audio=None if i % 5 == 3 else clip))
        return found

    train, validation = with_sounds(200, 1), with_sounds(60, 2)
    features, targets = model.features(train), model.head.encode([s.target for s in train])
    optimizer = torch.optim.AdamW([p for n, p in model.named_parameters() if not n.startswith("encoders.")], lr=5e-3)
    model.train()
    for step in range(80):
        taught = features if step % 3 == 0 else features.only(["text"] if step % 3 == 1 else ["audio"])
        loss = model.head.loss(model.fuse(taught).logits, targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    return CompressionContext(
        teacher=Teacher(model, model.features(train), model.features(validation)),
        train=train,
        validation=validation,
        train_targets=targets,
        validation_targets=model.head.encode([s.target for s in validation]),
        workspace=tmp_path,
        plan=choose_device("cpu"),
        seed=3,
    )


def test_a_fused_model_keeps_every_subset(tmp_path: Path) -> None:
    context = fused_context(tmp_path)
    teacher = context.teacher.model
    student = StaticDistillation("16").convert(teacher, context)
    StaticDistillation("16").recover(student, context)

    assert student.encoder("audio").fingerprint == teacher.encoder("audio").fingerprint
    assert torch.equal(student.temperatures, teacher.temperatures)
    ours = student.features(context.validation)
    for parts in (["text", "audio"], ["text"], ["audio"]):
        kept, taught = ours.only(parts), context.teacher.validation.only(parts)
        some = kept.mask.any(dim=1)
        targets = context.validation_targets[some]
        lost = quality(teacher, taught.rows(some), targets) - quality(student, kept.rows(some), targets)
        assert lost <= 0.08, parts


@pytest.mark.parametrize(
    "head", [MultiLabelHead(32, LABELS), RegressionHead(32, ["length"]), EmbeddingHead(32, 4)], ids=lambda h: h.kind
)
def test_other_heads_are_taught_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: Head) -> None:
    torch.manual_seed(0)
    teacher = MultimodalModel({"text": teacher_model().encoder("text")}, None, head).eval()
    monkeypatch.setattr(static_training, "TRUTH", 0.0)  # this teacher was never taught: its answers are all there is
    targets = {
        "multilabel": lambda s: (s.target,),
        "regression": lambda s: float(LABELS.index(s.target)),
        "embedding": lambda s: s.target,
    }[head.kind]
    seen = context_of(teacher_model(), tmp_path)
    context = replace(
        seen,
        teacher=Teacher(teacher, seen.teacher.train, seen.teacher.validation),
        train_targets=head.encode([targets(s) for s in seen.train]),
        validation=[],
        validation_targets=head.encode([targets(s) for s in seen.validation])[:0],
    )
    student = StaticDistillation("16").convert(teacher, context)

    def distance() -> float:
        ours = student.fuse(student.features(seen.validation)).logits
        return float((ours - teacher.fuse(seen.teacher.validation).logits).detach().square().mean())

    before = distance()
    StaticDistillation("16").recover(student, context)
    assert distance() < before


def test_without_validation_the_latest_weights_stay(tmp_path: Path) -> None:
    context = context_of(teacher_model(), tmp_path, effort=0.1)
    context = replace(context, validation=[], validation_targets=context.validation_targets[:0])
    student = StaticDistillation("8").convert(context.teacher.model, context)
    before = student.encoder("text").fingerprint
    StaticDistillation("8").recover(student, context)
    assert student.encoder("text").fingerprint != before


def test_crossed_texts_are_new_and_meet_at_a_word() -> None:
    texts = ["I lost my card today", "please block my card now", "where is 我的卡 please", "我要卡的钱"]
    made = crossed(texts, 6, seed=0)
    assert made
    assert made == crossed(texts, 6, seed=0)
    assert not set(made) & set(texts)
    assert all(any(text.startswith(made_text[:2]) for text in texts) for made_text in made)
    assert crossed(["one", "two words"], 5, seed=0) == []
    assert crossed([], 5, seed=0) == []


def test_without_luck_units_are_what_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(static_training, "DROPPED", 0.0)
    monkeypatch.setattr(static_training, "MISSPELT", 0.0)
    vocabulary = Vocabulary(["lost", "my", "card"], [(0, 1), (1, 2)], buckets=8)
    texts = ["lost my card", "", "my new card", "card my lost", "zzz"]
    bags = Units(vocabulary, texts).disturbed(np.random.default_rng(0))
    rows, offsets = bags.take(np.arange(len(texts)))
    found = [sorted(part.tolist()) for part in torch.tensor_split(rows, offsets[1:])]
    assert found == [sorted(r for r in vocabulary.look_up(t) if r != PADDING) for t in texts]


def test_a_misspelt_word_takes_its_pairs_along(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(static_training, "DROPPED", 0.0)
    monkeypatch.setattr(static_training, "MISSPELT", 1.0)
    vocabulary = Vocabulary(["lost", "card"], [(0, 1)], buckets=8)
    rows, _ = Units(vocabulary, ["lost card"]).disturbed(np.random.default_rng(0)).take(np.array([0]))
    assert rows.tolist() == vocabulary.spell("lost") + vocabulary.spell("card")


def test_what_cannot_become_a_table_says_why() -> None:
    compressor = StaticDistillation()
    assert compressor.obstacle(teacher_model()) is None
    assert "no text encoder" in str(compressor.obstacle(tiny_model(parts=("image", "audio"))))
    assert "computed elsewhere" in str(compressor.obstacle(tiny_model(parts=("text",))))
    for encoder, reason in (
        (StaticTextEncoder.create(), "static table already"),
        (CompactTextEncoder.create(), "hash"),
    ):
        model = MultimodalModel({"text": encoder}, None, ClassificationHead(encoder.dim, LABELS))
        assert reason in str(compressor.obstacle(model))


@pytest.mark.parametrize("argument", ["small", "0", "-3", "1,2,3", "64,", "64,0"])
def test_an_argument_that_says_nothing_is_refused(argument: str) -> None:
    with pytest.raises(ConfigError, match="static:256,20000"):
        StaticDistillation(argument)


def test_the_spelling_names_the_sizes() -> None:
    assert StaticDistillation("128").spelling == "static:128"
    assert (StaticDistillation("64,500").table, StaticDistillation("64,500").rows) == (64, 500)
