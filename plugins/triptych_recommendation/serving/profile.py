"""A taste as a vector: what the items of a history are like, the newest first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych_recommendation.data.interactions import History

Floats = NDArray[np.float32]
HALF_LIFE = 50.0  # events after which one counts half; they are counted, not dated
LENGTH = 200  # newest events that count


def shares(history: History) -> tuple[NDArray[np.int32], Floats]:
    """Rows of the newest events and what each weighs in the profile, float32 [events]."""
    rows = history.items[-LENGTH:]
    ages = np.arange(len(rows) - 1, -1, -1, dtype=np.float32)
    return rows, history.weights[-LENGTH:] * np.float32(0.5) ** (ages / np.float32(HALF_LIFE))


def profile(history: History, vectors: Callable[[NDArray[Any]], Floats]) -> Floats:
    """Float32 [dim]: the mean of the vectors of a history, weighted by `shares`; its length is not 1.

    `vectors` gives float32 [rows, dim]. Zeros where the history is empty, or nothing in it has content.
    """
    rows, weights = shares(history)
    total: Floats = weights @ vectors(rows)
    return total / max(float(weights.sum()), 1e-12)
