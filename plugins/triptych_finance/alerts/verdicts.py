"""Analysts' verdicts on alerts: confirmed, or dismissed as false alarms; each moves the calibration once.

A verdict is written down at once, in any process. The monitor takes it up with `settle`, in the transaction in which
it stores the calibration that the verdict has moved.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from triptych.errors import ConfigError, RefusedError, UnknownNameError
from triptych_finance.store.schema import AlertRow, VerdictRow
from triptych_finance.store.transaction import Transaction
from triptych_finance.stream.item import in_utc, storable

STATE, SETTLED = "verdicts", "settled"  # kind and key of the number of the last verdict that was taken up
_NAMED = 20  # of the latest alerts, in the message on an unknown one
WORDS = {True: "confirmed", False: "dismissed"}


@dataclass(frozen=True, slots=True)
class Judged:
    """A verdict as it stands, whether it is new, and a sentence that says what has happened."""

    verdict: VerdictRow
    new: bool
    message: str


def judge(tx: Transaction, alert: str, *, confirmed: bool, analyst: str, note: str = "", now: datetime) -> Judged:
    """Confirm or dismiss an alert, by its id or an unmistakable beginning of it.

    The same verdict as the last one on the alert is not written again; the opposite one takes its place. Raises
    `UnknownNameError` for an unknown alert, `RefusedError` for one that never fired and `ConfigError` without analyst.
    """
    analyst = " ".join(storable(analyst).split())
    if not analyst:
        raise ConfigError("a verdict needs the name of the analyst who gives it")
    row = _find(tx, alert)
    if row.fired is None:
        raise RefusedError(f"alert {row.id} on {row.entity} has not fired; there is nothing to judge yet")
    former = [verdict for verdict in tx.verdicts() if verdict.alert == row.id]
    word = WORDS[confirmed]
    if former and former[-1].confirmed is confirmed:
        last = former[-1]
        return Judged(last, False, f"Alert {row.id} on {row.entity} is {word} already, {_by(last)}; nothing changed.")
    verdict = VerdictRow(row.id, row.entity, confirmed, analyst, storable(note).strip(), in_utc(now, "now"))
    verdict = dataclasses.replace(verdict, number=tx.add_verdict(verdict))
    message = f"Alert {row.id} on {row.entity} is {word}."
    if former:
        last = former[-1]
        message = f"{message[:-1]}; before, it was {WORDS[last.confirmed]} {_by(last)}, and that no longer holds."
    return Judged(verdict, True, message)


def settle(tx: Transaction, feedback: Callable[[str, datetime, bool], object]) -> list[VerdictRow]:
    """Take up the verdicts given since the last call. Returns them.

    `feedback`, as `Board.feedback`, is called with entity, time and whether the alarm was false for each alarm of
    the alert that was judged. It must see each verdict once: store what it changes in this same transaction.
    """
    state = tx.get_state(STATE, SETTLED)
    rows = tx.verdicts(after=int(state["number"]) if state else 0)
    if not rows:
        return []
    alerts = {alert.id: alert for alert in tx.alerts(ids=sorted({row.alert for row in rows}))}
    for row in rows:
        alert = alerts.get(row.alert)
        if alert is None:  # retention has removed it
            continue
        for opening in alert.json.get("openings", ()):
            feedback(row.entity, datetime.fromisoformat(opening), not row.confirmed)
        said = {
            "verdict": WORDS[row.confirmed], "analyst": row.analyst, "note": row.note, "given": row.given.isoformat()
        }  # fmt: skip
        alerts[row.alert] = dataclasses.replace(alert, json={**alert.json, "verdict": said})
    tx.put_alerts([alerts[key] for key in sorted(alerts)])
    tx.put_states(STATE, {SETTLED: {"number": rows[-1].number}})
    return rows


def _find(tx: Transaction, alert: str) -> AlertRow:
    found = tx.alerts(ids=[alert])
    if found:
        return found[0]
    latest = tx.alerts(limit=1000)
    like = [row for row in latest if alert and row.id.startswith(alert)]
    if len(like) == 1:
        return like[0]
    known = [row.id for row in (like or latest)[-_NAMED:]]
    raise UnknownNameError("alert" if not like else "single alert", alert, known)


def _by(verdict: VerdictRow) -> str:
    return f"by {verdict.analyst} on {verdict.given:%Y-%m-%d %H:%M} UTC"
