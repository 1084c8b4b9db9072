"""The review queue and verdicts, for the command line and for the page of the operator.

Each call opens the file of decisions and closes it again, so that any thread may call.
"""

from __future__ import annotations

import datetime
import functools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from triptych.errors import DataError, UnknownNameError
from triptych_apps.server import ranking
from triptych_apps.server.decision_store import DecisionStore, time_of

Verdict = Literal["label", "correct", "wrong"]
VERDICTS: tuple[Verdict, ...] = ("label", "correct", "wrong")
NEWEST = 10_000  # decisions of a vertical that the queue and the estimate look at
_SHOWN = 160  # characters of a text in a list
_LONGEST_LABEL, _LONGEST_NOTE, _LONGEST_NAME = 200, 2_000, 200
_CANDIDATES = """
SELECT d.batch || '-' || d.place AS name, d.confidence, d.margin, d.in_scope, d.attention, d.lot, d.label,
    v.verdict, v.label AS verdict_label,
    EXISTS (SELECT 1 FROM disagreement x WHERE x.batch = d.batch AND x.place = d.place) AS disagrees
FROM decision d
LEFT JOIN verdict v ON v.id = (SELECT max(id) FROM verdict w WHERE w.batch = d.batch AND w.place = d.place)
WHERE d.release IN (SELECT id FROM release WHERE vertical = ?) AND d.confidence IS NOT NULL
ORDER BY d.batch DESC, d.place DESC LIMIT ?
"""
_NEWEST = """
SELECT d.batch || '-' || d.place AS id, r.version, r.variant, d.label, d.confidence, d.fallback, d.cost,
    d.error, d.request, v.verdict, v.label AS verdict_label
FROM decision d JOIN release r ON r.id = d.release
LEFT JOIN verdict v ON v.id = (SELECT max(id) FROM verdict w WHERE w.batch = d.batch AND w.place = d.place)
WHERE r.vertical = ? ORDER BY d.batch DESC, d.place DESC LIMIT ?
"""


class Item(BaseModel):
    """A decision for a reviewer. `value` and `why` say what a label is worth; `drawn` ones are there by lot."""

    id: str
    at: str  # ISO 8601, UTC
    vertical: str
    version: str  # of the bundle
    variant: str
    text: str
    media: list[str]  # fields of the request with a file: see `media`
    answer: str
    label: str | None  # what the answer stands for, to be confirmed or corrected
    confidence: float
    scores: dict[str, float]  # the most probable labels
    value: float = 0.0
    why: list[str] = []
    drawn: bool = False
    verdict: Verdict | None = None
    verdict_label: str | None = None


class Decision(Item):
    """Everything that is known of a decision."""

    request: dict[str, Any]  # media as {"$blob": hash}
    response: dict[str, Any] | None
    error: str | None
    fallback: bool
    cost: float | None
    bundle: str
    digest: str
    index_digest: str
    data_digest: str
    vertical_version: str
    triptych_version: str
    reviewer: str | None = None
    note: str | None = None
    reviewed: str | None = None


class Recent(BaseModel):
    """A decision in a list."""

    id: str
    at: str
    version: str
    variant: str
    text: str
    label: str | None
    confidence: float | None
    fallback: bool
    cost: float | None
    error: str | None
    verdict: Verdict | None
    verdict_label: str | None


class Given(BaseModel):
    """A verdict that was written down."""

    id: str
    verdict: Verdict
    label: str | None
    by: str
    note: str
    at: str


class Accuracy(BaseModel):
    """How many of the newest answers are correct, estimated from those that were drawn by lot and reviewed."""

    vertical: str
    decisions: int
    reviewed: int
    share: float | None  # None until each stratum has a reviewed one
    standard_error: float | None
    strata: list[dict[str, Any]]  # name, decisions, sampled, correct


def queue(limit: int = 50, vertical: str | None = None, *, path: Path | None = None) -> list[Item]:
    """What to review next, of one vertical or of all in turns. Raises what `DecisionStore` raises."""
    with _open(path) as store:
        names = _verticals(store, vertical)
        queues = [_queue(store, name, limit) for name in names]
        places = [place for row in range(limit) for places in queues for place in places[row : row + 1]][:limit]
        return [_item(store, place) for place in places]


def newest(limit: int, vertical: str, *, path: Path | None = None) -> list[Recent]:
    """The newest decisions of a vertical, failed ones too; none where nothing was decided yet."""
    with _open(path) as store:
        return [_recent(row) for row in store.rows(_NEWEST, (vertical, limit))]


def show(name: str, *, path: Path | None = None) -> Decision:
    """One decision. Raises `UnknownNameError`."""
    with _open(path) as store:
        return _decision(store.find(name))


def media(name: str, field: str, *, path: Path | None = None) -> bytes:
    """The picture, sound or file that a field of a decision's request has. Raises `UnknownNameError`."""
    with _open(path) as store:
        found = _media(json.loads(store.find(name)["request"] or "{}"))
        if field not in found:
            raise UnknownNameError("file of the request", field, list(found))
        return store.blob(found[field])


def verdict(
    name: str, verdict: Verdict, *, by: str, label: str | None = None, note: str = "", path: Path | None = None
) -> Given:
    """Write down what a reviewer says; a later verdict replaces an earlier one, and both are kept.

    "label" needs the `label` that is right; "correct" confirms the one of the answer. It is committed when this
    returns. Raises `UnknownNameError` for an id that is not there, and `DataError` for a verdict that cannot be.
    """
    label = label.strip() if label is not None else None
    if verdict not in VERDICTS:
        raise DataError(f"a verdict is label, correct or wrong, not {verdict!r}")
    if (verdict == "label") != bool(label):
        raise DataError("the verdict 'label' needs a label, and the others have none")
    for what, value, most in (
        ("label", label, _LONGEST_LABEL),
        ("note", note, _LONGEST_NOTE),
        ("name", by, _LONGEST_NAME),
    ):
        if value is not None and (len(value) > most or "\0" in value):
            raise DataError(f"the {what} of a verdict has at most {most} characters, and no zero among them")
    if not by.strip():
        raise DataError("a verdict needs the name of who gives it")
    at = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    with _open(path) as store:
        found = store.find(name)
        if found["response"] is None:
            raise DataError(f"{name} has no answer to be judged: {found['error']}")
        with store.writing() as connection:
            values = (found["batch"], found["place"], verdict, label, by, note, at)
            connection.execute(
                "INSERT INTO verdict (batch, place, verdict, label, reviewer, note, at) VALUES (?, ?, ?, ?, ?, ?, ?)",
                values,
            )
    return Given(id=name, verdict=verdict, label=label, by=by, note=note, at=at)


def accuracy(vertical: str, *, path: Path | None = None) -> Accuracy:
    """The share of correct answers among the newest ones. Raises `UnknownNameError`."""
    with _open(path) as store:
        (name,) = _verticals(store, vertical)
        candidates = _candidates(store, name)
    found = ranking.estimate(candidates)
    strata = [
        {"name": s.name, "decisions": s.decisions, "sampled": s.sampled, "correct": s.correct} for s in found.strata
    ]
    reviewed = sum(c.correct is not None for c in candidates)
    return Accuracy(
        vertical=name, decisions=len(candidates), reviewed=reviewed, share=found.share, standard_error=found.error,
        strata=strata,
    )  # fmt: skip


@contextmanager
def _open(path: Path | None) -> Iterator[DecisionStore]:
    store = DecisionStore(path, make=False)
    try:
        yield store
    finally:
        store.close()


def _verticals(store: DecisionStore, wanted: str | None) -> list[str]:
    found = [row["vertical"] for row in store.rows("SELECT DISTINCT vertical FROM release ORDER BY vertical")]
    if wanted is not None and wanted not in found:
        raise UnknownNameError("vertical with decisions", wanted, found)
    return found if wanted is None else [wanted]


def _candidates(store: DecisionStore, vertical: str) -> list[ranking.Candidate]:
    """The newest decisions that have an answer, newest first."""
    return [
        ranking.Candidate(
            row["name"], row["confidence"], row["margin"], None if row["in_scope"] is None else bool(row["in_scope"]),
            row["attention"], row["lot"], bool(row["disagrees"]), _correct(row),
        )
        for row in store.rows(_CANDIDATES, (vertical, NEWEST))
    ]  # fmt: skip


def _correct(row: dict[str, Any]) -> bool | None:
    if row["verdict"] is None:
        return None
    return bool(row["verdict_label"] == row["label"] if row["verdict"] == "label" else row["verdict"] == "correct")


def _queue(store: DecisionStore, vertical: str, limit: int) -> list[ranking.Place]:
    @functools.cache
    def words(name: str) -> frozenset[str]:
        batch, place = store.key(name)
        (row,) = store.rows("SELECT request FROM decision WHERE batch = ? AND place = ?", (batch, place))
        fields = json.loads(row["request"] or "{}")
        return ranking.words_of(str(fields.get("text") or "")) | frozenset(_media(fields).values())

    return ranking.queue(_candidates(store, vertical), words, limit)


def _item(store: DecisionStore, place: ranking.Place) -> Item:
    found = _decision(store.find(place.candidate.name))
    item = Item.model_validate(found.model_dump(include=set(Item.model_fields)))
    return item.model_copy(
        update={"value": round(place.value, 4), "why": place.candidate.reasons, "drawn": place.drawn}
    )


def _decision(row: dict[str, Any]) -> Decision:
    request = json.loads(row["request"] or "{}")
    response = None if row["response"] is None else json.loads(row["response"])
    scores = json.loads(row["scores"] or "{}").get("labels", {})
    return Decision(
        **{name: row[name] for name in ("vertical", "version", "variant", "label", "error", "cost", "bundle", "digest",
           "index_digest", "data_digest", "vertical_version", "triptych_version", "verdict", "verdict_label",
           "reviewer", "note", "reviewed")},
        id=row["name"],
        at=_moment(row["batch"]),
        text=str(request.get("text") or ""),
        media=list(_media(request)),
        answer="" if response is None else str(response["answer"]),
        confidence=row["confidence"] or 0.0,
        scores=scores,
        request=request,
        response=response,
        fallback=bool(row["fallback"]),
    )  # fmt: skip


def _recent(row: dict[str, Any]) -> Recent:
    request = json.loads(row.pop("request") or "{}")
    text = str(request.get("text") or "") if isinstance(request, dict) else ""
    return Recent(at=_moment(row["id"]), text=text[:_SHOWN], **row)


def _moment(name: str) -> str:
    """When a batch was answered, or the one of a decision."""
    at = datetime.datetime.fromtimestamp(time_of(name) / 1000, datetime.UTC)
    return at.isoformat(timespec="milliseconds")


def _media(request: dict[str, Any]) -> dict[str, str]:
    """Fields of a request with a file, and its hash."""
    found = {name: value["$blob"] for name, value in request.items() if isinstance(value, dict) and "$blob" in value}
    return {name: digest for name, digest in found.items() if isinstance(digest, str)}
