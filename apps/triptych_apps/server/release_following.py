"""A server follows the plan of its bundle: it opens, switches and closes releases, and no request notices.

The plan is looked at ten times a second. What is open already is switched to at once; what has to be opened first is
opened in a thread meanwhile, one after another, and answers only when it is warm. What the plan names no more is closed
when its last request is answered.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triptych.bundle import Plan, change_plan, read_plan, resolve_bundle
from triptych.bundle.files import VERSIONS
from triptych.bundle.plan import PLAN
from triptych.bundle.reader import current_version
from triptych.errors import BundleError
from triptych.vertical import Request
from triptych_apps.server.logs import log
from triptych_apps.server.release import Answered, Release
from triptych_apps.server.release_journal import Journal, ServerState, server_id
from triptych_apps.server.release_shadow import Shadow

if TYPE_CHECKING:
    from triptych_apps.server.service import Service

_LOOK_SECONDS = 0.1
_REPORT_SECONDS = 1.0


class Follower:
    """Keeps the releases of one service as the plan wants them. All methods belong to the event loop's thread."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._output: Path | None = None  # None for a bundle that has one version only
        self._plan: Plan | None = None
        self._seen: tuple[int, int] | None = None  # of the file with the plan
        self._shadow: Shadow | None = None
        self._failed: dict[str, str] = {}
        self._opening: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._changed = asyncio.Event()
        self._id = server_id()
        self._journal: Journal | None = None

    @property
    def in_memory(self) -> tuple[str | None, int]:
        """Beside the service's releases: the version of the shadow, and how many are being closed."""
        return None if self._shadow is None else self._shadow.version, len(self._closing)

    async def start(self) -> None:
        """Open what is in service, and begin to follow. Raises what `triptych.load` raises."""
        path = resolve_bundle(self._service.source)
        if (path / VERSIONS).is_dir():
            self._plan = await asyncio.to_thread(_plan_at_start, path)
        if self._plan is not None:
            self._output = path
            path = path / VERSIONS / self._plan.service
        release = await asyncio.to_thread(self._load, path)
        self._service.serve(release)
        self._service.release = release
        if self._plan is not None:
            self._tasks = [asyncio.create_task(self._follow()), asyncio.create_task(self._keep_reporting())]

    async def close(self) -> None:
        """Let every release answer what waits, and close it."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._opening is not None:
            await self._opening
        if self._shadow is not None:
            await self._shadow.close()
        await asyncio.gather(*(release.close() for release in self._service.releases), *self._closing)
        if self._output is not None:
            await asyncio.to_thread(self._end_reports)

    def shadow(self, requests: Sequence[Request], results: Sequence[Answered | Exception]) -> None:
        """Have the shadow answer the same, later, where there is one."""
        if self._shadow is not None:
            self._shadow.offer(requests, results)

    def _load(self, path: Path) -> Release:
        return Release.load(path, self._service.settings, host=self._service.host, device=self._service.device)

    async def _follow(self) -> None:
        while True:
            try:
                self._look()
                self._apply()
            except Exception as error:  # whatever it is, what answers now goes on to answer
                log.error("releases", exc_info=error)
            await asyncio.sleep(_LOOK_SECONDS)

    def _look(self) -> None:
        """Read the plan again where it was replaced."""
        assert self._output is not None
        with suppress(FileNotFoundError):
            status = (self._output / PLAN).stat()
            if (status.st_mtime_ns, status.st_ino) == self._seen:
                return
            self._seen = (status.st_mtime_ns, status.st_ino)
            plan = read_plan(self._output)
            if plan is not None and plan.managed and plan != self._plan:
                self._plan = plan
                self._failed = {}  # what could not be opened is tried again

    def _apply(self) -> None:
        """Switch to what is open, close what is not wanted, and begin to open what is missing."""
        assert self._plan is not None
        plan, service = self._plan, self._service
        have = {release.version: release for release in service.releases}
        wanted = {version: have[version] for version in plan.answering if version in have}
        before = (service.release, service.canary, service.share)
        service.release = wanted.pop(plan.service, service.release)
        service.canary = wanted.pop(plan.canary, None) if plan.canary is not None else None
        service.share = plan.share if service.canary is not None else 0.0
        service.others = {version: other for version, other in wanted.items() if other is not service.release}
        for release in have.values():
            if release not in service.releases:
                self._retire(release.close(), release.version)
        if self._shadow is not None and self._shadow.version != plan.shadow:
            self._retire(self._shadow.close(), self._shadow.version)
            self._shadow = None
        if (service.release, service.canary, service.share) != before:
            self._tell("release", release=service.release and service.release.version, share=service.share)
        if self._opening is None:
            missing = [version for version in plan.answering if version not in have and version not in self._failed]
            if missing:
                self._opening = asyncio.create_task(self._open(missing[0]))
            elif plan.shadow is not None and self._shadow is None and plan.shadow not in self._failed:
                self._opening = asyncio.create_task(self._open_shadow(plan.shadow))

    async def _open(self, version: str) -> None:
        try:
            release = await asyncio.to_thread(self._load, self._path(version))
            self._service.serve(release)
            self._service.others[version] = release
            self._tell("opened", release=version)
        except Exception as error:
            self._fail(version, error)
        finally:
            self._opening = None

    async def _open_shadow(self, version: str) -> None:
        service = self._service
        try:
            self._shadow = await asyncio.to_thread(Shadow.load, self._path(version), service)
            self._tell("opened", release=version, shadow=True)
        except Exception as error:
            self._fail(version, error)
        finally:
            self._opening = None

    def _path(self, version: str) -> Path:
        assert self._output is not None
        return self._output / VERSIONS / version

    def _fail(self, version: str, error: Exception) -> None:
        self._failed[version] = str(error) or type(error).__name__
        fields = {"vertical": self._service.name, "release": version, "reason": self._failed[version]}
        log.error("not opened", extra={"fields": fields})
        self._changed.set()

    def _retire(self, closing: Any, version: str) -> None:
        """Wait in the background until its last request is answered."""

        async def retire() -> None:
            await closing
            self._tell("closed", release=version)

        task = asyncio.create_task(retire())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _tell(self, event: str, **fields: Any) -> None:
        log.info(event, extra={"fields": {"vertical": self._service.name, **fields}})
        self._changed.set()

    async def _keep_reporting(self) -> None:
        """Every second, and at once where something changed."""
        complained = False
        while True:
            self._changed.clear()
            try:
                await asyncio.to_thread(self._report)
            except Exception as error:  # a disk that is full or read-only: only the list misses it
                if not complained:
                    log.warning("releases are not reported", exc_info=error)
                complained = True
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), _REPORT_SECONDS)

    def _report(self) -> None:
        assert self._output is not None
        service, shadow = self._service, self._shadow
        state = ServerState(
            service="" if service.release is None else service.release.version,
            canary=None if service.canary is None else service.canary.version,
            share=service.share,
            shadow=None if shadow is None else shadow.version,
            open=sorted(release.version for release in service.releases),
            failed=self._failed,
            answered={release.version: release.tally.answered for release in service.releases},
            errors={release.version: release.tally.failed for release in service.releases},
        )
        self._journal = self._journal or Journal()
        self._journal.report(self._id, self._output, state)
        if shadow is not None:
            self._journal.add(self._output, shadow.version, shadow.take())

    def _end_reports(self) -> None:
        if self._journal is not None:
            with suppress(OSError, sqlite3.Error):
                self._journal.gone(self._id)
            self._journal.close()


def _plan_at_start(output: Path) -> Plan | None:
    """The operator's plan; without one, the bundle's current version, which is written down as the one in service."""
    plan = read_plan(output)
    if plan is not None and plan.managed:
        return plan
    version = current_version(output)
    if version is None:
        return None  # opening it says what is wrong
    fresh = Plan(service=version)
    if plan is None or plan.service != version:
        try:
            change_plan(output, lambda now: now if now.managed else fresh.model_copy(update={"verdicts": now.verdicts}))
        except (OSError, BundleError) as error:  # read-only, or being written to: it is known to this server alone
            log.warning("the version in service was not written down", exc_info=error)
    return fresh
