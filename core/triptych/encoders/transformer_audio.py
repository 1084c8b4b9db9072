"""Sounds through a transformers model: wav2vec 2.0, HuBERT, WavLM and their kin, Whisper's encoder, or AST.

`transformer-audio:<folder or hub name>`. transformers is imported where a model is built.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from triptych.encoders.base import Batch, Encoder
from triptych.encoders.logmel import frame_mask, prepare_sounds
from triptych.encoders.weights import hub_reachable
from triptych.errors import ConfigError, MissingError

SHORTEST = 400  # samples of one frame of AST's spectrogram
WHISPER_FRAME = 320  # samples for each output of Whisper's encoder: hop 160, then a stride of 2


class TransformerAudioEncoder(Encoder):
    """The mean of the last hidden states over what was really heard: [batch, hidden size].

    A sound's vector does not depend on the others in its batch. Models whose first convolution is normalised over
    time (wav2vec 2.0 base) never saw padding in training; for those, sounds of different length are computed apart.

    Options of `create`: `max_seconds` (what is heard of a long sound) and `window_seconds` (Whisper only: hear windows
    shorter than its 30 s, which costs proportionally less).
    """

    modality = "audio"

    def __init__(self, settings: dict[str, Any], model: Any, extractor: Any) -> None:
        super().__init__()
        self._settings = settings
        self.name = f"transformer-audio:{settings['model']}"
        self.pretrained = settings["pretrained"]
        self.model: nn.Module = model
        self.extractor = extractor
        self.config: Any = model.config
        self.kind = _kind(self.config)
        self.dim = int(self.config.hidden_size)

    @classmethod
    def create(  # type: ignore[override]  # options by name instead of **options: a wrong one is refused
        cls, model: str = "", *, max_seconds: float = 30.0, window_seconds: float | None = None
    ) -> Self:
        """A checkpoint by folder or hub name.

        Raises `MissingError` when it cannot be had and `ConfigError` for a model that is not an audio encoder.
        """
        if not model:
            raise ConfigError("name a model, as in 'transformer-audio:facebook/wav2vec2-base' or a folder")
        network, extractor = _load(model)
        if window_seconds is not None:
            if network.config.model_type != "whisper":
                raise ConfigError(f"window_seconds is for Whisper only; {model!r} takes any length (see max_seconds)")
            _shorten(network, window_seconds)
            max_seconds = min(max_seconds, window_seconds)
        name = Path(model).expanduser().resolve().name if Path(model).expanduser().is_dir() else model
        return cls({"model": name, "pretrained": True, "max_seconds": float(max_seconds)}, network, extractor)

    @classmethod
    def restore(cls, settings: dict[str, Any], assets: Path) -> Self:
        """The architecture of `assets/config.json` with random weights."""
        from transformers import AutoConfig, AutoFeatureExtractor

        config = AutoConfig.from_pretrained(assets, local_files_only=True)
        extractor = AutoFeatureExtractor.from_pretrained(assets, local_files_only=True)
        return cls(settings, _build(config), extractor)

    def save_assets(self, directory: Path) -> None:
        """Write the model's configuration and that of its feature extractor (JSON)."""
        self.config.save_pretrained(directory)
        self.extractor.save_pretrained(directory)

    @property
    def settings(self) -> dict[str, Any]:
        """Name, options and the architecture in full."""
        return {**self._settings, "config": self.config.to_diff_dict(), "extractor": self.extractor.to_dict()}

    @property
    def backbone(self) -> nn.Module:
        """The transformers model."""
        return self.model

    def prepare(self, values: Sequence[Any]) -> Batch:
        """Sounds to {"inputs": float32 [batch, samples] or [batch, mels, frames], "lengths": int64 [batch]}."""
        rate = int(self.extractor.sampling_rate)
        batch = prepare_sounds(values, max_seconds=self._settings["max_seconds"], sample_rate_hz=rate)
        sounds = [row[:n].numpy() for row, n in zip(batch["samples"], batch["lengths"].tolist(), strict=True)]
        if self.kind == "waveform":
            return self._pad([np.asarray(self._extract(s)["input_values"][0], dtype=np.float32) for s in sounds])
        if self.kind == "whisper":
            window = int(self.config.max_source_positions) * WHISPER_FRAME
            lengths = batch["lengths"].clamp_max(window)
            rows = [self._extract(s, padding="max_length", max_length=window)["input_features"][0] for s in sounds]
        else:
            lengths = batch["lengths"]
            sounds = [np.pad(s, (0, max(0, SHORTEST - len(s)))) for s in sounds]
            rows = [self._extract(s)["input_values"][0] for s in sounds]
        return {"inputs": torch.from_numpy(np.stack(rows).astype(np.float32)), "lengths": lengths}

    def forward(self, batch: Batch) -> Tensor:
        """Prepared sounds to [batch, hidden size]."""
        inputs, lengths = batch["inputs"], batch["lengths"]
        if self.kind == "spectrogram":  # every input has the same length
            return self._states(inputs).mean(dim=1)
        if self.kind == "whisper":
            states = self._states(inputs)
            return _mean(states, (lengths / WHISPER_FRAME).ceil().long().clamp_min(1))
        if getattr(self.config, "feat_extract_norm", "group") == "layer":
            longest = frame_mask(lengths, inputs.shape[1])
            states = self._states(inputs, attention_mask=longest.long())
            frames: Any = self.model._get_feat_extract_output_lengths(lengths)  # type: ignore[operator]
            return _mean(states, frames)
        vectors = torch.zeros(len(inputs), self.dim, device=inputs.device)
        for length in sorted(set(lengths.tolist())):
            rows = (lengths == length).nonzero().flatten()
            mean = self._states(inputs[rows, :length]).mean(dim=1)
            vectors = vectors.index_copy(0, rows, mean.float())
        return vectors

    def _states(self, inputs: Tensor, **options: Tensor) -> Tensor:
        states: Tensor = self.model(inputs, **options).last_hidden_state
        return states

    def _extract(self, sound: np.ndarray[Any, Any], **options: Any) -> Any:
        return self.extractor(sound, sampling_rate=self.extractor.sampling_rate, return_tensors="np", **options)

    def _pad(self, sounds: list[np.ndarray[Any, Any]]) -> Batch:
        """Waveforms to one batch; a sound too short for the convolutions gets silence behind it."""
        shortest = 1
        for kernel, stride in zip(reversed(self.config.conv_kernel), reversed(self.config.conv_stride), strict=True):
            shortest = (shortest - 1) * stride + kernel
        lengths = [max(len(sound), shortest) for sound in sounds]
        samples = np.zeros((len(sounds), max(lengths, default=0)), dtype=np.float32)
        for row, sound in enumerate(sounds):
            samples[row, : len(sound)] = sound
        return {"inputs": torch.from_numpy(samples), "lengths": torch.tensor(lengths, dtype=torch.int64)}


def _mean(states: Tensor, frames: Tensor) -> Tensor:
    """The mean of the first `frames` [batch] of states [batch, longest, dim]."""
    mask = frame_mask(frames, states.shape[1]).unsqueeze(2)
    return (states * mask).sum(dim=1) / mask.sum(dim=1)


def _kind(config: Any) -> str:
    """What a model takes: "waveform", "whisper" (log-mel of a fixed window) or "spectrogram" (AST)."""
    if config.model_type == "whisper":
        return "whisper"
    if hasattr(config, "conv_kernel"):
        return "waveform"
    if hasattr(config, "num_mel_bins") and config.model_type == "audio-spectrogram-transformer":
        return "spectrogram"
    raise ConfigError(
        f"transformers model type {config.model_type!r} is no audio encoder that is known here; "
        "use wav2vec2, hubert, wavlm, data2vec-audio, whisper or audio-spectrogram-transformer"
    )


def _load(model: str) -> tuple[Any, Any]:
    """Model and feature extractor of a checkpoint. Raises `MissingError` and `ConfigError`."""
    from transformers import AutoConfig, AutoFeatureExtractor, AutoModel

    folder = Path(model).expanduser()
    source = str(folder) if folder.is_dir() else model
    offline = folder.is_dir() or not hub_reachable()
    try:
        config = AutoConfig.from_pretrained(source, local_files_only=offline)
        _kind(config)
        extractor = AutoFeatureExtractor.from_pretrained(source, local_files_only=offline)
        # safetensors only: the other format is a pickle
        network = AutoModel.from_pretrained(source, config=config, local_files_only=offline, use_safetensors=True)
    except OSError as error:
        why = str(error).strip().splitlines()[0]
        raise MissingError(
            f"audio model {model!r} cannot be had: {why} Give the folder of a checkpoint (config.json, "
            "preprocessor_config.json, model.safetensors), or run once with a network to fill the hub's cache."
        ) from error
    except ValueError as error:
        raise ConfigError(f"audio model {model!r} cannot be loaded: {error}") from error
    network = network.encoder if config.model_type == "whisper" else network
    network.config.apply_spec_augment = False  # its masks can be longer than a short sound
    return network, extractor


def _build(config: Any) -> nn.Module:
    """The architecture with random weights; of Whisper the encoder only."""
    if config.model_type == "whisper":
        from transformers.models.whisper.modeling_whisper import WhisperEncoder

        encoder: nn.Module = WhisperEncoder(config)
        return encoder
    from transformers import AutoModel

    model: nn.Module = AutoModel.from_config(config)
    return model


def _shorten(network: Any, window_seconds: float) -> None:
    """Let Whisper's encoder take a shorter window: its positions are sinusoids, and the first ones stay the same."""
    positions = round(window_seconds * 16_000 / WHISPER_FRAME)
    if not 1 <= positions <= network.config.max_source_positions:
        longest = network.config.max_source_positions * WHISPER_FRAME / 16_000
        raise ConfigError(f"window_seconds must be between 0.02 and {longest:g} (got {window_seconds:g})")
    network.config.max_source_positions = network.max_source_positions = positions
    weight = network.embed_positions.weight[:positions].detach().clone()
    network.embed_positions = nn.Embedding(len(weight), weight.shape[1], _weight=weight, _freeze=True)
