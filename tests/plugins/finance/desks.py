"""Desks for tests, readings to give them, and what can be asked of what they say."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from triptych.errors import UnknownNameError
from triptych_finance.alerts.desk import Desk, Transition
from triptych_finance.alerts.settings import AlertSettings
from triptych_finance.alerts.silence import new_silence
from triptych_finance.signal.board import SignalReading
from triptych_finance.store.schema import NoticeRow, SilenceRow

START = datetime(2026, 3, 2, tzinfo=UTC)
unhurried = settings(deadline=None)  # a helper of properties: no test asserts on time
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
LATENESS = 6 * HOUR
SECTORS = {"ACME": "tech", "ADEX": "tech", "OREX": "metals"}


def sector(symbol: str) -> str:
    if symbol not in SECTORS:
        raise UnknownNameError("company", symbol, list(SECTORS))
    return SECTORS[symbol]


def desk(**settings: Any) -> Desk:
    return Desk(AlertSettings(**settings), lateness=LATENESS, sector=sector)


def again(one: Desk, states: dict[str, dict[str, Any] | None]) -> Desk:
    """The desk as it is after a restart: from all that its dumps have left in the store."""
    for key, state in one.dump().items():
        if state is None:
            states.pop(key, None)
        else:
            states[key] = state
    kept = {key: state for key, state in states.items() if state is not None}
    return Desk.load(one.settings, kept, lateness=LATENESS, sector=sector)


def reading(day: int, alarm: bool = True, entity: str = "ACME", direction: int = -1) -> SignalReading:
    """The reading of the bucket that begins `day` days after `START`; it is known at `known(day)`."""
    start, surprise = START + day * DAY, 9.0 if alarm else 0.5
    if not alarm:
        direction = 0
    return SignalReading(entity, start, start + DAY, 0.3 * direction, 0.2 * direction, 5, surprise, 4, alarm, direction)


def known(day: float) -> datetime:
    return START + (day + 1) * DAY + LATENESS


def states(transitions: Sequence[Transition], entity: str | None = None) -> list[str]:
    """The states that were entered, in order."""
    mine = [t for t in transitions if entity in (None, t.alert.entity)]
    return [t.after for t in mine if t.before != t.after]


def notices(transitions: Sequence[Transition], channel: str = "log") -> list[NoticeRow]:
    return [notice for t in transitions for notice in t.notices if notice.channel == channel]


def told(transitions: Sequence[Transition]) -> list[tuple[str, list[str], list[str]]]:
    """What was said: kind, entities that fire anew (or again), entities that are over."""
    names = {t.alert.id: t.alert.entity for t in transitions}
    said = []
    for notice in notices(transitions):
        fires = notice.payload["firing"] or (notice.payload["going_on"] if notice.kind == "repeat" else [])
        said.append((notice.kind, [names[a] for a in fires], [names[a] for a in notice.payload["resolved"]]))
    return said


def days(one: Desk, readings: Sequence[SignalReading], silences: Sequence[SilenceRow] = ()) -> list[Transition]:
    """Give a desk readings as a stream does, each day's when they are known."""
    said: list[Transition] = []
    for end in sorted({r.end for r in readings}):
        said += one.step([r for r in readings if r.end == end], end + LATENESS, silences)
    return said


def silence(pattern: str, first: float = 0, last: float = 30, **more: Any) -> SilenceRow:
    """A silence from the moment at which day `first` is known until `last` is."""
    return new_silence(pattern, known(first), known(last), **more)


@st.composite
def streams(draw: st.DrawFn, length: int = 14) -> list[SignalReading]:
    """Readings of some days for entities and a sector, with alarms here and there; some are missing."""
    entities = draw(st.lists(st.sampled_from(["ACME", "ADEX", "OREX", "sector:tech", "NONE"]), min_size=1, unique=True))
    found = []
    for day in range(draw(st.integers(1, length))):
        for entity in entities:
            what = draw(st.sampled_from(["quiet", "quiet", "down", "down", "up", "volume", "missing"]))
            if what != "missing":
                direction = {"quiet": 0, "down": -1, "up": 1, "volume": 0}[what]
                found.append(reading(day, what != "quiet", entity, direction))
    return found


chosen_settings = st.fixed_dictionaries(
    {
        "for_buckets": st.integers(0, 2),
        "keep_firing_hours": st.sampled_from([0, 5, 24, 48]),
        "group_by": st.sampled_from(["sector", "entity"]),
        "group_wait_minutes": st.sampled_from([0, 30, 2000]),
        "group_interval_minutes": st.sampled_from([0, 60, 3000]),
        "repeat_hours": st.sampled_from([0, 30, 72]),
        "inhibit": st.booleans(),
    }
)


@st.composite
def silencing(draw: st.DrawFn) -> list[SilenceRow]:
    pattern = st.sampled_from(
        ["ACME", "*", "sector:tech", "sector=tech", "direction=negative", "entity=A*,sector=tech"]
    )
    begin = st.floats(0, 10, allow_nan=False)
    spans = draw(st.lists(st.tuples(pattern, begin, st.floats(0.1, 5)), max_size=3))
    return [silence(p, first, first + length) for p, first, length in spans]


def cut(draw: st.DrawFn, readings: list[SignalReading]) -> list[tuple[list[SignalReading], datetime]]:
    """The same stream, cut into calls at other moments; each bucket is given once its lateness is over."""
    horizon = known(20)
    hours = draw(st.lists(st.integers(0, 20 * 24), max_size=12))
    moments = sorted({START + hour * HOUR for hour in hours} | {horizon})
    calls, before = [], START - DAY
    for moment in moments:
        calls.append(([r for r in readings if before < r.end + LATENESS <= moment], moment))
        before = moment
    return calls
