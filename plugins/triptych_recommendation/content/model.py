"""The user model that knows only content: a taste is where the items of a history lie, a score is how near one is."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from triptych.errors import BundleError
from triptych_recommendation.codes import Codes
from triptych_recommendation.content.profile import event_weights, part_profiles, profiles, unit
from triptych_recommendation.content.settings import ContentSettings
from triptych_recommendation.data.interactions import History, Interactions
from triptych_recommendation.mapped import any_by_row, floats, mapped_halves
from triptych_recommendation.models.base import (
    TENSORS,
    Latest,
    Report,
    Rescore,
    Told,
    UserModel,
    best,
    read_model,
    silent,
    write_model,
)

Floats = NDArray[np.float32]
_BATCH = 256  # histories that are scored at once
_LEAST = 250  # best items by codes, however few are asked for; over twice as many are compared
_FLOATS = 16_000_000  # bytes of vectors that are kept as float32 too
_COMPARED = 100  # rows of vectors that are taken for the same where these are,
_ROUNDED = 1e-3  # but for what making them of length 1 twice does to a float16
_CODES_FROM = 20_000  # items; below, comparing all takes no longer


class Content(UserModel):
    """Scores are cosines between an item and the profile of a history, 0 at least.

    The profile is the mean of the items' unit vectors (Rocchio 1971, "Relevance Feedback in Information Retrieval"),
    an event counting by its weight and, by its place from the end, half for each `half_life` events
    (`profile.profiles`). Vectors are kept as float16. Neither popularity nor other users count, so an item scores from
    its first second.
    """

    name: ClassVar[str] = "content"

    def __init__(self, vectors: NDArray[np.float16], settings: ContentSettings) -> None:
        self.vectors = vectors  # [items, d], unit rows, or zeros for items without content
        self.settings = settings
        self.items = len(vectors)
        self._codes: Codes | None = None  # by which candidates are found where there are many
        self._coding = threading.Lock()
        self._floats: Floats | None = None
        self._taste = Latest(self._lone)

    @classmethod
    def fit(
        cls,
        interactions: Interactions,
        settings: ContentSettings,
        *,
        seed: int,
        vectors: Floats | None = None,
        progress: Report = silent,
    ) -> Self:
        """Keep the vectors, one for each item of the events. Raises `ValueError` without them."""
        if vectors is None or len(vectors) != len(interactions.items):
            shape = None if vectors is None else vectors.shape
            raise ValueError(f"{len(interactions.items)} items need as many content vectors, not {shape}")
        if not np.isfinite(vectors).all():
            raise ValueError("a content vector holds NaN or infinity")
        return cls(unit(vectors).astype(np.float16), settings)

    def scores(self, histories: Sequence[History]) -> Floats:
        """See the base."""
        found = np.empty((len(histories), self.items), dtype=np.float32)
        vectors = self._as_floats()
        for start in range(0, len(histories), _BATCH):
            part = histories[start : start + _BATCH]
            found[start : start + len(part)] = np.maximum(self._tastes(part) @ vectors.T, 0)
        return found

    def score(self, history: History, rows: NDArray[np.int32]) -> Floats:
        """See the base."""
        taste, told = self._taste(history)

        def compute(rows: NDArray[np.int32]) -> Floats:
            known = rows < self.items
            found = np.zeros(len(rows), dtype=np.float32)
            found[known] = np.maximum(floats(self.vectors[rows[known]]) @ taste, 0)
            return found

        return told(rows, compute)

    def rescorer(self, history: History, rows: NDArray[np.int32]) -> Rescore:
        """See the base; vectors are looked up once."""
        inside = rows < self.items
        vectors = floats(self.vectors[rows[inside]])

        def rescore(kept: NDArray[np.bool_]) -> Floats:
            found = np.zeros((len(kept), len(rows)), dtype=np.float32)
            tastes = unit(part_profiles(history, kept, self._rows, self.settings))
            found[:, inside] = np.maximum(tastes @ vectors.T, 0)
            return found

        return rescore

    def candidates(self, history: History, k: int) -> NDArray[np.int32]:
        """See the base; of many items the best are found by codes of a bit a dimension, nearly all of them."""
        if self.items < _CODES_FROM:
            return best(self.scores([history])[0], k)
        taste, told = self._taste(history)
        if not taste.any():
            return np.empty(0, dtype=np.int32)
        rows = self._coded().candidates(taste, max(k, _LEAST)).astype(np.int32)
        rows = rows[rows < self.items]  # shared codes know of later ones
        scores = np.maximum(floats(self.vectors[rows]) @ taste, 0)
        told.add(rows, scores)
        return rows[best(scores, k)]

    def contributions(self, history: History, row: int) -> Floats | None:
        """Each event's share of the cosine, which may be below 0; they add up to the score where that is above 0."""
        shares = np.zeros(len(history), dtype=np.float32)
        if row >= self.items:
            return shares
        vectors, weights = self._rows(history.items), event_weights(history, self.settings)
        length = float(np.linalg.norm(weights @ vectors))
        if length > 0:
            shares[:] = weights * (vectors @ self.vectors[row].astype(np.float32)) / length
        return shares

    def save(self, directory: Path) -> None:
        """See the base."""
        write_model(directory, self, {"settings": self.settings.model_dump()}, {"vectors": self.vectors})

    @classmethod
    def load(cls, directory: Path) -> Self:
        """See the base."""
        meta, _ = read_model(directory, cls.name)
        vectors = mapped_halves(directory / TENSORS, "vectors")
        try:
            model = cls(vectors, ContentSettings.model_validate(meta["settings"]))
        except (KeyError, ValueError) as error:
            raise BundleError(f"the model in {directory} is damaged ({error!r}); fit it again") from error
        if model.items != meta["items"]:
            raise BundleError(f"the model in {directory} has {model.items} vectors, expected {meta['items']}")
        return model

    def share(self, vectors: NDArray[np.float16], codes: Codes) -> None:
        """Find candidates by codes that somebody else has, where they are of the same vectors."""
        some = np.linspace(0, self.items - 1, min(self.items, _COMPARED)).astype(int)
        same = vectors.shape == self.vectors.shape
        if same and np.allclose(floats(vectors[some]), floats(self.vectors[some]), rtol=0, atol=_ROUNDED):
            self._codes = codes

    def _coded(self) -> Codes:
        """The codes, which are made when they are first needed: models that are only compared never need them."""
        with self._coding:
            if self._codes is None:
                self._codes = Codes.build(self.vectors, np.flatnonzero(any_by_row(self.vectors)), lists=1)
            return self._codes

    def _as_floats(self) -> Floats:
        """Float32 [items, d], kept where that is little memory."""
        found = floats(self.vectors) if self._floats is None else self._floats
        if found.nbytes <= _FLOATS:
            self._floats = found
        return found

    def _lone(self, history: History) -> tuple[Floats, Told]:
        """As `_tastes`, float32 [d], and what is known of its scores."""
        whole = np.ones((1, len(history)), dtype=np.bool_)
        return unit(part_profiles(history, whole, self._rows, self.settings))[0], Told()

    def _tastes(self, histories: Sequence[History]) -> Floats:
        """Float32 [histories, d]: the unit vectors that likeness is measured to; zeros where nothing has content."""
        return unit(profiles(histories, self._rows, self.settings))

    def _rows(self, rows: NDArray[np.int32]) -> Floats:
        """Float32 [rows, d]; zeros for items that came after the fitting."""
        found = np.zeros((len(rows), self.vectors.shape[1]), dtype=np.float32)
        known = rows < self.items
        found[known] = floats(self.vectors[rows[known]])
        return found
