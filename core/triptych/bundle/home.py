"""Where bundles live on this machine, and finding one by name."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from triptych.bundle.files import CURRENT, MANIFEST
from triptych.errors import BundleError


def triptych_home() -> Path:
    """Where bundles and the durable state of verticals live: $TRIPTYCH_HOME or the user's data folder."""
    home = os.environ.get("TRIPTYCH_HOME") or platformdirs.user_data_dir("triptych", appauthor=False)
    return Path(home).expanduser()


def bundles_home() -> Path:
    """The folder with one bundle for each vertical."""
    return triptych_home() / "bundles"


def verdicts_home() -> Path:
    """The folder with the tables that `--verdicts` made of reviewed decisions, for a build that reads them again."""
    return triptych_home() / "verdicts"


def bundle_names() -> list[str]:
    """The names that `resolve_bundle` finds in `bundles_home()`."""
    home = bundles_home()
    return sorted(p.name for p in home.iterdir() if (p / CURRENT).is_file()) if home.is_dir() else []


def resolve_bundle(path_or_name: str | Path) -> Path:
    """The path of a bundle: the path given, where it exists, otherwise the bundle of the vertical with that name.

    A folder that only happens to have the name of a vertical's bundle, and holds none, is passed over.

    Raises `BundleError` that lists the names that exist and the command that builds one.
    """
    path = Path(path_or_name).expanduser()
    name = str(path_or_name)
    known = bundle_names()
    if path.exists() and (name not in known or (path / CURRENT).exists() or (path / MANIFEST).exists()):
        return path
    if name in known:
        return bundles_home() / name
    listed = f"bundles by name: {', '.join(known)}" if known else f"no bundles in {bundles_home()} yet"
    if len(path.parts) > 1:
        raise BundleError(
            f"there is no bundle at {path} ({listed}). `triptych run VERTICAL --output {path}` builds one"
        )
    raise BundleError(f"there is no bundle {name!r} ({listed}). `triptych run {name}` builds one")
