"""Where the embedded sample lies. It is synthetic: games, covers, tunes and people are invented."""

from __future__ import annotations

from pathlib import Path

SAMPLE = Path(__file__).resolve().parent


def sample_folder(directory: Path | None = None) -> Path:
    """The data folder of the sample, with events.csv, items.csv, pictures and sounds; it is read where it lies."""
    return SAMPLE
