"""What is sent to the vertical, and what it answers."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from triptych.vertical import Request, Response

Label = Literal["negative", "neutral", "positive"]


class News(Request):
    """An item of news: any of text, picture and sound; `entities` are the companies that it is known to concern."""

    entities: list[str] = Field(default=[], description="The symbol of a company that it concerns; may be repeated.")


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


class Mood(Response):
    """The mood of an item: `score` is the probability of good news less that of bad news."""

    label: Label
    score: float
    probabilities: dict[Label, float]
    familiar: bool  # False: unlike what the model was trained on
    sentences: list[SentenceMood] = Field(default_factory=list)  # those that carry the score, the weightiest first
    entities: list[EntityMood] = Field(default_factory=list)
    sentences_read: int = 0
    characters_unread: int = 0  # behind the last sentence that was read
