"""Routes of the finance page about alerts: lists, evidence, verdicts and silences.

Verdicts and silences go in beside the monitor, through what the commands call, and are on the disk when they are
answered.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from triptych.errors import ConfigError, DataError, UnknownNameError
from triptych.routes import RouteContext
from triptych_finance.alerts.silence import new_silence
from triptych_finance.alerts.verdicts import judge
from triptych_finance.language.entities import Gazetteer
from triptych_finance.store.transaction import Transaction
from triptych_finance.surface import questions
from triptych_finance.surface.shelf import shelf_of
from triptych_finance.surface.told import AlertLine, AlertPage, Silenced, Teller, settings_of, silenced
from triptych_finance.surface.wording import length_of
from triptych_finance.vertical import gazetteer_of

Id = Annotated[str, Field(min_length=1, max_length=64)]
Note = Annotated[str, Field(max_length=2_000)]
Analyst = Annotated[str, Field(max_length=100, description="Who says so; by default the caller's key.")]


class AlertsQuery(BaseModel):
    """Which alerts: of a state, or open ones that are "silenced" or "inhibited" just now; the latest first."""

    model_config = ConfigDict(extra="forbid")
    state: Literal["open", "firing", "pending", "keep_firing", "resolved", "silenced", "inhibited", "all"] = "open"
    entity: str | None = Field(default=None, max_length=200)
    skip: int = Field(default=0, ge=0, le=1_000_000)
    limit: int = Field(default=50, ge=1, le=200)


class Alerts(BaseModel):
    """Alerts, how many are in each state, and whether there are more."""

    alerts: list[AlertLine]
    counts: dict[str, int]
    more: bool


class AlertQuery(BaseModel):
    """Which alert."""

    model_config = ConfigDict(extra="forbid")
    id: Id


class VerdictQuery(BaseModel):
    """What is said of an alert: that it was right, or a false alarm."""

    model_config = ConfigDict(extra="forbid")
    id: Id
    verdict: Literal["confirmed", "dismissed"]
    note: Note = ""
    analyst: Analyst = ""


class Judged(BaseModel):
    """What became of a verdict; `new` is false where it stood already."""

    message: str
    new: bool
    alert: AlertPage


class SilenceQuery(BaseModel):
    """A silence from now on: `pattern` is an entity, maybe with * and ?, `length` such as 4h, 3d or 1w."""

    model_config = ConfigDict(extra="forbid")
    pattern: str = Field(min_length=1, max_length=500)
    length: str = Field(min_length=2, max_length=20)
    kind: Literal["", "negative", "positive", "volume"] = ""
    note: Note = ""
    analyst: Analyst = ""


class SilenceId(BaseModel):
    """Which silence."""

    model_config = ConfigDict(extra="forbid")
    id: Id


class Silences(BaseModel):
    """The silences that hold or are still to come."""

    silences: list[Silenced]


def alerts(context: RouteContext, query: AlertsQuery) -> Alerts:
    """Alerts in a state. Raises `DataError` where there is no store."""
    gazetteer = gazetteer_of(settings_of(context.predictor))
    entity = _entity(query.entity, gazetteer)
    with shelf_of(context.predictor).reading() as tx:
        teller = Teller(tx, context.predictor)
        counts = questions.counted_alerts(tx)
        if query.state in ("silenced", "inhibited"):
            rows = [row for row in teller.opened if teller.hushed(row.id) == query.state]
            rows = [row for row in rows if entity in (None, row.entity)][query.skip : query.skip + query.limit + 1]
        else:
            states = {"open": questions.OPEN, "all": questions.LISTED}.get(query.state, (query.state,))
            rows = questions.alerts(tx, states, entity, None, query.skip, query.limit + 1)
        hushed = [teller.hushed(row.id) for row in teller.opened]
        found = teller.lines(rows[: query.limit])
    known = {state: counts.get(state, 0) for state in questions.LISTED}
    known |= {"silenced": hushed.count("silenced"), "inhibited": hushed.count("inhibited")}
    known |= {"open": sum(known[state] for state in questions.OPEN)}
    return Alerts(alerts=found, counts=known, more=len(rows) > query.limit)


def alert(context: RouteContext, query: AlertQuery) -> AlertPage:
    """One alert with its evidence. Raises `UnknownNameError`."""
    with shelf_of(context.predictor).reading() as tx:
        return _page(tx, context, query.id)


def verdict(context: RouteContext, query: VerdictQuery) -> Judged:
    """Confirm or dismiss an alert; it is on the disk when this returns.

    Raises `UnknownNameError` for an unknown alert and `RefusedError` for one that never fired.
    """
    shelf, note = shelf_of(context.predictor), context.redact(query.note)
    with _told_as_data(), shelf.posting() as tx:
        judged = judge(
            tx, query.id, confirmed=query.verdict == "confirmed", analyst=_analyst(query.analyst, context),
            note=note, now=datetime.now(UTC),
        )  # fmt: skip
    with shelf.reading() as tx:
        return Judged(message=judged.message, new=judged.new, alert=_page(tx, context, judged.verdict.alert))


def silences(context: RouteContext) -> Silences:
    """The silences that are not over."""
    now = datetime.now(UTC)
    with shelf_of(context.predictor).reading() as tx:
        return Silences(silences=silenced(row for row in tx.silences() if row.ends > now))


def silence(context: RouteContext, query: SilenceQuery) -> Silenced:
    """Silence alerts from now on; they are kept all the same. Raises `DataError` for what is no pattern or length."""
    now, note = datetime.now(UTC), context.redact(query.note.strip())
    with _told_as_data(), shelf_of(context.predictor).posting() as tx:
        ends = now + length_of(query.length, "length")
        analyst = _analyst(query.analyst, context)
        row = new_silence(query.pattern, now, ends, analyst=analyst, note=note, kind=query.kind)
        tx.add_silence(row)
    return silenced([row])[0]


def expire(context: RouteContext, query: SilenceId) -> Silences:
    """End a silence now, and return the others. Raises `UnknownNameError`."""
    with shelf_of(context.predictor).posting() as tx:
        if not tx.expire_silence(query.id, datetime.now(UTC)):
            known = [row.id for row in tx.silences()]
            if query.id not in known:
                raise UnknownNameError("silence", query.id, known[-20:])
    return silences(context)


def _page(tx: Transaction, context: RouteContext, name: str) -> AlertPage:
    found = tx.alerts(ids=[name])
    if not found:
        raise UnknownNameError("alert", name, [row.id for row in tx.alerts(limit=20)])
    return Teller(tx, context.predictor).page(found[0])


def _entity(given: str | None, gazetteer: Gazetteer) -> str | None:
    if not given:
        return None
    return gazetteer.known(given) or given


def _analyst(given: str, context: RouteContext) -> str:
    """Who says so: with keys, the key is named beside whatever name is given."""
    given = context.redact(" ".join(given.split()))
    if not given or given == context.caller:
        return context.caller
    return given if context.caller == "local" else f"{given} ({context.caller})"


@contextmanager
def _told_as_data() -> Iterator[None]:
    """What the commands call wrong usage is wrong data here."""
    try:
        yield
    except ConfigError as error:
        raise DataError(str(error)) from error
