"""Sounds to tensors: a padded batch of waveforms, spectrograms, log-mel energies and patches of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from triptych.encoders.base import Batch
from triptych.encoders.sounds import SAMPLE_RATE_HZ, stack_sounds

# which dimensions of a graph's inputs vary
SOUND_AXES = {"samples": {0: "batch", 1: "length"}, "lengths": {0: "batch"}}


def prepare_sounds(values: Sequence[Any], *, max_seconds: float, sample_rate_hz: int = SAMPLE_RATE_HZ) -> Batch:
    """Raw sounds to {"samples": float32 [batch, longest], "lengths": int64 [batch]}, mono in [-1, 1], zeros behind.

    What lies beyond `max_seconds` is not heard. Raises `DataError` naming the sound.
    """
    samples, lengths = stack_sounds(values, max_seconds=max_seconds, sample_rate_hz=sample_rate_hz)
    return {"samples": torch.from_numpy(samples), "lengths": torch.from_numpy(lengths)}


def example_sounds() -> Batch:
    """Two sounds as `prepare_sounds` gives them, for tracing a graph."""
    samples = torch.linspace(-1, 1, 40_000).sin().repeat(2, 1)
    return {"samples": samples, "lengths": torch.tensor([40_000, 31_000])}


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


class Fourier(nn.Module):
    """`spectrogram` for exported graphs: a convolution with windowed cosines and sines.

    ONNX Runtime has no fast Fourier transform worth the name, and a product of matrices is what it does best.
    """

    cosines: Tensor
    sines: Tensor

    def __init__(self, window: Tensor, *, hop: int, fft: int) -> None:
        super().__init__()
        self.hop = hop
        bins = torch.arange(fft // 2 + 1, dtype=torch.float64)[:, None]
        angle = bins * torch.arange(len(window), dtype=torch.float64) * (2 * math.pi / fft)
        shape = window.double().cpu()
        self.register_buffer("cosines", (angle.cos() * shape).float().unsqueeze(1))  # [bins, 1, window]
        self.register_buffer("sines", (angle.sin() * shape).float().unsqueeze(1))

    def forward(self, samples: Tensor) -> Tensor:
        """[batch, samples], no fewer than the window, to squared magnitudes [batch, bins, frames]."""
        samples = samples.unsqueeze(1)
        real = F.conv1d(samples, self.cosines, stride=self.hop)
        imaginary = F.conv1d(samples, self.sines, stride=self.hop)
        return real * real + imaginary * imaginary  # a power costs ONNX Runtime three times a product


def frame_mask(frames: Tensor, longest: int) -> Tensor:
    """Bool [batch, longest]: which frames belong to the sound and not to its padding."""
    return torch.arange(longest, device=frames.device)[None, :] < frames[:, None]
