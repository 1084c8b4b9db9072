"""What the vertical puts into its bundle: item vectors, the chosen user model, all that serving needs, the report."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from triptych.errors import DataError
from triptych.indexing import EXTENSION
from triptych.types import Modality
from triptych_recommendation.about import About
from triptych_recommendation.data.folder import RecommendationData, open_folder
from triptych_recommendation.data.items import Item, sample_of
from triptych_recommendation.data.leakage import check
from triptych_recommendation.data.splits import make_split
from triptych_recommendation.serving.encoding import Encode

if TYPE_CHECKING:
    from triptych.tuning.base import Progress
    from triptych.vertical import Extension

REPORT = "report"
"""The folder of the report among the files of the vertical."""
_BATCH = 128  # items that are encoded at once
_STEP = "item vectors"


def build(extension: Extension) -> dict[str, Any]:
    """Make all files of the bundle's extension; returns the metrics. Raises `DataError` for data that does not do."""
    from triptych_recommendation.hindsight.report import PAGE, write_report
    from triptych_recommendation.models.choose import choose
    from triptych_recommendation.results import Told, metrics_of, results_of
    from triptych_recommendation.serving.files import write_files

    settings, directory = extension.settings, extension.directory
    data = open_folder(extension.data, settings.data)
    split = make_split(data.interactions, settings.data)
    items = items_by_row(data)
    known = {modality for part in extension.splits.values() for sample in part for modality in sample.modalities}
    vectors, unreadable = item_vectors(items, known, extension.encode, extension.progress)
    choice = choose(
        split, data.interactions, settings.models, vectors=vectors, seed=extension.seed, progress=extension.progress
    )
    write_files(
        directory,
        items=items,
        past=data.interactions,
        model=choice.model,
        vectors=vectors,
        encoder=fingerprint(vectors),
        built=datetime.now(UTC),
    )
    rates = {rival.name: round(float(rival.test.metrics["hit@10"]), 4) for rival in choice.rivals}
    About(tuple(sorted(known)), 0 if vectors is None else vectors.shape[1], rates).write(directory)
    told = Told(data, split, items, choice, [*data.notes(), *check(split), *unreadable, *choice.notes])
    write_report(directory / REPORT, results_of(told, seed=extension.seed))
    return {**metrics_of(told), "report": f"{EXTENSION}/{REPORT}/{PAGE}"}


def items_by_row(data: RecommendationData) -> list[Item]:
    """The item of each row of the interactions; one that only the events know has an id and nothing else."""
    catalogue = {item.id: item for item in data.items}
    return [catalogue.get(name) or Item(name) for name in data.interactions.items]


def item_vectors(
    items: Sequence[Item], known: set[Modality], encode: Encode, progress: Callable[[Progress], None]
) -> tuple[NDArray[np.float32] | None, list[str]]:
    """Float32 [items, dim], unit rows, zeros for items with nothing that the model understands; and what went wrong.

    `known` are the modalities that the model understands. An item whose picture or sound cannot be decoded has zeros
    too. None where no item has anything.
    """
    from triptych.tuning.base import Progress

    samples = [sample_of(item) for item in items]
    rows = [row for row, sample in enumerate(samples) if known & set(sample.modalities)]
    found: dict[int, NDArray[np.float32]] = {}
    unreadable: list[str] = []
    for start in range(0, len(rows), _BATCH):
        progress(Progress(_STEP, start, len(rows), "encoding"))
        some = rows[start : start + _BATCH]
        try:
            found.update(zip(some, encode([samples[row] for row in some]), strict=True))
        except DataError:  # one of them: which
            for row in some:
                try:
                    found[row] = encode([samples[row]])[0]
                except DataError as error:
                    unreadable.append(f"item {items[row].id!r} has no vector: {error}")
    progress(Progress(_STEP, len(rows), len(rows), "done"))
    if not found:
        return None, unreadable
    vectors = np.zeros((len(items), len(next(iter(found.values())))), dtype=np.float32)
    vectors[list(found)] = np.stack(list(found.values()))
    return vectors, unreadable


def fingerprint(vectors: NDArray[np.float32] | None) -> str:
    """The same for the same vectors, another for others; "" for none. Vectors of two encoders must not be mixed."""
    if vectors is None:
        return ""
    some = vectors[vectors.any(axis=1)][:64].astype(np.float16)
    return hashlib.sha256(f"{vectors.shape[1]}".encode() + some.tobytes()).hexdigest()[:16]
