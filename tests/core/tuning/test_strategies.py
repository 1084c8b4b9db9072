from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.core.tuning.conftest import LABELS, tiny_encoder
from triptych.config import TrainingConfig
from triptych.encoders.base import Encoder
from triptych.encoders.compact_text import CompactTextEncoder
from triptych.errors import ConfigError
from triptych.fusion.base import Fusion
from triptych.models.heads import ClassificationHead, MultiLabelHead, RegressionHead
from triptych.models.multimodal import MultimodalModel
from triptych.tuning.base import Strategy, TuningContext
from triptych.tuning.cache import FeatureCache
from triptych.tuning.frozen import Frozen
from triptych.tuning.full import Full
from triptych.tuning.linear import fit_linear
from triptych.tuning.lora import Lora
from triptych.tuning.zero_shot import ZeroShot
from triptych.types import Sample, Task

Samples = Callable[..., list[Sample]]
QUICK = TrainingConfig(epochs=4, batch_size=8, learning_rate=3e-3, frozen_layers=1, lora_rank=4)


class Mean(Fusion):
    """The mean of what is present."""

    def forward(self, vectors: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        weights = mask.float() / mask.sum(dim=1, keepdim=True)
        return (vectors * weights.unsqueeze(-1)).sum(dim=1), weights


class PictureSize(Encoder):
    """An "image" is a list of numbers here; a fixed linear map stands for a pretrained network."""

    modality = "image"

    def __init__(self) -> None:
        super().__init__()
        self.name, self.dim, self.pretrained = "picture-size", 4, True
        self.linear = torch.nn.Linear(3, 4)

    @classmethod
    def create(cls, model: str = "", **options: Any) -> PictureSize:
        return cls()

    @classmethod
    def restore(cls, settings: dict[str, Any], assets: Path) -> PictureSize:
        return cls()

    @property
    def settings(self) -> dict[str, Any]:
        return {}

    def prepare(self, values: Sequence[Any]) -> dict[str, Tensor]:
        return {"numbers": torch.tensor([list(v) for v in values], dtype=torch.float32)}

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        out: Tensor = self.linear(batch["numbers"])
        return out


def two_modalities() -> MultimodalModel:
    encoder = tiny_encoder()
    torch.manual_seed(1)
    return MultimodalModel({"text": encoder, "image": PictureSize()}, Mean(2, 16), ClassificationHead(16, LABELS))


def accuracy(model: MultimodalModel, data: list[Sample]) -> float:
    logits = model.fuse(model.features(data)).logits
    return float((logits.argmax(dim=1) == model.head.encode([s.target for s in data])).float().mean())


@pytest.mark.parametrize("strategy", [Frozen(), Full(), Lora()], ids=lambda s: s.name)
def test_a_strategy_learns_text(
    strategy: Strategy, text_model: MultimodalModel, context: TuningContext, samples: Samples
) -> None:
    held = samples(30, seed=5)

    report = strategy.tune(text_model, samples(90), held, QUICK, context)

    assert accuracy(text_model, held) == pytest.approx(report.best)
    assert report.best > 0.8
    assert report.strategy == strategy.name
    assert report.samples_per_second > 0
    assert not text_model.training


@pytest.mark.parametrize("strategy", [Frozen(), Full(), Lora()], ids=lambda s: s.name)
def test_a_strategy_learns_any_subset_of_two_modalities(
    strategy: Strategy, context: TuningContext, samples: Samples
) -> None:
    data = [
        s.replace(image=torch.eye(3)[i % 3].numpy(), text=None if i % 4 == 0 else s.text) if i % 5 else s
        for i, s in enumerate(samples(120))
    ]
    model = two_modalities()

    report = strategy.tune(model, data[:90], data[90:], QUICK.model_copy(update={"epochs": 12}), context)

    assert report.best > 0.8


def test_lowest_layers_and_embeddings_stay_as_they_were(
    text_model: MultimodalModel, context: TuningContext, samples: Samples
) -> None:
    before = {k: v.clone() for k, v in text_model.state_dict().items()}

    Full().tune(text_model, samples(30), [], QUICK, context)

    changed = {k for k, v in text_model.state_dict().items() if not torch.equal(v, before[k])}
    assert not any("embeddings" in k or "layer.0." in k for k in changed)
    assert any("layer.1." in k for k in changed)
    assert any("layer.2." in k for k in changed)


def test_lora_leaves_a_model_without_adapters(
    text_model: MultimodalModel, context: TuningContext, samples: Samples
) -> None:
    before = {k: v.clone() for k, v in text_model.state_dict().items()}

    Lora().tune(text_model, samples(30), [], QUICK, context)

    after = text_model.state_dict()
    assert list(after) == list(before)
    assert not torch.equal(after["encoders.text._backbone.encoder.layer.2.output.dense.weight"],
                           before["encoders.text._backbone.encoder.layer.2.output.dense.weight"])  # fmt: skip


def test_frozen_does_not_touch_a_pretrained_encoder(
    text_model: MultimodalModel, context: TuningContext, samples: Samples
) -> None:
    before = text_model.encoder("text").fingerprint

    Frozen().tune(text_model, samples(30), samples(9, seed=5), QUICK, context)

    assert text_model.encoder("text").fingerprint == before


def test_frozen_trains_an_encoder_that_has_no_pretrained_weights(context: TuningContext, samples: Samples) -> None:
    encoder = CompactTextEncoder.create(dim=32, buckets=512)
    model = MultimodalModel({"text": encoder}, None, ClassificationHead(encoder.dim, LABELS))

    report = Frozen().tune(model, samples(90), samples(30, seed=5), QUICK.model_copy(update={"epochs": 10}), context)

    assert report.best > 0.9
    assert "no pretrained weights" in report.notes[0]


def test_features_are_encoded_once(
    text_model: MultimodalModel, tmp_path: Path, samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = samples(20)
    first = FeatureCache(tmp_path).features(text_model, data)
    monkeypatch.setattr(Encoder, "encode", lambda *a, **k: pytest.fail("encoded again"))

    again = FeatureCache(tmp_path).features(text_model, list(reversed(data)))

    torch.testing.assert_close(again.vectors["text"].flip(0), first.vectors["text"])


def test_other_weights_do_not_use_the_cached_features(
    text_model: MultimodalModel, tmp_path: Path, samples: Samples
) -> None:
    data = samples(8)
    first = FeatureCache(tmp_path).features(text_model, data)
    with torch.no_grad():
        next(text_model.encoder("text").backbone.parameters()).add_(0.5)

    again = FeatureCache(tmp_path).features(text_model, data)

    assert not torch.equal(first.vectors["text"], again.vectors["text"])


def test_several_labels_are_learnt(context: TuningContext, samples: Samples) -> None:
    encoder = tiny_encoder()
    model = MultimodalModel({"text": encoder}, None, MultiLabelHead(encoder.dim, LABELS))
    data = [s.replace(target=(s.target, "card")) for s in samples(60)]

    report = Frozen().tune(model, data, data, QUICK, context)

    assert report.best < 0.2  # a loss


def test_a_number_is_learnt_in_its_own_units() -> None:
    torch.manual_seed(0)
    vectors = torch.randn(200, 8)
    targets = (vectors @ torch.arange(8.0)).unsqueeze(1) * 100 + 5_000
    head = RegressionHead(8, ["price"])

    fit_linear(head, vectors, targets, 1e-6)

    torch.testing.assert_close(head.probabilities(head(vectors)), targets, atol=5, rtol=0)


def test_zero_shot_classifies_by_descriptions(text_model: MultimodalModel, context: TuningContext) -> None:
    descriptions = {"card": "card plastic pin chip", "loan": "loan credit interest", "transfer": "transfer send wire"}
    context = dataclasses.replace(context, task=Task("classification", LABELS, descriptions))
    data = [Sample(label, text=text, target=label) for label, text in descriptions.items()]

    report = ZeroShot().tune(text_model, [], data, QUICK, context)

    assert report.best == accuracy(text_model, data) == 1.0


def test_zero_shot_refuses_pictures_and_numbers(context: TuningContext) -> None:
    with pytest.raises(ConfigError, match="text as the only encoder"):
        ZeroShot().tune(two_modalities(), [], [], QUICK, context)
    encoder = tiny_encoder()
    with pytest.raises(ConfigError, match="needs a classification"):
        ZeroShot().tune(MultimodalModel({"text": encoder}, None, RegressionHead(32, ["x"])), [], [], QUICK, context)
