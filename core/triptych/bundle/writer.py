"""Writing a bundle: aside first, then synced, then renamed into place."""

from __future__ import annotations

import contextlib
import datetime
import errno
import hashlib
import os
import shutil
from pathlib import Path
from types import TracebackType
from typing import Self

from triptych.bundle.files import (
    CURRENT,
    CURRENT_NEW,
    INCOMING,
    MANIFEST,
    MANIFEST_HASH,
    REMOVED,
    VERSION_ID,
    VERSIONS,
    WORK,
    check_name,
    full_disk_explained,
    list_files,
    no_space,
)
from triptych.bundle.manifest import Manifest
from triptych.bundle.plan import PLAN, PLAN_NEW, read_plan
from triptych.bundle.reader import LOCK_WAIT_S, current_version, set_current, version_ids
from triptych.errors import BundleError
from triptych.files import LOCK, Lock, is_full_disk, sha256, sync, sync_tree, tree_bytes, write_synced

STAGING = "bundle"
WORKSPACE_WAIT_S = 3.0  # helper processes of a killed run hold its lock until they notice
_TIME = "%Y%m%dT%H%M%S%f"  # to the microsecond, so that ids sort by time


class BundleWriter:
    """Fill `path`, then call `commit`. A context manager: what was not committed at its end is removed.

        with BundleWriter(output, workspace) as writer:
            model.save(writer.path / "model")
            version = writer.commit(Manifest(vertical="florist"))

    `workspace` is a directory for the run's own files, best on the file system of `output` (elsewhere the bundle is
    copied when it is committed). A writer holds it alone until it is closed; leftovers of a killed writer in it are
    removed, and nothing else in it is touched.

    Raises `BundleError` where `output` holds files that no bundle has (they are never touched), or where another
    writer is at work in `workspace`. A workspace below `output`/.work belongs to the bundle: `commit` removes it, and
    those that killed runs left beside it. Inside the context, errors of a full disk become `MissingError`.
    """

    def __init__(self, output: str | Path, workspace: str | Path) -> None:
        self.output = Path(output).absolute()
        self.workspace = Path(workspace).absolute()
        self.path = self.workspace / STAGING
        check_output(self.output, self.workspace)
        with full_disk_explained(self.output, self.workspace):
            self._lock = Lock(
                self.workspace,
                taken=f"{{owner}} is building in {self.workspace}; wait until it ends, or choose another --output",
                wait_s=WORKSPACE_WAIT_S,
            )
            try:
                shutil.rmtree(self.path, ignore_errors=True)
                self.path.mkdir()
            except BaseException:
                self._lock.release()
                raise

    def commit(self, manifest: Manifest) -> Path:
        """Make what lies in `path` the current version of the bundle, and return its directory.

        Every file is hashed and synced before it is renamed into place; the version that was current is kept, and so
        are those that servers answer with (`Plan`); others are removed. Closes the writer. Raises `BundleError` for a
        file that must not be in a bundle and `MissingError` where the disk is full; then the bundle is as it was.
        """
        files = list_files(self.path)
        for name in files:
            check_name(name)
        with full_disk_explained(self.output, self.path):
            manifest = manifest.model_copy(update={"files": {name: sha256(path) for name, path in files.items()}})
            text = manifest.to_json()
            digest = hashlib.sha256(text.encode()).hexdigest()
            write_synced(self.path / MANIFEST, text)
            write_synced(self.path / MANIFEST_HASH, f"{digest}  {MANIFEST}\n")
            sync_tree(self.path)
            directory = self._place(digest[:8])
        self._remove_workspaces()
        self.close()
        return directory

    def _place(self, short_hash: str) -> Path:
        """Move the staged files to their version directory and point CURRENT at it, alone in the output."""
        taken = f"{{owner}} is writing to {self.output}; try again when it has ended"
        new_output = not self.output.exists()
        self.output.mkdir(parents=True, exist_ok=True)
        try:
            with Lock(self.output, taken=taken, wait_s=LOCK_WAIT_S):
                check_output(self.output, self.workspace)
                return self._place_alone(short_hash)
        except BaseException:
            if new_output and not os.listdir(self.output):
                self.output.rmdir()
            raise

    def _place_alone(self, short_hash: str) -> Path:
        versions = self.output / VERSIONS
        versions.mkdir(exist_ok=True)
        previous = current_version(self.output)
        plan = read_plan(self.output)
        kept = () if plan is None else plan.versions
        _remove_leftovers(versions)
        version = _new_id(version_ids(self.output), short_hash)
        try:
            self._move(versions, version)
            sync(versions)
            set_current(self.output, version)
        except BaseException:
            if current_version(self.output) == previous:
                _remove(versions / version)
                (self.output / CURRENT_NEW).unlink(missing_ok=True)
                if not os.listdir(versions):
                    versions.rmdir()
            raise
        for old in version_ids(self.output):
            if old not in (version, previous, *kept):
                _remove(versions / old)
        return versions / version

    def _move(self, versions: Path, version: str) -> None:
        try:
            os.rename(self.path, versions / version)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            self._copy(versions, version)

    def _copy(self, versions: Path, version: str) -> None:
        """The same for a workspace on another file system: copy, sync, rename."""
        needed = tree_bytes(self.path)
        if shutil.disk_usage(versions).free < needed:
            raise no_space(self.output, needed)
        incoming = versions / f"{INCOMING}{version}"
        try:
            shutil.copytree(self.path, incoming)
            sync_tree(incoming)
            os.rename(incoming, versions / version)
        except (OSError, shutil.Error) as error:
            shutil.rmtree(incoming, ignore_errors=True)
            if is_full_disk(error):  # copytree gathers the errors of its files into one of another kind
                raise no_space(self.output, needed) from error
            raise

    def _remove_workspaces(self) -> None:
        """Remove this workspace and its abandoned neighbours, where they lie in the output's own place for them."""
        work = self.output / WORK
        if self.workspace.parent != work:
            return
        for neighbour in work.iterdir():
            if neighbour == self.workspace:
                shutil.rmtree(neighbour, ignore_errors=True)
                continue
            with contextlib.suppress(BundleError), Lock(neighbour, taken="its run is alive"):
                shutil.rmtree(neighbour, ignore_errors=True)
        with contextlib.suppress(OSError):  # another run is at work in it
            work.rmdir()

    def close(self) -> None:
        """Remove what was not committed and free the workspace; a second call does nothing."""
        if self._lock.held:
            shutil.rmtree(self.path, ignore_errors=True)
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        explained = None
        if isinstance(error, Exception) and kind is not None and is_full_disk(error):
            explained = no_space(self.output, tree_bytes(self.path))
        self.close()
        if explained is not None:
            raise explained from error


def check_output(output: Path, workspace: Path | None = None) -> None:
    """Raise `BundleError` unless `output` is absent, empty or a bundle; call it before hours of training.

    `workspace` may lie in it.
    """
    if not os.path.lexists(output):
        return
    if not output.is_dir():
        raise BundleError(f"{output} is not a directory; choose another --output")
    own = {VERSIONS, CURRENT, CURRENT_NEW, PLAN, PLAN_NEW, LOCK, WORK}
    if workspace is not None and workspace.is_relative_to(output) and workspace != output:
        own.add(workspace.relative_to(output).parts[0])
    foreign = sorted(set(os.listdir(output)) - own)
    versions = output / VERSIONS
    if versions.is_symlink() or (versions.exists() and not versions.is_dir()):
        foreign.append(VERSIONS)
    elif versions.is_dir():
        foreign += sorted(f"{VERSIONS}/{name}" for name in os.listdir(versions) if not _is_ours(name))
    if foreign:
        names = ", ".join(foreign[:3]) + (", ..." if len(foreign) > 3 else "")
        raise BundleError(f"{output} holds files that are no part of a bundle ({names}); choose another --output")
    current_version(output)
    read_plan(output)


def _is_ours(name: str) -> bool:
    for prefix in (INCOMING, REMOVED):
        name = name.removeprefix(prefix)
    return VERSION_ID.fullmatch(name) is not None


def _new_id(existing: list[str], short_hash: str) -> str:
    """An id later than all others, even where the clock was set back."""
    now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
    if existing:
        newest = datetime.datetime.strptime(existing[-1].partition("-")[0], _TIME)
        now = max(now, newest + datetime.timedelta(microseconds=1))
    return f"{now.strftime(_TIME)}-{short_hash}"


def _remove_leftovers(versions: Path) -> None:
    """What killed commits left; the caller holds the lock, so nobody else is at work here."""
    for name in os.listdir(versions):
        if name.startswith((INCOMING, REMOVED)):
            shutil.rmtree(versions / name, ignore_errors=True)


def _remove(version: Path) -> None:
    """Remove a version; renamed first, so that a kill leaves no half version under a version's name."""
    if version.is_dir():
        removed = version.with_name(REMOVED + version.name)
        os.rename(version, removed)
        shutil.rmtree(removed, ignore_errors=True)
