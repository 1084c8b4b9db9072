from __future__ import annotations

import pytest
import torch
from torch import nn

from triptych.encoders.timm import MOBILENET_V1, TimmEncoder
from triptych.errors import ConfigError, MissingError, UnknownNameError

from .values import pictures


def test_the_data_config_of_the_model_is_taken_over():
    settings = TimmEncoder.create("test_vit", pretrained=False).settings
    assert settings["image_size"] == 160
    assert settings["mean"] == [0.5, 0.5, 0.5]


def test_options_override_the_data_config():
    encoder = TimmEncoder.create("test_resnet", pretrained=False, image_size=64, mean=[0, 0, 0], std=[1, 1, 1])
    assert encoder.prepare(pictures(1))["pixels"].shape == (1, 64, 64, 3)
    assert encoder.settings["std"] == [1.0, 1.0, 1.0]


def test_other_options_go_to_the_model():
    encoder = TimmEncoder.create("test_vit", pretrained=False, drop_path_rate=0.25, image_size=96)
    assert encoder.settings["model_options"] == {"drop_path_rate": 0.25, "img_size": 96}


def test_an_option_no_model_takes_is_refused():
    with pytest.raises(ConfigError, match="picture_size"):
        TimmEncoder.create("test_vit", pretrained=False, picture_size=3)


@pytest.mark.parametrize("mean", [[0.5], "abc", 0.5])
def test_a_mean_that_is_not_three_numbers_is_refused(mean):
    with pytest.raises(ConfigError, match="mean"):
        TimmEncoder.create("test_vit", pretrained=False, mean=mean)


def test_a_wrong_name_is_answered_with_near_ones():
    with pytest.raises(UnknownNameError, match="mobilenetv2_100"):
        TimmEncoder.create("mobilnetv2_100", pretrained=False)


def test_without_network_or_cache_the_message_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(MissingError, match="weights"):
        TimmEncoder.create("mobilenetv2_100")


def test_mobilenet_v1_has_no_weights_on_the_hub():
    with pytest.raises(MissingError, match="safetensors"):
        TimmEncoder.create(MOBILENET_V1)


def test_missing_weights_are_noticed_before_anything_is_built():
    with pytest.raises(MissingError, match="nowhere"):
        TimmEncoder.create("test_vit", weights="nowhere.safetensors")


def test_pretrained_normalisation_keeps_its_statistics_in_training():
    encoder = TimmEncoder.create("test_resnet", pretrained=False, image_size=64, train_norm=False).train()
    norms = [m for m in encoder.modules() if isinstance(m, nn.BatchNorm2d)]
    before = [m.running_mean.clone() for m in norms]
    encoder(encoder.prepare(pictures()))
    assert all(torch.equal(m.running_mean, b) for m, b in zip(norms, before, strict=True))


def test_variation_is_for_training_only():
    torch.manual_seed(0)
    encoder = TimmEncoder.create("test_resnet", pretrained=False, image_size=64, train_norm=False)
    batch = encoder.prepare(pictures())
    assert torch.equal(encoder.eval()(batch), encoder(batch))
    assert not torch.allclose(encoder.train()(batch), encoder(batch))


@pytest.mark.parametrize(
    ("name", "file", "dim"),
    [
        ("mobilenetv2_100", "mobilenetv2_100_in1k_fp16.safetensors", 1280),
        (MOBILENET_V1, "mobilenetv1_075_in1k_fp16.safetensors", 768),
    ],
)
def test_published_weights_tell_groceries_apart(shared_data, monkeypatch, name, file, dim):
    monkeypatch.setenv("TRIPTYCH_WEIGHTS", str(shared_data / "weights"))
    half = [0.5, 0.5, 0.5]
    encoder = TimmEncoder.create(name, weights=file, mean=half, std=half, pad_type="same")
    assert encoder.pretrained
    files = [next((shared_data / "image/grocery/train").glob(f"{kind}_*")) for kind in ("00", "42", "66")]
    twins = [sorted((shared_data / "image/grocery/train").glob(f"{kind}_*"))[-1] for kind in ("00", "42", "66")]
    vectors = nn.functional.normalize(encoder.encode([*files, *twins]))
    assert vectors.shape == (6, dim)
    assert (vectors[:3] @ vectors[3:].T).argmax(dim=1).tolist() == [0, 1, 2]


def test_weights_from_the_hub_are_taken_over(tmp_path, monkeypatch):
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(1)
    published = timm.create_model("test_vit")
    save_file(published.state_dict(), tmp_path / "model.safetensors")
    asked = []

    def hub_file(repository, filename):
        asked.append((repository, filename))
        return tmp_path / filename

    monkeypatch.setattr("triptych.encoders.timm.hub_file", hub_file)
    encoder = TimmEncoder.create("test_vit.r160_in1k")
    assert asked == [("timm/test_vit.r160_in1k", "model.safetensors")]
    weights = published.state_dict()
    assert all(torch.equal(tensor, weights[k]) for k, tensor in encoder.model.state_dict().items())


def test_a_model_of_pictures_is_saved_and_loaded(tmp_path):
    from triptych.host import Host
    from triptych.models.build import load_model
    from triptych.models.heads import ClassificationHead
    from triptych.models.multimodal import MultimodalModel
    from triptych.types import Sample

    encoder = TimmEncoder.create("test_resnet", pretrained=False)  # its weights lie in memory channels last
    model = MultimodalModel({"image": encoder}, None, ClassificationHead(encoder.dim, ["a", "b"])).eval()
    samples = [Sample(str(i), image=picture) for i, picture in enumerate(pictures(2))]
    model.save(tmp_path)
    loaded = load_model(tmp_path, Host(installed=False))
    torch.testing.assert_close(loaded.features(samples).vectors["image"], model.features(samples).vectors["image"])
