"""Models from parts by name, and back from disk; what does not fit is told."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.core.models.tiny import HOST, LABELS, SIZES, tiny_model, views
from triptych.config import Config, PartConfig
from triptych.encoders.features import TextFeatures
from triptych.errors import BundleError, ConfigError, MissingError, UnknownNameError
from triptych.hookspecs import hookimpl
from triptych.host import Host
from triptych.models.build import build_model, create_encoder, load_model
from triptych.types import Part, Sample

HEADS = [
    {"kind": "classification", "labels": LABELS},
    {"kind": "multilabel", "labels": LABELS},
    {"kind": "regression", "names": ["height", "width"]},
    {"kind": "embedding", "outputs": 7, "contrast": 0.1},
]


class Distant(TextFeatures):
    """An encoder whose weights are never at hand."""

    @classmethod
    def create(cls, model="", *, dim=0):
        raise MissingError("weights of 'distant' were not found")


class Plugin:
    @hookimpl
    def triptych_parts(self):
        return [Part("encoder", "distant", f"{__name__}:Distant", "Never there.")]


@pytest.mark.parametrize("fusion", ["mean", "concat", "gated", "attention", "late"])
def test_a_saved_model_comes_back_the_same(tmp_path, fusion):
    model = tiny_model(fusion)
    model.temperatures.copy_(torch.linspace(0.5, 2, 8))
    model.save(tmp_path)
    again = load_model(tmp_path, HOST)
    features, _ = views(20)
    features.mask[::2, 1] = False
    ours, theirs = model.fuse(features), again.fuse(features)
    assert torch.equal(ours.logits, theirs.logits)
    assert torch.equal(ours.weights, theirs.weights)
    assert torch.equal(model.probabilities(ours, features.mask), again.probabilities(theirs, features.mask))
    assert again.fusion.name == fusion
    assert not again.training
    assert {again.encoder(m).name for m in again.modalities} == {f"features:{m}" for m in SIZES}


@pytest.mark.parametrize("head", HEADS, ids=lambda head: head["kind"])
@pytest.mark.parametrize("parts", [("text",), ("image", "audio"), ("text", "image", "audio")])
def test_every_head_and_number_of_modalities(tmp_path, head, parts):
    model = tiny_model(parts=parts, head=head)
    model.save(tmp_path)
    again = load_model(tmp_path, HOST)
    assert again.modalities == parts
    assert again.head.settings == {**head}
    sample = Sample("a", **{m: torch.randn(SIZES[m]).numpy() for m in parts})
    features = model.features([sample])
    assert torch.equal(model.fuse(features).logits, again.fuse(features).logits)
    assert torch.equal(model(model.prepare([sample])).logits, again.fuse(features).logits)
    assert (again.fusion is None) == (len(parts) == 1)


def test_weights_that_do_not_fit_are_named(tmp_path):
    tiny_model().save(tmp_path)
    path = tmp_path / "model.safetensors"
    whole = load_file(path)

    def spoilt(**changes):
        tensors = {k: v for k, v in whole.items() if k not in changes} | {
            k: v for k, v in changes.items() if v is not None
        }
        save_file(tensors, path)
        with pytest.raises(BundleError) as caught:
            load_model(tmp_path, HOST)
        return str(caught.value)

    assert "missing: head.linear.bias" in spoilt(**{"head.linear.bias": None})
    assert "not of this model: spy" in spoilt(spy=torch.zeros(2))
    message = spoilt(**{"head.linear.bias": torch.zeros(9)})
    assert "of another shape: head.linear.bias ([9] where [3] is needed)" in message


def test_damaged_files_are_told(tmp_path):
    tiny_model().save(tmp_path)
    config = tmp_path / "config.json"
    good = json.loads(config.read_text())
    for bad in ("{", "[]", "{}", json.dumps({**good, "head": {"kind": "oracle"}}), json.dumps({**good, "dim": "wide"})):
        config.write_text(bad)
        with pytest.raises(BundleError):
            load_model(tmp_path, HOST)
    unknown = {**good["encoders"], "text": {"use": "gone:text", "settings": {}}}
    config.write_text(json.dumps({**good, "encoders": unknown}))
    with pytest.raises(BundleError, match="gone:text"):
        load_model(tmp_path, HOST)
    config.write_text(json.dumps(good))
    (tmp_path / "model.safetensors").write_bytes(b"short")
    with pytest.raises(BundleError, match="cannot be read"):
        load_model(tmp_path, HOST)
    with pytest.raises(BundleError, match="cannot be read"):
        load_model(tmp_path / "nowhere", HOST)


def test_a_missing_encoder_falls_back_and_says_so():
    host = Host({"far": Plugin()}, installed=False)
    encoder = create_encoder(host, "text", PartConfig(use="distant"))
    assert encoder.name == "compact:text"
    assert "distant is not at hand, so compact:text is used instead" in encoder.note
    assert "were not found" in encoder.note
    other = create_encoder(host, "text", PartConfig(use="distant", fallback="features:text"))
    assert other.name == "features:text"
    with pytest.raises(MissingError):
        create_encoder(host, "text", PartConfig(use="distant", fallback=False))


def test_wrong_names_modalities_and_options_are_refused():
    with pytest.raises(ConfigError, match=r"encoders\.audio: 'features:text' encodes text, not audio"):
        create_encoder(HOST, "audio", PartConfig(use="features:text"))
    with pytest.raises(ConfigError, match=r"encoders\.text: 'features:text' does not take these options"):
        create_encoder(HOST, "text", PartConfig(use="features:text", dm=3))
    with pytest.raises(UnknownNameError, match="Did you mean 'features:text'"):
        create_encoder(HOST, "text", PartConfig(use="feature:text"))
    with pytest.raises(ConfigError, match="a model needs an encoder"):
        build_model(Config(), {"kind": "classification", "labels": LABELS}, HOST, {})
