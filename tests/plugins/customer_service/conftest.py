"""Hand-made predictions and a context that needs neither model nor index."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from triptych.retrieval.index import Hit
from triptych.types import Prediction, Sample
from triptych_customer_service.settings import Settings
from triptych_customer_service.vertical import CustomerService

ARTICLES = [
    ("pay-01", "Charged twice", "Send us the statement. We return the surplus payment.", ["double_charge"]),
    ("ref-01", "When will I get my refund?", "Refunds take five days. Look under Returns.", ["refund_status"]),
    ("flt-02", "Smoke and sparks", "Stop using the article at once. Switch it off at the wall.", ["product_fault"]),
]


def prediction(in_scope: bool = True, **probabilities: float) -> Prediction:
    """A prediction with these probabilities, highest first."""
    ordered = dict(sorted(probabilities.items(), key=lambda item: -item[1]))
    return Prediction(ordered, 0.5, in_scope, np.zeros(4, dtype=np.float32), {"text": 1.0})


class FakeContext:
    """`AnswerContext` as the vertical uses it."""

    def __init__(self, state: Path, settings: Settings, sample: Sample, scores: dict[str, float]) -> None:
        self.state, self.settings, self.sample, self.scores = state, settings, sample, scores
        self.text = sample.text

    def search(self, k: int = 5, *, where: Any = None) -> list[Hit]:
        hits = [
            Hit(key, self.scores[key], {"title": title, "body": body, "intents": intents, "keywords": []})
            for key, title, body, intents in ARTICLES
            if key in self.scores
        ]
        return sorted(hits, key=lambda hit: -hit.score)[:k]

    def recall(self, name: str, make: Callable[[], Any]) -> Any:
        return make()

    def examples(self, k: int = 5, *, where: Any = None) -> list[Hit]:
        return [Hit("m1", 0.8, {"target": "double_charge", "text": "paid twice"})][:k]


@pytest.fixture
def ask(tmp_path: Path) -> Callable[..., Any]:
    """Answer a message: `ask(text, prediction(...), scores={...}, conversation=..., settings=...)`."""
    vertical = CustomerService()

    def answer(text: str | None, said: Prediction, **options: Any) -> Any:
        settings = options.pop("settings", Settings())
        scores = options.pop("scores", {"pay-01": 0.6, "ref-01": 0.4, "flt-02": 0.2})
        read = options.pop("read", {})
        request = vertical.request_type(text=text, **options)
        sample = Sample("0", text=text, image=request.image, audio=request.audio, metadata=read)
        return vertical.answer(request, said, FakeContext(tmp_path, settings, sample, scores))  # type: ignore[arg-type]

    answer.state = tmp_path  # type: ignore[attr-defined]
    return answer
