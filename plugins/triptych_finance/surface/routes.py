"""Routes of the finance page that read the index: where all stand, the series of one, and what was said of it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from triptych.errors import DataError, UnknownNameError
from triptych.predictor import Predictor
from triptych.routes import RouteContext
from triptych_finance.language.entities import Gazetteer
from triptych_finance.outlook import HEAD, read_prices
from triptych_finance.sample import sample_table
from triptych_finance.settings import Settings
from triptych_finance.signal.board import SECTOR
from triptych_finance.store.schema import ReadingRow
from triptych_finance.surface import questions
from triptych_finance.surface.shelf import shelf_of
from triptych_finance.surface.told import AlertLine, Teller, name_of, safe_url, sector_of, settings_of
from triptych_finance.vertical import gazetteer_of

SPARK = 45  # buckets of a spark line
USUAL = 60  # buckets before one, within whose 5th to 95th percentile it is usual
_LEAST_USUAL = 20
_WEEK = timedelta(days=7)
Entity = Annotated[str, Field(min_length=1, max_length=200)]


class OverviewQuery(BaseModel):
    """Which rows, in which order. `state` names one that an open alert of the entity is in."""

    model_config = ConfigDict(extra="forbid")
    what: Literal["companies", "sectors"] = "companies"
    find: str = Field(default="", max_length=100, description="A part of the name or symbol.")
    sector: str = Field(default="", max_length=200)
    state: Literal["", "any", "firing", "pending", "keep_firing", "silenced", "inhibited", "none"] = ""
    order: Literal["name", "index", "change", "volume", "alerts"] = "alerts"
    down: bool = Field(default=True, description="The largest first.")
    skip: int = Field(default=0, ge=0, le=1_000_000)
    limit: int = Field(default=100, ge=1, le=500)


class Row(BaseModel):
    """An entity or sector: its index in [-1, 1], change and volume over `Overview.hours`, and its open alerts."""

    entity: str
    name: str
    sector: str
    index: float
    change: float
    volume: float
    spark: list[float]
    alerts: dict[str, int]  # by state, "silenced" and "inhibited" among them


class Overview(BaseModel):
    """Where all stand at the end of the latest closed bucket; `found` counts rows that `skip` and `limit` leave out."""

    end: datetime | None
    hours: float  # that changes and volumes are of
    bucket_hours: float
    found: int
    rows: list[Row]
    sectors: list[str]


class SeriesQuery(BaseModel):
    """An entity, or a sector as sector:NAME; without `days` all that is kept, up to the latest 3,000 buckets."""

    model_config = ConfigDict(extra="forbid")
    entity: Entity
    days: int | None = Field(default=None, ge=1, le=36_500)


class EntityPage(BaseModel):
    """The index of an entity by bucket: lists of one length. `low` to `high` is usual by the 60 buckets before each."""

    entity: str
    name: str
    sector: str
    bucket_hours: float
    ends: list[datetime]
    index: list[float]
    change: list[float]
    volume: list[float]
    low: list[float | None]
    high: list[float | None]
    statistic: float | None  # bits: the surprise of the latest bucket
    threshold: float | None  # bits that an alarm needs; None: none is possible now
    alerts: list[AlertLine]
    price_days: list[datetime]
    prices: list[float]


class ItemsQuery(BaseModel):
    """The latest items about an entity or sector; `before` is the `next` of an earlier answer."""

    model_config = ConfigDict(extra="forbid")
    entity: Entity
    before: int | None = Field(default=None, ge=1)
    limit: int = Field(default=40, ge=1, le=200)


class ItemLine(BaseModel):
    """An item about the entity: `score` in [-1, 1] rests on `sentence`; `copies` of it came later, from `sources`."""

    number: int
    key: str
    title: str
    text: str
    url: str
    source: str
    published: datetime
    entity: str
    score: float
    sentence: str
    copies: int
    sources: list[str]


class Items(BaseModel):
    """Items, the latest first; `next` is None at the end."""

    items: list[ItemLine]
    next: int | None


def overview(context: RouteContext, query: OverviewQuery) -> Overview:
    """Where companies or sectors stand. Raises `DataError` where there is no store."""
    gazetteer = gazetteer_of(settings_of(context.predictor))
    with shelf_of(context.predictor).reading() as tx:
        last = questions.last_bucket(tx)
        sectors = sorted({gazetteer.sector(symbol) for symbol in gazetteer.symbols} - {""})
        if last is None:
            return Overview(end=None, hours=0, bucket_hours=0, found=0, rows=[], sectors=sectors)
        end, width = last
        span = max(1, round(_WEEK / width)) * width
        teller = Teller(tx, context.predictor)
        alerts = _by_entity(teller)
        rows = [_row(one, gazetteer, alerts) for one in questions.standings(tx, end, span)]
        rows = [row for row in rows if _wanted(row, query)]
        rows.sort(key=lambda row: _place(row, query.order), reverse=query.down)
        shown = rows[query.skip : query.skip + query.limit]
        sparks = questions.sparks(tx, [row.entity for row in shown], end - SPARK * width)
    return Overview(
        end=end,
        hours=span / timedelta(hours=1),
        bucket_hours=width / timedelta(hours=1),
        found=len(rows),
        rows=[row.model_copy(update={"spark": sparks.get(row.entity, [])}) for row in shown],
        sectors=sectors,
    )


def series(context: RouteContext, query: SeriesQuery) -> EntityPage:
    """The index of one entity over time, with its alerts and, where the bundle has them, prices.

    Raises `UnknownNameError` for an entity that nothing was ever said of.
    """
    settings = settings_of(context.predictor)
    gazetteer = gazetteer_of(settings)
    entity = _entity(query.entity, gazetteer)
    with shelf_of(context.predictor).reading() as tx:
        last = questions.last_bucket(tx)
        since = None if last is None or query.days is None else last[0] - timedelta(days=query.days)
        rows = questions.series(tx, entity, since, USUAL)
        if not rows:
            raise UnknownNameError("company or sector with news", query.entity, gazetteer.symbols)
        shown = [row for row in rows if since is None or row.start >= since] or rows[-1:]
        found = questions.alerts(tx, questions.LISTED, entity, shown[0].start, 0, 200)
        alerts = Teller(tx, context.predictor).lines(found)
    low, high = _usual(rows)
    latest = shown[-1]
    days, prices = _prices(context.predictor, settings, entity, shown[0].start)
    return EntityPage(
        entity=entity,
        name=name_of(gazetteer, entity),
        sector=sector_of(gazetteer, entity),
        bucket_hours=(latest.end - latest.start) / timedelta(hours=1),
        ends=[row.end for row in shown],
        index=[row.index for row in shown],
        change=[row.change for row in shown],
        volume=[row.volume for row in shown],
        low=low[-len(shown) :],
        high=high[-len(shown) :],
        statistic=latest.statistic,
        threshold=latest.threshold if math.isfinite(latest.threshold) else None,
        alerts=alerts,
        price_days=days,
        prices=prices,
    )


def items(context: RouteContext, query: ItemsQuery) -> Items:
    """What was said of an entity, or of the companies of a sector: copies of one story as one."""
    gazetteer = gazetteer_of(settings_of(context.predictor))
    entity = _entity(query.entity, gazetteer)
    about = [entity]
    if entity.startswith(SECTOR):
        sector = entity.removeprefix(SECTOR)
        about = [symbol for symbol in gazetteer.symbols if gazetteer.sector(symbol) == sector]
    with shelf_of(context.predictor).reading() as tx:
        lines = questions.lines(tx, about, query.before, query.limit)
        there = {line.key for line in lines}
        lacking = sorted({line.first for line in lines} - there)
        originals = [line for line in questions.lines_of(tx, lacking) if line.entity in about]
    numbers = {line.number for line in lines}
    whole = len(numbers) >= query.limit
    return Items(items=_collapsed(lines, originals), next=min(numbers) if whole else None)


def _by_entity(teller: Teller) -> Mapping[str, Counter[str]]:
    """How many open alerts each entity has, by state and by what hushes them."""
    found: dict[str, Counter[str]] = {}
    for row in teller.opened:
        counts = found.setdefault(row.entity, Counter())
        counts[row.state] += 1
        hushed = teller.hushed(row.id)
        if hushed:
            counts[hushed] += 1
    return found


def _row(one: questions.Standing, gazetteer: Gazetteer, alerts: Mapping[str, Counter[str]]) -> Row:
    return Row(
        entity=one.entity, name=name_of(gazetteer, one.entity), sector=sector_of(gazetteer, one.entity),
        index=one.index, change=one.change, volume=one.volume, spark=[], alerts=alerts.get(one.entity, {}),
    )  # fmt: skip


def _wanted(row: Row, query: OverviewQuery) -> bool:
    if row.entity.startswith(SECTOR) != (query.what == "sectors"):
        return False
    if query.sector and row.sector != query.sector:
        return False
    if query.state == "none" and row.alerts:
        return False
    if query.state == "any" and not row.alerts:
        return False
    if query.state not in ("", "any", "none") and query.state not in row.alerts:
        return False
    find = query.find.strip().casefold()
    return not find or find in row.name.casefold() or find in row.entity.casefold()


def _place(row: Row, order: str) -> tuple[float | str, ...]:
    if order == "name":
        return (row.name.casefold(), row.entity)
    if order == "alerts":
        counts = row.alerts
        return (counts.get("firing", 0), counts.get("keep_firing", 0), counts.get("pending", 0), abs(row.change))
    value: float = getattr(row, order)
    return (value, row.entity)


def _entity(given: str, gazetteer: Gazetteer) -> str:
    """An entity as the store has it: symbols in any case."""
    return given if given.startswith(SECTOR) else gazetteer.known(given) or given


def _usual(rows: Sequence[ReadingRow]) -> tuple[list[float | None], list[float | None]]:
    """The 5th and 95th percentile of the index over the buckets before each; None where there are too few."""
    values = np.array([row.index for row in rows])
    low: list[float | None] = []
    high: list[float | None] = []
    for place in range(len(values)):
        before = values[max(0, place - USUAL) : place]
        bounds = np.percentile(before, (5, 95)) if len(before) >= _LEAST_USUAL else None
        low.append(None if bounds is None else round(float(bounds[0]), 5))
        high.append(None if bounds is None else round(float(bounds[1]), 5))
    return low, high


def _prices(
    predictor: Predictor, settings: Settings, entity: str, since: datetime
) -> tuple[list[datetime], list[float]]:
    """Days and adjusted closes from a time on; none where the bundle has none of the entity."""
    # a bundle with a risk head but without a file of its own foretells from the prices of the sample
    data = sample_table() if (predictor.files / HEAD).is_dir() else predictor.files
    try:
        prices = read_prices(settings, data)
        history = None if prices is None else prices.history(entity)
    except (DataError, UnknownNameError):
        return [], []
    if history is None:
        return [], []
    first = int(np.searchsorted(history.dates, np.datetime64(since.date())))
    days = [datetime.combine(history.day(row), datetime.min.time(), since.tzinfo) for row in range(first, len(history))]
    return days, [round(float(value), 4) for value in history.adj_close[first:]]


def _collapsed(lines: Sequence[questions.Line], originals: Sequence[questions.Line]) -> list[ItemLine]:
    """One line for each story, the latest first, with the item that told it first."""
    stories: dict[tuple[str, str], list[questions.Line]] = {}
    for line in lines:
        stories.setdefault((line.first, line.entity), []).append(line)
    first_of = {(line.key, line.entity): line for line in originals}
    found = []
    for story, told in stories.items():
        known = [line for line in told if line.key == line.first]
        head = known[0] if known else first_of.get(story, told[-1])
        copies = [line for line in told if line.key != head.key]
        found.append(
            ItemLine(
                number=told[0].number, key=head.key, title=head.title, text=head.text, url=safe_url(head.url),
                source=head.source, published=head.published, entity=head.entity, score=head.score,
                sentence=head.sentence, copies=len(copies), sources=sorted({line.source for line in copies}),
            )
        )  # fmt: skip
    return found
