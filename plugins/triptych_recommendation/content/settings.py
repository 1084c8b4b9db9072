"""What can be set of content: the table that the item encoder learns from, and the user model over its vectors."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from triptych.config import Section


class CoConsumptionSettings(Section):
    """All that can be set under `[vertical.content]`: what of the behaviour the item encoder is taught."""

    dimensions: Annotated[int, Field(ge=2, le=96)] = 32  # factors of who chose what
    least_users: Annotated[int, Field(ge=1)] = 1  # an item that fewer people chose teaches nothing
    group: Annotated[int, Field(ge=2)] = 12  # items in a group of those chosen by the same people, at least


class ContentSettings(Section):
    """The user model "content": which events of a history make a taste, and how much each of them counts.

    Serving makes its profiles so too, by which new items are found; what tuning chooses is for the user model alone,
    for it is chosen by guesses of items that people know.
    """

    half_life: Annotated[float, Field(gt=0)] = 20.0  # events after which one counts half; they are counted, not dated
    length: Annotated[int, Field(ge=1)] = 500  # newest events that count
