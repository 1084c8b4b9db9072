"""From the files of a bundle to an open recommender, for the vertical and for the commands."""

from __future__ import annotations

import atexit
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from triptych.types import Sample
from triptych_recommendation.about import About, read_about
from triptych_recommendation.settings import RecommendationSettings

if TYPE_CHECKING:
    from triptych.predictor import AnswerContext, Predictor
    from triptych_recommendation.serving.encoding import Encode
    from triptych_recommendation.serving.recommender import Recommender

NAME, VERSION = "recommendation", "1"
FILE = "recommendation.sqlite3"


def store_place(settings: RecommendationSettings, state: Path) -> str | Path:
    """Where the store is: what the settings name, or a file in the directory for what outlives bundles."""
    if settings.store is None:
        return state / FILE
    return settings.store if "://" in settings.store else Path(settings.store).expanduser()


def open_recommender(
    files: Path, settings: RecommendationSettings, store: str | Path | None, encode: Encode
) -> Recommender:
    """The recommender of a bundle, whose extension lies at `files`, over a store, which is made where it is missing.

    Without a store it has one of its own, which ends with it. `encode` is the bundle's; items of which it understands
    nothing get zeros.
    """
    from triptych_recommendation.serving.recommender import Recommender

    about = read_about(files)
    understood = _understood(encode, about) if about.dim else None
    return Recommender.open(files, store, settings.serving, encode=understood, taste=settings.models.content)


def recommender_of(bundle: Predictor | AnswerContext) -> Recommender:
    """The one recommender of a bundle in service, opened when it is first asked for.

    What it has put on record is written when the program ends.
    """

    def make() -> Recommender:
        settings = bundle.settings
        assert isinstance(settings, RecommendationSettings)  # `settings_type` says so
        # an answer that is given again must not be put on record, in whatever store the settings name
        store = None if getattr(bundle, "replaying", False) else store_place(settings, bundle.state)
        found = open_recommender(bundle.files, settings, store, bundle.encode)
        atexit.register(found.close)  # lists are written behind the answer, and nobody closes a predictor
        return found

    return bundle.cached("recommender", make)


def about_of(bundle: Predictor | AnswerContext) -> About:
    """What is noted of a bundle in service."""
    return bundle.cached("about", lambda: read_about(bundle.files))


def _understood(encode: Encode, about: About) -> Encode:
    def encoded(samples: Sequence[Sample]) -> NDArray[np.float32]:
        vectors = np.zeros((len(samples), about.dim), dtype=np.float32)
        rows = [row for row, sample in enumerate(samples) if set(about.modalities) & set(sample.modalities)]
        if rows:
            vectors[rows] = encode([samples[row] for row in rows])
        return vectors

    return encoded
