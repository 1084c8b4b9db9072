from __future__ import annotations

import numpy as np
import pytest
import torch

from triptych.encoders.features import CLIP, AudioFeatures, TextFeatures
from triptych.errors import ConfigError, DataError

ROWS = [np.array([1.0, 7.0, -2.0]), np.array([3.0, 7.0, 2.0])]


@pytest.fixture
def encoder():
    encoder = AudioFeatures.create()
    encoder.fit(ROWS)
    return encoder


def test_the_length_is_found_in_training(encoder):
    assert encoder.dim == 3
    assert encoder.settings == {"dim": 3}


def test_vectors_are_standardised_and_constants_become_zero(encoder):
    assert torch.allclose(encoder.encode(ROWS), torch.tensor([[-1.0, 0.0, -1.0], [1.0, 0.0, 1.0]]))


def test_wild_values_are_cut(encoder):
    assert encoder.encode([np.array([1e9, 7.0, 0.0])]).max() == CLIP


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1.0, 2.0], "has 2 numbers"),
        ([1.0, float("nan"), 2.0], "column 1"),
        ([1.0, 2.0, float("inf")], "column 2"),
        ("text", "not made of numbers"),
        ([[1.0, 2.0, 3.0]], r"shape \[1, 3\]"),
        ([], "shape"),
    ],
)
def test_a_vector_that_cannot_be_used_is_named(encoder, value, message):
    with pytest.raises(DataError, match=f"vector 1 .*{message}"):
        encoder.prepare([ROWS[0], value])


def test_a_length_given_beforehand_is_held():
    with pytest.raises(DataError, match="have 4"):
        TextFeatures.create(dim=4).fit(ROWS)


def test_an_impossible_length_is_refused():
    with pytest.raises(ConfigError, match="dim"):
        TextFeatures.create(dim=-1)
