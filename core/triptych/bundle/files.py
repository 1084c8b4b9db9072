"""Files of a bundle on disk: what may lie in it, and full disks explained."""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from triptych.errors import BundleError, MissingError
from triptych.files import is_full_disk, tree_bytes

MANIFEST = "manifest.json"
MANIFEST_HASH = "manifest.sha256"
CURRENT = "CURRENT"
CURRENT_NEW = ".CURRENT.new"
VERSIONS = "versions"
WORK = ".work"  # a workspace may lie in the output under this name
INCOMING = ".incoming-"  # prefixes of directories in versions/ that belong to a commit under way
REMOVED = ".removed-"
VERSION_ID = re.compile(r"\d{8}T\d{12}-[0-9a-f]{8}")

# Formats whose usual readers unpickle, which can run any code
PICKLED_SUFFIXES = frozenset(
    {".bin", ".ckpt", ".cloudpickle", ".dill", ".joblib", ".p", ".pickle", ".pkl", ".pt", ".pth"}
)


def list_files(directory: Path) -> dict[str, Path]:
    """Every file below a directory by its relative POSIX path, without the manifest and its hash.

    Raises `BundleError` for links and for anything that is neither file nor directory.
    """
    found: dict[str, Path] = {}
    pending = [directory]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                path = Path(entry.path)
                mode = entry.stat(follow_symlinks=False).st_mode
                if stat.S_ISDIR(mode):
                    pending.append(path)
                elif stat.S_ISREG(mode):
                    found[path.relative_to(directory).as_posix()] = path
                else:
                    kind = "a symbolic link" if stat.S_ISLNK(mode) else "neither a file nor a directory"
                    raise BundleError(f"{path} is {kind}; a bundle holds plain files only")
    for name in (MANIFEST, MANIFEST_HASH):
        found.pop(name, None)
    return dict(sorted(found.items()))


def check_name(name: str) -> None:
    """Raise `BundleError` for a path that leaves the bundle or a format that may hold a pickle."""
    path = PurePosixPath(name)
    if not name or "\\" in name or "\0" in name or path.is_absolute() or ".." in path.parts or str(path) != name:
        raise BundleError(f"{name!r} is not a plain relative path inside the bundle")
    if path.suffix.lower() in PICKLED_SUFFIXES:
        raise BundleError(
            f"{name} may hold a pickle, which can run code when it is loaded; use .safetensors, .json or .parquet"
        )


def nearest_existing(path: Path) -> Path:
    """The path itself or the closest parent that exists."""
    return next((p for p in (path, *path.absolute().parents) if p.exists()), Path("/"))


def no_space(place: Path, needed_bytes: int) -> MissingError:
    """The error for a full disk, with the numbers in it."""
    free = shutil.disk_usage(nearest_existing(place)).free
    return MissingError(
        f"no disk space for the bundle at {place}: it needs at least {_mb(needed_bytes)} MB, {_mb(free)} MB are free."
        " Free some space or choose another --output; an older bundle there is untouched"
    )


def _mb(size: int) -> str:
    return f"{max(size, 1) / 1e6:,.1f}" if size < 1e8 else f"{size / 1e6:,.0f}"


@contextmanager
def full_disk_explained(place: Path, written: Path) -> Iterator[None]:
    """Turn the errors of a full disk into a `MissingError`; `written` is the directory being filled."""
    try:
        yield
    except Exception as error:
        if not isinstance(error, MissingError) and is_full_disk(error):
            raise no_space(place, tree_bytes(written)) from error
        raise
