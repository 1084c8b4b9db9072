"""Equal values have equal digests, different ones different digests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.core.data.makers import NOISE, picture, tone
from triptych.data.media import content_digest, value_digest
from triptych.errors import DataError
from triptych.types import Sample, Waveform


def test_a_file_and_its_bytes_are_the_same_value(tmp_path: Path) -> None:
    path = picture(tmp_path / "p.png")
    assert value_digest(path) == value_digest(path.read_bytes()) == value_digest(str(path), "image")


def test_different_values_have_different_digests() -> None:
    values = [
        "a",
        b"a",
        "b",
        tone(),
        NOISE,
        NOISE.astype(np.float32),
        NOISE.reshape(60, 40, 3),
        Waveform(tone(), 16_000),
        Waveform(tone(), 8_000),
    ]
    assert len({value_digest(value) for value in values}) == len(values)


def test_equal_arrays_have_equal_digests_however_they_lie_in_memory() -> None:
    assert value_digest(NOISE[:, ::2]) == value_digest(NOISE[:, ::2].copy())


def test_a_changed_file_has_another_digest(tmp_path: Path) -> None:
    path = tmp_path / "t"
    path.write_bytes(b"one")
    before = value_digest(path)
    path.unlink()
    path.write_bytes(b"two!")
    assert value_digest(path) != before


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        value_digest(tmp_path / "none")


def test_the_content_of_a_sample_is_its_modalities_alone() -> None:
    sample = Sample("1", text="a", target="x", metadata={"k": 1})
    assert content_digest(sample) == content_digest(sample.replace(id="2", target=None, metadata={}))
    assert content_digest(sample) != content_digest(sample.replace(image=tone()))
    assert content_digest(Sample("1", image=tone())) != content_digest(Sample("1", audio=tone()))
