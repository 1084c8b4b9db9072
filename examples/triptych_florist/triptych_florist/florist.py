"""The vertical: what a message may hold, what is learnt, what is indexed, and how that becomes an answer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from triptych.config import Section
from triptych.predictor import AnswerContext
from triptych.types import Document, Prediction, Sample, Task
from triptych.vertical import Evidence, Request, Response, Vertical
from triptych_florist import sample

INTENTS = {
    "order": "The customer wants to buy flowers.",
    "delivery": "The customer asks where the flowers are or when they will come.",
    "care": "The customer asks how to keep a plant or a bouquet alive.",
}


class FloristRequest(Request):
    """A message, and what the customer would spend at most."""

    budget: float | None = None  # euros


class FloristResponse(Response):
    """Beside the answer, the service that was asked for."""

    intent: str


class FloristSettings(Section):
    """The `[vertical]` section of the config."""

    courier: str = "our own van"
    doubt_below: float = 0.5  # an intent that is less probable than this is asked for again
    false_accept_rate: float = 0.05  # share of foreign messages that may pass as ours


class Florist(Vertical[FloristRequest, FloristResponse]):
    """Answers the customers of a flower shop."""

    name = "florist"
    title = "Flower shop"
    request_type = FloristRequest
    response_type = FloristResponse
    settings_type = FloristSettings

    def defaults(self) -> dict[str, Any]:
        """Words through MiniLM where it is at hand, pictures by their colours."""
        return {
            "encoders": {"text": {"use": "sentence:all-MiniLM-L6-v2"}, "image": {"use": "palette"}},
            "fusion_dim": 32,
        }

    def task(self, settings: FloristSettings) -> Task:
        """Three intents; the descriptions serve the strategy `zero-shot`."""
        return Task("classification", labels=tuple(INTENTS), descriptions=INTENTS)

    def sample_data(self, directory: Path) -> Path:
        """Messages and pictures made on the spot."""
        return sample.write(directory)

    def documents(self, settings: FloristSettings, data: Path) -> Sequence[Document]:
        """The catalogue: what is compared, and what is shown or filtered by."""
        return [
            Document(Sample(flower.name, text=f"{flower.name}: {flower.text}"), {"price": flower.price})
            for flower in sample.FLOWERS
        ]

    def answer(self, request: FloristRequest, prediction: Prediction, context: AnswerContext) -> FloristResponse:
        """One sentence for each intent; an order names the nearest flowers that the customer can afford."""
        settings = context.settings
        assert isinstance(settings, FloristSettings)
        if prediction.confidence < settings.doubt_below:
            return self._respond(prediction, "Is it about an order, a delivery, or the care of a plant?")
        if prediction.label == "delivery":
            return self._respond(prediction, f"Your flowers come with {settings.courier} today before six.")
        if prediction.label == "care":
            return self._respond(prediction, "Fresh water every other day, and no sun at noon.")
        affordable = None if request.budget is None else {"price": {"max": request.budget}}
        hits = context.search(1, where=affordable)
        if not hits:
            return self._respond(prediction, f"We have nothing for {request.budget:.2f} euros, alas.")
        best = hits[0]
        return self._respond(
            prediction,
            f"We suggest: {best.id}, {best.metadata['price']:.2f} euros.",
            [Evidence(id=best.id, kind="document", title=best.id, score=best.score)],
        )

    def sample_request(self) -> FloristRequest:
        """What `triptych run florist` shows at its end."""
        return FloristRequest(text="I need white flowers for a wedding", budget=60)

    def _respond(self, prediction: Prediction, answer: str, evidence: Sequence[Evidence] = ()) -> FloristResponse:
        return FloristResponse(
            answer=answer, confidence=prediction.confidence, intent=prediction.label, evidence=list(evidence)
        )
