"""What is sent to the vertical, and what it answers."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from triptych.vertical import Request, Response

MOST = 200
"""Items of one list."""


class RecommendationRequest(Request):
    """For whom and by what: a user, what he did just now, an item, or words, a picture or a sound; any of them."""

    user: str | None = Field(default=None, description="For whom; one who is not known gets what suits everybody.")
    item: str | None = Field(default=None, description="Items like this one, instead of a list for a user.")
    history: list[str] = Field(
        default=[], description="The id of an item that was looked at just now, the newest last; may be repeated."
    )
    k: Annotated[int, Field(ge=1, le=MOST)] = Field(default=10, description=f"How many items, at most {MOST}.")
    where: dict[str, Any] | None = Field(
        default=None, description='A filter as JSON, such as {"category": "puzzle", "price": {"max": 20}}.'
    )


class RecommendedItem(BaseModel):
    """One place of a list. `score` compares places of one list, and nothing else."""

    id: str
    title: str = ""
    score: float  # 1: the best before the list was put together
    reason: str = ""  # in words
    cited: list[str] = Field(default_factory=list)  # items of the user's past without which the score falls
    source: str = ""  # what the score is from: behaviour, content, query or popularity
    origin: Literal["ranked", "pinned", "exploration"] = "ranked"
    category: str = ""
    price: float | None = None


class RecommendationResponse(Response):
    """A list of items, the best first.

    `confidence` is how often a list of ten items held what a user of the test chose next, for what made this list.
    """

    items: list[RecommendedItem] = Field(default_factory=list)
    policy: str = ""  # what made the list: the name of the user model, content, query or popularity
    exposure: str = ""  # id under which the list is on record; "": it is not
    experiment: str = ""
    arm: str = ""  # the variant of the experiment
    notes: list[str] = Field(default_factory=list)
