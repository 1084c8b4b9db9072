"""Routes of the finance page about the monitor itself: is there a store, what feeds it, and what its alarms cost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import BaseModel

from triptych.errors import DataError, MissingError
from triptych.routes import RouteContext
from triptych_finance.language.entities import Gazetteer
from triptych_finance.monitor.memory import BOARD, COUNTERS, DRIFTS, UNKNOWN
from triptych_finance.signal.calibration import Account
from triptych_finance.signal.clock import moment
from triptych_finance.signal.settings import WEEK_HOURS, SignalSettings
from triptych_finance.store.transaction import Transaction
from triptych_finance.surface import questions
from triptych_finance.surface.shelf import ABSENT, COMMAND, shelf_of
from triptych_finance.surface.told import name_of, settings_of
from triptych_finance.vertical import gazetteer_of

WEEKS = 8  # that spent alarms are counted over
_SHOWN = 200  # accounts, those that spent most
_DRIFTS = 50  # the latest


class State(BaseModel):
    """Whether there is a store; where not, `message` says what to do and `command` is the command to run."""

    there: bool
    message: str
    command: str
    kind: str  # SQLite or PostgreSQL
    clock: datetime | None  # how far event time has come
    risk: bool  # whether the bundle foretells volatility
    caller: str


class SourceHealth(BaseModel):
    """A source: counts since its first item; times and lag of its items among the newest 2,000, None without any."""

    source: str
    items: int
    duplicates: int
    known: int
    problems: int
    published: datetime | None
    arrived: datetime | None
    lag_seconds: float | None  # the median from publication to arrival


class Drift(BaseModel):
    """The inputs of a source changed in a window of time; `evidence` is log10 of what the bets won."""

    source: str
    feature: str
    start: datetime
    end: datetime
    evidence: float
    threshold: float


class Spent(BaseModel):
    """The false-alarm account of an entity or sector over the last `Health.weeks` weeks.

    `alarms` began in them, `confirmed` of these are paid back; `allowed` is the budget for as long as it could alarm.
    """

    entity: str
    name: str
    alarms: int
    confirmed: int
    allowed: float
    balance: float  # alarms that it could still spend, below 0: overdrawn


class Health(BaseModel):
    """How the monitor does."""

    now: datetime
    clock: datetime | None  # how far event time has come
    closed: datetime | None  # end of the latest closed bucket
    late: int  # observations that came after their bucket was closed
    inbox: int
    waiting: int
    errors: list[str]
    sources: list[SourceHealth]
    drifts: list[Drift]
    unknown: dict[str, int]
    weeks: int
    budget_per_week: float
    accounts: list[Spent]


def state(context: RouteContext) -> State:
    """Whether there is a store to look at."""
    shelf = shelf_of(context.predictor)
    risk = (context.predictor.files / "risk").is_dir()
    known = {"command": COMMAND, "kind": shelf.kind(), "risk": risk, "caller": context.caller}
    try:
        with shelf.reading() as tx:
            return State(there=True, message="", clock=_clock(tx.get_state(BOARD, "board")), **known)
    except (DataError, MissingError) as error:
        message = ABSENT if str(error) == ABSENT else f"The store cannot be read: {error}"
        return State(there=False, message=message, clock=None, **known)


def health(context: RouteContext) -> Health:
    """Sources, lag, drift, and the budget of false alarms that is spent. Raises `DataError` where there is no store."""
    settings = settings_of(context.predictor)
    signal = settings.signal
    with shelf_of(context.predictor).reading() as tx:
        board = tx.get_state(BOARD, "board")
        waiting, errors = questions.waiting_notices(tx)
        last = questions.last_bucket(tx)
        unknown = {symbol: int(one["count"]) for symbol, one in tx.states(UNKNOWN).items()}
        return Health(
            now=datetime.now(UTC),
            clock=_clock(board),
            closed=None if last is None else last[0],
            late=0 if board is None else board["late"],
            inbox=tx.inbox_size(),
            waiting=waiting,
            errors=errors[:20],
            sources=_sources(tx),
            drifts=_drifts(tx),
            unknown=dict(sorted(unknown.items(), key=lambda pair: (-pair[1], pair[0]))[:50]),
            weeks=WEEKS,
            budget_per_week=signal.budget_per_week,
            accounts=_accounts(tx, None if board is None else board["closed"], signal, gazetteer_of(settings)),
        )


def _clock(board: dict[str, Any] | None) -> datetime | None:
    watermark = None if board is None else board["clock"]["watermark"]
    return None if watermark is None else moment(watermark)


def _sources(tx: Transaction) -> list[SourceHealth]:
    counters = tx.states(COUNTERS)
    latest = {one.source: one for one in questions.newest(tx)}
    found = []
    for source in sorted({*counters, *latest}):
        counts, last = counters.get(source, {}), latest.get(source)
        found.append(
            SourceHealth(
                source=source, **{name: counts.get(name, 0) for name in ("items", "duplicates", "known", "problems")},
                published=last.published if last else None, arrived=last.arrived if last else None,
                lag_seconds=last.lag / timedelta(seconds=1) if last else None,
            )
        )  # fmt: skip
    return found


def _drifts(tx: Transaction) -> list[Drift]:
    found = [
        Drift(**{name: one[name] for name in Drift.model_fields})
        for one in tx.states(DRIFTS).values()
    ]  # fmt: skip
    return sorted(found, key=lambda one: one.end, reverse=True)[:_DRIFTS]


def _accounts(tx: Transaction, closed: int | None, settings: SignalSettings, gazetteer: Gazetteer) -> list[Spent]:
    """Those that spent most first."""
    if closed is None:
        return []
    accounts = {name: Account.load(dumped) for name, dumped in questions.accounts(tx).items()}
    found = [_spent(name, account, closed, settings, gazetteer) for name, account in accounts.items()]
    return sorted(found, key=lambda one: (one.confirmed - one.alarms, one.balance, one.entity))[:_SHOWN]


def _spent(name: str, account: Account, closed: int, settings: SignalSettings, gazetteer: Gazetteer) -> Spent:
    window = WEEKS * WEEK_HOURS // settings.bucket_hours
    earning = min(window, max(0, account.age - settings.warmup_buckets))
    alarms = [alarm for alarm in account.alarms if alarm[0] > closed - window]
    return Spent(
        entity=name, name=name_of(gazetteer, name), alarms=len(alarms), confirmed=sum(alarm[3] for alarm in alarms),
        allowed=round(settings.rate * earning, 3), balance=round(account.balance, 3),
    )  # fmt: skip
