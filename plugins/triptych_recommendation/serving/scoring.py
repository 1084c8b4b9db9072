"""Scores on one scale, for items that the model knows and for items that came after it."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from triptych_recommendation.models.base import Rescore
from triptych_recommendation.serving.live import Live
from triptych_recommendation.serving.tastes import Taste

Floats = NDArray[np.float32]
Rows = NDArray[np.int32]
Mode = Literal["behaviour", "content", "query", "popularity"]
_GROUP = 10  # known items whose mean score stands for one likeness
_OWN = 0.1  # share of a new item's score that depends on its likeness beyond what the curve says


class Curve:
    """What likeness to a taste is worth in the model's scores, told by the items that the model knows.

    Of known items, the mean score of those about as like the taste, made to rise with likeness (isotonic regression by
    pooling adjacent violators: Barlow et al., 1972). So a new item stands where known items as like the taste stand on
    average. A tenth of it varies with the likeness itself, so that of two new items the more like one is above.
    """

    def __init__(self, cosines: Floats, scores: Floats) -> None:
        order = np.argsort(cosines, kind="stable")
        groups = max(1, len(order) // _GROUP) if len(order) else 0  # of about one size: a small one would say little
        starts = np.arange(groups) * len(order) // max(groups, 1)
        sizes = np.diff(np.append(starts, len(order)))
        means = [np.add.reduceat(of[order], starts) / sizes if len(order) else of for of in (cosines, scores)]
        self._cosines = means[0].astype(np.float64)
        blocks = [[mean, size, 1] for mean, size in zip(means[1].tolist(), sizes.tolist(), strict=True)]
        pooled: list[list[float]] = []
        for block in blocks:
            pooled.append(block)
            while len(pooled) > 1 and pooled[-2][0] >= pooled[-1][0]:
                mean, weight, count = pooled.pop()
                last = pooled[-1]
                total = last[1] + weight
                pooled[-1] = [(last[0] * last[1] + mean * weight) / total, total, last[2] + count]
        self._scores = np.array([mean for mean, _, count in pooled for _ in range(int(count))])

    def __call__(self, cosines: Floats) -> Floats:
        """Float32 of the same shape: the score for each likeness, 0 where that is not above 0."""
        if not len(self._cosines):
            return np.zeros_like(cosines)
        alike = np.clip(cosines, 0, 1)
        found = np.interp(cosines, self._cosines, self._scores) * (1 - _OWN + _OWN * alike)
        return np.where(alike > 0, found, 0).astype(np.float32)


class Scorer:
    """The scores of candidates for a taste, on a scale where 1 is the best; and what they would be with less history.

    `mode` says what they are from. "behaviour": the model, and for rows that it was fitted without, the `Curve`.
    "content": likeness to the history, where the model has nothing to say of it. "query": likeness to the query; with
    a history too, half of it, the other half the history's. "popularity": how often items were chosen, where there is
    nothing to go by.
    """

    def __init__(self, live: Live, taste: Taste, profile: Floats, rows: Rows, cosines: Floats) -> None:
        """`rows` are the candidates, each once.

        `profile` is float32 [dim], of length 1 or 0: what the history is like in content. `cosines` is float32
        [candidates]: of the neighbours of the taste in content how near they are to the profile, of others NaN.
        """
        self._live = live
        self._history = taste.history
        self._profile = profile
        self.rows = rows
        unknown = live.unknown(rows)
        self._new = unknown & live.vectors.there[rows]
        self._like = ~(np.isnan(cosines) | unknown)
        self._cosines = cosines
        self._told = np.zeros(len(rows), dtype=np.float32)  # by the model
        self._top = 1.0
        self._by: Literal["behaviour", "content", ""] = ""  # what of the history says anything
        own = self._fitted() if len(self._history) else self._told
        self._asked: Floats | None = None
        if taste.query is not None:
            near = np.clip(self.vectors(slice(None)) @ taste.query, 0, None)
            self._asked = near / near.max() if near.any() else None
        self.scores: Floats = self._popularity() if self.mode == "popularity" else self._with_query(own, slice(None))

    def vectors(self, places: Any) -> Floats:
        """Float32 [places, dim]: what some of the candidates are like; looked up as they are asked for."""
        return self._live.vectors.get(self.rows[places])

    @property
    def mode(self) -> Mode:
        """What the scores are from."""
        return "query" if self._asked is not None else self._by or "popularity"

    @property
    def policy(self) -> str:
        """What makes the list, in a word."""
        return self._live.model.name if self.mode == "behaviour" else self.mode

    def reason(self, place: int) -> str:
        """What the score of a candidate is from."""
        if self.mode != "behaviour":
            return self.mode
        return "behaviour" if self._told[place] > 0 else "content" if self._new[place] else "popularity"

    def rescorer(self, places: NDArray[np.int64]) -> Rescore:
        """What tells what the candidates at some places would score with parts of the history, on the same scale."""
        new = self._new[places]
        by_model = None
        if self._by == "behaviour":
            by_model = self._live.model.rescorer(self._history, self.rows[places])

        def rescore(kept: NDArray[np.bool_]) -> Floats:
            told = np.zeros((len(kept), len(places)), dtype=np.float32)
            if not self._by:
                return told + self.scores[places]
            if by_model is not None:
                told = by_model(kept)
            cosines = told
            if self._by == "content" or new.any():
                cosines = self._live.profiles(self._history, kept) @ self.vectors(places).T
            return self._with_query(self._own(told, cosines, new), places)

        return rescore

    def _fitted(self) -> Floats:
        """Set the scale by the candidates; their scores by the history, zeros where it says nothing."""
        self._told = self._live.model.score(self._history, self.rows)
        for by in ("behaviour", "content"):
            self._by = by
            needed = np.isnan(self._cosines) & ((self._new & (self._told <= 0)) | (by == "content"))
            if needed.any():
                self._cosines = self._cosines.copy()
                self._cosines[needed] = self.vectors(needed) @ self._profile
            own = self._own(self._told, self._cosines, self._new)
            best = float(own.max(initial=0))
            if best > 0:
                self._top = best
                return own / np.float32(best)
        self._by = ""
        return np.zeros_like(self._told)

    @cached_property
    def _curve(self) -> Curve:
        return Curve(self._cosines[self._like], self._told[self._like])

    def _own(self, told: Floats, cosines: Floats, new: NDArray[np.bool_]) -> Floats:
        if self._by == "content":
            return np.clip(cosines, 0, None) / np.float32(self._top)
        mixed = told
        untold = new & (told <= 0)
        if untold.any():
            mixed = told.copy()
            mixed[untold] = self._curve(cosines[untold])
        return np.asarray(mixed / np.float32(self._top), dtype=np.float32)

    def _with_query(self, own: Floats, places: Any) -> Floats:
        if self._asked is None:
            return own
        asked = self._asked[places]
        return np.asarray((own + asked) / 2 if self._by else own + asked, dtype=np.float32)

    def _popularity(self) -> Floats:
        counts = self._live.counts.events[self.rows].astype(np.float32)
        return np.asarray(counts / max(1.0, float(counts.max(initial=0))), dtype=np.float32)
