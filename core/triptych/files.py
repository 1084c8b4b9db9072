"""Files and directories: hashes, syncing, locks between processes, full disks."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import logging
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from triptych.errors import BundleError, TriptychError

LOCK = ".lock"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

log = logging.getLogger(__name__)


def sha256(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_synced(path: Path, text: str) -> None:
    """Write a file and wait until it is on the disk."""
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def sync(path: Path) -> None:
    """Wait until a file or the entries of a directory are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(directory: Path) -> None:
    """Wait until everything below a directory, and its own entries, are on the disk."""
    for parent, _, names in os.walk(directory):
        for name in names:
            sync(Path(parent, name))
        sync(Path(parent))


def tree_bytes(directory: Path) -> int:
    """The size of all files below a directory; what vanishes while it is read counts nothing."""
    total = 0
    for parent, _, names in os.walk(directory):
        for name in names:
            try:
                total += os.lstat(os.path.join(parent, name)).st_size
            except FileNotFoundError:
                continue
    return total


def is_full_disk(error: BaseException) -> bool:
    """Whether an error says that the disk, a quota or the allowed file size is exhausted.

    Libraries that write in C++ or Rust raise their own errors, which carry the system's words only.
    """
    if isinstance(error, OSError) and error.errno in _FULL:
        return True
    return any(words in str(error) for words in ("No space left on device", "Disk quota exceeded", "File too large"))


def _same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


class Lock:
    """An exclusive lock on a directory (made where it is missing), held by an open file in it.

    The system frees it when the process dies.

    `taken` is the message of the error (by default a `BundleError`) raised when it is not free within `wait_s`;
    "{owner}" in it becomes the holder's process id.
    """

    def __init__(
        self, directory: Path, *, taken: str, wait_s: float = 0.0, error: type[TriptychError] = BundleError
    ) -> None:
        self.path = directory / LOCK
        deadline = time.monotonic() + wait_s
        announced = False
        while not self._acquire():
            owner = self._owner()
            if time.monotonic() >= deadline:
                raise error(taken.format(owner=owner))
            if not announced:
                log.warning("waiting for %s, which writes to %s", owner, directory)
                announced = True
            time.sleep(0.05)

    def _acquire(self) -> bool:
        while True:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            except FileNotFoundError:  # its holder has just removed the directory
                continue
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                return False
            if _same_file(descriptor, self.path):
                break
            os.close(descriptor)  # its holder removed the file while we opened it, so this lock guards nothing
        self._descriptor = descriptor
        try:
            os.truncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()}\n".encode())
        except OSError:  # a full disk: the number is only there for a message
            log.debug("could not write the process id to %s", self.path)
        return True

    def _owner(self) -> str:
        try:
            number = self.path.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            number = ""
        return f"process {number}" if number else "another process"

    @property
    def held(self) -> bool:
        """Whether the lock has not been released yet."""
        return self._descriptor >= 0

    def release(self) -> None:
        """Remove the file, where it is still there, and free the lock; a second call does nothing."""
        if self.held:
            self.path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
