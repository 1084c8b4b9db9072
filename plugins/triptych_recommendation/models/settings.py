"""The `[vertical.models]` section: which models are tried, and what can be set of each."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field

from triptych.config import Section
from triptych_recommendation.content.settings import ContentSettings
from triptych_recommendation.models.sequence_settings import SequenceSettings

Kind = Literal["popularity", "neighbours", "ease", "factors", "sequence", "content"]
KINDS: list[Kind] = list(get_args(Kind))
BUCKETS = [5, 15, 50]
Power = Annotated[float, Field(ge=0, le=4)]


class PopularitySettings(Section):
    """The model "popularity": how many users had to do with an item."""

    half_life_days: Annotated[float, Field(gt=0)] | None = None  # age at which an event counts half; None: all alike


class NeighbourSettings(Section):
    """The model "neighbours": an item is scored by the items of the history that go with it.

    Without a window, items go together that the same users chose (cosine); with one, items that follow each other.
    """

    neighbours: Annotated[int, Field(ge=1, le=5_000)] = 100  # kept for each item
    shrinkage: Annotated[float, Field(ge=0)] = 10.0  # users that are added to the divisor: the higher, the fewer flukes
    penalty: Annotated[float, Field(ge=0, le=1)] = 0.5  # of popular items; 0.5: cosine
    active: Power = 0.0  # power of the length of a history that its votes are divided by; 1: a random walk
    window: Annotated[int, Field(ge=1, le=1_000)] | None = None  # places that two items may lie apart; None: any
    back: Annotated[float, Field(ge=0, le=1)] = 1.0  # with a window: weight of what came before against what follows
    last: Annotated[int, Field(ge=1)] | None = None  # newest items of a history that count; None: all
    recency: Power = 0.0  # the nth newest item counts n to the minus this
    weighted: Power = 0.0  # power of the weight of an event by which it counts
    int8: bool = False  # weights with 8 bits and a scale for each item


class EaseSettings(Section):
    """The model "ease": linear weights between all pairs of items, in closed form."""

    l2: Annotated[float, Field(gt=0)] = 200.0
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0  # share of the events whose loss is trained for (denoising)
    active: Power = 0.0  # power of the length of a history that its votes are divided by
    most_items: Annotated[int, Field(ge=1, le=40_000)] = 8_000  # the most popular; the others score 0
    kept: Annotated[int, Field(ge=1)] = 1_000  # weights of an item, the largest
    last: Annotated[int, Field(ge=1)] | None = None  # newest items of a history that count; None: all
    recency: Power = 0.0  # the nth newest item counts n to the minus this
    weighted: Power = 0.0  # power of the weight of an event by which it counts
    int8: bool = False  # weights with 8 bits and a scale for each item


class FactorSettings(Section):
    """The model "factors": a vector for each item, by alternating least squares for implicit feedback."""

    factors: Annotated[int, Field(ge=1, le=512)] = 64  # numbers of a vector
    alpha: Annotated[float, Field(gt=0)] = 5.0  # how much more an event says than its absence
    l2: Annotated[float, Field(gt=0)] = 1.0
    iterations: Annotated[int, Field(ge=1, le=200)] = 15
    last: Annotated[int, Field(ge=1)] | None = None  # newest items of a history that count; None: all
    recency: Power = 0.0  # the nth newest item counts n to the minus this
    weighted: Power = 0.0  # power of the weight of an event by which it counts
    int8: bool = False  # vectors with 8 bits a number and a scale for each item


class BlendSettings(Section):
    """The model "blend": a sum of what the other models say, with weights learnt on the validation."""

    depth: Annotated[int, Field(ge=10, le=1_000)] = 100  # best items of each model that are compared
    l2: Annotated[float, Field(ge=0)] = 1.0  # pull of a bucket's weights towards those of all users
    buckets: list[Annotated[int, Field(ge=1)]] = BUCKETS  # where ranges of history lengths with own weights end
    least_users: Annotated[int, Field(ge=1)] = 200  # of the validation that a bucket needs to have its own


class ModelSettings(Section):
    """All that can be set under `[vertical.models]`."""

    candidates: Annotated[list[Kind], Field(min_length=1)] = KINDS  # which are tried; the first two always are
    tune: bool = True  # choose the settings of each kind on the validation; false: take those given below
    validation_users: Annotated[int, Field(ge=10)] = 5_000  # at most, by whom settings and models are chosen
    max_ms: Annotated[float, Field(gt=0)] = 5.0  # milliseconds of CPU time for a list; slower models do not serve
    popularity: PopularitySettings = PopularitySettings()
    neighbours: NeighbourSettings = NeighbourSettings()
    ease: EaseSettings = EaseSettings()
    factors: FactorSettings = FactorSettings()
    sequence: SequenceSettings = SequenceSettings()
    content: ContentSettings = ContentSettings()
    blend: BlendSettings = BlendSettings()
