"""Which versions of a bundle servers answer with: the plan that `triptych release` writes and servers follow.

It lies in the bundle's own directory as `RELEASES`, so that it goes where the bundle goes and no run removes a version
that it names. It is replaced atomically, and written by one process at a time.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from triptych.bundle.files import VERSION_ID, VERSIONS
from triptych.bundle.reader import LOCK_WAIT_S, current_version, set_current, version_ids
from triptych.errors import BundleError
from triptych.files import Lock, sync, write_synced

PLAN = "RELEASES"
PLAN_NEW = ".RELEASES.new"


class Verdict(BaseModel):
    """What the release gate said of a version, compared with the one that was in service then."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    against: str
    passed: bool
    at: str  # ISO 8601, UTC
    data: str = ""
    reasons: list[str] = []  # why it did not pass


class Plan(BaseModel):
    """Versions by their ids. `managed` is false until an operator takes the first decision.

    Until then a server that starts takes the bundle's current version, and writes down here which one that was.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    managed: bool = False
    service: str
    previous: str | None = None  # what a roll-back goes back to
    canary: str | None = None
    share: float = Field(default=0.0, ge=0, le=1)  # of the requests that the canary answers
    shadow: str | None = None
    open: tuple[str, ...] = ()  # kept open beside these
    verdicts: dict[str, Verdict] = {}

    @model_validator(mode="after")
    def _check(self) -> Self:
        strange = [version for version in self.versions if not VERSION_ID.fullmatch(version)]
        if strange:
            raise ValueError(f"{strange[0]!r} is no version of a bundle")
        return self

    @property
    def versions(self) -> tuple[str, ...]:
        """All that are named, each once, the one in service first."""
        named = (self.service, self.canary, self.previous, *self.open, self.shadow)
        return tuple(dict.fromkeys(version for version in named if version is not None))

    @property
    def answering(self) -> tuple[str, ...]:
        """Those that answer clients, or must be able to at once: all but a shadow."""
        named = (self.service, self.canary, self.previous, *self.open)
        return tuple(dict.fromkeys(version for version in named if version is not None))


def read_plan(output: Path) -> Plan | None:
    """The plan of a bundle, None without one. Raises `BundleError` where it is damaged."""
    path = output / PLAN
    try:
        return Plan.model_validate_json(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise BundleError(f"{path} cannot be read: {error}; remove it to begin with the current version") from error


def first_plan(output: Path) -> Plan:
    """The plan as it stands, or the one of a bundle that has none: its current version in service.

    Raises `BundleError` for what has no versions.
    """
    plan = read_plan(output)
    if plan is not None:
        return plan
    version = current_version(output) if (output / VERSIONS).is_dir() else None
    if version is None:
        raise BundleError(f"{output} is one version of a bundle, or none: there is nothing to choose from in it")
    return Plan(service=version)


def change_plan(output: Path, change: Callable[[Plan], Plan]) -> Plan:
    """Replace the plan by what `change` makes of it, durably; the version in service becomes the bundle's current one.

    Raises `BundleError` where another process is writing to the bundle for long, and what `change` raises; then the
    plan is as it was.
    """
    with Lock(output, taken=f"{{owner}} is writing to {output}; try again when it has ended", wait_s=LOCK_WAIT_S):
        before = first_plan(output)
        plan = change(before)
        missing = [version for version in plan.versions if version not in version_ids(output)]
        if missing:
            raise BundleError(f"{output} has no version {missing[0]}; it has {', '.join(version_ids(output))}")
        write_synced(output / PLAN_NEW, plan.model_dump_json(indent=2) + "\n")
        os.replace(output / PLAN_NEW, output / PLAN)
        sync(output)
        if plan.managed and plan.service != before.service:
            set_current(output, plan.service)
    return plan
