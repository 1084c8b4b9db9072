"""Sounds through YAMNet, a MobileNetV1 trained on AudioSet's 521 classes of everyday sounds.

Architecture, front end and patches follow the public description of YAMNet in TensorFlow's model garden
(Plakal and Ellis 2020; AudioSet: Gemmeke et al. 2017; MobileNet: Howard et al. 2017). Batch normalisation is folded
into the biases of the convolutions, as in exported weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from triptych.encoders.base import Batch, Encoder, Exportable
from triptych.encoders.chunks import in_chunks
from triptych.encoders.logmel import (
    SOUND_AXES,
    Fourier,
    example_sounds,
    frame_mask,
    prepare_sounds,
    spectrogram,
)
from triptych.encoders.sounds import SAMPLE_RATE_HZ
from triptych.encoders.weights import fill, find_weights, load_weights
from triptych.errors import ConfigError, MissingError

DEFAULT_WEIGHTS = "yamnet_audioset_fp16.safetensors"
WINDOW, HOP, FFT = 400, 160, 512  # samples at 16 kHz: 25 ms every 10 ms
MELS, BINS = 64, FFT // 2 + 1
PATCH, PATCH_HOP = 96, 48  # frames: 0.96 s every 0.48 s
LOG_OFFSET = 0.001
SILENCE = -6.0  # mean log energy of a patch; digital silence is log(0.001) = -6.9
SHORTEST = WINDOW + (PATCH - 1) * HOP  # samples of one patch
CHANNELS = (32, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
STRIDES = (2, 1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)


class YamnetEncoder(Encoder):
    """The mean YAMNet embedding of a sound: [batch, 1024].

    A sound is heard as patches of 0.96 s every 0.48 s; the last one is filled with silence. A sound's vector does
    not depend on what else is in the batch.

    Options of `create`:

    | option | meaning |
    | --- | --- |
    | `weights` | a safetensors file; by default `yamnet_audioset_fp16.safetensors` in `$TRIPTYCH_WEIGHTS` |
    | `pretrained` | false starts at random |
    | `max_seconds` | what is heard of a long sound |
    | `skip_silence` | leave silent patches out of the mean (the original counts them), unless all are silent |
    | `spread` | append the standard deviation over the patches: [batch, 2048] |
    """

    modality = "audio"
    window: Tensor
    mel: Tensor

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__()
        self._settings = settings
        self.name = "yamnet"
        self.pretrained = settings["pretrained"]
        self.dim = CHANNELS[-1] * (2 if settings["spread"] else 1)
        self.register_buffer("window", torch.hann_window(WINDOW))
        self.register_buffer("mel", mel_filters())
        layers: list[nn.Module] = [_Plain(1, CHANNELS[0], STRIDES[0])]
        for i in range(1, len(CHANNELS)):
            layers.append(_Separable(CHANNELS[i - 1], CHANNELS[i], STRIDES[i]))
        for number, layer in enumerate(layers, start=1):  # the names in published weights
            self.add_module(f"layer{number}", layer)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):  # keeps the scale through 27 layers without normalisation
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    @classmethod
    def create(  # type: ignore[override]  # options by name: a wrong one is refused
        cls,
        model: str = "",
        *,
        weights: str | None = None,
        pretrained: bool = True,
        max_seconds: float = 30.0,
        skip_silence: bool = True,
        spread: bool = False,
    ) -> Self:
        """YAMNet with AudioSet weights; see the class. Raises `MissingError` where the weights are not found."""
        if model:
            raise ConfigError(f"yamnet has one size only; write 'yamnet', not 'yamnet:{model}'")
        settings = {"pretrained": pretrained, "max_seconds": float(max_seconds)}
        encoder = cls({**settings, "skip_silence": bool(skip_silence), "spread": bool(spread)})
        if pretrained:
            try:
                path = find_weights(weights or DEFAULT_WEIGHTS)
            except MissingError as error:
                raise MissingError(f"{error} To train from scratch, set pretrained=false.") from error
            fill(encoder, load_weights(path), path)
        return encoder

    @classmethod
    def restore(cls, settings: dict[str, Any], assets: Path) -> Self:
        """The architecture with random weights; needs nothing from `assets`."""
        return cls(settings)

    @property
    def settings(self) -> dict[str, Any]:
        """The options it was created with."""
        return self._settings

    def prepare(self, values: Sequence[Any]) -> Batch:
        """Sounds to {"samples": float32 [batch, longest], "lengths": int64 [batch]} at 16 kHz."""
        return prepare_sounds(values, max_seconds=self._settings["max_seconds"])

    def forward(self, batch: Batch) -> Tensor:
        """The mean of the patches' embeddings (and their standard deviation where `spread`)."""
        patches, counts = self.patches(batch)
        vectors = in_chunks(self.embed, patches, on_cpu=16)  # [patches, 1024]
        sound = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)
        divisor = counts.to(vectors.dtype).unsqueeze(1)
        mean = _sum_by(vectors, sound, len(counts)) / divisor
        if not self._settings["spread"]:
            return mean
        variance = _sum_by((vectors - mean[sound]).square(), sound, len(counts)) / divisor
        return torch.cat([mean, (variance + 1e-8).sqrt()], dim=1)

    def patches(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The patches of all sounds [patches, 1, 96, 64] and how many each sound has, int64 [batch]."""
        samples, counts = batch["samples"], _patch_counts(batch["lengths"])
        needed = SHORTEST + (int(counts.max()) - 1) * PATCH_HOP * HOP
        samples = F.pad(samples, (0, max(0, needed - samples.shape[1])))
        energies = spectrogram(samples, self.window, hop=HOP, fft=FFT) @ self.mel.T  # [batch, frames, 64]
        logmel = (energies + LOG_OFFSET).log()
        windows = logmel.unfold(1, PATCH, PATCH_HOP).transpose(2, 3)  # [batch, most patches, 96, 64]
        kept = self.kept(windows, counts)
        return windows[kept].unsqueeze(1), kept.sum(dim=1)

    def kept(self, windows: Tensor, counts: Tensor) -> Tensor:
        """Which patches of [batch, patches, 96, 64] count in the mean: bool [batch, patches], one at least in a row."""
        kept = frame_mask(counts, windows.shape[1])
        if self._settings["skip_silence"]:
            heard = kept & (windows.mean(dim=(2, 3)) > SILENCE)
            kept = heard | (kept & ~heard.any(dim=1, keepdim=True))  # a silent sound keeps its silence
        return kept

    def exportable(self) -> Exportable:
        """The graph takes samples and lengths; see `triptych.runtime.media.Sounds`."""
        settings = {"max_seconds": self._settings["max_seconds"]}
        return Exportable(_Graph(self), example_sounds(), SOUND_AXES, "sounds", settings)

    def embed(self, patches: Tensor) -> Tensor:
        """Patches [patches, 1, 96, 64] to embeddings [patches, 1024]."""
        maps = patches.contiguous(memory_format=torch.channels_last)  # faster on a CPU
        for number in range(1, len(CHANNELS) + 1):
            maps = self.get_submodule(f"layer{number}")(maps)
        return maps.mean(dim=(2, 3))

    def costs(self, values: Sequence[Any]) -> list[int]:
        """Equal costs: patches are computed without padding, whatever the lengths in a batch."""
        return [1] * len(values)


class _Graph(nn.Module):
    """The encoder from samples [batch, samples] and lengths [batch] on, for export."""

    def __init__(self, encoder: YamnetEncoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.spread = bool(encoder.settings["spread"])
        self.fourier = Fourier(encoder.window, hop=HOP, fft=FFT)

    def forward(self, samples: Tensor, lengths: Tensor) -> Tensor:
        samples = F.pad(samples, (0, SHORTEST))  # whole patches to the end of the longest sound
        magnitudes = self.fourier(samples).sqrt()  # [batch, bins, frames]
        logmel = (self.encoder.mel @ magnitudes + LOG_OFFSET).log().transpose(1, 2)
        starts = torch.arange((logmel.shape[1] - PATCH) // PATCH_HOP + 1, device=logmel.device) * PATCH_HOP
        windows = logmel[:, starts[:, None] + torch.arange(PATCH, device=logmel.device)]  # [batch, patches, 96, 64]
        kept = self.encoder.kept(windows, _patch_counts(lengths))
        sound, place = kept.nonzero().unbind(1)
        vectors = self.encoder.embed(windows[sound, place].unsqueeze(1))  # [kept, 1024]
        belongs = (sound == torch.arange(len(lengths), device=sound.device)[:, None]).to(vectors.dtype)
        share = belongs / belongs.sum(dim=1, keepdim=True)  # [batch, kept]
        mean = share @ vectors
        if not self.spread:
            return mean
        variance = share @ (vectors - mean[sound]).square()
        return torch.cat([mean, (variance + 1e-8).sqrt()], dim=1)


class _Plain(nn.Module):
    """3 x 3 convolution and ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride)

    def forward(self, maps: Tensor) -> Tensor:
        activated: Tensor = F.relu(self.conv(_same(maps, self.conv.stride[0])))
        return activated


class _Separable(nn.Module):
    """3 x 3 convolution for each channel, ReLU, 1 x 1 convolution over channels, ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(inputs, inputs, 3, stride, groups=inputs)
        self.pointwise = nn.Conv2d(inputs, outputs, 1)

    def forward(self, maps: Tensor) -> Tensor:
        maps = F.relu(self.depthwise(_same(maps, self.depthwise.stride[0])))
        activated: Tensor = F.relu(self.pointwise(maps))
        return activated


def _patch_counts(lengths: Tensor) -> Tensor:
    """How many patches sounds of these lengths have: int64 [batch], at least one; the last may be partial."""
    return (-torch.div(SHORTEST - lengths, PATCH_HOP * HOP, rounding_mode="floor") + 1).clamp_min(1)


def _same(maps: Tensor, stride: int) -> Tensor:
    """Zeros around maps as TensorFlow's SAME padding of a 3 x 3 kernel puts them: the odd one goes to the end."""
    totals = [max((-(-size // stride) - 1) * stride + 3 - size, 0) for size in maps.shape[2:]]
    (high, wide) = totals
    return F.pad(maps, (wide // 2, wide - wide // 2, high // 2, high - high // 2))


def _sum_by(vectors: Tensor, group: Tensor, groups: int) -> Tensor:
    """[n, dim] to [groups, dim]: the sum of the rows of each group."""
    return torch.zeros(groups, vectors.shape[1], dtype=vectors.dtype, device=vectors.device).index_add(
        0, group, vectors
    )


def mel_filters(low_hz: float = 125.0, high_hz: float = 7_500.0) -> Tensor:
    """Triangular filters [64, 257] equally wide on the HTK mel scale; pretrained weights bring their own copy."""

    def mel(hz: Tensor) -> Tensor:
        return 1127.0 * torch.log1p(hz / 700.0)

    edges = torch.linspace(float(mel(torch.tensor(low_hz))), float(mel(torch.tensor(high_hz))), MELS + 2)
    bins = mel(torch.linspace(0, SAMPLE_RATE_HZ / 2, BINS))
    lower, centre, upper = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising = (bins - lower) / (centre - lower)
    falling = (upper - bins) / (upper - centre)
    filters = torch.minimum(rising, falling).clamp_min(0)
    filters[:, 0] = 0  # no energy at zero frequency
    return filters
