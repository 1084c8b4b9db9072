"""The application that `serving.py` serves: a message to its intent and nothing more, so that servers are compared.

It is found like any installed plugin, through a folder with an entry point that `serving.py` writes. It imports no
torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from triptych import hookimpl
from triptych.errors import DataError
from triptych.types import Prediction, Sample, Task, VerticalSpec
from triptych.vertical import Request, Response, Vertical

MODEL = "all-MiniLM-L6-v2"


class Banking(Vertical[Request, Response]):
    """The label and its probability."""

    name: ClassVar[str] = "banking"
    title: ClassVar[str] = "Banking77"
    request_type = Request
    response_type = Response
    answers_depend_on_state: ClassVar[bool] = False

    def defaults(self) -> dict[str, Any]:
        """Words alone, through a sentence encoder that stays as it is."""
        return {"encoders": {"text": {"use": f"sentence:{MODEL}"}}}

    def task(self, settings: Any) -> Task:
        """One of 77 intents."""
        return Task("classification")

    def sample_data(self, directory: Path) -> Path:
        """There is none: `serving.py` names the data."""
        raise DataError("there is no sample of Banking77; give the data with --data")

    def answer(self, request: Request, prediction: Prediction, context: Any) -> Response:
        """The label."""
        return Response(answer=prediction.label, confidence=prediction.confidence)

    def enrich(self, sample: Sample, settings: Any) -> Sample:
        """Nothing is read out of words."""
        return sample

    def sample_request(self) -> Request:
        """What the server tries its batches with."""
        return Request(text="I was charged twice for the same card payment, can you tell me when I get it back?")


@hookimpl
def triptych_verticals() -> list[VerticalSpec]:
    """The vertical `banking`."""
    return [VerticalSpec("banking", "serving_plugin:Banking", "Messages of a bank's customers to intents.")]
