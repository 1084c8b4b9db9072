"""What a recommender answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from triptych_recommendation.data.items import Item

Origin = Literal["ranked", "pinned", "exploration"]


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why an item stands in a list, in words for a buyer.

    `drop` is how far the item's score falls, on the scale of `Recommended.score`, when the events with the `cited`
    items are taken out of the user's history and the item is scored again; 0 where nothing is cited.
    """

    text: str
    cited: tuple[str, ...] = ()  # ids of items of the user's past
    drop: float = 0.0


@dataclass(frozen=True, slots=True)
class Recommended:
    """An item of a list. `score` is 0 to 1, where 1 is the best score before the list was put together."""

    item: Item
    score: float
    origin: Origin = "ranked"  # how it came to its place
    reason: str = ""  # what its score is from: "behaviour", "content", "query" or "popularity"
    explanation: Explanation | None = None


@dataclass(frozen=True, slots=True)
class Recommendations:
    """A list for somebody, the best first.

    `exposure` is the id under which the list is on record, "" where it is not. `why` says why the list is empty; ""
    where it is not. `notes` are for whoever asked: unknown items of a history, say.
    """

    items: tuple[Recommended, ...]
    user: str | None = None
    exposure: str = ""
    policy: str = ""  # what made the list: the name of the model, "content", "query" or "popularity"
    experiment: str = ""
    variant: str = ""
    why: str = ""
    notes: tuple[str, ...] = ()

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the items, the best first."""
        return tuple(one.item.id for one in self.items)


@dataclass(frozen=True, slots=True, eq=False)
class Context:
    """What is known of the moment: `items` are ids that somebody looks at or has in the basket, the latest last.

    `query` is float32 [dim]: a text, picture or sound as a content vector of the bundle's encoder.
    """

    items: Sequence[str] = ()
    query: NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True)
class Changed:
    """What a call that writes did: ids of items, or how many events, and what is worth telling."""

    count: int
    ids: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())
