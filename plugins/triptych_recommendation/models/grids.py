"""Which settings of each kind of model are tried: one setting after the other, the best value of each being kept."""

from __future__ import annotations

from typing import Any

Axes = list[list[dict[str, Any]]]

GRIDS: dict[str, Axes] = {
    "popularity": [[{"half_life_days": value} for value in (None, 30.0, 180.0)]],
    "neighbours": [
        [{"window": 10, "recency": 0.6, "last": 10}],
        [{"recency": value} for value in (0.3, 1.0)],
        [{"shrinkage": value} for value in (0.0, 30.0, 100.0)],
        [{"penalty": value} for value in (0.2, 0.35, 0.65)],
        [{"back": value} for value in (0.3, 0.6)],
        [{"active": value} for value in (0.3, 0.6)],
        [{"neighbours": value} for value in (50, 300)],
        [{"last": value} for value in (5, 30)],
        [{"weighted": value} for value in (0.1, 0.25)],
    ],
    "ease": [
        [{"recency": 0.5}],
        [{"l2": value} for value in (60.0, 500.0)],
        [{"recency": value} for value in (0.25, 0.75)],
        [{"dropout": 0.3}],
        [{"weighted": value} for value in (0.1, 0.25)],
    ],
    "factors": [
        [{"recency": 0.5}],
        [{"alpha": value} for value in (2.0, 15.0)],
        [{"l2": value} for value in (0.2, 5.0)],
        [{"weighted": value} for value in (0.1, 0.25)],
    ],
    "content": [[{"half_life": value} for value in (5.0, 80.0)]],
}
"""For each kind the axes, one after the other; a value is what it changes. Kinds that are not here are not tuned."""
