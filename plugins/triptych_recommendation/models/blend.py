"""A weighted sum of what several models say, each measured against its own best for the history."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from triptych.errors import BundleError
from triptych_recommendation.data.interactions import History, Interactions
from triptych_recommendation.data.splits import leave_one_out
from triptych_recommendation.models.base import (
    Report,
    Rescore,
    UserModel,
    best,
    distinct,
    key_of,
    load_model,
    model_class,
    read_model,
    silent,
    write_model,
)
from triptych_recommendation.models.blending import FEATURES, Mixture, Scale, collect, features, learn, scale
from triptych_recommendation.models.settings import ModelSettings

if TYPE_CHECKING:
    from triptych_recommendation.codes import Codes

KEPT = 256  # histories whose scales are kept: one list asks for the same history several times
_COMPARED = 100  # events of a history that rows are compared with one by one
LITTLE = 0.001  # weight that popularity has at least


class Blend(UserModel):
    """Parts and the weights of their features (`blending.features`), which depend on how long the history is."""

    name = "blend"

    def __init__(self, parts: Sequence[UserModel], mixture: Mixture) -> None:
        """Parts that know the same items. Those without any weight are left out, popularity never.

        Popularity says a little in any case: it answers those of whom the others know nothing.
        """
        weights = mixture.weights.reshape(len(mixture.weights), len(parts), FEATURES).copy()
        for place, part in enumerate(parts):
            if part.name == "popularity":
                weights[:, place, 0] = np.maximum(weights[:, place, 0], LITTLE)
        used = np.flatnonzero(weights.any(axis=(0, 2)))
        if not len(used):
            used = np.arange(len(parts))
        self.parts = [parts[int(place)] for place in used]
        self.mixture = Mixture(mixture.depth, mixture.bounds, weights[:, used].reshape(len(weights), -1))
        self.items = max(part.items for part in parts)
        self._kept: OrderedDict[bytes, list[Scale]] = OrderedDict()
        self._lock = Lock()

    @classmethod
    def fit(
        cls,
        interactions: Interactions,
        settings: ModelSettings,
        *,
        seed: int,
        vectors: NDArray[np.float32] | None = None,
        progress: Report = silent,
    ) -> Self:
        """Fit the kinds of `candidates` without each user's newest item, learn the weights on it, and fit them again.

        `choose.choose` tunes the parts too. "content" takes no part without `vectors`. Raises `DataError` where no
        user has items to spare.
        """
        split = leave_one_out(interactions)
        kinds = [kind for kind in dict.fromkeys(settings.candidates) if kind != "content" or vectors is not None]
        parts, again = (
            [
                model_class(kind).fit(events, getattr(settings, kind), seed=seed, vectors=vectors, progress=progress)
                for kind in kinds
            ]
            for events in (split.before_test, interactions)
        )
        lessons = collect(parts, split.before_test, split.test, settings.blend.depth)
        return cls(again, learn(lessons, settings.blend))

    def scores(self, histories: Sequence[History]) -> NDArray[np.float32]:
        """Float32 [histories, items]."""
        weights = np.array([self.mixture.of(history) for history in histories], dtype=np.float32)
        weights = weights.reshape(len(histories), len(self.parts), FEATURES)
        total = np.zeros((len(histories), self.items), dtype=np.float32)
        for place, part in enumerate(self.parts):
            scores = part.scores(histories)
            for column, feature in enumerate(features(scores, *scale(scores, histories, self.mixture.depth))):
                total += weights[:, place, column, None] * feature
        return total

    def score(self, history: History, rows: NDArray[np.int32]) -> NDArray[np.float32]:
        """Float32 [rows]; each part is asked for its best and for these rows only."""
        found: NDArray[np.float32] = self._shares(history, rows).sum(axis=0)
        return found

    def rescorer(self, history: History, rows: NDArray[np.int32]) -> Rescore:
        """See the base; weights and scales stay those of the whole history."""
        scaled = zip(self.parts, self.mixture.of(history), self._scales(history), strict=True)
        asked = [(part.rescorer(history, rows), weights, scales) for part, weights, scales in scaled if weights.any()]

        def rescore(kept: NDArray[np.bool_]) -> NDArray[np.float32]:
            found = np.zeros((len(kept), len(rows)), dtype=np.float32)
            for part, weights, scales in asked:
                found += scales(part(kept), weights)
            return found

        return rescore

    def candidates(self, history: History, k: int) -> NDArray[np.int32]:
        """The best of the rows that are among the k best of any part, in the order of the blend."""
        depth = max(k, self._depth(history))
        lists = [part.candidates(history, depth) for part in self.parts]
        self._keep(history, [self._scale(part, history, own) for part, own in zip(self.parts, lists, strict=True)])
        rows = distinct(np.concatenate([own[:k] for own in lists]))
        return rows[best(self.score(history, rows), k)]

    def share(self, vectors: NDArray[np.float16], codes: Codes) -> None:
        """Tell the parts."""
        for part in self.parts:
            part.share(vectors, codes)

    def contributions(self, history: History, row: int) -> NDArray[np.float32] | None:
        """Float32 [events]: what each part gives to the score, shared out as the part shares out its own score.

        Parts that cannot tell are left out; None where no part can.
        """
        shares = self._shares(history, np.array([row], dtype=np.int32))[:, 0]
        found, told = np.zeros(len(history), dtype=np.float32), False
        for part, share in zip(self.parts, shares, strict=True):
            own = part.contributions(history, row) if share > 0 else None
            if own is not None and own.sum() > 0:
                found += share * own / own.sum()
                told = True
        return found if told else None

    def worth(self) -> dict[str, list[list[float]]]:
        """For each part the weights of its features, one pair for each bucket of history lengths."""
        weights = self.mixture.weights.reshape(len(self.mixture.weights), len(self.parts), FEATURES)
        return {part.name: weights[:, place].tolist() for place, part in enumerate(self.parts)}

    def save(self, directory: Path) -> None:
        """Write the weights, and each part into a folder of its own."""
        mixture = self.mixture
        meta: dict[str, Any] = {
            "depth": mixture.depth,
            "bounds": list(mixture.bounds),
            "parts": [part.name for part in self.parts],
        }
        write_model(directory, self, meta, {"weights": mixture.weights})
        for number, part in enumerate(self.parts):
            part.save(directory / f"{number}-{part.name}")

    @classmethod
    def load(cls, directory: Path) -> Self:
        """What `save` wrote. Raises `BundleError`."""
        meta, tensors = read_model(directory, cls.name)
        try:
            names = [str(name) for name in meta["parts"]]
            mixture = Mixture(int(meta["depth"]), tuple(meta["bounds"]), tensors["weights"])
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(f"{directory} holds a damaged blend ({error!r}); fit it again") from error
        if mixture.weights.shape != (len(mixture.bounds) + 1, len(names) * FEATURES):
            raise BundleError(f"{directory} holds a blend whose weights do not fit its parts; fit it again")
        return cls([load_model(directory / f"{number}-{name}") for number, name in enumerate(names)], mixture)

    def _shares(self, history: History, rows: NDArray[np.int32]) -> NDArray[np.float32]:
        """Float32 [parts, rows]: what each part gives to the scores."""
        found = np.zeros((len(self.parts), len(rows)), dtype=np.float32)
        parts = zip(self.parts, self.mixture.of(history), self._scales(history), found, strict=True)
        for part, weights, scales, share in parts:
            if weights.any():
                share[:] = scales(part.score(history, rows), weights)
        return found

    def _depth(self, history: History) -> int:
        """How many of a part's best are looked at, so that so many as the blend compares are new to the user."""
        return self.mixture.depth + len(history)

    def _scales(self, history: History) -> list[Scale]:
        """The same as `blending.scale` for a lone history, for each part; kept for the histories asked for lately."""
        with self._lock:
            kept = self._kept.get(key_of(history))
        if kept is None:
            depth = self._depth(history)
            kept = [self._scale(part, history, part.candidates(history, depth)) for part in self.parts]
            self._keep(history, kept)
        return kept

    def _scale(self, part: UserModel, history: History, rows: NDArray[np.int32]) -> Scale:
        """The best score of a part and that at the depth, from its best rows."""
        new = rows[~_among(rows, history.items)][: self.mixture.depth]
        ends = part.score(history, new[[0, -1]]) if len(new) else np.zeros(2, dtype=np.float32)
        whole = len(new) == self.mixture.depth < part.items
        return Scale(float(ends[0]), float(ends[1]) if whole else 0.0)

    def _keep(self, history: History, scales: list[Scale]) -> None:
        with self._lock:
            self._kept[key_of(history)] = scales
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)


def _among(rows: NDArray[np.int32], others: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Bool [rows]: which ones are among others, where these are few in less time than `np.isin` takes."""
    if len(others) > _COMPARED:
        return np.isin(rows, others)
    found: NDArray[np.bool_] = (rows[:, None] == others).any(axis=1)
    return found
