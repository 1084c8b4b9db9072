"""The report of a run: what was built, from what, how good it is and what it costs. One Markdown file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triptych.compression.ledger import Ledger

if TYPE_CHECKING:
    from triptych.bundle import Manifest
    from triptych.data.sources import SkippedRow


def write_report(directory: Path, manifest: Manifest, warnings: Sequence[str], skipped: Sequence[SkippedRow]) -> Path:
    """Write `report.md` into a bundle; every row that was skipped is listed in it."""
    lines = [f"# {manifest.vertical}", "", *_summary(manifest), ""]
    lines += ["## Quality", "", *_quality(manifest.metrics), ""]
    if "out_of_scope" in manifest.metrics["test"]:
        lines += ["## Out of scope", "", *table([manifest.metrics["test"]["out_of_scope"]]), ""]
    if "subsets" in manifest.metrics:
        subsets = manifest.metrics["subsets"]
        lines += ["## Every subset of the modalities, on the test samples that have all of them", ""]
        lines += [*table(subsets["rows"]), "", subsets["verdict"], ""]
    lines += ["## Cost", "", Ledger.model_validate(manifest.ledger).markdown()]
    lines += ["## Warnings", "", *([f"- {w}" for w in warnings] or ["None."]), ""]
    lines += ["## Rows that were skipped", ""]
    lines += [f"- {row.file}, row {row.row}: {row.reason}" for row in skipped] or ["None."]
    path = directory / "report.md"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Rows with like keys as the lines of a Markdown table; what is not a plain value is left out."""
    keys = [k for k in dict.fromkeys(k for row in rows for k in row) if not isinstance(rows[0].get(k), list | dict)]
    lines = ["| " + " | ".join(key.replace("_", " ") for key in keys) + " |", "|" + " --- |" * len(keys)]
    return lines + ["| " + " | ".join(show(row.get(key)) for key in keys) + " |" for row in rows]


def show(value: Any) -> str:
    """A value as a person reads it: floats with up to four significant digits, nothing for None."""
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _summary(manifest: Manifest) -> list[str]:
    data, training = manifest.data, manifest.training
    return [
        f"- data: {data.source}; "
        + ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in data.counts.items()),
        f"- modalities: {', '.join(data.details['modalities'])}",
        f"- strategy: {training['strategy']}, {training['epochs']} epochs, {training['cpu_seconds']:.1f} CPU-seconds",
        *(f"- {reason}" for reason in training["device"]["reasons"]),
        *(f"- {note}" for note in training["notes"]),
        f"- seed {manifest.config['seed']}, Triptych {manifest.triptych_version}, "
        + ", ".join(f"{name} {version}" for name, version in manifest.versions.items()),
    ]


def _quality(metrics: Mapping[str, Any]) -> list[str]:
    return table([{"split": split, **_plain(metrics[split])} for split in ("validation", "test")])


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in values.items() if not isinstance(v, list | dict)}
