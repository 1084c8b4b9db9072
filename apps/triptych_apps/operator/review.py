"""Decisions that were written down: the queue for reviewers, the newest ones, one whole, and what was said of it."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from triptych.data.kinds import media_type
from triptych.errors import UnknownNameError
from triptych.types import Media
from triptych_apps.operator.overview import service_of
from triptych_apps.server import reviewing
from triptych_apps.server.own import ServerContext


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


class Decisions(BaseModel):
    """The newest ones."""

    kept: bool
    decisions: list[reviewing.Recent]


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
    return Decisions(kept=True, decisions=reviewing.newest(query.limit, service.name, path=path))


def decision(context: ServerContext, query: Named) -> reviewing.Decision:
    """One decision whole. Raises `UnknownNameError`."""
    found = reviewing.show(query.id.strip(), path=_kept(context, query.id))
    return found.model_copy(update={"bundle": Path(found.bundle).name})


def media(context: ServerContext, query: File) -> Media:
    """A picture or a sound that a decision was about. Raises `UnknownNameError`."""
    content = reviewing.media(query.id, query.field, path=_kept(context, query.id))
    return Media(content, media_type(content))


def verdict(context: ServerContext, query: Said) -> reviewing.Given:
    """Write down what a reviewer says, in the name of the key.

    Raises `UnknownNameError`, also for a decision of a vertical that is not served, `DataError`, and `RefusedError` for
    words that cannot be redacted.
    """
    path = _kept(context, query.id)
    service = service_of(context, reviewing.show(query.id, path=path).vertical)
    label, note = query.label and service.redact(query.label), service.redact(query.note)
    return reviewing.verdict(query.id, query.verdict, by=context.caller, label=label, note=note, path=path)


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
