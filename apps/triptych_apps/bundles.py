"""What the command line needs to know of a bundle before it opens it."""

from __future__ import annotations

import json

from triptych.errors import BundleError


def vertical_of(bundle: str) -> str:
    """The vertical of a bundle, from its manifest alone: no hash is checked, for no answer rests on it.

    The name of a vertical that has no bundle yet is its own answer. Raises `BundleError` where there is no telling.
    """
    from triptych.bundle import resolve_bundle
    from triptych.bundle.files import CURRENT, MANIFEST, VERSIONS
    from triptych.host import default_host

    try:
        path = resolve_bundle(bundle)
    except BundleError:
        if bundle in [spec.name for spec in default_host().verticals()]:
            return bundle
        raise
    try:
        if not (path / MANIFEST).is_file():
            path = path / VERSIONS / (path / CURRENT).read_text(encoding="ascii").strip()
        return str(json.loads((path / MANIFEST).read_text(encoding="utf-8"))["vertical"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{path} is not a Triptych bundle that can be read: {error}") from error
