"""How the server and each vertical do, who has keys, and what the ledger of a release says."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

import triptych
from triptych.errors import UnknownNameError
from triptych_apps.server.keys import Key
from triptych_apps.server.live import SLOT_SECONDS, Figures, Load
from triptych_apps.server.own import ServerContext
from triptych_apps.server.release import Release
from triptych_apps.server.service import Service

_SERVICE, _CANARY, _OPEN = "in service", "canary", "open"


class ReleaseState(BaseModel):
    """One opened release and what it did."""

    version: str
    created: str
    role: str  # in service, canary or open
    share: float | None  # of the requests, of a canary
    variant: str
    fallback: str | None  # the variant that answers when too many wait
    price_per_million: float | None
    max_batch: int
    waiting: int
    figures: Figures


class VerticalState(BaseModel):
    """One vertical, its releases, and its load."""

    vertical: str
    title: str
    state: str  # starting, ready, full or broken
    waiting: int
    max_queue: int
    fallback_at: int  # waiting requests from which on the cheaper variant answers
    cached: bool
    currency: str
    releases: list[ReleaseState]
    load: Load


class Overview(BaseModel):
    """The server at this moment."""

    version: str
    started: str  # ISO 8601, UTC
    uptime_seconds: float
    state: str  # starting, ready, busy, broken or stopping
    open_calls: int
    decisions_kept: bool
    keys_asked: bool
    slot_seconds: float  # of the rates
    verticals: list[VerticalState]


class KeyState(BaseModel):
    """One key without its secret."""

    id: str
    name: str
    verticals: list[str]  # empty: all
    per_minute: int | None
    budget: float | None
    spent: float
    created: str
    revoked: str | None


class Keys(BaseModel):
    """All keys, the oldest first; none where the server asks for no key."""

    asked: bool
    keys: list[KeyState]


class LedgerQuery(BaseModel):
    """Which ledger."""

    model_config = ConfigDict(extra="forbid")
    vertical: str = Field(max_length=200)
    version: str | None = Field(None, max_length=200)  # without it, of the release in service


class LedgerRow(BaseModel):
    """A way to answer that was measured. Null is what was not."""

    name: str
    quality: float | None
    low: float | None
    high: float | None
    cost_per_million: float | None
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    throughput_per_s: float | None
    size_mb: float | None
    resident_mb: float | None
    device: str | None
    chosen: bool = False
    fallback: bool = False
    front: bool = False  # on the Pareto front
    parent: bool = False
    rival: bool = False  # the classical method
    held: bool = False  # whether the bundle can answer with it
    refused: str | None = None  # why it is not offered


class Ledger(BaseModel):
    """What was measured when a release was made, and what was chosen."""

    vertical: str
    version: str
    metric: str | None
    higher_is_better: bool
    currency: str
    why: str
    verdict: str
    worth_it: bool | None
    budget: dict[str, float]
    rows: list[LedgerRow]
    remarks: list[str]


def overview(context: ServerContext) -> Overview:
    """Everything that changes from one second to the next."""
    site = context.site
    live = site.metrics.live
    now = datetime.datetime.now(datetime.UTC)
    states = context.in_loop(_states(context))
    return Overview(
        version=triptych.__version__,
        started=(now - datetime.timedelta(seconds=live.seconds)).isoformat(timespec="seconds"),
        uptime_seconds=round(live.seconds, 1),
        state=_state(context, [state.state for state in states]),
        open_calls=site.edge.open,
        decisions_kept=any(service.recorder is not None for service in site.services),
        keys_asked=site.access is not None,
        slot_seconds=SLOT_SECONDS,
        verticals=states,
    )


def keys(context: ServerContext) -> Keys:
    """Who may ask, how often, and what they have spent."""
    access = context.site.access
    if access is None:
        return Keys(asked=False, keys=[])
    store = access.store

    async def known() -> list[Key]:
        return store.all()

    return Keys(asked=True, keys=[_key(key) for key in context.in_loop(known())])


def ledger(context: ServerContext, query: LedgerQuery) -> Ledger:
    """The ledger of an opened release. Raises `UnknownNameError`."""
    service = service_of(context, query.vertical)
    service.check_open()
    releases = {release.version: release for release in service.releases}
    version = query.version or next(iter(releases))
    if version not in releases:
        raise UnknownNameError("opened release", version, list(releases))
    return _ledger(service, releases[version])


def service_of(context: ServerContext, vertical: str) -> Service:
    """A vertical that is served. Raises `UnknownNameError`."""
    served = {service.name: service for service in context.site.services}
    if vertical not in served:
        raise UnknownNameError("vertical", vertical, list(served))
    return served[vertical]


async def _states(context: ServerContext) -> list[VerticalState]:
    return [_vertical(context, service) for service in context.site.services]


def _state(context: ServerContext, states: list[str]) -> str:
    if context.site.draining:
        return "stopping"
    for state, told in (("broken", "broken"), ("starting", "starting"), ("full", "busy")):
        if state in states:
            return told
    return "ready"


def _vertical(context: ServerContext, service: Service) -> VerticalState:
    live, settings = context.site.metrics.live, service.settings
    return VerticalState(
        vertical=service.name,
        title=service.vertical.title,
        state=service.state,
        waiting=service.depth,
        max_queue=settings.max_queue,
        fallback_at=round(settings.fallback_at * settings.max_queue),
        cached=service.caches,
        currency=service.currency,
        releases=[
            _release(service, release, live.figures(service.name, release.version)) for release in service.releases
        ],
        load=live.load(service.name),
    )


def _release(service: Service, release: Release, figures: Figures) -> ReleaseState:
    role = _SERVICE if release is service.release else _CANARY if release is service.canary else _OPEN
    variant = release.predictor.session.variant
    return ReleaseState(
        version=release.version,
        created=release.predictor.bundle.manifest.created.isoformat(),
        role=role,
        share=service.share if role == _CANARY else None,
        variant=variant,
        fallback=None if release.cheaper is None else release.cheaper.session.variant,
        price_per_million=release.prices.get(variant),
        max_batch=release.max_batch,
        waiting=release.depth,
        figures=figures,
    )


def _key(key: Key) -> KeyState:
    return KeyState(
        id=key.id,
        name=key.name,
        verticals=list(key.verticals),
        per_minute=key.per_minute,
        budget=key.budget,
        spent=key.spent,
        created=key.created,
        revoked=key.revoked,
    )


def _ledger(service: Service, release: Release) -> Ledger:
    told = release.predictor.bundle.manifest.ledger
    rows = [_row(row, told, release) for row in told.get("variants", [])]
    rival = told.get("rival")
    if rival:
        rows.append(_row(rival, {}, release).model_copy(update={"rival": True}))
    metrics = [row["quality"] for row in told.get("variants", []) if row.get("quality")]
    sentences = [point["sentence"] for point in told.get("break_even", [])]
    return Ledger(
        vertical=service.name,
        version=release.version,
        metric=metrics[0]["metric"] if metrics else None,
        higher_is_better=metrics[0].get("higher_is_better", True) if metrics else True,
        currency=release.currency,
        why=told.get("why", ""),
        verdict=told.get("verdict", ""),
        worth_it=told.get("worth_it"),
        budget=told.get("budget") or {},
        rows=rows,
        remarks=[*([told["nearest_miss"]] if told.get("nearest_miss") else []), *sentences, *told.get("notes", [])],
    )


def _row(row: Mapping[str, Any], told: Mapping[str, Any], release: Release) -> LedgerRow:
    """A row as the manifest has it; what an older ledger does not have is null."""
    name, quality = row["name"], row.get("quality") or {}
    measured = ("cost_per_million", "p50_ms", "p95_ms", "p99_ms", "throughput_per_s", "size_mb", "resident_mb")
    cheaper = release.cheaper
    return LedgerRow(
        name=name,
        quality=quality.get("value"),
        low=quality.get("low"),
        high=quality.get("high"),
        device=row.get("device"),
        chosen=name == told.get("chosen"),
        fallback=cheaper is not None and bool(told) and name == cheaper.session.variant,
        front=name in told.get("front", []),
        parent=name == told.get("parent"),
        held=bool(told) and (name == release.predictor.session.variant or release.predictor.holds(name)),
        refused=told.get("refused", {}).get(name),
        **{key: row.get(key) for key in measured},
    )
