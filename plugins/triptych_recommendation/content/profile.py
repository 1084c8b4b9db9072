"""A taste as a vector: the mean of what the items of a history are like, in which the newest count most.

The content model scores with it, and serving looks for items that came after the build with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych_recommendation.content.settings import ContentSettings
from triptych_recommendation.data.interactions import History

Floats = NDArray[np.float32]


def event_weights(history: History, settings: ContentSettings) -> Floats:
    """Float32 [events]: how much each event of a history counts, the newest last; 0 beyond `length`."""
    age = np.arange(len(history) - 1, -1, -1)
    found = history.weights * np.exp2(-age / settings.half_life)
    counted: Floats = np.where(age < settings.length, found, 0).astype(np.float32)
    return counted


def profiles(
    histories: Sequence[History], vectors: Callable[[NDArray[np.int32]], Floats], settings: ContentSettings
) -> Floats:
    """Float32 [histories, dim]: for each the mean of the vectors of its items, weighted by `event_weights`.

    `vectors` gives float32 [rows, dim], zeros for items without content; it is asked once, each row once. A mean is not
    of length 1; it is zeros where the history is empty, or nothing in it has content.
    """
    newest = [history.items[-settings.length :] for history in histories]
    rows = np.unique(np.concatenate([np.zeros(0, dtype=np.int32), *newest]))
    known = vectors(rows)
    found = np.zeros((len(histories), known.shape[1]), dtype=np.float32)
    for history, items, own in zip(histories, newest, found, strict=True):
        weights = event_weights(history, settings)[-settings.length :]
        own[:] = weights @ known[np.searchsorted(rows, items)] / max(float(weights.sum()), 1e-12)
    return found


def part_profiles(
    history: History, kept: NDArray[np.bool_], vectors: Callable[[NDArray[np.int32]], Floats], settings: ContentSettings
) -> Floats:
    """As `profiles`, float32 [parts, dim], of parts of one history: bool [parts, events] says what each has."""
    ages = np.cumsum(kept[:, ::-1], axis=1)[:, ::-1] - 1
    weights = np.where(kept & (ages < settings.length), history.weights * np.exp2(-ages / settings.half_life), 0)
    counted = weights.any(axis=0)
    weights = weights[:, counted].astype(np.float32)
    found: Floats = weights @ vectors(history.items[counted])
    found /= np.maximum(weights.sum(axis=1, keepdims=True), np.float32(1e-12))
    return found


def unit(vectors: Any) -> Floats:
    """Float32 [..., dim] of length 1, zeros where they are zeros."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    found: Floats = np.asarray(vectors / np.where(lengths > 0, lengths, 1), dtype=np.float32)
    return found
