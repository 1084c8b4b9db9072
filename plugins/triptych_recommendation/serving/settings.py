"""The `[vertical.serving]` section: business rules, diversity, repeated exposure, exploration, explanations."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from triptych.config import Section


class RuleSettings(Section):
    """What may be recommended, and how a list is put together from what a model thinks best."""

    in_stock: bool = True  # leave out items with a stock of 0; those whose stock is not counted stay
    repeats: bool = False  # recommend items again that the user had to do with
    categories: list[str] = Field(default_factory=list)  # only these; empty: all
    blocked_categories: list[str] = Field(default_factory=list)  # never these
    least_price: Annotated[float, Field(ge=0)] | None = None  # with a bound, items without a price are left out
    most_price: Annotated[float, Field(ge=0)] | None = None
    blocked: list[str] = Field(default_factory=list)  # ids of items that are never recommended
    pinned: list[str] = Field(default_factory=list)  # ids that stand on top, in this order, where the rules allow them
    pool: Annotated[int, Field(ge=10, le=2_000)] = 200  # best items by score that a list is chosen from
    diversity: Annotated[float, Field(ge=0, le=1)] = 0.1  # weight of unlikeness to the items above; 0: score alone
    tired_after: Annotated[int, Field(ge=1)] = 3  # times shown without an outcome before an item is lowered
    tired_days: Annotated[float, Field(gt=0)] = 14.0  # how long a list counts as shown
    tired_factor: Annotated[float, Field(ge=0, le=1)] = 0.7  # of the score, once for each further time
    exploration: Annotated[float, Field(ge=0, le=0.5)] = 0.1  # share of the places for new and little-seen items
    little_seen: Annotated[int, Field(ge=0)] = 20  # events and showings up to which an item counts as such
    outcome_days: Annotated[float, Field(gt=0)] = 7.0  # after a list was shown, an event with its item is its outcome
    cited: Annotated[int, Field(ge=1, le=5)] = 2  # past events that an explanation names at most
