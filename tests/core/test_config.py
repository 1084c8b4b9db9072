"""The configuration: layers in order, every problem at once, the nearest right key."""

from __future__ import annotations

import pytest

from triptych.config import Config, load_config, parse_value
from triptych.errors import ConfigError, UnknownNameError


def test_defaults_are_valid():
    assert load_config({}) == Config()


def test_later_layers_win(tmp_path):
    file = tmp_path / "my.toml"
    file.write_text("seed = 2\n[training]\nepochs = 2\nbatch_size = 2\npatience = 2\n")
    config = load_config(
        {"seed": 1, "training": {"epochs": 1, "strategy": "full"}},
        file=str(file),
        environment={"TRIPTYCH__TRAINING__BATCH_SIZE": "3", "TRIPTYCH__TRAINING__PATIENCE": "3", "HOME": "/"},
        overrides=["training.patience=4"],
    )
    training = config.training
    assert (config.seed, training.strategy, training.epochs, training.batch_size, training.patience) == (
        2,
        "full",
        2,
        3,
        4,
    )


def test_every_problem_is_reported_at_once_with_its_key():
    with pytest.raises(ConfigError) as caught:
        load_config({"trainin": {}, "training": {"epoch": 3, "batch_size": 0}, "data": {"validation": "x"}})
    text = str(caught.value)
    assert len(caught.value.problems) == 4
    assert "unknown key 'trainin'; did you mean 'training'?" in text
    assert "unknown key 'training.epoch'; did you mean 'training.epochs'?" in text
    assert "training.batch_size" in text
    assert "data.validation" in text


def test_an_override_without_a_value_is_refused():
    with pytest.raises(ConfigError, match="key=value"):
        load_config({}, overrides=["seed"])


def test_a_missing_config_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.toml does not exist"):
        load_config({}, file=str(tmp_path / "none.toml"))


def test_broken_toml_is_named_with_its_place(tmp_path):
    file = tmp_path / "bad.toml"
    file.write_text("seed = \n")
    with pytest.raises(ConfigError, match=r"bad\.toml is not valid TOML.*line 1"):
        load_config({}, file=str(file))


def test_an_unknown_packaged_config_lists_the_known_ones():
    with pytest.raises(UnknownNameError, match="customer-service"):
        load_config({}, file="customer-servce")


def test_another_part_does_not_inherit_the_options_of_the_one_it_replaces():
    base = {"encoders": {"image": {"use": "timm:resnet18", "weights": "x"}}}
    config = load_config(base, overrides=["encoders.image.use=compact:image"])
    assert config.encoders["image"].use == "compact:image"
    assert config.encoders["image"].options == {}


@pytest.mark.parametrize(
    ("text", "value"), [("3", 3), ("0.5", 0.5), ("true", True), ('"3"', "3"), ("full", "full"), ("[1, 2]", [1, 2])]
)
def test_values_are_read_as_toml_and_else_as_text(text, value):
    assert parse_value(text) == value
