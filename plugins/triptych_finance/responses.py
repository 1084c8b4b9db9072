"""What is sent to the vertical, and what it answers."""

from __future__ import annotations

import datetime
from typing import Literal

from pydantic import BaseModel, Field

from triptych.vertical import Request, Response

Label = Literal["negative", "neutral", "positive"]


class News(Request):
    """An item of news: any of text, picture and sound; `entities` are the companies that it is known to concern."""

    entities: list[str] = Field(default=[], description="The symbol of a company that it concerns; may be repeated.")
    when: datetime.date | None = Field(
        default=None, description="Foretell volatility from the close of this day; by default from the latest there is."
    )


class SentenceMood(BaseModel):
    """A sentence and its score in [-1, 1]; `start` and `end` are its place in the text."""

    text: str
    score: float
    start: int
    end: int


class EntityMood(BaseModel):
    """What the item says of one company, and the words that weigh most in it."""

    symbol: str
    name: str
    sector: str
    score: float
    weight: float  # in (0, 1]: 1 for a company in the headline, less for one that is mentioned in passing
    sentence: str


class Risk(BaseModel):
    """How much the price of one company will move over the `days` trading days after the close of `since`.

    `log_volatility` is the log of the standard deviation of its daily returns. So are `low` and `high`, between which
    it should lie as often as `level` says, and `past`, that of as many days before. `daily_percent` is the deviation
    in percent, and `model` what foretells it: the past alone, or with it what was written, said and drawn.
    """

    symbol: str
    since: datetime.date
    days: int
    daily_percent: float
    log_volatility: float
    low: float
    high: float
    level: float
    past: float
    model: str


class Mood(Response):
    """The mood of an item: `score` is the probability of good news less that of bad news."""

    label: Label
    score: float
    probabilities: dict[Label, float]
    familiar: bool  # False: unlike what the model was trained on
    sentences: list[SentenceMood] = Field(default_factory=list)  # those that carry the score, the weightiest first
    entities: list[EntityMood] = Field(default_factory=list)
    risk: list[Risk] = Field(default_factory=list)  # one for each horizon of each company that it is about
    no_risk: list[str] = Field(default_factory=list)  # why there is none, or none of a company
    sentences_read: int = 0
    characters_unread: int = 0  # behind the last sentence that was read
