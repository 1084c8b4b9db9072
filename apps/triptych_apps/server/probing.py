"""Tried before the first client comes: how many requests it pays to answer together, and how long that takes."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import NamedTuple

from triptych.errors import TriptychError
from triptych.predictor import Predictor
from triptych.types import Sample

_ROUNDS = 3
_LEAST = 8  # texts, so that some of them are longer than a word
_WORDS = "What can you tell me about this, and when will I know more?"
_NOISE = 1.05  # a batch that is slower by less is not slower


class Tried(NamedTuple):
    """How many requests to answer together, and the seconds that the model then takes for each.

    Infinity: not known, as of a model that understands more than the words that it can be tried with.
    """

    batch: int
    seconds: float


def try_batches(predictor: Predictor, most: int) -> Tried:
    """The largest of `most`, `most / 4` and 1 at which an answer costs no more time than alone.

    The model answers alone, without the vertical's rules, so that nothing is kept of it; it is warm afterwards. Where
    there are no words that it could be tried with, it is trusted: `most`.
    """
    samples = _samples(predictor, max(most, _LEAST))
    known = predictor.session.modalities == ("text",)
    if not samples:
        return Tried(most, math.inf)
    try:
        predictor.predict(samples[:1])
        alone = min(_seconds_each(predictor, samples, 1) for _ in range(_ROUNDS))
        for size in sorted({most, max(2, most // 4)} if most > 1 else (), reverse=True):
            together = min(_seconds_each(predictor, samples, size) for _ in range(_ROUNDS))
            if together <= alone * _NOISE:
                return Tried(size, together if known else math.inf)
    except TriptychError:  # it cannot be tried with these words
        return Tried(most, math.inf)
    return Tried(1, alone if known else math.inf)


def _samples(predictor: Predictor, count: int) -> list[Sample]:
    """Texts of different lengths, as real ones are."""
    if "text" not in predictor.session.modalities:
        return []
    request = predictor.vertical.sample_request()
    words = ((request.text if request is not None else None) or _WORDS).split()
    return [Sample(str(row), text=" ".join(words[: 1 + row % len(words)])) for row in range(count)]


def _seconds_each(predictor: Predictor, samples: Sequence[Sample], size: int) -> float:
    started = time.perf_counter()
    for start in range(0, len(samples), size):
        predictor.predict(samples[start : start + size])
    return (time.perf_counter() - started) / len(samples)
