"""An answer context without a model: a vertical's rules can be tested before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from triptych.predictor import AnswerContext
from triptych.retrieval.index import Hit, VectorIndex
from triptych.types import Document, Prediction, Sample
from triptych.vertical import Request

DIM = 16


class FakeContext(AnswerContext):
    """Answers `search` and `examples` with documents and examples in an order that is random, but always the same.

    Of every other sample it predicts what it is given as `said`. Filters (`where`) work as in a real index. `state` is
    an existing directory for what the vertical keeps.
    """

    def __init__(
        self,
        request: Request,
        settings: Any,
        state: Path,
        *,
        documents: Sequence[Document] = (),
        examples: Sequence[Sample] = (),
        said: Prediction | None = None,
    ) -> None:
        self.settings = settings
        self.state = state
        self._said = said
        self.sample = Sample("request", text=request.text, image=request.image, audio=request.audio)
        self._documents = _index([d.sample.id for d in documents], [dict(d.metadata) for d in documents])
        told = [{"target": s.target, "text": s.text if isinstance(s.text, str) else ""} for s in examples]
        self._examples = _index([s.id for s in examples], told)

    @property
    def space(self) -> str:
        """Always "fused"."""
        return "fused"

    def search(self, k: int = 5, *, where: Mapping[str, Any] | None = None) -> list[Hit]:
        """Up to `k` documents."""
        return _search(self._documents, k, where)

    def examples(self, k: int = 5, *, where: Mapping[str, Any] | None = None) -> list[Hit]:
        """Up to `k` examples."""
        return _search(self._examples, k, where)

    def predict(self, samples: Sequence[Sample]) -> list[Prediction]:
        """The prediction given as `said`, for each sample."""
        if samples and self._said is None:
            raise ValueError("give FakeContext said=prediction(...): the vertical asks what the model says of a sample")
        return [self._said for _ in samples if self._said is not None]


def prediction(label: str, labels: Sequence[str], *, confidence: float = 0.9, in_scope: bool = True) -> Prediction:
    """A prediction by hand: `label` with `confidence`, the other labels share the rest; a number for `values`."""
    others = [other for other in labels if other != label]
    rest = (1 - confidence) / len(others) if others else 0.0
    probabilities = {label: confidence if others else 1.0} | dict.fromkeys(others, rest)
    return Prediction(
        probabilities=dict(sorted(probabilities.items(), key=lambda item: -item[1])),
        scope_score=1.0 if in_scope else -1.0,
        in_scope=in_scope,
        embedding=np.ones(DIM, dtype=np.float32),
        attribution={"text": 1.0},
        values={label: confidence},
    )


def _index(ids: Sequence[str], metadata: Sequence[dict[str, Any]]) -> VectorIndex | None:
    if not ids:
        return None
    index = VectorIndex(DIM)
    index.add(list(ids), _vectors(len(ids)), list(metadata))
    return index


def _search(index: VectorIndex | None, k: int, where: Mapping[str, Any] | None) -> list[Hit]:
    return [] if index is None else index.search(_vectors(1), k, where=where)[0]


def _vectors(count: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(0).normal(size=(count, DIM)).astype(np.float32)
