"""Alarms without sentiment, with the same budget: volume of news alone, past returns alone, and chance.

The first two go through the very board, accounts and desk that sentiment goes through, so that nothing differs but
what is looked at.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from triptych_finance.alerts.desk import Desk
from triptych_finance.alerts.lifecycle import FIRING, INACTIVE, PENDING
from triptych_finance.alerts.settings import AlertSettings
from triptych_finance.hindsight.outcomes import Alarms, Array, Hindsight, position
from triptych_finance.signal.board import SECTOR, Board, Observation, SignalReading, openings
from triptych_finance.signal.settings import SignalSettings
from triptych_finance.volatility.prices import Prices

SHIFTS = 1_000  # draws of alarms at random
_END_OF_DAY = dt.time(23, 59, tzinfo=dt.UTC)
_PER_CENT = 100.0
_STILL = 1e-6  # volume of a day on which the price stood still: no volume would be no news


@dataclass(frozen=True, slots=True)
class Rival:
    """The alarms of one way of looking, as an analyst is told of them and as the budget counts them."""

    alerts: Alarms
    alarms: Alarms


def news_volume(
    said: Iterable[tuple[dt.datetime, Sequence[Observation]]],
    signal: SignalSettings,
    alerts: AlertSettings,
    sector: Callable[[str], str],
) -> Rival:
    """Volume of news alone: the same items, each given with its arrival, as if all of them were neutral."""
    board = Board(signal)
    readings: list[SignalReading] = []
    for arrived, observations in said:
        board.observe([Observation(o.entity, o.sector, o.time, 0.0, o.weight) for o in observations])
        readings += board.advance(arrived)
    return rival_of(readings, signal, alerts, sector)


def past_returns(
    prices: Prices,
    watched: Mapping[str, tuple[dt.datetime, dt.datetime]],
    signal: SignalSettings,
    alerts: AlertSettings,
    sector: Callable[[str], str],
) -> Rival:
    """Past volatility alone: each day's absolute return, known at its end, takes the place of the volume of news.

    `watched` has the time in which there is an index for each entity: the board has the same warm-up then.
    """
    days: list[tuple[dt.datetime, str, float]] = []
    for entity, (begin, end) in watched.items():
        if entity not in prices:
            continue
        history = prices.history(entity)
        for place in np.flatnonzero(np.isfinite(history.returns)):
            moment = dt.datetime.combine(history.day(int(place)), _END_OF_DAY)
            if begin <= moment < end:
                days.append((moment, entity, abs(float(history.returns[place])) * _PER_CENT))
    board = Board(signal)
    readings: list[SignalReading] = []
    for moment, entity, size in sorted(days):
        board.observe([Observation(entity, "", moment, 0.0, max(size, _STILL))])
        readings += board.advance(moment)
    return rival_of(readings, signal, alerts, sector)


def rival_of(
    readings: Sequence[SignalReading], signal: SignalSettings, alerts: AlertSettings, sector: Callable[[str], str]
) -> Rival:
    """The alerts on entities that a desk makes of readings, given in order of time, and the alarms themselves."""
    lateness = dt.timedelta(hours=signal.lateness_hours)
    desk = Desk(alerts, lateness=lateness, sector=sector)
    readings = [reading for reading in readings if not reading.entity.startswith(SECTOR)]
    fired: dict[str, list[dt.datetime]] = defaultdict(list)
    for end, some in groupby(readings, key=lambda reading: reading.end):
        for one in desk.step(list(some), end + lateness, []):
            if one.before in (INACTIVE, PENDING) and one.after == FIRING and one.alert.fired is not None:
                fired[one.alert.entity].append(one.alert.fired)
    return Rival(dict(fired), alarms_of(readings, signal))


def alarms_of(readings: Sequence[SignalReading], signal: SignalSettings) -> Alarms:
    """The moments at which alarms begin, as the budget counts them."""
    lateness = dt.timedelta(hours=signal.lateness_hours)
    found: dict[str, list[dt.datetime]] = defaultdict(list)
    for reading in openings(readings):
        found[reading.entity].append(reading.end + lateness)
    return dict(found)


def shifted(hindsight: Hindsight, alarms: Alarms, *, draws: int = SHIFTS, seed: int = 0) -> dict[str, Array]:
    """Precision and recall, [draws], of the same alarms moved along each entity's time by a random stretch.

    What leaves at the end comes in at the beginning, so each entity keeps its number of alarms and the distances
    between them, and loses what ties them to its events.
    """
    rng = np.random.default_rng(seed)
    judged, hits, caught = np.zeros(draws), np.zeros(draws), np.zeros(draws)
    events = 0
    for entity, track in hindsight.tracks.items():
        events += len(track.events)
        places = np.array([position(track.history, fired) for fired in alarms.get(entity, ())], dtype=np.int64)
        length = track.last - track.first + 1
        offsets = rng.integers(0, length, draws)
        if not len(places):
            continue
        moved = track.first + (places[None, :] - track.first + offsets[:, None]) % length  # [draws, alarms]
        known = np.zeros(length, dtype=bool)  # by place: whether the prices reach far enough
        hit = np.zeros(length, dtype=bool)
        for step in range(length):
            known[step] = track.first + step + hindsight.horizon < len(track.history)
            hit[step] = known[step] and track.event_after(track.first + step, hindsight.horizon) is not None
        judged += known[moved - track.first].sum(axis=1)
        hits += hit[moved - track.first].sum(axis=1)
        for event in track.events:
            caught += ((moved < event) & (moved >= event - hindsight.horizon)).any(axis=1)
    nothing = np.full(draws, np.nan)
    return {
        "precision": np.divide(hits, judged, out=nothing.copy(), where=judged > 0),
        "recall": caught / events if events else nothing,
    }
