"""Sounds to tensors: a padded batch of waveforms, spectrograms, log-mel energies and patches of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from triptych.data.media import load_audio
from triptych.encoders.base import Batch

SAMPLE_RATE_HZ = 16_000


def prepare_sounds(values: Sequence[Any], *, max_seconds: float, sample_rate_hz: int = SAMPLE_RATE_HZ) -> Batch:
    """Raw sounds to {"samples": float32 [batch, longest], "lengths": int64 [batch]}, mono in [-1, 1], zeros behind.

    What lies beyond `max_seconds` is not heard. Raises `DataError` naming the sound.
    """
    limit = round(max_seconds * sample_rate_hz)
    sounds = [load_audio(value, sample_rate_hz)[:limit] for value in values]
    lengths = [len(sound) for sound in sounds]
    samples = np.zeros((len(sounds), max(lengths, default=0)), dtype=np.float32)
    for row, sound in enumerate(sounds):
        samples[row, : len(sound)] = sound
    return {"samples": torch.from_numpy(samples), "lengths": torch.tensor(lengths, dtype=torch.int64)}


def frame_counts(lengths: Tensor, window: int, hop: int) -> Tensor:
    """How many whole windows fit into sounds of these lengths: int64 [batch], at least one."""
    return (torch.div(lengths - window, hop, rounding_mode="floor") + 1).clamp_min(1)


def spectrogram(samples: Tensor, window: Tensor, *, hop: int, fft: int) -> Tensor:
    """Magnitudes [batch, frames, fft // 2 + 1] of [batch, samples], without padding at the ends.

    A frame is as long as `window`, starts at a multiple of `hop` and is filled with zeros to `fft`: frames depend on
    their own samples alone, so what pads a sound never reaches the frames that are counted.
    """
    if samples.shape[1] < len(window):
        samples = F.pad(samples, (0, len(window) - samples.shape[1]))
    frames = samples.unfold(1, len(window), hop)  # [batch, frames, window]
    magnitudes: Tensor = torch.fft.rfft(frames * window, n=fft).abs()
    return magnitudes


def frame_mask(frames: Tensor, longest: int) -> Tensor:
    """Bool [batch, longest]: which frames belong to the sound and not to its padding."""
    return torch.arange(longest, device=frames.device)[None, :] < frames[:, None]
