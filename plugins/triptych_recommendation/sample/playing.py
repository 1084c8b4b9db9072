"""Tunes of the synthetic catalogue: the mood of an item sets timbre, tempo and register, and nothing else is told."""

from __future__ import annotations

import random

import numpy as np
from numpy.typing import NDArray

RATE_HZ = 8_000
SECONDS = 1.4
MOODS = ("bells", "pulses", "strings", "drums")
_SCALE = (0, 2, 4, 7, 9)  # semitones
_TEMPO = {"bells": 2.2, "pulses": 8.0, "strings": 1.4, "drums": 5.0}  # notes a second
_LOWEST = {"bells": 700.0, "pulses": 330.0, "strings": 110.0, "drums": 70.0}  # Hz


def play(mood: str, rng: random.Random) -> NDArray[np.float32]:
    """A tune in one of the `MOODS`: float32 [SECONDS * RATE_HZ], mono."""
    noise = np.random.default_rng(rng.randrange(2**32))
    length = int(SECONDS * RATE_HZ)
    sound = np.zeros(length)
    step = 1 / (_TEMPO[mood] * rng.uniform(0.85, 1.15))
    lowest = _LOWEST[mood] * 2 ** rng.uniform(-0.2, 0.2)
    begin = 0.0
    while begin < SECONDS - 0.05:
        place = int(begin * RATE_HZ)
        t = np.arange(length - place) / RATE_HZ
        pitch = lowest * 2 ** ((rng.choice(_SCALE) + 12 * rng.randint(0, 1)) / 12)
        sound[place:] += _VOICES[mood](t, pitch, step, noise)
        begin += step
    sound = 0.6 * sound / np.abs(sound).max() + noise.normal(0, 0.003, length)
    return np.asarray(sound, dtype=np.float32)


Floats = NDArray[np.float64]


def _bell(t: Floats, pitch: float, step: float, noise: np.random.Generator) -> Floats:
    partials = ((1.0, 1.0, 3.0), (2.76, 0.5, 5.0), (4.1, 0.25, 8.0))  # of the pitch, loudness, decay
    return sum((a * np.exp(-d * t) * np.sin(2 * np.pi * r * pitch * t) for r, a, d in partials), np.zeros_like(t))


def _pulse(t: Floats, pitch: float, step: float, noise: np.random.Generator) -> Floats:
    tone = sum((np.sin(2 * np.pi * k * pitch * t) / k for k in range(1, int(3_600 / pitch), 2)), np.zeros_like(t))
    return np.asarray(tone * (t < 0.7 * step))


def _string(t: Floats, pitch: float, step: float, noise: np.random.Generator) -> Floats:
    wobble = 0.004 * np.sin(2 * np.pi * 5.5 * t)
    tones = (np.sin(2 * np.pi * k * pitch * (t + wobble / 6)) / k for k in range(1, 9))
    swell = np.clip(np.sin(np.pi * t / (1.6 * step)), 0, None) * (t < 1.6 * step)
    return np.asarray(sum(tones, np.zeros_like(t)) * swell)


def _drum(t: Floats, pitch: float, step: float, noise: np.random.Generator) -> Floats:
    skin = np.sin(2 * np.pi * pitch * t * (1 + 0.5 * np.exp(-30 * t))) * np.exp(-14 * t)
    return skin + 0.6 * noise.normal(0, 1, len(t)) * np.exp(-35 * t)


_VOICES = {"bells": _bell, "pulses": _pulse, "strings": _string, "drums": _drum}
