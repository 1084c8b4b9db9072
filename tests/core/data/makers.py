"""Real files of every format, made on the spot."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

NOISE = np.random.default_rng(7).integers(0, 256, (40, 60, 3), dtype=np.uint8)


def picture(path: Path, size: tuple[int, int] = (60, 40), **options: Any) -> Path:
    """A picture of noise (JPEG, PNG, ... by the suffix), so that no two are alike by size only."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    seed = sum(path.name.encode())
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, **options)
    return path


def picture_bytes(kind: str = "png", size: tuple[int, int] = (60, 40)) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.new("RGB", size, (200, 30, 30)).save(stream, kind)
    return stream.getvalue()


def tone(seconds: float = 0.5, rate: int = 16_000, hertz: float = 440.0) -> np.ndarray[Any, Any]:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


def sound(path: Path, seconds: float = 0.5, rate: int = 16_000, hertz: float = 440.0, channels: int = 1) -> Path:
    """A tone as libsndfile writes it (WAV, FLAC, OGG, MP3, AIFF by the suffix)."""
    import soundfile

    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.stack([tone(seconds, rate, hertz)] * channels, axis=1)
    soundfile.write(path, samples, rate)
    return path


def recording(path: Path, codec: str, seconds: float = 0.5, rate: int = 48_000, layout: str = "mono") -> Path:
    """A tone as a browser or a telephone records it (WebM with Opus, M4A with AAC)."""
    import av

    samples = tone(seconds, rate)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout=layout)
        size = stream.codec_context.frame_size or 960
        for start in range(0, len(samples), size):
            block = np.zeros((2 if layout == "stereo" else 1, size), np.float32)
            part = samples[start : start + size]
            block[:, : len(part)] = part
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=layout)
            frame.sample_rate, frame.pts = rate, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path
