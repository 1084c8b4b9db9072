"""A compact sound encoder that needs no pretrained weights: cepstral statistics and a small network."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchaudio.functional import create_dct, melscale_fbanks

from triptych.encoders.base import Batch, Exportable
from triptych.encoders.compact import Block, CompactEncoder
from triptych.encoders.logmel import (
    SOUND_AXES,
    Fourier,
    example_sounds,
    frame_counts,
    frame_mask,
    prepare_sounds,
    spectrogram,
)
from triptych.encoders.sounds import SAMPLE_RATE_HZ
from triptych.errors import ConfigError

WINDOW, HOP, FFT = 400, 160, 512  # samples at 16 kHz: 25 ms every 10 ms
MELS, CEPSTRA, SEGMENTS = 64, 20, 4
LOW_HZ, HIGH_HZ = 60.0, 7_800.0
LOG_OFFSET = 1e-6
QUANTILES = (0.1, 0.9)
CHANNELS = (24, 48, 96, 160)
TYPICAL, SPREAD = -6.0, 4.0  # mean and deviation of log-mel energies in ordinary recordings


class CompactAudioEncoder(CompactEncoder):
    """`compact:audio`: 396 fixed descriptors and, where asked for, a network of 0.1 million parameters.

    Both stand on 64 log-mel bands at 16 kHz.

    The descriptors: mean and deviation of 20 cepstral coefficients and the deviation of their slopes, their mean in
    four segments of equal length (what comes first, what last), and mean, deviation, 10 % and 90 % quantiles of each
    band. They serve short commands, noises and tones of voice; for the wide world of sounds pretrained weights hear
    more.

    Options of `create`: `max_seconds` (what is heard of a long sound), `learned` (size of the network's part, such as
    128; by default 0, no network) and `augment` (strength of the variation in training). On sets of up to 1,500 sounds
    the network added about a point to speakers never heard before and otherwise nothing, at ten times the training
    time: try it from several thousand on.
    """

    modality = "audio"
    window: Tensor
    filters: Tensor
    cosines: Tensor

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__()
        self._settings = settings
        self.name = "compact:audio"
        filters = melscale_fbanks(FFT // 2 + 1, LOW_HZ, HIGH_HZ, MELS, SAMPLE_RATE_HZ)
        self.register_buffer("window", torch.hann_window(WINDOW), persistent=False)
        self.register_buffer("filters", filters, persistent=False)  # [bins, mels]
        self.register_buffer("cosines", create_dct(CEPSTRA, MELS, "ortho"), persistent=False)  # [mels, cepstra]
        self.network = _Network(settings["learned"]) if settings["learned"] else nn.Identity()
        known = CEPSTRA * (3 + SEGMENTS) + MELS * (2 + len(QUANTILES))
        self.set_sizes(known, settings["learned"])

    @classmethod
    def create(cls, model: str = "", *, max_seconds: float = 20.0, learned: int = 0, augment: float = 0.5) -> Self:  # type: ignore[override]  # options by name: a wrong one is refused
        """A fresh encoder; see the class for the options. Raises `ConfigError` for one that cannot be."""
        if model not in ("", "audio"):
            raise ConfigError(f"the compact sound encoder is called 'compact:audio', not 'compact:{model}'")
        if learned < 0 or max_seconds <= 0:
            raise ConfigError(f"learned must not be negative and max_seconds positive (got {learned}, {max_seconds})")
        return cls({"max_seconds": float(max_seconds), "learned": int(learned), "augment": float(augment)})

    @property
    def settings(self) -> dict[str, Any]:
        """The options it was created with."""
        return self._settings

    def prepare(self, values: Sequence[Any]) -> Batch:
        """Sounds to {"samples": float32 [batch, longest], "lengths": int64 [batch]} at 16 kHz."""
        return prepare_sounds(values, max_seconds=self._settings["max_seconds"])

    def describe(self, batch: Batch) -> Tensor:
        """The fixed descriptors [batch, known]."""
        return self.statistics(*self.log_mel(batch))

    def statistics(self, bands: Tensor, frames: Tensor) -> Tensor:
        """Log-mel energies [batch, frames, 64] of sounds with so many frames to descriptors [batch, known]."""
        mask = frame_mask(frames, bands.shape[1])
        cepstra = bands @ self.cosines  # [batch, frames, cepstra]
        slopes = cepstra[:, 2:] - cepstra[:, :-2]
        slope_mask = frame_mask(frames - 2, slopes.shape[1])
        mean, deviation = _moments(cepstra, mask)
        parts = [mean, deviation, _moments(slopes, slope_mask)[1], _segments(cepstra, frames)]
        return torch.cat([*parts, *_moments(bands, mask), _quantiles(bands, frames)], dim=1)

    def learn(self, batch: Batch) -> Tensor:
        """The network's features [batch, learned]."""
        bands, frames = self.log_mel(batch)
        return self.hear(bands, frames)

    def hear(self, bands: Tensor, frames: Tensor) -> Tensor:
        """The network's features [batch, learned] of log-mel energies; see `statistics`."""
        bands = (bands - TYPICAL) / SPREAD
        if self.training and self._settings["augment"] > 0:
            bands = _hide(bands, frames, self._settings["augment"])
        features: Tensor = self.network(bands, frames)
        return features

    def exportable(self) -> Exportable:
        """The graph takes samples and lengths; see `triptych.runtime.media.Sounds`."""
        settings = {"max_seconds": self._settings["max_seconds"]}
        return Exportable(_Graph(self), example_sounds(), SOUND_AXES, "sounds", settings)

    def log_mel(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Log-mel energies [batch, frames, 64] and how many frames belong to each sound, int64 [batch]."""
        power = spectrogram(batch["samples"], self.window, hop=HOP, fft=FFT).square()
        return (power @ self.filters + LOG_OFFSET).log(), frame_counts(batch["lengths"], WINDOW, HOP)

    def costs(self, values: Sequence[Any]) -> list[int]:
        """The bytes of a sound in memory, where they are known: sounds of like length share a batch."""
        return [int(getattr(getattr(value, "samples", None), "size", 1)) for value in values]


class _Graph(nn.Module):
    """The encoder from samples [batch, samples] and lengths [batch] on, for export."""

    def __init__(self, encoder: CompactAudioEncoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.silent = encoder.silent
        self.fourier = Fourier(encoder.window, hop=HOP, fft=FFT)

    def forward(self, samples: Tensor, lengths: Tensor) -> Tensor:
        samples = F.pad(samples, (0, WINDOW + 2 * HOP))  # three frames at least; those of silence are masked
        power = self.fourier(samples)  # [batch, bins, frames]
        bands = (self.encoder.filters.T @ power + LOG_OFFSET).log().transpose(1, 2)
        frames = frame_counts(lengths, WINDOW, HOP)
        statistics = self.encoder.statistics(bands, frames)
        return self.encoder.assemble(statistics, None if self.silent else self.encoder.hear(bands, frames))


class _Network(nn.Module):
    """[batch, frames, 64] to [batch, learned]; a sound's features do not depend on its padding."""

    def __init__(self, learned: int) -> None:
        super().__init__()
        sizes = (1, *CHANNELS)
        self.blocks = nn.ModuleList(Block(a, b, 2) for a, b in pairwise(sizes))
        bands = MELS // 2 ** len(CHANNELS)
        self.linear = nn.Linear(CHANNELS[-1] * bands, learned)

    def forward(self, bands: Tensor, frames: Tensor) -> Tensor:
        maps = (bands * frame_mask(frames, bands.shape[1]).unsqueeze(2)).unsqueeze(1)  # [batch, 1, frames, bands]
        for block in self.blocks:
            frames = torch.div(frames + 1, 2, rounding_mode="floor")
            mask = frame_mask(frames, (maps.shape[2] + 1) // 2)[:, None, :, None]
            maps = block(maps, mask)
        mean = maps.sum(dim=2) / frames[:, None, None]  # [batch, channels, bands]
        features: Tensor = self.linear(mean.flatten(1))
        return features


def _moments(values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation over the masked frames of [batch, frames, n], both [batch, n]; zeros without a frame."""
    weight = mask.unsqueeze(2).to(values.dtype)
    count = weight.sum(dim=1).clamp_min(1)
    mean = (values * weight).sum(dim=1) / count
    variance = ((values - mean.unsqueeze(1)).square() * weight).sum(dim=1) / count
    return mean, (variance + 1e-8).sqrt()


def _segments(values: Tensor, frames: Tensor) -> Tensor:
    """The mean of each of four parts of equal length: [batch, frames, n] to [batch, 4 n]."""
    place = torch.arange(values.shape[1], device=values.device)[None, :]
    parts = []
    for k in range(SEGMENTS):
        first = torch.div(k * frames, SEGMENTS, rounding_mode="floor")[:, None]
        last = torch.div((k + 1) * frames, SEGMENTS, rounding_mode="floor")[:, None]
        last = torch.maximum(last, first + 1)  # a sound shorter than four frames repeats them
        parts.append(_moments(values, (place >= first) & (place < last))[0])
    return torch.cat(parts, dim=1)


def _quantiles(values: Tensor, frames: Tensor) -> Tensor:
    """The 10 % and 90 % quantiles (nearest frame) of [batch, frames, n] over each sound's frames: [batch, 2 n]."""
    beyond = ~frame_mask(frames, values.shape[1]).unsqueeze(1)
    ordered = values.transpose(1, 2).masked_fill(beyond, float("inf")).sort(dim=2).values  # [batch, n, frames]
    picked = []
    for quantile in QUANTILES:
        index = ((frames - 1) * quantile).round().long()[:, None, None].expand(-1, values.shape[2], 1)
        picked.append(ordered.gather(2, index).squeeze(2))
    return torch.cat(picked, dim=1)


def _hide(bands: Tensor, frames: Tensor, strength: float) -> Tensor:
    """Hide a random stretch of time and of pitch, and change the loudness (SpecAugment, Park et al. 2019)."""
    batch, longest, mels = bands.shape
    device = bands.device
    time = torch.arange(longest, device=device)[None, :]
    pitch = torch.arange(mels, device=device)[None, :]
    wide = torch.rand(batch, 1, device=device) * 0.25 * strength * frames[:, None]
    high = torch.rand(batch, 1, device=device) * 0.25 * strength * mels
    start = torch.rand(batch, 1, device=device) * (frames[:, None] - wide)
    bottom = torch.rand(batch, 1, device=device) * (mels - high)
    hidden_time = (time >= start) & (time < start + wide)
    hidden_pitch = (pitch >= bottom) & (pitch < bottom + high)
    louder = (torch.rand(batch, 1, 1, device=device) - 0.5) * strength
    hidden = hidden_time.unsqueeze(2) | hidden_pitch.unsqueeze(1)
    return (bands + louder).masked_fill(hidden, 0.0)
