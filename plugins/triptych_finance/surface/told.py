"""Alerts as the page is told of them: with names, verdicts, evidence, and why one is not told."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel

from triptych.predictor import Predictor
from triptych_finance.alerts.lifecycle import Alert
from triptych_finance.alerts.notices import document, headline
from triptych_finance.alerts.silence import Suppression
from triptych_finance.alerts.verdicts import SETTLED, STATE, WORDS
from triptych_finance.language.entities import Gazetteer
from triptych_finance.settings import Settings
from triptych_finance.signal.board import SECTOR
from triptych_finance.signal.clock import micros
from triptych_finance.store.schema import AlertRow, SilenceRow, VerdictRow
from triptych_finance.store.transaction import Transaction
from triptych_finance.surface import questions
from triptych_finance.vertical import gazetteer_of

Hushed = Literal["", "silenced", "inhibited"]


class Verdict(BaseModel):
    """What an analyst said of an alert; `settled` where the monitor has moved the calibration by it."""

    verdict: Literal["confirmed", "dismissed"]
    analyst: str
    note: str
    given: datetime
    settled: bool


class Level(BaseModel):
    """The reading that an alert rests on; `statistic` and `threshold` are bits, and None is beyond reach."""

    end: datetime
    index: float | None
    change: float | None
    volume: float | None
    statistic: float | None
    threshold: float | None


class AlertLine(BaseModel):
    """An alert in a list. `hushed` says whether anything keeps it from being told just now, `reason` what."""

    id: str
    entity: str
    name: str
    sector: str
    kind: str
    state: str
    headline: str
    sentence: str  # the one that moved the index most
    started: datetime
    fired: datetime | None
    ended: datetime | None
    level: Level | None
    hushed: Hushed
    reason: str
    verdict: Verdict | None


class Mover(BaseModel):
    """An item of the evidence; `share` of the movement is of those of now, the rest of those of the past."""

    key: str
    title: str
    url: str
    published: datetime
    entity: str
    sentence: str
    score: float
    share: float | None = None
    similarity: float | None = None
    index_before: float | None = None
    index_after: float | None = None
    index_days: int | None = None
    price_change: float | None = None
    price_days: int | None = None


class Told(BaseModel):
    """A notice: whom it went to, and what has become of it."""

    channel: str
    kind: str
    created: datetime
    sent: datetime | None
    error: str


class AlertPage(AlertLine):
    """An alert whole: its evidence, who was told, and all verdicts, the latest last."""

    items: int
    copies: int
    moved: list[Mover]
    past: list[Mover]
    withheld: dict[str, str]
    notices: list[Told]
    verdicts: list[Verdict]
    pattern: str  # of a silence on its entity alone


class Teller:
    """Turns rows of alerts into lines, within one transaction."""

    def __init__(self, tx: Transaction, predictor: Predictor) -> None:
        settings = settings_of(predictor)
        self._tx, self._gazetteer = tx, gazetteer_of(settings)
        self.opened = questions.open_alerts(tx)
        living = [_alert(row) for row in self.opened]
        suppression = Suppression(silences_now(tx), living, datetime.now(UTC), inhibit=settings.alerts.inhibit)
        self._reasons = {alert.id: suppression.reason(alert) for alert in living}
        state = tx.get_state(STATE, SETTLED)
        self._settled = int(state["number"]) if state else 0

    def hushed(self, alert: str) -> Hushed:
        """Whether an open alert is silenced or inhibited just now."""
        reason = self._reasons.get(alert, "")
        return "silenced" if reason.startswith("silenced") else "inhibited" if reason else ""

    def lines(self, rows: Sequence[AlertRow]) -> list[AlertLine]:
        """Alerts as a list shows them."""
        verdicts = questions.verdicts_on(self._tx, [row.id for row in rows])
        return [AlertLine(**self._line(row, verdicts.get(row.id, []))) for row in rows]

    def page(self, row: AlertRow) -> AlertPage:
        """All there is to an alert."""
        verdicts = questions.verdicts_on(self._tx, [row.id]).get(row.id, [])
        evidence: Mapping[str, Any] = row.json.get("evidence") or {}
        notices = self._tx.notices(row.id)
        return AlertPage(
            **self._line(row, verdicts),
            items=evidence.get("items", 0),
            copies=evidence.get("copies", 0),
            moved=[_mover(one) for one in evidence.get("moved") or []],
            past=[_mover(one) for one in evidence.get("past") or []],
            withheld=dict(row.json.get("withheld") or {}),
            notices=[
                Told(channel=n.channel, kind=n.kind, created=n.created, sent=n.sent, error=n.error) for n in notices
            ],
            verdicts=[self._verdict(one) for one in verdicts],
            pattern=glob.escape(row.entity),
        )

    def _line(self, row: AlertRow, verdicts: Sequence[VerdictRow]) -> dict[str, Any]:
        reading = row.json.get("reading")
        moved = (row.json.get("evidence") or {}).get("moved") or [{}]
        return {
            "id": row.id, "entity": row.entity, "name": name_of(self._gazetteer, row.entity),
            "sector": row.json.get("sector") or "", "kind": row.kind, "state": row.state,
            "headline": headline(document(row)), "sentence": str(moved[0].get("sentence", "")),
            "started": row.started, "fired": row.fired, "ended": row.ended,
            "level": Level(**{key: reading.get(key) for key in Level.model_fields}) if reading else None,
            "hushed": self.hushed(row.id), "reason": self._reasons.get(row.id, ""),
            "verdict": self._verdict(verdicts[-1]) if verdicts else None,
        }  # fmt: skip

    def _verdict(self, row: VerdictRow) -> Verdict:
        word: Literal["confirmed", "dismissed"] = "confirmed" if row.confirmed else "dismissed"
        assert word == WORDS[row.confirmed]
        return Verdict(
            verdict=word, analyst=row.analyst, note=row.note, given=row.given, settled=row.number <= self._settled
        )


class Silenced(BaseModel):
    """A silence."""

    id: str
    pattern: str
    kind: str
    starts: datetime
    ends: datetime
    analyst: str
    note: str


def silences_now(tx: Transaction) -> list[SilenceRow]:
    """The silences that hold by the clock, in whose time they are set."""
    return tx.silences(datetime.now(UTC))


def silenced(rows: Iterable[SilenceRow]) -> list[Silenced]:
    """Silences as the page has them, the one that ends next first."""
    found = [
        Silenced(
            id=r.id, pattern=r.pattern, kind=r.kind, starts=r.starts, ends=r.ends, analyst=r.analyst, note=r.note
        )
        for r in rows
    ]  # fmt: skip
    return sorted(found, key=lambda one: (one.ends, one.id))


def settings_of(predictor: Predictor) -> Settings:
    """The settings of a finance bundle."""
    assert isinstance(predictor.settings, Settings)  # `settings_type` says so
    return predictor.settings


def name_of(gazetteer: Gazetteer, entity: str) -> str:
    """What an entity or sector is called; its symbol where the gazetteer lacks it."""
    if entity.startswith(SECTOR):
        return entity.removeprefix(SECTOR)
    known = gazetteer.known(entity)
    return entity if known is None else gazetteer.name(known)


def sector_of(gazetteer: Gazetteer, entity: str) -> str:
    """The sector of an entity or the name of a sector; "" where none is known."""
    if entity.startswith(SECTOR):
        return entity.removeprefix(SECTOR)
    known = gazetteer.known(entity)
    return "" if known is None else gazetteer.sector(known)


def safe_url(url: str) -> str:
    """The address where a link may lead there, else nothing: a feed may say anything."""
    return url if url.startswith(("https://", "http://")) else ""


def _alert(row: AlertRow) -> Alert:
    details = row.json
    return Alert(
        row.id, row.entity, details.get("sector") or "", row.kind, details.get("group") or row.entity,
        micros(row.started), row.state,
    )  # fmt: skip


def _mover(one: Mapping[str, Any]) -> Mover:
    index, price = one.get("index") or {}, one.get("price") or {}
    return Mover(
        key=one["key"], title=one["title"], url=safe_url(one["url"]), published=one["published"], entity=one["entity"],
        sentence=one["sentence"], score=one["score"], share=one.get("share"), similarity=one.get("similarity"),
        index_before=index.get("before"), index_after=index.get("after"), index_days=index.get("days"),
        price_change=price.get("change"), price_days=price.get("days"),
    )  # fmt: skip
