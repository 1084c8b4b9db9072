"""From events and items to the table that the item encoder learns from.

What is taught of an item is who chose it: its factors in the matrix of users and items. Items that the same people
choose have like factors, and items that many choose have long ones (Koren, Bell and Volinsky 2009, "Matrix
Factorization Techniques for Recommender Systems"; from content as in Gantner et al. 2010, "Learning Attribute-to-
Feature Mappings for Cold-Start Recommendations").
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from triptych.errors import DataError
from triptych_recommendation.content.settings import CoConsumptionSettings
from triptych_recommendation.data.folder import RecommendationData
from triptych_recommendation.data.interactions import Interactions
from triptych_recommendation.data.items import sample_of
from triptych_recommendation.data.splits import Split

Floats = NDArray[np.float32]
TABLE = "samples.jsonl"
BEHAVIOUR = "behaviour"
"""The column of the table, metadata of a sample, with the factors of an item."""
LEAST_ITEMS = 20
"""With content and events, to learn anything from."""


def write_table(data: RecommendationData, split: Split, directory: Path, settings: CoConsumptionSettings) -> Path:
    """Write `samples.jsonl` into a folder: a row for each item that has content and that people chose in the training.

    Columns are id, text, image and audio (absolute paths), behaviour (numbers, see `factors`), and label: the group of
    items chosen by the same people, by which core splits the items and measures retrieval. Only `split.train` is
    read. Raises `DataError` where fewer than 20 items have both.
    """
    behaviour = factors(split.train, settings.dimensions)
    users = split.train.matrix().getnnz(axis=0)
    rows = {name: row for row, name in enumerate(split.train.items)}
    chosen = [
        (sample_of(item), rows[item.id])
        for item in data.items
        if item.has_content and users[rows[item.id]] >= settings.least_users
    ]
    if len(chosen) < LEAST_ITEMS:
        reason = f"{len(chosen)} items have both content and training events of {settings.least_users} users or more"
        raise DataError(f"{reason}; at least {LEAST_ITEMS} are needed to learn what goes together")
    learnt = behaviour[[row for _, row in chosen]]
    learnt = learnt - learnt.mean(axis=0)
    labels = groups(learnt, settings.group)
    path = directory / TABLE
    with path.open("w", encoding="utf-8") as file:
        for (sample, _), label, values in zip(chosen, labels, learnt, strict=True):
            parts = {m: str(sample.value(m)) for m in sample.modalities}
            numbers = [round(float(value), 5) for value in values]
            file.write(json.dumps({"id": sample.id, **parts, "label": f"group {label}", BEHAVIOUR: numbers}) + "\n")
    return path


def factors(interactions: Interactions, dimensions: int) -> Floats:
    """Float32 [items, dimensions]: right singular vectors of the users' choices (0 or 1), times the singular values.

    The products of two rows are, as nearly as so few numbers allow, how many people chose both items. Fewer numbers
    than asked for exist where there are few users or items; the rest are zeros. Raises `DataError` for fewer than
    three users or items.
    """
    from scipy.sparse.linalg import svds

    matrix = interactions.matrix()
    least = min(matrix.shape)
    if least < 3:
        raise DataError(f"{matrix.shape[0]} users and {matrix.shape[1]} items are too few to learn what goes together")
    kept = min(dimensions, least - 1)
    _, values, right = svds(matrix, k=kept, v0=np.ones(least, dtype=np.float32))
    found = np.zeros((matrix.shape[1], dimensions), dtype=np.float32)
    order = np.argsort(-values)
    sign = np.where(right.sum(axis=1) < 0, -1, 1)[order]
    found[:, :kept] = (right[order] * (values[order] * sign)[:, None]).T
    return found


def groups(behaviour: Floats, least: int) -> NDArray[np.int64]:
    """Int64 [items]: items of like behaviour, float32 [items, factors], have one number.

    Halves across the direction in which they differ most, as long as each half has `least` items; so every group has
    at least that many, or is everything.
    """
    labels = np.zeros(len(behaviour), dtype=np.int64)
    waiting, number = [np.arange(len(behaviour))], 0
    while waiting:
        rows = waiting.pop()
        if len(rows) < 2 * least:
            labels[rows], number = number, number + 1
            continue
        centred = behaviour[rows] - behaviour[rows].mean(axis=0)
        direction = np.linalg.eigh(centred.T @ centred)[1][:, -1]
        order = np.argsort(centred @ direction, kind="stable")
        waiting += [rows[order[: len(rows) // 2]], rows[order[len(rows) // 2 :]]]
    return labels
