from __future__ import annotations

import socket

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from triptych.encoders import weights
from triptych.errors import ConfigError, DataError, MissingError


@pytest.fixture
def layer(tmp_path):
    """A file with a linear layer in half precision and a tensor that belongs elsewhere."""
    path = tmp_path / "layer.safetensors"
    save_file({"weight": torch.ones(2, 3).half(), "bias": torch.zeros(2), "classifier": torch.zeros(9)}, path)
    return path


def test_a_relative_name_is_found_in_the_weights_folder(layer, tmp_path, monkeypatch):
    monkeypatch.setenv(weights.WEIGHTS_VARIABLE, str(tmp_path))
    assert weights.find_weights("layer.safetensors") == layer


def test_an_absolute_path_needs_no_folder(layer, monkeypatch):
    monkeypatch.delenv(weights.WEIGHTS_VARIABLE, raising=False)
    assert weights.find_weights(layer) == layer


def test_missing_weights_name_every_path_tried(tmp_path, monkeypatch):
    monkeypatch.setenv(weights.WEIGHTS_VARIABLE, str(tmp_path))
    with pytest.raises(MissingError) as error:
        weights.find_weights("nowhere.safetensors")
    assert str(tmp_path / "nowhere.safetensors") in str(error.value)


def test_missing_weights_name_the_variable_that_would_help(monkeypatch):
    monkeypatch.delenv(weights.WEIGHTS_VARIABLE, raising=False)
    with pytest.raises(MissingError, match=weights.WEIGHTS_VARIABLE):
        weights.find_weights("nowhere.safetensors")


def test_half_precision_becomes_float32(layer):
    assert {t.dtype for t in weights.load_weights(layer).values()} == {torch.float32}


def test_a_pickle_is_refused_by_name(tmp_path):
    path = tmp_path / "model.pth"
    torch.save({"weight": torch.ones(1)}, path)
    with pytest.raises(DataError, match=r"model\.pth"):
        weights.load_weights(path)


def test_filling_leaves_out_what_has_no_place(layer):
    linear = nn.Linear(3, 2)
    weights.fill(linear, weights.load_weights(layer), layer)
    assert torch.equal(linear.weight, torch.ones(2, 3))


@pytest.mark.parametrize("module", [nn.Linear(4, 2), nn.Bilinear(2, 2, 2), nn.LSTM(2, 2)])
def test_weights_of_another_architecture_are_refused(layer, module):
    with pytest.raises(ConfigError, match="do not fit"):
        weights.fill(module, weights.load_weights(layer), layer)


def test_the_hub_is_asked_once_and_not_for_long(monkeypatch):
    from huggingface_hub import constants

    calls = []

    def refuse(address, timeout):
        calls.append(timeout)
        raise OSError("no route")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(socket, "create_connection", refuse)
    weights.hub_reachable.cache_clear()
    try:
        assert not weights.hub_reachable()
        assert not weights.hub_reachable()
    finally:
        weights.hub_reachable.cache_clear()
    assert calls == [3]


def test_a_hub_file_that_cannot_be_had_says_what_to_do():
    with pytest.raises(MissingError, match="pretrained=false"):
        weights.hub_file("nobody/nothing", "model.safetensors")
