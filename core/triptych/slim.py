"""A copy of a bundle that holds only what answering needs: for machines that serve and nothing else."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from triptych.bundle import BundleWriter, open_bundle, resolve_bundle
from triptych.errors import BundleError
from triptych.runtime.cascade import CASCADE, CascadeSettings
from triptych.runtime.open import TORCH, VARIANTS, variant_path

REPORT = ("report.md", "report.html", "pareto.png")


def export(path: str | Path, output: str | Path) -> Path:
    """Write the variant in service, with its indexes and the report, as a bundle at `output`; returns its directory.

    The trained model and everything that only it needs stay behind, so that the copy answers without torch and cannot
    be compressed again. Raises `BundleError` for a bundle that answers through its trained model, or where `output`
    is there already.
    """
    bundle = open_bundle(resolve_bundle(path))
    chosen = str(bundle.manifest.ledger.get("chosen", ""))
    home = variant_path(bundle.path, chosen)
    if not home.is_dir():
        raise BundleError(
            f"{bundle.path} answers through its trained model, which needs torch; look for another variant with "
            "triptych compress"
        )
    if (home / CASCADE).is_file() and TORCH in CascadeSettings.read(home).stages:
        raise BundleError(
            f"{bundle.path} answers through a cascade that ends with its trained model, which needs torch"
        )
    if Path(output).exists() and (not Path(output).is_dir() or any(Path(output).iterdir())):
        raise BundleError(f"{output} is there already; give a new directory, so that nothing is written over")
    with tempfile.TemporaryDirectory() as workspace, BundleWriter(output, workspace) as writer:
        shutil.copytree(bundle.path / VARIANTS, writer.path / VARIANTS)
        for name in REPORT:
            if (bundle.path / name).is_file():
                shutil.copyfile(bundle.path / name, writer.path / name)
        return writer.commit(bundle.manifest)
