from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.core.encoders.values import pictures
from triptych.compression.base import CompressionContext, Teacher
from triptych.compression.channels import Channels
from triptych.compression.onnx_export import export_encoder
from triptych.device import choose_device
from triptych.encoders.compact_image import CompactImageEncoder
from triptych.encoders.features import TextFeatures
from triptych.encoders.timm import TimmEncoder
from triptych.errors import ConfigError
from triptych.host import Host
from triptych.models.build import load_model
from triptych.models.heads import ClassificationHead
from triptych.models.multimodal import MultimodalModel
from triptych.runtime.media import Pictures
from triptych.types import Sample


def network(name: str) -> TimmEncoder:
    torch.manual_seed(0)
    return TimmEncoder.create(name, pretrained=False, image_size=64, augment=0.0, train_norm=True)


def sighted(encoder) -> MultimodalModel:
    return MultimodalModel({"image": encoder}, None, ClassificationHead(encoder.dim, ["low", "high"])).eval()


def context(model: MultimodalModel, tmp_path, effort: float = 0.02) -> CompressionContext:
    samples = [
        Sample(str(i), image=p, target="low" if p[10:30].mean() < 150 else "high") for i, p in enumerate(pictures(24))
    ]
    train, validation = samples[:16], samples[16:]
    teacher = Teacher(model, model.features(train), model.features(validation))
    targets = [model.head.encode([s.target for s in part]) for part in (train, validation)]
    return CompressionContext(teacher, train, validation, *targets, tmp_path, choose_device("cpu"), effort=effort)


def weights(model: torch.nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("name", ["resnet10t", "mobilenetv3_small_050", "mobilenetv1_075"])
def test_a_narrow_network_is_dense_and_comes_back(name, tmp_path):
    model = sighted(network(name))
    before = model.features([Sample("a", image=pictures(1)[0])]).vectors["image"]
    compressor = Channels("0.5")
    assert compressor.obstacle(model) is None
    narrow = compressor.convert(model, context(model, tmp_path))
    assert weights(narrow) < 0.55 * weights(model)
    assert narrow.encoder("image").dim == model.encoder("image").dim
    assert torch.equal(model.features([Sample("a", image=pictures(1)[0])]).vectors["image"], before)
    narrow.save(tmp_path)
    restored = load_model(tmp_path, Host(installed=False))
    assert torch.equal(restored.encoder("image").encode(pictures(3)), narrow.encoder("image").encode(pictures(3)))
    twice = Channels("0.5").convert(restored, context(model, tmp_path))
    assert weights(twice) < weights(narrow)


def test_recovery_takes_statistics_anew_and_leaves_the_model_in_evaluation_mode(tmp_path):
    model = sighted(network("resnet10t"))
    given = context(model, tmp_path)
    narrow = Channels().convert(model, given)
    old = {k: v.clone() for k, v in narrow.state_dict().items() if k.endswith("running_mean")}
    notes = Channels().recover(narrow, given)
    assert notes
    assert not narrow.training
    assert any(not torch.equal(v, narrow.state_dict()[k]) for k, v in old.items())
    assert all(torch.isfinite(p).all() for p in narrow.parameters())


def test_a_narrow_network_runs_without_torch(tmp_path):
    model = sighted(network("resnet10t"))
    encoder = Channels("0.75").convert(model, context(model, tmp_path)).encoder("image")
    out = export_encoder(encoder, tmp_path, "fp32")
    found = Pictures.load(tmp_path, out["settings"]).encode(pictures(3))
    np.testing.assert_allclose(found, encoder.encode(pictures(3)).numpy(), atol=1e-4)


def test_models_without_such_a_network_say_so():
    assert "no pictures" in Channels().obstacle(
        MultimodalModel({"text": TextFeatures.create(dim=2)}, None, ClassificationHead(2, ["a", "b"]))
    )
    assert "timm" in Channels().obstacle(sighted(CompactImageEncoder.create()))
    assert "LayerNorm" in Channels().obstacle(sighted(TimmEncoder.create("test_vit", pretrained=False)))


@pytest.mark.parametrize("argument", ["1", "0", "half", "-0.5"])
def test_a_share_that_cannot_be_is_refused(argument):
    with pytest.raises(ConfigError, match="between 0 and 1"):
        Channels(argument)
