"""Decisions that were written down: the queue for reviewers, the newest ones, one whole, and what was said of it."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from triptych.errors import UnknownNameError
from triptych.types import Media
from triptych_apps.operator.overview import service_of
from triptych_apps.server import reviewing
from triptych_apps.server.decision_store import DecisionStore, time_of
from triptych_apps.server.own import ServerContext

_SHOWN = 160  # characters of a text in a list
_KINDS = (
    (b"\x89PNG\r\n\x1a\n", 0, "image/png"),
    (b"\xff\xd8\xff", 0, "image/jpeg"),
    (b"GIF8", 0, "image/gif"),
    (b"WEBP", 8, "image/webp"),
    (b"WAVE", 8, "audio/wav"),
    (b"OggS", 0, "audio/ogg"),
    (b"fLaC", 0, "audio/flac"),
    (b"ID3", 0, "audio/mpeg"),
    (b"\xff\xfb", 0, "audio/mpeg"),
    (b"\x1a\x45\xdf\xa3", 0, "audio/webm"),
    (b"ftyp", 4, "audio/mp4"),
)
_NEWEST = """
SELECT d.batch || '-' || d.place AS id, r.version, r.variant, d.label, d.confidence, d.fallback, d.cost,
    d.error, d.request, v.verdict, v.label AS verdict_label
FROM decision d JOIN release r ON r.id = d.release
LEFT JOIN verdict v ON v.id = (SELECT max(id) FROM verdict w WHERE w.batch = d.batch AND w.place = d.place)
WHERE r.vertical = ? ORDER BY d.batch DESC, d.place DESC LIMIT ?
"""


class Listed(BaseModel):
    """Which list, and how long."""

    model_config = ConfigDict(extra="forbid")
    vertical: str = Field(max_length=200)
    limit: int = Field(20, ge=1, le=100)


class Named(BaseModel):
    """One decision."""

    model_config = ConfigDict(extra="forbid")
    id: str = Field(max_length=100)


class File(BaseModel):
    """A file of a decision's request."""

    model_config = ConfigDict(extra="forbid")
    id: str = Field(max_length=100)
    field: str = Field(max_length=100)


class Said(BaseModel):
    """What a reviewer says of a decision."""

    model_config = ConfigDict(extra="forbid")
    id: str = Field(max_length=100)
    verdict: reviewing.Verdict
    label: str | None = Field(None, max_length=200)
    note: str = Field("", max_length=2_000)


class Queue(BaseModel):
    """What to look at next, the labels to choose from, and how good the answers are as far as that is known."""

    kept: bool  # whether decisions are written down
    items: list[reviewing.Item]
    labels: list[str]
    accuracy: reviewing.Accuracy | None


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
    verdict: reviewing.Verdict | None
    verdict_label: str | None


class Decisions(BaseModel):
    """The newest ones."""

    kept: bool
    decisions: list[Recent]


def queue(context: ServerContext, query: Listed) -> Queue:
    """What to review next, of one vertical."""
    service = service_of(context, query.vertical)
    predictor = service.predictor
    labels: list[str] = []
    if predictor is not None:
        outside = predictor.vertical.task(predictor.settings).out_of_scope
        labels = [*map(str, predictor.session.labels), *([outside] if outside else [])]
    path = _path(context)
    if path is None:
        return Queue(kept=False, items=[], labels=labels, accuracy=None)
    try:
        items = reviewing.queue(query.limit, service.name, path=path)
        accuracy = reviewing.accuracy(service.name, path=path)
    except UnknownNameError:  # nothing was decided yet
        return Queue(kept=True, items=[], labels=labels, accuracy=None)
    return Queue(kept=True, items=items, labels=labels, accuracy=accuracy)


def newest(context: ServerContext, query: Listed) -> Decisions:
    """The newest decisions of one vertical, failed ones too."""
    service, path = service_of(context, query.vertical), _path(context)
    if path is None:
        return Decisions(kept=False, decisions=[])
    store = DecisionStore(path)
    try:
        rows = store.rows(_NEWEST, (service.name, query.limit))
    finally:
        store.close()
    return Decisions(kept=True, decisions=[_recent(row) for row in rows])


def decision(context: ServerContext, query: Named) -> reviewing.Decision:
    """One decision whole. Raises `UnknownNameError`."""
    found = reviewing.show(query.id.strip(), path=_kept(context, query.id))
    return found.model_copy(update={"bundle": Path(found.bundle).name})


def media(context: ServerContext, query: File) -> Media:
    """A picture or a sound that a decision was about. Raises `UnknownNameError`."""
    content = reviewing.media(query.id, query.field, path=_kept(context, query.id))
    return Media(content, media_type(content))


def verdict(context: ServerContext, query: Said) -> reviewing.Given:
    """Write down what a reviewer says, in the name of the key. Raises `UnknownNameError` and `DataError`."""
    path = _kept(context, query.id)
    return reviewing.verdict(query.id, query.verdict, by=context.caller, label=query.label, note=query.note, path=path)


def media_type(content: bytes) -> str:
    """Of a picture or a sound by its first bytes; what is neither is no more than bytes to a browser."""
    for mark, at, kind in _KINDS:
        if content[at : at + len(mark)] == mark:
            return kind
    return "application/octet-stream"


def _path(context: ServerContext) -> Path | None:
    """The file with decisions, None where none are kept."""
    for service in context.site.services:
        if service.recorder is not None:
            return service.recorder.store.path
    return None


def _kept(context: ServerContext, identity: str) -> Path:
    path = _path(context)
    if path is None:
        raise UnknownNameError("decision", identity, [])
    return path


def _recent(row: dict[str, Any]) -> Recent:
    request = json.loads(row.pop("request") or "{}")
    text = str(request.get("text") or "") if isinstance(request, dict) else ""
    at = datetime.datetime.fromtimestamp(time_of(row["id"]) / 1000, datetime.UTC).isoformat(timespec="milliseconds")
    return Recent(at=at, text=text[:_SHOWN], **row)
