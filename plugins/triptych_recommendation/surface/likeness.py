"""By what two items are alike: each part of them compared by itself, and how many people chose both."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.errors import DataError
from triptych.types import MODALITIES, Modality, Sample
from triptych_recommendation.data.interactions import Interactions
from triptych_recommendation.data.items import Item, sample_of

Vector = NDArray[np.float32]
_REMEMBERED = 5_000  # vectors


class Likeness:
    """Compares items by what the encoder of the bundle makes of one part alone. Safe for threads.

    `encode` gives float32 [samples, dim], unit rows, for samples with any subset of text, picture and sound.
    """

    def __init__(self, encode: Callable[[Sequence[Sample]], Any]) -> None:
        self._encode = encode
        self._vectors: OrderedDict[tuple[Modality, str], Vector | None] = OrderedDict()
        self._changing = threading.Lock()

    def parts(self, item: Item, others: Sequence[Item]) -> list[dict[str, float]]:
        """For each of the others the cosine of each part that both have and the encoder understands."""
        wanted = {
            (modality, str(value)): sample.only((modality,))
            for sample in map(sample_of, (item, *others))
            for modality in MODALITIES
            if (value := sample.value(modality)) is not None
        }
        vectors = self._vectors_of(wanted)
        own = _by_part(item, vectors)
        found = []
        for other in others:
            theirs = _by_part(other, vectors)
            found.append({part: float(own[part] @ theirs[part]) for part in own if part in theirs})
        return found

    def _vectors_of(self, wanted: dict[tuple[Modality, str], Sample]) -> dict[tuple[Modality, str], Vector | None]:
        with self._changing:
            found = {key: self._vectors[key] for key in wanted if key in self._vectors}
        for modality in MODALITIES:
            new = {key: sample for key, sample in wanted.items() if key not in found and key[0] == modality}
            found.update(zip(new, self._encoded(list(new.values())), strict=True))
        with self._changing:
            for key in wanted:
                self._vectors[key] = found[key]
                self._vectors.move_to_end(key)
            while len(self._vectors) > _REMEMBERED:
                self._vectors.popitem(last=False)
        return found

    def _encoded(self, samples: list[Sample]) -> list[Vector | None]:
        """A vector for each sample; None where the encoder understands nothing of it."""
        if not samples:
            return []
        try:
            return list(np.asarray(self._encode(samples), dtype=np.float32))
        except DataError:  # of a part that this bundle does not read, or of a file that is gone: which
            return [None] if len(samples) == 1 else [self._encoded([sample])[0] for sample in samples]


def chose_both(row: int, others: Sequence[int], past: Interactions) -> list[int]:
    """For each of the other rows how many people of the bundle's events had to do with both items."""
    own, *theirs = (np.unique(past.user[past.item == one]) for one in (row, *others))
    return [len(np.intersect1d(own, users, assume_unique=True)) for users in theirs]


def _by_part(item: Item, vectors: dict[tuple[Modality, str], Vector | None]) -> dict[str, Vector]:
    sample = sample_of(item)
    found = {modality: vectors.get((modality, str(sample.value(modality)))) for modality in sample.modalities}
    return {modality: vector for modality, vector in found.items() if vector is not None}
