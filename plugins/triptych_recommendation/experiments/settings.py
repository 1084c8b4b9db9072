"""The `[vertical.experiments]` section: what is measured of users, and when an experiment may end."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from triptych.config import Section

Metric = Literal["click", "purchase", "value"]


class ExperimentSettings(Section):
    """How experiments are read. Set it before one starts: what is chosen after looking proves nothing."""

    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05  # chance that any interval is ever wrong, however often read
    metric: Metric = "click"  # what decides
    guards: tuple[Metric, ...] = ("purchase", "value")  # what must not fall meanwhile
    guard_drop: Annotated[float, Field(gt=0, lt=1)] = 0.05  # of a guard, relative: less is no harm
    least_lift: Annotated[float, Field(ge=0)] = 0.01  # relative; when it is surely less either way, one may stop
    window_days: Annotated[float, Field(gt=0)] = 7.0  # from a user's first list on; users count when it is over
    purchases: tuple[str, ...] = ("purchase",)  # kinds of events that count as one
    most_value: Annotated[float, Field(gt=0)] = 10.0  # weight of a list's outcomes above which no more is counted
    planned_users: Annotated[int, Field(ge=10)] = 5_000  # with about so many the intervals are narrowest for the data
    most_users: Annotated[int, Field(ge=10)] | None = None  # with so many the experiment ends, whatever it says
    mismatch_alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.001  # chance that right shares are ever called wrong
