"""A vertical for tests of the server: it does what its words say, and shows what came in. It imports no torch."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from tests.core.runtime import serving
from triptych.errors import DataError
from triptych.hookspecs import hookimpl
from triptych.types import Prediction, VerticalSpec
from triptych.vertical import Request, Response, Vertical

triptych_parts = serving.triptych_parts


class DeskRequest(Request):
    """Every kind of field that a form has to bring."""

    tags: list[str] = Field(default=[])
    count: int = Field(default=1, ge=1, le=9, description="How often.")
    options: dict[str, int] | None = None
    paper: Path | bytes | None = None


class DeskResponse(Response):
    """What came in."""

    received: dict[str, Any] = Field(default={})


class Desk(Vertical[DeskRequest, DeskResponse]):
    """Says the colour. `sleep 20` takes milliseconds, `boom` is a bug, `wrong` a request that cannot be answered."""

    name: ClassVar[str] = "desk"
    title: ClassVar[str] = "The desk"
    request_type = DeskRequest
    response_type = DeskResponse
    answers_depend_on_state: ClassVar[bool] = False
    task = serving.Served.task
    sample_data = serving.Served.sample_data

    def answer(self, request: DeskRequest, prediction: Prediction, context: Any) -> DeskResponse:
        """See the class."""
        words = request.text or ""
        for milliseconds in re.findall(r"sleep (\d+)", words):
            time.sleep(int(milliseconds) / 1000)
        if "boom" in words:
            raise RuntimeError("a secret of the client")
        if "wrong" in words:
            raise DataError("this cannot be answered")
        received = {name: len(v) for name in ("image", "audio", "paper") if (v := getattr(request, name)) is not None}
        received |= {"tags": request.tags, "count": request.count, "options": request.options}
        return DeskResponse(answer=f"It is {prediction.label}", confidence=prediction.confidence, received=received)


@hookimpl
def triptych_verticals() -> list[VerticalSpec]:
    return [VerticalSpec("desk", f"{__name__}:Desk", "A desk.")]
