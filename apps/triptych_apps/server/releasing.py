"""What an operator may do with the releases of a bundle, for `triptych release` and for pages.

`bundle` is always what `triptych serve` was given: the name of a vertical, or a directory. All of this blocks, for
seconds where a version has to be tried: call it in a thread. It needs no server; those that run follow by themselves.
"""

from __future__ import annotations

import sqlite3
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel

from triptych.bundle import Manifest, Plan, Verdict, change_plan, first_plan, resolve_bundle
from triptych.bundle.files import MANIFEST, VERSIONS
from triptych.bundle.reader import version_ids
from triptych.errors import BudgetError, BundleError, ConfigError, UnknownNameError
from triptych.files import tree_bytes
from triptych.host import Host
from triptych_apps.server.release_journal import Journal, ServerState
from triptych_apps.server.release_shadow import Compared

Action = Literal["open", "canary", "promote", "rollback", "shadow", "close"]


class Compare(BaseModel):
    """What a shadow was found to be worth beside the release in service, on what clients asked. Null: not known."""

    answers: int
    agreement: float | None  # share of the same answers
    failed: int
    dropped: int
    shadow_ms: float | None  # mean, alone
    service_ms: float | None  # mean of the same requests, as they were batched
    shadow_per_million: float | None  # money
    service_per_million: float | None


class Version(BaseModel):
    """One version of the bundle on disk."""

    version: str
    roles: list[str]  # service, canary, shadow, previous, open; none for one that only lies there
    created: str
    size_mb: float
    variant: str
    cost_per_million: float | None
    verdict: Verdict | None
    shadowed: Compare | None


class Releases(BaseModel):
    """The plan of a bundle, and what the servers that run make of it."""

    bundle: str
    vertical: str
    managed: bool  # false: a server that starts takes the newest version
    service: str
    previous: str | None
    canary: str | None
    share: float
    shadow: str | None
    versions: list[Version]  # the newest first
    servers: dict[str, ServerState]


def releases(bundle: str | Path) -> Releases:
    """Raises `BundleError` for what has no versions."""
    output = resolve_bundle(bundle)
    plan = first_plan(output)
    servers: dict[str, ServerState] = {}
    shadows: dict[str, Compared] = {}
    with suppress(OSError, sqlite3.Error), Journal() as journal:
        servers, shadows = journal.servers(output), journal.shadows(output)
    versions = [_version(output, version, plan, shadows.get(version)) for version in reversed(version_ids(output))]
    return Releases(
        bundle=str(output),
        vertical=_manifest(output, plan.service).vertical,
        versions=versions,
        servers=servers,
        **plan.model_dump(include={"managed", "service", "previous", "canary", "share", "shadow"}),
    )


def change(
    bundle: str | Path,
    action: Action,
    version: str | None = None,
    share: float | None = None,
    *,
    force: bool = False,
    host: Host | None = None,
) -> Plan:
    """Take a decision; durable when it returns, and followed by running servers within a second of being warm.

    - "open": open `version` beside the others, and keep it open.
    - "canary": let it answer `share` of the requests; a share of 0 ends that.
    - "promote": put it in service; the one before stays open for a roll-back. Asks for a verdict of the gate that
      passed, against the version now in service, unless `force`.
    - "rollback": end the canary where there is one, otherwise go back to the version before.
    - "shadow": have it answer for comparison alone; without a `version`, end that.
    - "close": close it, or whatever nobody is answered by; it stays on disk while the bundle keeps it.

    `version` is an id or a part of one that is unique; without one it is the canary for "promote", where there is
    one, and the newest otherwise. A version that is not open yet is opened here for a trial first. Raises
    `UnknownNameError`, `BundleError` for one that is damaged or another application's, `BudgetError` where the gate
    has not passed it, `ConfigError` for what makes no sense now; then nothing is changed.
    """
    if action not in get_args(Action):
        raise UnknownNameError("action", action, list(get_args(Action)))
    output = resolve_bundle(bundle)
    plan = first_plan(output)
    ends = action == "rollback" or (action in ("shadow", "close") and version is None)
    ends = ends or (action == "canary" and share == 0)
    wanted = None if ends else find(output, version or (plan.canary if action == "promote" else None))
    if wanted is not None and action != "close" and wanted not in plan.answering:
        try_version(output, wanted, plan, host)
    steps: dict[str, Callable[[Plan], dict[str, Any]]] = {
        "open": lambda now: {"open": (*now.open, wanted)},
        "canary": lambda now: _canary(now, wanted, share),
        "promote": lambda now: _promote(now, wanted, force),
        "rollback": _rollback,
        "shadow": lambda now: _shadow(now, wanted),
        "close": lambda now: _close(now, wanted),
    }

    def step(now: Plan) -> Plan:
        return _tidy(now.model_copy(update={"managed": True, **steps[action](now)}))

    changed = change_plan(output, step)
    if action == "shadow" and wanted is not None:
        with suppress(OSError, sqlite3.Error), Journal() as journal:
            journal.forget_shadow(output, wanted)
    return changed


def find(output: Path, part: str | None) -> str:
    """The id of a version that `part` is or is a part of; the newest without one. Raises `UnknownNameError`."""
    known = version_ids(output)
    if part is None:
        if not known:
            raise BundleError(f"{output} has no versions")
        return known[-1]
    fitting = [version for version in known if part in version]
    if part in known:
        return part
    if len(fitting) != 1 or not part:
        raise UnknownNameError("version", part, known)
    return fitting[0]


def try_version(output: Path, version: str, plan: Plan, host: Host | None = None) -> None:
    """Open a version as a server would, and let go of it. Raises `BundleError` and what else `triptych.load` raises."""
    from triptych.predictor import load

    with tempfile.TemporaryDirectory(prefix="triptych-") as state:
        predictor = load(output / VERSIONS / version, host=host, state=state)
    vertical = _manifest(output, plan.service).vertical
    if predictor.vertical.name != vertical:
        raise BundleError(f"{version} is a bundle of {predictor.vertical.name!r}, and {vertical!r} is in service")


def decide(
    bundle: str | Path,
    action: Action,
    version: str | None = None,
    share: float | None = None,
    *,
    force: bool = False,
    host: Host | None = None,
    wait: float = 60.0,
) -> tuple[Plan, dict[str, ServerState]]:
    """As `change`, and wait for the servers that run as `followed` does; what one of them cannot open is taken back."""
    output = resolve_bundle(bundle)
    before = first_plan(output)
    plan = change(bundle, action, version, share, force=force, host=host)
    try:
        return plan, followed(bundle, plan, wait)
    except BundleError:
        earlier = before.model_copy(update={"managed": True})
        change_plan(output, lambda now: earlier if now == plan else now)
        raise


def followed(bundle: str | Path, plan: Plan, seconds: float) -> dict[str, ServerState]:
    """Wait until all servers that run have done what the plan says, at most so long; what they said last.

    Raises `BundleError` where one of them could not open a version.
    """
    output, end = resolve_bundle(bundle), time.monotonic() + seconds
    while True:
        servers: dict[str, ServerState] = {}
        with suppress(OSError, sqlite3.Error), Journal() as journal:
            servers = journal.servers(output)
        for server, state in servers.items():
            failed = [f"{version}: {reason}" for version, reason in state.failed.items() if version in plan.versions]
            if failed:
                raise BundleError(f"the server {server} goes on as it was, for it could not open {'; '.join(failed)}")
        if all(follows(state, plan) for state in servers.values()) or time.monotonic() > end:
            return servers
        time.sleep(0.1)


def follows(state: ServerState, plan: Plan) -> bool:
    """Whether a server does what the plan says."""
    roles = (state.service, state.canary, state.shadow) == (plan.service, plan.canary, plan.shadow)
    return roles and state.share == plan.share and set(state.open) == set(plan.answering)


def _canary(now: Plan, version: str | None, share: float | None) -> dict[str, Any]:
    if version is None:
        return {"canary": None, "share": 0.0}
    if share is None or not 0 < share <= 1:
        raise ConfigError("the share of a canary is a number above 0 and up to 1")
    if version == now.service:
        raise ConfigError(f"{version} is in service; a canary is another version")
    return {"canary": version, "share": share}


def _promote(now: Plan, version: str | None, force: bool) -> dict[str, Any]:
    assert version is not None
    if version == now.service:
        raise ConfigError(f"{version} is in service already")
    verdict = now.verdicts.get(version)
    if not force:
        ask = f"ask for one with `triptych release gate`, or say --force: {version}"
        if verdict is None or verdict.against != now.service:
            raise BudgetError(f"the gate has no verdict on this version against the one in service; {ask}")
        if not verdict.passed:
            raise BudgetError(f"the gate refuses {version}: {'; '.join(verdict.reasons)}")
    ended: dict[str, Any] = {"canary": None, "share": 0.0} if now.canary == version else {}
    return {"service": version, "previous": now.service, **ended}


def _rollback(now: Plan) -> dict[str, Any]:
    if now.canary is not None:
        return {"canary": None, "share": 0.0}
    if now.previous is None:
        raise ConfigError("there is no canary, and no version before the one in service is open")
    return {"service": now.previous, "previous": None}


def _shadow(now: Plan, version: str | None) -> dict[str, Any]:
    if version is not None and version == now.service:
        raise ConfigError(f"{version} is in service; a shadow is another version")
    return {"shadow": version}


def _close(now: Plan, version: str | None) -> dict[str, Any]:
    if version is None:
        return {"open": (), "previous": None}
    if version in (now.service, now.canary):
        raise ConfigError(f"{version} answers clients; promote another version or end the canary before")
    if version not in now.versions:
        raise ConfigError(f"{version} is not open")
    return {
        "open": tuple(kept for kept in now.open if kept != version),
        "previous": None if now.previous == version else now.previous,
        "shadow": None if now.shadow == version else now.shadow,
    }


def _tidy(plan: Plan) -> Plan:
    """Each version under its strongest role, and no verdict against what is not in service any more."""
    strong = (plan.service, plan.canary, plan.previous)
    return Plan(
        **plan.model_dump(exclude={"open", "shadow", "verdicts"}),
        open=tuple(dict.fromkeys(version for version in plan.open if version not in strong)),
        shadow=None if plan.shadow == plan.service else plan.shadow,
        verdicts={version: v for version, v in plan.verdicts.items() if v.against == plan.service},
    )


def _version(output: Path, version: str, plan: Plan, shadow: Compared | None) -> Version:
    manifest = _manifest(output, version)
    named = {"service": plan.service, "canary": plan.canary, "shadow": plan.shadow, "previous": plan.previous}
    roles = [role for role, value in named.items() if value == version]
    chosen = str(manifest.ledger.get("chosen", ""))
    rows = {row["name"]: row for row in manifest.ledger.get("variants", [])}
    return Version(
        version=version,
        roles=roles + (["open"] if version in plan.open else []),
        created=manifest.created.isoformat(),
        size_mb=round(tree_bytes(output / VERSIONS / version) / 1e6, 3),
        variant=chosen,
        cost_per_million=rows.get(chosen, {}).get("cost_per_million"),
        verdict=plan.verdicts.get(version),
        shadowed=None if shadow is None else _compare(shadow),
    )


def _compare(sums: Compared) -> Compare:
    given, asked = sums.answers - sums.failed, max(1, sums.answers)
    return Compare(
        answers=sums.answers,
        agreement=sums.agreed / given if given else None,
        failed=sums.failed,
        dropped=sums.dropped,
        shadow_ms=1e3 * sums.shadow_seconds / asked if sums.answers else None,
        service_ms=1e3 * sums.service_seconds / asked if sums.answers else None,
        shadow_per_million=1e6 * sums.shadow_cost / given if given and sums.shadow_cost else None,
        service_per_million=1e6 * sums.service_cost / asked if sums.service_cost else None,
    )


def _manifest(output: Path, version: str) -> Manifest:
    """Without a look at the hashes: it is only shown."""
    path = output / VERSIONS / version / MANIFEST
    try:
        return Manifest.from_json(path.read_text(encoding="utf-8"), file=str(path))
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error}") from error
