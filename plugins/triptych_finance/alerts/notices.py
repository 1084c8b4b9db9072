"""Notices: what is said of a group of alerts, as a row for each channel, as JSON and as text."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from triptych_finance.alerts.grouping import Group
from triptych_finance.alerts.lifecycle import FIRING, INACTIVE, PENDING, Alert
from triptych_finance.signal.board import SignalReading
from triptych_finance.store.schema import AlertRow, NoticeRow

if TYPE_CHECKING:
    from triptych_finance.alerts.desk import Desk, Transition
    from triptych_finance.store.transaction import Transaction

FIRES, RESOLVES, REPEATS = "firing", "resolved", "repeat"  # kinds of notices
STATE = "desk"  # the kind under which the store keeps the desk's state
VERSION = 1  # of the JSON of a notice


def notice_id(channel: str, event: str, alerts: Sequence[str], number: int = 0) -> str:
    """The id of a notice: what is new in it and where it goes, so that a replay gives the same one."""
    said = "\x1f".join((channel, event, str(number), *alerts))
    return hashlib.sha256(said.encode()).hexdigest()[:32]


def make_notices(
    group: Group,
    event: str,
    fresh: Sequence[Alert],
    ended: Sequence[Alert],
    going_on: Sequence[Alert],
    channels: Sequence[str],
    created: datetime,
) -> list[NoticeRow]:
    """A notice for each channel; the payload names the alerts and, under "after", the group's last notice there.

    Alerts in `fresh` and `ended` are new in this notice, those of `going_on` were told before.
    """
    news = [f"+{alert.id}" for alert in fresh] + [f"-{alert.id}" for alert in ended]
    first = (*fresh, *ended, *going_on)[0].id
    rows = []
    for channel in channels:
        key = notice_id(channel, event, news or [a.id for a in going_on], group.repeats if event == REPEATS else 0)
        payload = {
            "group": group.name,
            "firing": [a.id for a in fresh],
            "resolved": [a.id for a in ended],
            "going_on": [a.id for a in going_on],
            "after": group.previous.get(channel),
        }
        rows.append(NoticeRow(key, first, event, channel, created, payload, next_try=created))
        group.previous[channel] = [first, key]
    return rows


def record(
    tx: Transaction,
    desk: Desk,
    readings: Sequence[SignalReading],
    now: datetime,
    explain: Callable[[SignalReading], Mapping[str, Any]] | None = None,
) -> list[NoticeRow]:
    """One step of the desk, with all that comes of it written into the transaction. Returns the notices.

    `explain` gives the evidence of an alert from the reading that it fires with; see `evidence`.
    """
    transitions = desk.step(readings, now, tx.silences())
    notices: list[NoticeRow] = []
    if transitions:
        concerned = {one.alert.id for one in transitions}
        named = {key for one in transitions for notice in one.notices for key in _named(notice.payload)}
        alerts = {row.id: row for row in tx.alerts(ids=sorted(concerned | named))}
        for one in transitions:  # in order, so that a notice shows its alerts as they stood when it was made
            alerts[one.alert.id] = _with_details(one, alerts.get(one.alert.id), explain)
            notices += [dataclasses.replace(notice, payload=_filled(notice, alerts)) for notice in one.notices]
        tx.put_alerts([alerts[key] for key in sorted(concerned)])
        tx.add_notices(notices)
    tx.put_states(STATE, desk.dump())
    return notices


def document(alert: AlertRow) -> dict[str, Any]:
    """An alert as JSON."""
    return {
        "id": alert.id, "entity": alert.entity, "kind": alert.kind, "state": alert.state,
        "started": alert.started.isoformat(),
        "fired": None if alert.fired is None else alert.fired.isoformat(),
        "ended": None if alert.ended is None else alert.ended.isoformat(),
        **{key: alert.json.get(key) for key in ("sector", "reading", "evidence", "verdict") if alert.json.get(key)},
    }  # fmt: skip


def render(alert: Mapping[str, Any]) -> str:
    """An alert, given as `document` has it, as text of several lines."""
    sector = f", sector {alert['sector']}" if alert.get("sector") and ":" not in alert["entity"] else ""
    lines = [f"{alert['state'].upper().replace('_', '-')}: {headline(alert)}{sector} (alert {alert['id']})"]
    times = [f"since {_minute(alert['started'])}"]
    times += [f"{name} {_minute(alert[name])}" for name in ("fired", "ended") if alert.get(name)]
    lines.append("  " + ", ".join(times) + " UTC")
    reading = alert.get("reading")
    if reading:
        lines.append(
            f"  index {reading['index']:+.3f} ({reading['change']:+.3f}), volume {reading['volume']:g}, "
            f"surprise {reading['statistic']:.1f} bits where {reading['threshold'] or 0:.1f} are needed"
        )
    evidence = alert.get("evidence") or {}
    lines += _moved(evidence) + _past(evidence)
    verdict = alert.get("verdict")
    if verdict:
        lines.append(
            f"  {verdict['verdict']} by {verdict['analyst']}" + (f": {verdict['note']}" if verdict["note"] else "")
        )
    return "\n".join(lines)


def headline(alert: Mapping[str, Any]) -> str:
    """What an alert is about, in a few words."""
    what = "unusual volume of news" if alert["kind"] == "volume" else f"{alert['kind']} turn of sentiment"
    return f"{what} on {alert['entity']}"


def _moved(evidence: Mapping[str, Any]) -> list[str]:
    moved = evidence.get("moved") or []
    if not moved:
        return []
    lines = [f"  What moved it most ({evidence['items']} items, {evidence['copies']} copies left out):"]
    for item in moved:
        lines.append(f"    {item['share']:.0%} {item['sentence']!r} (score {item['score']:+.2f})")
        lines.append(
            "        " + ", ".join(part for part in (item["title"], _minute(item["published"]), item["url"]) if part)
        )
    return lines


def _past(evidence: Mapping[str, Any]) -> list[str]:
    past = evidence.get("past") or []
    if not past:
        return []
    lines = ["  The nearest in the past, and what followed:"]
    for item in past:
        lines.append(f"    {item['similarity']:.2f} {_minute(item['published'])} {item['sentence']!r}")
        lines.append(f"        {_followed(item)}")
    return lines


def _followed(item: Mapping[str, Any]) -> str:
    parts = []
    index, price = item.get("index"), item.get("price")
    if index:
        parts.append(f"index {index['before']:+.3f}, {index['after']:+.3f} after {index['days']} days")
    if price:
        parts.append(f"{item['entity']} {price['change']:+.1%} in {price['days']} trading days")
        parts.append(f"log volatility {price['volatility']:.2f}")
    return "; ".join(parts) or "what followed is not known yet"


def _with_details(
    transition: Transition, stored: AlertRow | None, explain: Callable[[SignalReading], Mapping[str, Any]] | None
) -> AlertRow:
    """The alert of a transition with what others wrote down about it, and with its evidence when it fires."""
    details = {**(stored.json if stored else {}), **transition.alert.json}
    fires = transition.after == FIRING and transition.before in (INACTIVE, PENDING)
    if fires and explain is not None and transition.reading is not None:
        details["evidence"] = dict(explain(transition.reading))
    return dataclasses.replace(transition.alert, json=details)


def _named(payload: Mapping[str, Any]) -> list[str]:
    return [*payload["firing"], *payload["resolved"], *payload["going_on"]]


def _filled(notice: NoticeRow, alerts: Mapping[str, AlertRow]) -> dict[str, Any]:
    payload = notice.payload
    documents = [document(alerts[key]) for key in _named(payload) if key in alerts]
    return {
        **payload, "version": VERSION, "id": notice.id, "event": notice.kind, "created": notice.created.isoformat(),
        "subject": _subject(notice.kind, payload, documents),
        "alerts": documents,
        "text": "\n\n".join(render(alert) for alert in documents),
    }  # fmt: skip


def _subject(event: str, payload: Mapping[str, Any], documents: Sequence[Mapping[str, Any]]) -> str:
    news = payload["firing"] or payload["resolved"] or payload["going_on"]
    state = {FIRES: "firing", RESOLVES: "resolved", REPEATS: "still firing"}[event]
    about = [headline(alert) for alert in documents if alert["id"] in news]
    more = f" and {len(news) - 1} more in {payload['group']}" if len(news) > 1 else ""
    return f"[{state}] {about[0] if about else payload['group']}{more}"


def _minute(time: str) -> str:
    return time[:16].replace("T", " ")
