"""An answer context without a model: a vertical's rules can be tested before anything is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from triptych.predictor import AnswerContext
from triptych.retrieval.index import Hit, VectorIndex
from triptych.trace import Trace
from triptych.types import Document, Prediction, Sample
from triptych.vertical import Request

DIM = 16
T = TypeVar("T")


class FakeContext(AnswerContext):
    """Answers `search` and `examples` with documents and examples in an order that is random, but always the same.

    Of every other sample it predicts what it is given as `said`. Filters (`where`) work as in a real index. `state` is
    an existing directory for what the vertical keeps, `files` one with what it put into its bundle. `dim` is the size
    of the vectors that the head of an embedding would answer.
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
        files: Path | None = None,
        dim: int = DIM,
    ) -> None:
        self.settings = settings
        self.state = state
        self._said = said
        self._trace = Trace()
        self._files, self._dim = files, dim
        self._cached: dict[str, Any] = {}
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

    @property
    def files(self) -> Path:
        """The directory given as `files`."""
        if self._files is None:
            raise ValueError("give FakeContext files=DIRECTORY: the vertical reads what it put into its bundle")
        return self._files

    @property
    def vector(self) -> Any:
        """A unit vector [dim] that is always the same."""
        return self.encode([self.sample])[0]

    def cached(self, name: str, make: Callable[[], T]) -> T:
        """What `make` returned at the first call under this name."""
        if name not in self._cached:
            self._cached[name] = make()
        found: T = self._cached[name]
        return found

    def encode(self, samples: Sequence[Sample]) -> Any:
        """Unit vectors [samples, dim] that are random, but always the same."""
        vectors = _vectors(len(samples), self._dim)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def embed(self, samples: Sequence[Sample]) -> Any:
        """As `encode`."""
        return self.encode(samples)

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


def _vectors(count: int, dim: int = DIM) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(0).normal(size=(count, dim)).astype(np.float32)
