"""The report of a run: what was built, from what, how good it is and what it costs. For people, in two forms."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from triptych.compression.ledger import Ledger
from triptych.report.document import document, markdown
from triptych.report.page import to_html

if TYPE_CHECKING:
    from triptych.bundle import Manifest
    from triptych.data.sources import SkippedRow

PICTURE = "pareto.png"


def write_report(directory: Path, manifest: Manifest, warnings: Sequence[str], skipped: Sequence[SkippedRow]) -> Path:
    """Write `report.md`, `report.html` and `pareto.png` into a bundle; return the path of the first.

    Every row that was skipped is listed. The HTML file has the picture in it and can be sent alone.
    """
    # only here: matplotlib is for reports
    from triptych.compression.plot import plot_ledger

    plot_ledger(Ledger.model_validate(manifest.ledger), directory / PICTURE, title=manifest.vertical)
    page = document(manifest, warnings, skipped, picture=PICTURE)
    (directory / "report.html").write_text(to_html(page, directory), encoding="utf-8")
    path = directory / "report.md"
    path.write_text(markdown(page), encoding="utf-8")
    return path
