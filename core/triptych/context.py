"""What an answer may use beside the prediction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

from triptych.indexing import DOCUMENTS, EXAMPLES, FUSED
from triptych.retrieval.index import Hit
from triptych.runtime.base import Array, Outcome
from triptych.trace import Trace
from triptych.types import Modality, Prediction, Sample

if TYPE_CHECKING:
    from triptych.predictor import Predictor

T = TypeVar("T")


class AnswerContext:
    """What `Vertical.answer` may use beside the prediction: settings, retrieval, durable state."""

    def __init__(
        self, predictor: Predictor, sample: Sample, outcome: Outcome | None, trace: Trace | None = None
    ) -> None:
        self.settings = predictor.settings
        self.state = predictor.state
        self.sample = sample
        self._predictor = predictor
        self._outcome = outcome
        self._trace = trace or Trace()

    @property
    def replaying(self) -> bool:
        """Whether an earlier answer is being given again: then nothing outside of the bundle may be changed."""
        return self._trace.replaying

    def recall(self, name: str, make: Callable[[], T]) -> T:
        """What `make` gives, which is kept with the answer; when the answer is given again, what it gave then.

        Whatever an answer takes from elsewhere than its request and its bundle goes through here: earlier turns, the
        time, a random id, and what writing gave back, for a replay then does not write. It must be JSON (texts,
        numbers, lists, dictionaries, None), and each name stands for one thing.

            earlier = context.recall("earlier", lambda: store.turns(request.conversation))
        """
        return self._trace.recall(name, make)

    @property
    def text(self) -> str | None:
        """The request's text with what was read from picture and sound; None where there is none."""
        return self.sample.text if isinstance(self.sample.text, str) else None

    @property
    def space(self) -> Modality | str:
        """Where `search` compares: "text", "image" or "audio" (that encoder's vectors), or "fused"."""
        if self._outcome is not None:
            for modality in self._outcome.vectors:
                if (self._outcome.home / f"{DOCUMENTS}-{modality}").is_dir():
                    return modality
        return FUSED

    def search(self, k: int = 5, *, where: Mapping[str, Any] | None = None) -> list[Hit]:
        """The documents nearest to the request, best first; scores are cosines in the space of `space`.

        Nothing is near to a request without content.
        """
        if self._outcome is None:
            return []
        space = self.space
        vector = (
            self._outcome.prediction.embedding if space == FUSED else self._outcome.vectors[cast("Modality", space)]
        )
        return self._nearest(f"{DOCUMENTS}-{space}", vector, k, where)

    def examples(self, k: int = 5, *, where: Mapping[str, Any] | None = None) -> list[Hit]:
        """The training examples nearest to the request in the fused space, best first."""
        if self._outcome is None:
            return []
        return self._nearest(EXAMPLES, self._outcome.prediction.embedding, k, where)

    def predict(self, samples: Sequence[Sample]) -> list[Prediction]:
        """What the model says of other samples, such as the sentences of the request; enriched as requests are.

        Raises `DataError` for a sample with nothing that the model can encode.
        """
        return self._predictor.predict(samples)

    @property
    def vector(self) -> Array | None:
        """What the head of an embedding answers to the request, float32 [dim] of unit length; None for other heads."""
        if self._outcome is None or self._predictor.session.kind != "embedding":
            return None
        return self._outcome.output

    @property
    def files(self) -> Path:
        """The directory with what `Vertical.extend` put into the bundle."""
        return self._predictor.files

    def cached(self, name: str, make: Callable[[], T]) -> T:
        """What `make` returned at the first call under this name; kept as long as the bundle is open."""
        return self._predictor.cached(name, make)

    def encode(self, samples: Sequence[Sample]) -> Array:
        """What the head answers to other samples, float32 [samples, outputs]: unit vectors, of an embedding."""
        return self._predictor.encode(samples)

    def embed(self, samples: Sequence[Sample]) -> Array:
        """The fused vectors of other samples, float32 [samples, dim], as `Extension.embed` made them."""
        return self._predictor.embed(samples)

    def _nearest(self, name: str, vector: Any, k: int, where: Mapping[str, Any] | None) -> list[Hit]:
        assert self._outcome is not None
        index = self._predictor.index(name, self._outcome.home)
        if index is None:
            return []
        with self._predictor.observe("retrieval"):
            return index.search(np.asarray(vector, dtype=np.float32)[None], k, where=where)[0]
