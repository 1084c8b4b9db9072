"""Feature vectors that were computed elsewhere, checked and stacked. Without torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from triptych.errors import DataError

CLIP = 10.0  # standard deviations; published features hold wild values
Vector = np.ndarray[Any, np.dtype[np.float32]]


def stack_vectors(values: Sequence[Any], dim: int, modality: str) -> Vector:
    """Values to float32 [batch, dim]; `dim` 0 takes the length of the first.

    Raises `DataError` for a wrong length, a missing number, or what is no row of numbers.
    """
    vectors = [_vector(value, place) for place, value in enumerate(values)]
    dim = dim or (len(vectors[0]) if vectors else 0)
    for place, vector in enumerate(vectors):
        if len(vector) != dim:
            raise DataError(f"{modality} feature vector {place} has {len(vector)} numbers, the others have {dim}")
    return np.stack(vectors) if vectors else np.zeros((0, dim), dtype=np.float32)


def _vector(value: Any, place: int) -> Vector:
    """One value as float32 [features]; `place` names it in errors."""
    try:
        vector = np.asarray(value, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise DataError(f"feature vector {place} is not made of numbers (got {type(value).__name__})") from error
    if vector.ndim != 1 or not len(vector):
        raise DataError(f"feature vector {place} must be one row of numbers (got shape {list(vector.shape)})")
    bad = np.flatnonzero(~np.isfinite(vector))
    if len(bad):
        raise DataError(f"feature vector {place} has no finite number in column {int(bad[0])} ({len(bad)} in all)")
    return vector
