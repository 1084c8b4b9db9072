"""The desk: readings in, alerts and notices out; a state machine without clock, store or chance.

What comes out depends on the readings, on the silences and on event time, and not on how the readings were cut into
calls or on how often the state was saved and loaded in between. For that, all that becomes due between two calls
happens at the moment at which it was due, in the order of time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Self

from triptych.errors import UnknownNameError
from triptych_finance.alerts.grouping import HOUR, Group, group_of
from triptych_finance.alerts.lifecycle import INACTIVE, KINDS, Alert
from triptych_finance.alerts.notices import FIRES, REPEATS, RESOLVES, make_notices
from triptych_finance.alerts.settings import AlertSettings
from triptych_finance.alerts.silence import Suppression
from triptych_finance.signal.board import SECTOR, SignalReading
from triptych_finance.signal.clock import micros, moment
from triptych_finance.store.schema import AlertRow, NoticeRow, SilenceRow

_DESK, _ALERT, _GROUP = "desk", "alert:", "group:"
_VOLUME = KINDS[0]
UNTOLD = "over before its first notice was due"


@dataclass(frozen=True, slots=True)
class Transition:
    """What happened to an alert: `alert` as it stands afterwards.

    `before` and `after` are equal where its state is the same and only what was said about it has changed.
    `notices` are those in which this alert comes first; `reading` is the one that brought the change, if one did.
    """

    alert: AlertRow
    before: str
    after: str
    notices: list[NoticeRow] = field(default_factory=list)
    reading: SignalReading | None = None


class Desk:
    """All alerts that are not over. `step` takes readings, `dump` gives what must be stored, `load` takes it back.

    `lateness` is how long after its end a bucket is closed, as in the signal's settings; `sector` names the sector of
    an entity, as `Gazetteer.sector` does; one that it does not know has none. `passed_over` counts readings no later
    than one that their entity has had already.
    """

    def __init__(self, settings: AlertSettings, *, lateness: timedelta, sector: Callable[[str], str]) -> None:
        self.settings = settings
        self.passed_over = 0
        self._lateness = lateness // timedelta(microseconds=1)
        self._keep_firing = round(settings.keep_firing_hours * HOUR)
        self._sector = sector
        self._clock: int | None = None
        self._seen: dict[str, int] = {}  # entity: end of its last reading
        self._alerts: dict[str, Alert] = {}
        self._groups: dict[str, Group] = {}
        self._stored: dict[str, dict[str, Any]] = {}  # as of the last dump

    def step(
        self, readings: Sequence[SignalReading], now: datetime, silences: Sequence[SilenceRow]
    ) -> list[Transition]:
        """Take the readings of the buckets closed since the last call, and let time pass up to `now`.

        `now` is the watermark of event time: every bucket whose end and lateness lie before it has been given. One
        that goes back is taken for the last one. `silences` are all that there are, whenever they hold.
        """
        agenda = deque(sorted(readings, key=lambda r: (self._known(r), micros(r.end), r.entity)))
        horizon = max(micros(now), *(self._known(r) for r in readings), self._clock or micros(now))
        transitions: list[Transition] = []
        while (at := self._next(agenda, horizon, silences)) is not None:
            transitions += self._at(at, agenda, silences)
        transitions += self._at(horizon, agenda, silences)  # silences may have been set or lifted by hand
        return transitions

    def dump(self) -> dict[str, dict[str, Any] | None]:
        """The state, as JSON, of what changed since the last call; None for what is to be removed."""
        state: dict[str, dict[str, Any]] = {
            _DESK: {"clock": self._clock, "seen": dict(self._seen), "passed_over": self.passed_over}
        }
        state |= {_ALERT + key: alert.dump() for key, alert in self._alerts.items()}
        state |= {_GROUP + name: group.dump() for name, group in self._groups.items()}
        changed: dict[str, dict[str, Any] | None] = {k: v for k, v in state.items() if self._stored.get(k) != v}
        changed |= {key: None for key in self._stored if key not in state}
        self._stored = state
        return changed

    @classmethod
    def load(
        cls,
        settings: AlertSettings,
        states: Mapping[str, Mapping[str, Any]],
        *,
        lateness: timedelta,
        sector: Callable[[str], str],
    ) -> Self:
        """The desk whose dumps these are, each key's latest; a new one where there are none."""
        desk = cls(settings, lateness=lateness, sector=sector)
        for key, state in states.items():
            if key == _DESK:
                desk._clock, desk._seen = state["clock"], dict(state["seen"])
                desk.passed_over = state["passed_over"]
            elif key.startswith(_ALERT):
                desk._alerts[key.removeprefix(_ALERT)] = Alert.load(state)
            else:
                desk._groups[key.removeprefix(_GROUP)] = Group.load(state)
        desk.dump()  # what was loaded is stored
        return desk

    def _known(self, reading: SignalReading) -> int:
        return micros(reading.end) + self._lateness

    def _next(self, agenda: deque[SignalReading], horizon: int, silences: Sequence[SilenceRow]) -> int | None:
        """The next moment, up to the horizon, at which something can happen; None: there is none."""
        due = [max(self._known(agenda[0]), self._clock or 0)] if agenda else []
        clock = self._clock
        if clock is not None and self._alerts:
            later = self._deadlines(silences)
            due += [at for at in later if clock < at <= horizon]
        return min(due, default=None)

    def _deadlines(self, silences: Sequence[SilenceRow]) -> Iterator[int]:
        yield from (alert.until for alert in self._alerts.values() if alert.until is not None)
        for group in self._groups.values():
            yield group.ready(self.settings)
            repeat = group.repeat(self.settings)
            if repeat is not None:
                yield repeat
        for silence in silences:
            yield from (micros(silence.starts), micros(silence.ends))

    def _at(self, at: int, agenda: deque[SignalReading], silences: Sequence[SilenceRow]) -> list[Transition]:
        """All that happens at one moment: readings come first, then ends of keep-firing, then notices."""
        self._clock = at
        transitions: list[Transition] = []
        while agenda and self._known(agenda[0]) <= at:
            transitions += self._read(agenda.popleft(), at)
        for alert in list(self._alerts.values()):
            before = alert.state
            if alert.on_time(at):
                transitions.append(Transition(alert.row(), before, alert.state))
        return transitions + self._tell(at, silences)

    def _read(self, reading: SignalReading, at: int) -> list[Transition]:
        end = micros(reading.end)
        if end <= self._seen.get(reading.entity, end - 1):
            self.passed_over += 1
            return []
        self._seen[reading.entity] = end
        mine = {a.kind: a for a in self._alerts.values() if a.entity == reading.entity and not a.over}
        alarmed = self._alarmed(reading, mine)
        transitions = []
        for alert in sorted(mine.values(), key=lambda a: a.kind):
            before = alert.state
            if alert is alarmed:
                changed = alert.on_alarm(reading, at, self.settings.for_buckets)
            else:
                changed = alert.on_quiet(at, self._keep_firing)
            if changed:
                transitions.append(Transition(alert.row(), before, alert.state, reading=reading))
            if alert.state == INACTIVE:
                del self._alerts[alert.id]
            elif alert.fired == at:
                self._groups.setdefault(alert.group, Group(alert.group, at))
        return transitions

    def _alarmed(self, reading: SignalReading, mine: dict[str, Alert]) -> Alert | None:
        """The alert that a reading's alarm belongs to, a new one where there is none; None without an alarm.

        Unusual volume alone is part of the alert that is there, of whatever direction.
        """
        if not reading.alarm:
            return None
        kind = KINDS[reading.direction]
        if kind == _VOLUME and mine and kind not in mine:
            return max(mine.values(), key=lambda a: (a.started, a.id))
        if kind not in mine:
            sector = self._sector_of(reading.entity)
            alert = Alert.begin(reading, sector, group_of(reading.entity, sector, self.settings.group_by))
            mine[kind] = self._alerts[alert.id] = alert
        return mine[kind]

    def _sector_of(self, entity: str) -> str:
        if entity.startswith(SECTOR):
            return entity.removeprefix(SECTOR)
        try:
            return self._sector(entity)
        except UnknownNameError:
            return ""

    def _tell(self, at: int, silences: Sequence[SilenceRow]) -> list[Transition]:
        if not self._groups:
            return []
        suppression = Suppression(silences, self._alerts.values(), moment(at), inhibit=self.settings.inhibit)
        transitions: list[Transition] = []
        for name in sorted(self._groups):
            transitions += self._tell_group(self._groups[name], suppression, at)
        return transitions

    def _tell_group(self, group: Group, suppression: Suppression, at: int) -> list[Transition]:
        members = [a for a in self._alerts.values() if a.group == group.name and a.fired is not None]
        members.sort(key=lambda a: (a.fired or 0, a.id))
        said: list[Transition] = []
        free: list[Alert] = []
        for alert in members:
            if alert.over and alert.told is None:
                said += self._withhold(alert, RESOLVES, UNTOLD if FIRES not in alert.withheld else "nobody was told")
                del self._alerts[alert.id]
                continue
            reason = suppression.reason(alert)
            event = RESOLVES if alert.over else FIRES if alert.told is None else ""
            if not reason:
                free.append(alert)
            elif event and at >= group.ready(self.settings):
                said += self._withhold(alert, event, reason)
        said += self._speak(group, free, at)
        if not any(a.group == group.name and a.fired is not None for a in self._alerts.values()):
            del self._groups[group.name]
        return said

    def _withhold(self, alert: Alert, event: str, reason: str) -> list[Transition]:
        """Write down why an alert is not told of; once for each reason."""
        if alert.withheld.get(event) == reason:
            return []
        alert.withheld[event] = reason
        return [Transition(alert.row(), alert.state, alert.state)]

    def _speak(self, group: Group, free: list[Alert], at: int) -> list[Transition]:
        """The notices of a group, about alerts that nothing suppresses; none where none is due."""
        fresh = [a for a in free if not a.over and a.told is None]
        ended = [a for a in free if a.over]
        going_on = [a for a in free if not a.over and a.told is not None]
        repeat = group.repeat(self.settings)
        if (fresh or ended) and at >= group.ready(self.settings):
            event = FIRES if fresh else RESOLVES
        elif going_on and not fresh and repeat is not None and at >= repeat:
            event, ended = REPEATS, []
            group.repeats += 1
        else:
            return []
        group.spoken = at
        channels = self.settings.channels.names
        notices = make_notices(group, event, fresh, ended, going_on, channels, moment(at))
        for alert in fresh:
            alert.told = at
        for alert in ended:
            del self._alerts[alert.id]
        concerned = [*fresh, *ended] or going_on[:1]
        return [
            Transition(alert.row(), alert.state, alert.state, notices if alert is concerned[0] else [])
            for alert in concerned
        ]
