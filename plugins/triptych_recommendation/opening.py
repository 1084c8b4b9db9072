"""From the files of a bundle to an open recommender, for the vertical and for the commands."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from triptych.types import Sample
from triptych_recommendation.about import About, read_about
from triptych_recommendation.settings import RecommendationSettings

if TYPE_CHECKING:
    from triptych_recommendation.serving.encoding import Encode
    from triptych_recommendation.serving.recommender import Recommender

NAME, VERSION = "recommendation", "1"
FILE = "recommendation.sqlite3"


def store_place(settings: RecommendationSettings, state: Path) -> str | Path:
    """Where the store is: what the settings name, or a file in the directory for what outlives bundles."""
    if settings.store is None:
        return state / FILE
    return settings.store if "://" in settings.store else Path(settings.store).expanduser()


def open_recommender(files: Path, settings: RecommendationSettings, store: str | Path, encode: Encode) -> Recommender:
    """The recommender of a bundle, whose extension lies at `files`, over a store, which is made where it is missing.

    `encode` is the bundle's; items of which it understands nothing get zeros.
    """
    from triptych_recommendation.serving.recommender import Recommender

    about = read_about(files)
    understood = _understood(encode, about) if about.dim else None
    return Recommender.open(files, store, settings.serving, encode=understood, taste=settings.models.content)


def _understood(encode: Encode, about: About) -> Encode:
    def encoded(samples: Sequence[Sample]) -> NDArray[np.float32]:
        vectors = np.zeros((len(samples), about.dim), dtype=np.float32)
        rows = [row for row, sample in enumerate(samples) if set(about.modalities) & set(sample.modalities)]
        if rows:
            vectors[rows] = encode([samples[row] for row in rows])
        return vectors

    return encoded
