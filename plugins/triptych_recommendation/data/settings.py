"""The `[vertical.data]` section: what the columns of events are called, what an event weighs, how events are split."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from triptych.config import Section

WEIGHTS = {"view": 1.0, "click": 1.0, "purchase": 3.0, "rating": 1.0, "comment": 1.0}


class EventColumns(Section):
    """Which column of the events carries what. Only user and item must be there."""

    user: str = "user"
    item: str = "item"
    type: str = "type"  # view, click, purchase, rating, comment, or words of your own
    time: str = "time"  # ISO 8601, or seconds, ms or us since 1970; without it the order of the rows counts
    weight: str = "weight"  # instead of the weight of the type
    value: str = "value"  # of a rating


class DataSettings(Section):
    """All that can be set under `[vertical.data]`."""

    columns: EventColumns = EventColumns()
    weights: dict[str, Annotated[float, Field(ge=0, le=1e6)]] = WEIGHTS  # of each type; 0: not learnt from; others: 1
    like_from: float = 3.0  # a rating below is a dislike, which is not learnt from
    on_error: Literal["skip", "fail"] = "skip"  # what to do with a row that cannot be used
    max_skipped: Annotated[float, Field(ge=0, le=1)] = 0.2  # more than this share of bad rows is fatal all the same
    split: Literal["leave-one-out", "time"] = "leave-one-out"  # each user's newest items, or the newest events of all
    validation: Annotated[float, Field(gt=0, lt=0.5)] = 0.1  # share of the events; for split = "time"
    test: Annotated[float, Field(gt=0, lt=0.5)] = 0.1  # share of the events; for split = "time"
    least: Annotated[int, Field(ge=3)] = 3  # different items of a user of whom two are held out; for leave-one-out
