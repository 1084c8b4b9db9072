"""What can be set about taking items from sources and keeping them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from triptych.config import Section


class StreamSettings(Section):
    """How much is taken at a time, and how long it is kept."""

    chunk: Annotated[int, Field(ge=1, le=10_000)] = 200  # items that are scored and committed together, at most
    wait_seconds: Annotated[float, Field(gt=0, le=60)] = 1.0  # for something new; stopping takes as long
    heartbeat: bool = True  # live, event time goes on with the clock while nothing comes
    keep_days: Annotated[int, Field(ge=1)] = 730  # of event time, for items, readings and alerts that are over
