"""Voice notes: flite or espeak-ng speaks, then speed, pitch, level and noise vary; kept as small Ogg Opus files."""

from __future__ import annotations

import io
import random
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import soundfile

SAMPLE_RATE_HZ = 16_000
FLITE = ("slt", "rms", "awb")
ESPEAK = ("en-gb", "en-us", "en-us+f3", "en-gb+m3")


def speak(rng: random.Random, sentence: str) -> bytes:
    """One voice note as the bytes of an Ogg Opus file. Needs the programs `flite` and `espeak-ng`."""
    samples = _synthesise(rng, sentence)
    noise = np.random.default_rng(rng.randrange(2**32))
    pad = [np.zeros(int(rng.uniform(0.05, 0.35) * SAMPLE_RATE_HZ)) for _ in range(2)]
    samples = np.concatenate([pad[0], samples, pad[1]])
    samples = samples / (np.abs(samples).max() + 1e-9) * rng.uniform(0.4, 0.9)
    hum = np.sin(np.arange(len(samples)) * 2 * np.pi * rng.choice((50, 100, 120)) / SAMPLE_RATE_HZ)
    samples = samples + noise.normal(0, rng.uniform(0.001, 0.006), len(samples)) + hum * rng.uniform(0, 0.006)
    buffer = io.BytesIO()
    # 0.97 gives about 16 kbit/s: clear speech, some 5 KB a note
    soundfile.write(
        buffer,
        samples.clip(-1, 1).astype(np.float32),
        SAMPLE_RATE_HZ,
        format="OGG",
        subtype="OPUS",
        compression_level=0.97,
    )
    return buffer.getvalue()


def _synthesise(rng: random.Random, sentence: str) -> np.ndarray:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "note.wav"
        if rng.random() < 0.75:
            voice = rng.choice(FLITE)
            command = ["flite", "-voice", voice, "--setf", f"duration_stretch={rng.uniform(0.85, 1.2):.2f}"]
            command += ["--setf", f"int_f0_target_mean={rng.uniform(0.9, 1.1) * (170 if voice == 'slt' else 105):.0f}"]
            command += ["-t", sentence, "-o", str(path)]
        else:
            command = [
                "espeak-ng",
                "-v",
                rng.choice(ESPEAK),
                "-s",
                str(rng.randint(135, 175)),
                "-p",
                str(rng.randint(35, 60)),
                "-w",
                str(path),
                sentence,
            ]
        subprocess.run(command, check=True, capture_output=True)
        samples, rate = soundfile.read(path)
    if rate != SAMPLE_RATE_HZ:
        position = np.arange(0, len(samples), rate / SAMPLE_RATE_HZ)
        samples = np.interp(position, np.arange(len(samples)), samples)
    return np.asarray(samples)
