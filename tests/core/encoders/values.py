"""Pictures and sounds for tests: small, different from each other, made on the spot."""

from __future__ import annotations

import numpy as np

from triptych.types import Waveform

RATE_HZ = 16_000


def pictures(count: int = 4, seed: int = 0) -> list[np.ndarray]:
    """uint8 arrays [height, width, 3] of different shapes: a coloured ground with a bright bar."""
    generator = np.random.default_rng(seed)
    found = []
    for i in range(count):
        pixels = np.full((60 + 10 * (i % 4), 80, 3), generator.integers(0, 200, 3), dtype=np.uint8)
        pixels += generator.integers(0, 30, pixels.shape, dtype=np.uint8)
        top = 10 + 5 * (i % 8)
        pixels[top : top + 10, 10:70] = 250
        found.append(pixels)
    return found


def sounds(count: int = 4, seed: int = 0) -> list[Waveform]:
    """Noisy tones of 0.3, 0.8, 1.3 or 1.8 seconds at 16 kHz."""
    generator = np.random.default_rng(seed)
    found = []
    for i in range(count):
        t = np.arange(int(RATE_HZ * (0.3 + 0.5 * (i % 4)))) / RATE_HZ
        tone = 0.3 * np.sin(2 * np.pi * (300 + 400 * (i % 12)) * t) + generator.normal(0, 0.02, len(t))
        found.append(Waveform(tone.astype(np.float32), RATE_HZ))
    return found
