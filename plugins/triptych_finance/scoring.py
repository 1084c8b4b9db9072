"""Scores of texts by a trained model, many thousands in one call, without the objects that single answers need."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from triptych.errors import BundleError
from triptych.runtime.cascade import CASCADE, CascadeSettings
from triptych.runtime.open import open_session, variant_path
from triptych.runtime.space import Space
from triptych.types import Sample
from triptych_finance.language.figures import with_comparisons
from triptych_finance.language.sentences import cleaned

if TYPE_CHECKING:
    from pathlib import Path

    from triptych.predictor import Predictor
    from triptych.runtime.base import Session

LABELS = ("negative", "neutral", "positive")
DIGITS = 4
"""Of a score. The same text in another batch may differ in the sixth digit."""
AT_ONCE = 4_096
"""Texts in one call of the model: enough to fill its batches, few enough for the memory."""
APART = 1e-4
"""A probability that differs more from one batch to another depends on the batch."""
_PROBE = (
    "Profit rises.",
    "$TVNA!!! " * 9,
    "The board of the company met on Monday, and no decision was taken on the dividend.",
)

Floats = NDArray[np.float32]
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """`probabilities` is [texts, 3] in the order of `LABELS`, `vectors` [texts, dim] with rows of length one."""

    probabilities: Floats
    vectors: Floats

    def __len__(self) -> int:
        return len(self.probabilities)


class Scorer(Protocol):
    """What scores texts."""

    def score(self, texts: Sequence[str]) -> Scores:
        """The scores of texts, in the order given; of none, arrays without rows."""


class ModelScorer:
    """Scores by a session and takes vectors from `space`, which is the session or its first stage; for many threads.

    Vectors are those of the text encoder, which keep what a text is about; the fused ones keep its mood. A text gets
    the same score whatever is scored beside it: a model of which that is not true (one in eight bits that takes its
    ranges from the batch) is asked for each text alone, which takes longer and is logged. `where` names the model in
    errors: raises `BundleError` for one without text, or with other labels than `LABELS`.
    """

    def __init__(self, session: Session, space: Space, where: str | Path) -> None:
        check(session, where)
        self.variant = session.variant
        self._session, self._space = session, space
        self.at_once = AT_ONCE if self._steady() else 1
        if self.at_once == 1:
            _LOG.warning(
                "what the variant %r says of a text depends on the texts beside it, so each is scored alone, "
                "which is slower; other compression chains do without",
                session.variant,
            )

    def score(self, texts: Sequence[str]) -> Scores:
        """The scores of texts, in the order given; of none, arrays without rows."""
        parts = [self._part(texts[start : start + self.at_once]) for start in range(0, len(texts), self.at_once)]
        if not parts:
            return Scores(np.zeros((0, len(LABELS)), np.float32), np.zeros((0, 0), np.float32))
        probabilities, vectors = zip(*parts, strict=True)
        return Scores(np.concatenate(probabilities), np.concatenate(vectors))

    def _steady(self) -> bool:
        """Whether texts get the same probabilities alone and together."""
        together = self._part(_PROBE)[0]
        alone = np.concatenate([self._part([text])[0] for text in _PROBE])
        return bool(np.abs(together - alone).max() <= APART)

    def _part(self, texts: Sequence[str]) -> tuple[Floats, Floats]:
        samples = [Sample("", text=readable(text)) for text in texts]
        encoded = self._space.encode(samples)
        if self._space is self._session:
            outputs = self._space.probabilities(self._space.fuse(encoded).logits, encoded.mask)
            columns = [self._space.labels.index(label) for label in LABELS]
            probabilities: Floats = np.ascontiguousarray(outputs[:, columns], dtype=np.float32)
        else:
            probabilities = probabilities_of(self._session, samples)
        return probabilities, unit(encoded.vectors["text"])


class BundleScorer(ModelScorer):
    """Scores by the model that a bundle answers with; where a cascade does, vectors come from its first stage."""

    def __init__(self, predictor: Predictor) -> None:
        session = predictor.session
        check(session, predictor.bundle.path)
        space = session if isinstance(session, Space) else _first_stage(predictor)
        super().__init__(session, space, predictor.bundle.path)


def check(session: Session, where: str | Path) -> None:
    """Raises `BundleError`, naming `where`, for a model without text or with other labels than `LABELS`."""
    if "text" not in session.modalities:
        known = ", ".join(session.modalities)
        raise BundleError(f"{where} understands {known} and no text; train it with encoders.text")
    if session.kind != "classification" or set(session.labels) != set(LABELS):
        raise BundleError(
            f"{where} answers {', '.join(session.labels) or session.kind}; what scores news answers {', '.join(LABELS)}"
        )


def readable(text: str) -> str:
    """A text as the model reads it, in training and in service: cleaned, with the outcome of comparisons written in."""
    return with_comparisons(cleaned(text))


def probabilities_of(session: Session, samples: Sequence[Sample]) -> Floats:
    """What a session says of samples: float32 [samples, 3] in the order of `LABELS`."""
    rows = [outcome.prediction.probabilities for outcome in session.run(samples)]
    found = np.array([[row.get(label, 0.0) for label in LABELS] for row in rows], dtype=np.float32)
    return found.reshape(len(rows), len(LABELS))


def score_of(probabilities: Any) -> float:
    """The probability of good news less that of bad news, of one row in the order of `LABELS`."""
    return round(float(probabilities[2]) - float(probabilities[0]), DIGITS) + 0.0  # -0 is 0


def unit(vectors: Any) -> Floats:
    """Rows of length one, float32; a row of zeros stays."""
    rows = np.asarray(vectors, dtype=np.float32)
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]
    found: Floats = rows / np.maximum(lengths, np.float32(1e-12))
    return found


def _first_stage(predictor: Predictor) -> Space:
    """The first model of the cascade that a bundle answers with, once more: every text passes it."""
    bundle = predictor.bundle
    directory = variant_path(bundle.path, predictor.session.variant)
    if (directory / CASCADE).is_file():
        stage = open_session(bundle.path, CascadeSettings.read(directory).stages[0], predictor.host)
        if isinstance(stage, Space):
            return stage
    raise BundleError(f"{bundle.path} answers with {predictor.session.variant!r}, which has no vectors; build it again")
