"""Opening a bundle: everything is checked before anything in it is used."""

from __future__ import annotations

import hmac
import os
from dataclasses import dataclass
from pathlib import Path

from triptych.bundle.files import (
    CURRENT,
    CURRENT_NEW,
    MANIFEST,
    MANIFEST_HASH,
    VERSION_ID,
    VERSIONS,
    check_name,
    list_files,
)
from triptych.bundle.manifest import Manifest
from triptych.errors import BundleError
from triptych.files import Lock, sha256, sync, write_synced

LOCK_WAIT_S = 60.0
_OPEN_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Bundle:
    """One verified version: `path` is its directory, `manifest` what it says of itself."""

    path: Path
    manifest: Manifest

    @property
    def version(self) -> str:
        """The id of the version; for a copied version directory, the name of the copy."""
        return self.path.name

    def file(self, name: str) -> Path:
        """The path of a file in the bundle. Raises `BundleError` for one that the manifest does not list."""
        if name not in self.manifest.files:
            raise BundleError(f"the bundle {self.path} holds no {name}; it was built without it")
        return self.path / name

    @property
    def size_mb(self) -> float:
        """The size of all files, in millions of bytes."""
        return sum((self.path / name).stat().st_size for name in self.manifest.files) / 1e6


def open_bundle(path: str | Path) -> Bundle:
    """Open a bundle or one of its version directories; every file is hashed.

    Raises `BundleError` where it is missing, foreign, of another schema version, damaged, changed, or holds a file
    it should not.
    """
    path = Path(path)
    for attempt in range(_OPEN_ATTEMPTS):
        directory = _version_directory(path)
        try:
            return _open_version(directory)
        except (BundleError, OSError) as error:
            # a version that two newer ones replaced while it was being read
            replaced = directory != path and current_version(path) != directory.name
            if replaced and attempt < _OPEN_ATTEMPTS - 1:
                continue
            if isinstance(error, OSError):
                raise BundleError(f"the bundle {directory} cannot be read: {error}") from error
            raise
    raise AssertionError("unreachable")


def rollback(output: str | Path) -> Path:
    """Make the version before the one in use current again, and return its directory.

    The version left stays on disk until the next run. Raises `BundleError` where there is no older one, or it is
    damaged.
    """
    output = Path(output)
    if not (output / VERSIONS).is_dir():
        _version_directory(output)  # says what is wrong with it
        raise BundleError(f"{output} is one version; roll back the bundle that holds it")
    with Lock(output, taken=f"{{owner}} is writing to {output}; try again when it has ended", wait_s=LOCK_WAIT_S):
        current = current_version(output)
        older = [v for v in version_ids(output) if current is not None and v < current]
        if not older:
            raise BundleError(f"{output} has no version older than {current}; there is nothing to go back to")
        directory = output / VERSIONS / older[-1]
        _open_version(directory)
        set_current(output, older[-1])
    return directory


def version_ids(output: Path) -> list[str]:
    """The complete versions of a bundle, oldest first."""
    names = os.listdir(output / VERSIONS) if (output / VERSIONS).is_dir() else []
    return sorted(name for name in names if VERSION_ID.fullmatch(name))


def current_version(output: Path) -> str | None:
    """The id that CURRENT names, None where there is no such file. Raises `BundleError` where it names none."""
    try:
        text = (output / CURRENT).read_bytes().decode("ascii").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"{output / CURRENT} cannot be read: {error}") from error
    if not VERSION_ID.fullmatch(text):
        raise BundleError(f"{output / CURRENT} names no version of a Triptych bundle: {text[:80]!r}")
    return text


def set_current(output: Path, version: str) -> None:
    """Replace CURRENT atomically; the caller holds the lock."""
    write_synced(output / CURRENT_NEW, version + "\n")
    os.replace(output / CURRENT_NEW, output / CURRENT)
    sync(output)


def _version_directory(path: Path) -> Path:
    """The version directory that `path` is, or names in its CURRENT."""
    if not path.exists():
        raise BundleError(f"{path} does not exist; `triptych run VERTICAL --output {path}` builds a bundle there")
    if not path.is_dir():
        raise BundleError(f"{path} is a file; a bundle is a directory")
    if (path / MANIFEST).exists():
        return path
    version = current_version(path)
    if version is None:
        if (path / VERSIONS).is_dir():
            raise BundleError(f"{path} has no {CURRENT}: the run that should have built it did not finish")
        raise BundleError(f"{path} is not a Triptych bundle: it holds neither {CURRENT} nor {MANIFEST}")
    return path / VERSIONS / version


def _open_version(directory: Path) -> Bundle:
    if directory.is_symlink() or (directory.parent.is_symlink() and directory.parent.name == VERSIONS):
        raise BundleError(f"{directory} is reached through a symbolic link; a bundle holds plain files only")
    if not directory.is_dir():
        raise BundleError(f"{directory} is missing, though {CURRENT} names it; build the bundle again or roll back")
    found = list_files(directory)  # first, for it refuses links
    manifest = _read_manifest(directory)
    for name in manifest.files:
        check_name(name)
    missing = [name for name in manifest.files if name not in found]
    if missing:
        raise BundleError(f"{directory} lacks {_some(missing)}; restore it, roll back, or build the bundle again")
    extra = [name for name in found if name not in manifest.files]
    if extra:
        raise BundleError(f"{directory} holds {_some(extra)}, which its manifest does not list; remove it")
    changed = [name for name, digest in manifest.files.items() if not _equal(sha256(found[name]), digest)]
    if changed:
        raise BundleError(
            f"hash mismatch: {_some(changed)} in {directory} changed after the bundle was written;"
            " roll back or build the bundle again"
        )
    return Bundle(directory, manifest)


def _read_manifest(directory: Path) -> Manifest:
    path = directory / MANIFEST
    try:
        guard = (directory / MANIFEST_HASH).read_bytes()
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise BundleError(f"{error.filename} is missing: {directory} is not a whole Triptych bundle") from error
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"{path} cannot be read: {error}") from error
    manifest = Manifest.from_json(text, file=str(path))  # before its hash: another version is the better message
    if not _equal(sha256(path), guard[:64].decode("ascii", "replace")):
        raise BundleError(f"hash mismatch: {path} changed after the bundle was written; build the bundle again")
    return manifest


def _equal(computed: str, stated: str) -> bool:
    return hmac.compare_digest(computed.encode(), stated.encode())


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
