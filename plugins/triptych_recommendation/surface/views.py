"""What the routes of the page are asked, and what they answer. Times are ISO 8601 in UTC."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Base64Bytes, BaseModel, ConfigDict, Field, StringConstraints

from triptych_recommendation.responses import MOST

Kind = Literal["click", "purchase", "like", "dislike", "block"]
Name = Annotated[str, Field(min_length=1, max_length=200)]


class Asked(BaseModel):
    """What comes in; a field that is not known is refused."""

    model_config = ConfigDict(extra="forbid")


# -- the shop and its people ---------------------------------------------------------------------------------------


class Category(BaseModel):
    """A category, and how many items of it there are."""

    name: str
    items: int


class Shop(BaseModel):
    """What the filters of a page are made from."""

    items: int
    people: int  # whom the bundle knows
    categories: list[Category]  # the largest first
    least_price: float | None
    most_price: float | None
    in_stock: bool  # whether the shop leaves out what is sold out, whatever is asked
    diversity: float
    reads: list[str]  # of items: text, image, audio


class PeopleQuery(Asked):
    """Part of a name."""

    q: Annotated[str, Field(max_length=200)] = ""
    k: Annotated[int, Field(ge=1, le=50)] = 8


class People(BaseModel):
    """Names that have the part in them, those that begin with it first."""

    people: list[str]


class HistoryQuery(Asked):
    """Whose past."""

    user: Name
    k: Annotated[int, Field(ge=1, le=100)] = 20


class Act(BaseModel):
    """What somebody did with an item. `key` is for taking it back; "": it is of the bundle, and stays."""

    item: str
    kind: str
    at: str
    key: str = ""


class History(BaseModel):
    """The newest first. `kept_out` are items that were not wanted or blocked, which no list has any more."""

    known: bool
    events: int
    recent: list[Act]
    kept_out: list[Act]


# -- items ---------------------------------------------------------------------------------------------------------


class CardsQuery(Asked):
    """Ids; such as are not there are passed over."""

    ids: Annotated[list[str], Field(max_length=2 * MOST)]


class Card(BaseModel):
    """An item as a card shows it. `picture` changes with the picture, and is "" where there is none."""

    id: str
    title: str = ""
    description: str = ""
    category: str = ""
    price: float | None = None
    stock: int | None = None  # None: not counted
    tags: list[str] = []
    picture: str = ""
    sound: str = ""


class Cards(BaseModel):
    """In the order of the ids."""

    cards: list[Card]


class ItemQuery(Asked):
    """Which item."""

    item: Name


class ActedOn(BaseModel):
    """How many people did something with an item."""

    kind: str
    people: int


class ItemView(BaseModel):
    """An item with all that is known of it."""

    card: Card
    metadata: dict[str, Any]
    people: list[ActedOn]  # most first


class SimilarQuery(Asked):
    """Like which item."""

    item: Name
    k: Annotated[int, Field(ge=1, le=24)] = 6


class Similar(BaseModel):
    """An item that is like another. `parts` are cosines of what the encoder makes of each part that both have."""

    id: str
    score: float
    source: str  # what counts more: behaviour or content
    reason: str  # in words
    parts: dict[str, float]  # text, image, audio
    people: int  # who chose both


class SimilarItems(BaseModel):
    """The most alike first; `why` says why there are none."""

    items: list[Similar]
    why: str = ""


class PictureQuery(Asked):
    """A thumbnail of an item's picture; `v` is `Card.picture`, so that a browser may keep what it got."""

    item: Name
    edge: Literal["96", "320", "800"] = "320"
    v: str = ""


class SoundQuery(Asked):
    """The beginning of an item's sound; `v` is `Card.sound`."""

    item: Name
    v: str = ""


class NewItem(Asked):
    """An item to be added, or to be put in place of the one with its id; without an id it gets one of its title."""

    id: Annotated[str, Field(max_length=100)] = ""
    title: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
    description: Annotated[str, Field(max_length=10_000)] = ""
    category: Annotated[str, Field(max_length=100)] = ""
    price: Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)] | None = None
    stock: Annotated[int, Field(ge=0, le=10**9)] | None = None
    tags: Annotated[list[Annotated[str, Field(max_length=60)]], Field(max_length=20)] = []
    picture: Base64Bytes | None = Field(default=None, description="The content of a picture, as base64.")
    sound: Base64Bytes | None = Field(default=None, description="The content of a sound, as base64.")


class ItemAdded(BaseModel):
    """It can be recommended now."""

    card: Card
    notes: list[str]


class ItemRemoved(BaseModel):
    """It is in no list any more."""

    id: str


# -- lists and what comes of them ----------------------------------------------------------------------------------


class VariedQuery(Asked):
    """As a request of the vertical, with another weight of variety than the shop's."""

    user: Name | None = None
    history: Annotated[list[str], Field(max_length=100)] = []
    k: Annotated[int, Field(ge=1, le=MOST)] = 24
    where: dict[str, Any] | None = None
    diversity: Annotated[float, Field(ge=0, le=1)]


class NewEvent(Asked):
    """Somebody did something with an item, just now. `dislike` and `block` keep it out of his lists."""

    user: Name
    item: Name
    kind: Kind


class UndoQuery(Asked):
    """An event that somebody takes back, by its key."""

    user: Name
    key: Annotated[str, Field(min_length=32, max_length=32)]


class Undone(BaseModel):
    """What was taken back."""

    act: Act


# -- experiments ---------------------------------------------------------------------------------------------------


class Figure(BaseModel):
    """A value with its interval; null for what is not known."""

    value: float | None
    low: float | None
    high: float | None


class Arm(BaseModel):
    """A variant so far."""

    name: str
    share: float
    users: int
    complete: int
    lists: int
    rates: dict[str, Figure]


class Lift(BaseModel):
    """A variant against the control in one metric; `ratio` is minus 1."""

    metric: str
    difference: Figure
    ratio: Figure | None


class Decision(BaseModel):
    """Whether to stop, and who won."""

    stop: bool
    best: str | None
    reason: str


class Experiment(BaseModel):
    """An experiment as it is known now; the intervals hold at every look."""

    name: str
    kind: str
    since: str
    arms: list[Arm]
    lifts: dict[str, list[Lift]]  # by variant, without the control
    preference: Figure | None  # of an interleaving, from -1 to 1
    decision: Decision
    mismatched: bool  # users do not come in the shares that were set
    notes: list[str]


class Experiments(BaseModel):
    """Those that run."""

    experiments: list[Experiment]
