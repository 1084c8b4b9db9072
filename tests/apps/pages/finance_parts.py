"""What stands in for a model in the tests of the finance page: it counts good and bad words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from triptych.hookspecs import hookimpl
from triptych.types import Part

GOOD = frozenset(["raises", "wins", "beats", "record", "strong", "dividend"])
BAD = frozenset(["cuts", "warns", "loses", "falls", "loss", "weak", "recalls"])


class Words:
    """Of each text, how many bad, other and good words: the order of the labels."""

    dim = 3

    @classmethod
    def load(cls, directory: Path, settings: Mapping[str, Any], *, threads: int = 0) -> Self:
        return cls()

    def encode(self, values: Sequence[Any]) -> Any:
        return np.array([counts(str(text)) for text in values], dtype=np.float32)


def counts(text: str) -> list[float]:
    """Bad, other and good words of a text."""
    words = re.findall(r"\w+", text.lower())
    bad, good = (sum(word in known for word in words) for known in (BAD, GOOD))
    return [bad, 0.0 if bad or good else 1.0, good]


@hookimpl
def triptych_parts() -> list[Part]:
    return [Part("runner", "news-words", f"{__name__}:Words", "Good and bad words.")]
