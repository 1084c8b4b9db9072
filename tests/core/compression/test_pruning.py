from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from tests.core.compression.students import context_of, piece_encoder, teacher_model
from tests.core.models.tiny import HOST, tiny_model
from tests.core.tuning.conftest import make_samples
from triptych.compression.activations import Moments, input_moments, spare_inputs
from triptych.compression.base import Compressor
from triptych.compression.layers import Layers, spread
from triptych.compression.low_rank import LowRank
from triptych.compression.neurons import Heads, Neurons
from triptych.compression.quality import quality
from triptych.encoders.lexical import LexicalTable
from triptych.encoders.slim import make_thin
from triptych.errors import ConfigError
from triptych.models.build import load_model
from triptych.models.heads import ClassificationHead
from triptych.models.multimodal import MultimodalModel

TEXTS = [s.text for s in make_samples(20, seed=8)]


def size(model: MultimodalModel) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("compressor", "quality_left"),
    [(Layers("2"), 0.3), (Neurons("0.25"), 0.8), (Heads("0.5"), 0.8)],
    ids=["layers", "neurons", "heads"],
)
def test_a_pruned_model_is_smaller_recovers_and_can_be_saved(
    compressor: Compressor, quality_left: float, tmp_path: Path
) -> None:
    teacher = teacher_model()
    fingerprint = teacher.encoder("text").fingerprint
    context = context_of(teacher, tmp_path, effort=0.4)
    assert compressor.obstacle(teacher) is None

    student = compressor.convert(teacher, context)

    before = quality(student, student.features(context.validation), context.validation_targets)
    assert before >= quality_left
    assert size(student) < 0.9 * size(teacher)
    assert student.encoder("text").fingerprint != fingerprint == teacher.encoder("text").fingerprint
    assert context.teacher.train.vectors["text"].shape[1] == student.encoder("text").dim
    assert compressor.recover(student, context)
    features = student.features(context.validation)
    assert quality(student, features, context.validation_targets) >= max(0.9, before)
    student.save(tmp_path)
    again = load_model(tmp_path, HOST)
    assert torch.equal(again.features(context.validation).vectors["text"], features.vectors["text"])
    assert again.encoder("text").fingerprint == student.encoder("text").fingerprint


def test_chained_shapes_are_saved_and_can_be_frozen_below(tmp_path: Path) -> None:
    model = teacher_model()
    context = context_of(model, tmp_path)
    for compressor in (Layers("0,2,3"), Heads("0.5"), Neurons("0.5"), LowRank("0.6"), Layers("2")):
        assert compressor.obstacle(model) is None
        model = compressor.convert(model, context)
    encoder = model.encoder("text")

    assert encoder.layers == 2
    attention = encoder.stack[0].attention
    assert attention.self.query.out_features == 16 == attention.output.dense[0].in_features
    assert encoder.stack[1].intermediate.dense[1].out_features == 32
    model.save(tmp_path)
    again = load_model(tmp_path, HOST).encoder("text")
    assert torch.equal(again.encode(TEXTS), encoder.encode(TEXTS))
    again.freeze_lowest(1)
    with torch.inference_mode():
        batch = again.prepare(TEXTS)
        torch.testing.assert_close(again(again.lower(batch)), again(batch))


def test_a_lexical_table_stays(tmp_path: Path) -> None:
    encoder = piece_encoder()
    table = LexicalTable(3, buckets=64)
    table.table.normal_()
    encoder.amend(lexical=3)
    encoder.set_lexical(table)
    model = MultimodalModel(
        {"text": encoder}, None, ClassificationHead(encoder.dim, ["card", "loan", "transfer"])
    ).eval()

    student = Neurons("0.5").convert(model, context_of(model, tmp_path))

    assert student.encoder("text").dim == 35
    assert torch.equal(student.encoder("text").encode(TEXTS)[:, 32:], encoder.encode(TEXTS)[:, 32:])


def test_layers_are_spread_evenly_or_listed() -> None:
    assert spread(6, 3) == [0, 2, 5]
    assert spread(12, 4) == [0, 4, 7, 11]
    assert spread(6, 1) == [5]
    assert Layers().spelling == "layers:3"
    assert Layers("1,3").convert(teacher_model(), None).encoder("text").layers == 2


@pytest.mark.parametrize("argument", ["0", "x", "2,1", "1,1", "-1", "-1,2"])
def test_wrong_layers_are_refused(argument: str) -> None:
    with pytest.raises(ConfigError, match="ascending order"):
        Layers(argument)


@pytest.mark.parametrize("argument", ["0", "1", "1.5", "half"])
@pytest.mark.parametrize("compressor", [Neurons, Heads, LowRank])
def test_wrong_shares_are_refused(compressor: type[Compressor], argument: str) -> None:
    with pytest.raises(ConfigError, match="a number between 0 and 1"):
        compressor(argument)


def test_obstacles_say_why() -> None:
    model = teacher_model()
    pictures = tiny_model(parts=("image",))
    vectors = tiny_model(parts=("text",))

    assert "no more than 4 layers" in Layers("4").obstacle(model)
    assert "layers 0 to 3 only" in Layers("1,4").obstacle(model)
    assert "none would be left" in Heads("0.1").obstacle(model)
    assert "no neuron" in Neurons("0.001").obstacle(model)
    for compressor in (Layers("1"), Heads(), Neurons(), LowRank()):
        assert compressor.obstacle(pictures) == "the model reads no text"
        assert "not a transformer" in compressor.obstacle(vectors)
    encoder = model.encoder("text")
    for layer in encoder.stack:
        make_thin(layer, 0.5)
    encoder.amend(thin=0.5)
    assert "must come before low-rank" in Neurons().obstacle(model)
    assert "already" in LowRank().obstacle(model)
    encoder.model_config.model_type = "mpnet"
    assert "not a plain stack" in Layers("1").obstacle(model)


def test_inputs_that_others_can_stand_in_for_are_spared() -> None:
    torch.manual_seed(0)
    base = torch.randn(1000, 4) * torch.tensor([1.0, 2.0, 1.0, 3.0])
    inputs = torch.cat([base, base @ torch.randn(4, 4)], dim=1) + 0.5  # the last four are mixtures
    linear = nn.Linear(8, 5)
    centred = inputs - inputs.mean(dim=0)

    kept, weight, bias = spare_inputs(linear, Moments(inputs.mean(dim=0), centred.T @ centred / 1000), 4)

    torch.testing.assert_close(inputs[:, kept] @ weight.T + bias, linear(inputs), atol=0.3, rtol=0.1)
    assert kept == sorted(kept)


def test_moments_do_not_see_padding() -> None:
    encoder = piece_encoder()
    module = encoder.stack[1].output.dense
    samples = make_samples(6, seed=3)
    rows: list[torch.Tensor] = []
    handle = module.register_forward_pre_hook(lambda _, inputs: rows.append(inputs[0].flatten(0, 1)))
    with torch.inference_mode():
        for sample in samples:
            encoder(encoder.prepare([sample.text]))
    handle.remove()
    expected = torch.cat(rows)

    (moments,) = input_moments(encoder, [module], samples, seed=0)

    torch.testing.assert_close(moments.mean, expected.mean(dim=0), atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(moments.covariance, expected.T.cov(correction=0), atol=1e-4, rtol=1e-3)
