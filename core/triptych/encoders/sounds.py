"""Sounds of any length to one padded array of samples. Without torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from triptych.data.media import load_audio

SAMPLE_RATE_HZ = 16_000

Samples = np.ndarray[Any, np.dtype[np.float32]]
Lengths = np.ndarray[Any, np.dtype[np.int64]]


def read_sounds(
    values: Sequence[Any], *, max_seconds: float, sample_rate_hz: int = SAMPLE_RATE_HZ
) -> list[np.ndarray[Any, np.dtype[np.float32]]]:
    """Raw sounds to float32 [samples] each, mono in [-1, 1]. Raises `DataError` naming the sound.

    What lies beyond `max_seconds` is not heard.
    """
    limit = round(max_seconds * sample_rate_hz)
    return [load_audio(value, sample_rate_hz)[:limit] for value in values]


def pad_sounds(sounds: Sequence[np.ndarray[Any, Any]]) -> tuple[Samples, Lengths]:
    """Waveforms to (float32 [batch, longest] with zeros behind, int64 lengths [batch])."""
    lengths = np.array([len(sound) for sound in sounds], dtype=np.int64)
    samples = np.zeros((len(sounds), max(lengths, default=0)), dtype=np.float32)
    for row, sound in enumerate(sounds):
        samples[row, : len(sound)] = sound
    return samples, lengths


def stack_sounds(
    values: Sequence[Any], *, max_seconds: float, sample_rate_hz: int = SAMPLE_RATE_HZ
) -> tuple[Samples, Lengths]:
    """Raw sounds to (float32 [batch, longest], int64 lengths [batch]), mono in [-1, 1], zeros behind.

    What lies beyond `max_seconds` is not heard. Raises `DataError` naming the sound.
    """
    return pad_sounds(read_sounds(values, max_seconds=max_seconds, sample_rate_hz=sample_rate_hz))
