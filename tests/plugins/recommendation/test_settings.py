"""The `[vertical]` section: the packaged config says what the code does, and what is wrong is named."""

from __future__ import annotations

from typing import Any

import pytest

from triptych.config import check_section, load_config
from triptych.errors import ConfigError
from triptych_recommendation.settings import RecommendationSettings
from triptych_recommendation.vertical import Recommendation


def test_the_packaged_config_says_what_the_code_does():
    config = load_config(Recommendation().defaults())
    assert check_section(RecommendationSettings, config.vertical, "vertical.") == RecommendationSettings()
    assert set(config.encoders) == {"text", "image", "audio"}
    assert config.training.strategy == "co-consumption"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"srving": {}}, r"unknown key 'vertical\.srving'; did you mean 'vertical\.serving'"),
        ({"serving": {"diversty": 0.2}}, r"did you mean 'vertical\.serving\.diversity'"),
        ({"serving": {"diversity": 2}}, r"vertical\.serving\.diversity: .*less than or equal to 1"),
        ({"models": {"candidates": []}}, r"vertical\.models\.candidates"),
        ({"models": {"candidates": ["magic"]}}, r"vertical\.models\.candidates\.0"),
        ({"data": {"split": "random"}}, r"vertical\.data\.split"),
        ({"experiments": {"alpha": 0.9}}, r"vertical\.experiments\.alpha"),
    ],
)
def test_what_is_wrong_is_named(values: dict[str, Any], said: str):
    with pytest.raises(ConfigError, match=said):
        check_section(RecommendationSettings, values, "vertical.")
