"""Made-up vectors with neighbours worth finding, and exact search to compare with."""

from __future__ import annotations

import numpy as np


def clustered(rows: int, dim: int, *, seed: int = 0, centres: int | None = None) -> np.ndarray:
    """Unit vectors float32 [rows, dim] around random centres; the same seed gives the same centres."""
    generator = np.random.default_rng(seed)
    middles = generator.standard_normal((centres or max(2, rows // 40), dim))
    found = middles[generator.integers(0, len(middles), rows)] + 0.6 * generator.standard_normal((rows, dim))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def nearest(stored: np.ndarray, queries: np.ndarray, k: int = 10) -> list[set[int]]:
    """The rows of the largest inner products, for each query."""
    return [set(row.tolist()) for row in np.argsort(-(queries @ stored.T), axis=1)[:, :k]]


def recall(found: list[set[int]], truth: list[set[int]]) -> float:
    """The mean share of true neighbours that were found."""
    return float(np.mean([len(a & b) / len(b) for a, b in zip(found, truth, strict=True)]))
