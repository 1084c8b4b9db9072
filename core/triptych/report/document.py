"""What a report says, in the order it says it; `markdown` and `triptych.report.page` write it down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from triptych.compression.ledger import Ledger
from triptych.compression.tables import FRONT, Table, contract_table, main_table, measurement_table, steps_table

if TYPE_CHECKING:
    from triptych.bundle import Manifest
    from triptych.data.sources import SkippedRow


@dataclass(frozen=True, slots=True)
class Items:
    """A list of points."""

    points: list[str]


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that lies beside the report."""

    file: str
    description: str


Block = str | Items | Table | Picture
"""A part of a section; a string is a paragraph of plain text."""


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands below it."""

    title: str
    blocks: list[Block] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Document:
    """A title and its sections."""

    title: str
    sections: list[Section]


def document(
    manifest: Manifest, warnings: Sequence[str], skipped: Sequence[SkippedRow], *, picture: str | None = None
) -> Document:
    """All that a run has to say of itself. `picture` is the file of the ledger's plot, where it was drawn."""
    metrics = manifest.metrics
    ledger = Ledger.model_validate(manifest.ledger)
    sections = [
        Section("Summary", [Items(_summary(manifest))]),
        Section("Quality", [_quality(metrics)]),
    ]
    if "out_of_scope" in metrics["test"]:
        sections.append(
            Section("Out of scope", [_pairs("Requests outside every label", metrics["test"]["out_of_scope"])])
        )
    if "subsets" in metrics:
        subsets = metrics["subsets"]
        caption = "Every subset of the modalities with the trained model, on the test samples that have all of them"
        sections.append(Section("Modalities", [table(caption, subsets["rows"]), subsets["verdict"]]))
    for name, part in metrics.get("vertical", {}).items():  # what the vertical measured itself, where it is a table
        if isinstance(part, Mapping) and "rows" in part:
            blocks: list[Block] = [table("As the application measured it", part["rows"])] if part["rows"] else []
            sections.append(Section(name.replace("_", " ").capitalize(), [*blocks, str(part.get("verdict", ""))]))
    sections.append(Section("Cost", _cost(ledger, picture)))
    optional = [("Contract", contract_table(ledger)), ("Compression", steps_table(ledger))]
    sections += [Section(title, [found]) for title, found in optional if found is not None]
    sections.append(Section("Warnings", [Items(list(warnings)) if warnings else "None."]))
    rows = [f"{row.file}, row {row.row}: {row.reason}" for row in skipped]
    sections.append(Section("Rows that were skipped", [Items(rows) if rows else "None."]))
    return Document(manifest.vertical, sections)


def markdown(page: Document) -> str:
    """The document as one Markdown text."""
    lines = [f"# {page.title}"]
    for section in page.sections:
        lines.append(f"## {section.title}")
        lines += [_block(block) for block in section.blocks]
    return "\n\n".join(lines) + "\n"


def table(caption: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    """Rows with like keys as a table; what is not a plain value is left out."""
    keys = [k for k in dict.fromkeys(k for row in rows for k in row) if not isinstance(rows[0].get(k), list | dict)]
    header = [key.replace("_", " ") for key in keys]
    return Table(caption, header, [[show(row.get(key)) for key in keys] for row in rows])


def show(value: Any) -> str:
    """A value as a person reads it: floats with up to four significant digits, nothing for None."""
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _block(block: Block) -> str:
    if isinstance(block, Table):
        return f"{block.caption}:\n\n{block.markdown()}"
    if isinstance(block, Items):
        return "\n".join(f"- {' '.join(point.splitlines())}" for point in block.points)
    if isinstance(block, Picture):
        return f"![{block.description}]({block.file})"
    return block


def _summary(manifest: Manifest) -> list[str]:
    data, training = manifest.data, manifest.training
    return [
        f"data: {data.source}; "
        + ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in data.counts.items()),
        f"modalities: {', '.join(data.details['modalities'])}",
        f"strategy: {training['strategy']}, {training['epochs']} epochs, {training['cpu_seconds']:.1f} CPU-seconds",
        *training["device"]["reasons"],
        *training["notes"],
        f"seed {manifest.config['seed']}, Triptych {manifest.triptych_version}, "
        + ", ".join(f"{name} {version}" for name, version in manifest.versions.items()),
    ]


def _quality(metrics: Mapping[str, Any]) -> Table:
    return table("Each split", [{"split": split, **_plain(metrics[split])} for split in ("validation", "test")])


def _pairs(caption: str, values: Mapping[str, Any]) -> Table:
    """A line for each value, where one row would be too wide."""
    return Table(caption, ["", "value"], [[k.replace("_", " "), show(v)] for k, v in _plain(values).items()])


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in values.items() if not isinstance(v, list | dict)}


def _cost(ledger: Ledger, picture: str | None) -> list[Block]:
    """What was chosen and why comes first, then what it was chosen from."""
    blocks: list[Block] = [ledger.why, *([ledger.verdict] if ledger.verdict else []), main_table(ledger), FRONT]
    if picture is not None:
        metric = ledger.variants[0].quality.metric
        count = len(ledger.variants)
        of = "one variant" if count == 1 else f"{count} variants"
        described = f"{metric} against cost per million requests of {of}; chosen: {ledger.chosen}"
        blocks.append(Picture(picture, described))
    measured = measurement_table(ledger)
    remarks = ledger.remarks()
    return [*blocks, *([measured] if measured is not None else []), *([Items(remarks)] if remarks else [])]
