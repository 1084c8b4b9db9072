"""The versions of a vertical's bundle, and what an operator decides about them."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from triptych.errors import BudgetError, BundleError, ConfigError, DataError, RefusedError
from triptych_apps.operator.overview import service_of
from triptych_apps.server import releasing
from triptych_apps.server.own import ServerContext

_PATIENCE_SECONDS = 10.0  # for servers to do what was decided; what takes longer goes on


class VersionsQuery(BaseModel):
    """Of which vertical."""

    model_config = ConfigDict(extra="forbid")
    vertical: str = Field(max_length=200)


class Change(BaseModel):
    """A decision about releases, as `triptych release` takes it."""

    model_config = ConfigDict(extra="forbid")
    vertical: str = Field(max_length=200)
    action: releasing.Action
    version: str | None = Field(None, max_length=200)
    share: float | None = Field(None, ge=0, le=1)  # of the requests, for a canary
    force: bool = False  # promote what the gate has not passed


class Versions(BaseModel):
    """The versions on disk; null where the bundle has no versions, so that there is nothing to decide."""

    vertical: str
    releases: releasing.Releases | None
    followed: bool = True  # whether all servers that run do what the plan says


def versions(context: ServerContext, query: VersionsQuery) -> Versions:
    """What lies there, and which of it answers."""
    service = service_of(context, query.vertical)
    try:
        found = releasing.releases(service.source)
    except BundleError:
        return Versions(vertical=service.name, releases=None)
    return _told(found)


def change(context: ServerContext, query: Change) -> Versions:
    """Take a decision, and wait a while for servers to follow. Raises `DataError` and `RefusedError`."""
    service = service_of(context, query.vertical)
    try:
        wait = min(_PATIENCE_SECONDS, service.settings.answer_seconds / 2)
        releasing.decide(
            service.source, query.action, query.version, query.share, force=query.force, host=service.host, wait=wait
        )
        return _told(releasing.releases(service.source))
    except BudgetError as error:
        raise RefusedError(str(error)) from error
    except (BundleError, ConfigError) as error:
        raise DataError(str(error)) from error


def _told(found: releasing.Releases) -> Versions:
    """Without the place on disk, which is nothing for a page."""
    states = found.servers.values()
    followed = all((s.service, s.canary, s.shadow) == (found.service, found.canary, found.shadow) for s in states)
    shown = found.model_copy(update={"bundle": Path(found.bundle).name})
    return Versions(vertical=found.vertical, releases=shown, followed=followed)
