"""A ledger as tables of text, for Markdown, HTML or any other page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from triptych.compression.ledger import Ledger
from triptych.compression.records import Contract, Row, short

FRONT = "front: no other variant is as good in quality, cost, latency and size, and better in one of them."
Column = tuple[str, Callable[[Row], str]]


@dataclass(frozen=True, slots=True)
class Table:
    """Cells of plain text. The columns from `numbers` on stand to the right; `strong` is the row that is set apart."""

    caption: str
    header: list[str]
    rows: list[list[str]]
    numbers: int = 1
    strong: int | None = None

    def markdown(self) -> str:
        """The lines of a Markdown table; the strong row's first cell is bold."""
        plain, right = min(self.numbers, len(self.header)), max(0, len(self.header) - self.numbers)
        lines = [_line(self.header), "|" + " --- |" * plain + " ---: |" * right]
        for number, row in enumerate(self.rows):
            lines.append(_line([f"**{row[0]}**", *row[1:]] if number == self.strong else row))
        return "\n".join(lines)


def main_table(ledger: Ledger) -> Table:
    """Every variant, best first, then the rival: quality, money, time and space."""
    first = ledger.variants[0]
    unit = "points" if first.quality.higher_is_better else "%"
    parent = None if ledger.parent is None else ledger.variant(ledger.parent)

    def drop(row: Row) -> str:
        # nobody reads a drop to more than hundredths, and -0 is no drop
        return "" if parent is None else f"{round(row.quality.drop_from(parent.quality), 2) + 0.0:g}"

    columns: list[Column] = [
        ("variant", lambda row: row.name),
        ("", lambda row: _role(row, ledger)),
        (first.quality.metric, lambda row: str(row.quality)),
    ]
    if parent is not None and len(ledger.variants) > 1:
        columns.append((f"drop, {unit}", drop))
    columns += [
        (f"{first.currency} per million", _number("cost_per_million")),
        ("p50 ms", _number("p50_ms")),
        ("p95 ms", _number("p95_ms")),
        ("p99 ms", _number("p99_ms")),
        ("requests/s", _number("throughput_per_s")),
        ("size MB", _number("size_mb")),
        ("memory MB", _number("resident_mb")),
    ]
    rows: list[Row] = sorted(ledger.variants, key=lambda v: (-v.quality.merit, v.cost_per_million))
    strong = next(number for number, row in enumerate(rows) if row.name == ledger.chosen)
    if ledger.rival is not None:
        rows.append(ledger.rival)
    return _table("Quality and cost", columns, rows, numbers=2, strong=strong)


def measurement_table(ledger: Ledger) -> Table | None:
    """Where and how steadily it was measured, and what it cost to make; None where nothing of it is known."""
    return _optional(
        "Measurement",
        ledger,
        [
            ("p50 ms of rounds", lambda row: _range(row.p50_low, row.p50_high)),
            ("requests/s of rounds", lambda row: _range(row.throughput_low, row.throughput_high)),
            ("CPU ms in a batch", _number("cpu_ms")),
            ("handed on", _number("escalation_rate")),
            ("fine-tuning cost", _number("training_cost")),
            ("compression cost", _number("compression_cost")),
            ("device", lambda row: row.device),
        ],
    )


def contract_table(ledger: Ledger) -> Table | None:
    """What each variant was held to beside its metric; None where no contract was measured."""

    def of(read: Callable[[Contract], Any]) -> Callable[[Row], str]:
        return lambda row: "" if row.contract is None else _shown(read(row.contract))

    return _optional(
        "Contract",
        ledger,
        [
            ("calibration error", of(lambda c: c.ece)),
            ("scope AUROC", of(lambda c: c.scope_auroc)),
            ("falsely accepted", of(lambda c: c.false_accept_rate)),
            ("worst group", of(lambda c: c.worst_group)),
            ("its quality", of(lambda c: c.worst_group_quality)),
            ("retrieval agreement", of(lambda c: c.retrieval_agreement)),
            ("breaks", of(lambda c: "; ".join(c.violations))),
        ],
    )


def steps_table(ledger: Ledger) -> Table | None:
    """Convert, measure the loss, recover: what every step of a chain did; None where there was none."""
    rows = [
        [v.name, str(step.get("name", "")), *(_shown(step.get(key)) for key in _STEP), "; ".join(step.get("notes", []))]
        for v in ledger.variants
        for step in v.steps
    ]
    header = ["variant", "step", "before", "converted", "recovered", "seconds", "CPU seconds", "notes"]
    if not any(row[-1] for row in rows):
        header, rows = header[:-1], [row[:-1] for row in rows]
    return Table("Steps: convert, measure the loss, recover", header, rows, numbers=2) if rows else None


_STEP = ("before", "converted", "recovered", "seconds", "cpu_seconds")


def _table(
    caption: str, columns: Sequence[Column], rows: Sequence[Row], *, numbers: int = 1, strong: int | None = None
) -> Table:
    cells = [[read(row) for _, read in columns] for row in rows]
    return Table(caption, [name for name, _ in columns], cells, numbers, strong)


def _optional(caption: str, ledger: Ledger, columns: Sequence[Column]) -> Table | None:
    """A table with the columns of which something is known; the device alone says nothing."""
    used = [(name, read) for name, read in columns if any(read(v) for v in ledger.variants)]
    if not any(name != "device" for name, _ in used):
        return None
    return _table(caption, [("variant", lambda row: row.name), *used], ledger.variants)


def _role(row: Row, ledger: Ledger) -> str:
    if row is ledger.rival:
        return "rival"
    roles = {
        "chosen": row.name == ledger.chosen,
        "parent": row.name == ledger.parent and len(ledger.variants) > 1,
        "front": row.name in ledger.front,
    }
    return ", ".join(role for role, holds in roles.items() if holds)


def _number(field: str) -> Callable[[Row], str]:
    return lambda row: _shown(getattr(row, field))


def _range(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{short(low)} to {short(high)}"


def _shown(value: Any) -> str:
    return "" if value is None else short(value) if isinstance(value, int | float) else str(value)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(" ".join(cell.replace("|", "\\|").split("\n")) for cell in cells) + " |"
