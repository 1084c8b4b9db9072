"""Metrics, ledgers and answers as people read them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from triptych_apps.errors import say
from triptych_apps.output import format_value, print_pairs, print_table, print_text

if TYPE_CHECKING:
    from triptych.vertical import Response
    from triptych_apps.outcomes import SkippedRowOutcome

_ROWS_SHOWN = 10  # of skipped rows and of warnings; --json has all of them
_ALL_MODALITIES = ("text", "image", "audio")


def print_metrics(metrics: Mapping[str, Any]) -> None:
    """A column for each split, a row for each metric; lists of rows (modality subsets) as tables of their own.

    A metric with `_low` and `_high` beside it is shown with this interval.
    """
    splits = {name: dict(_flat(part)) for name, part in metrics.items() if isinstance(part, Mapping) and name != "data"}
    names = list(dict.fromkeys(name for split in splits.values() for name in split))
    rows = [[name, *(split.get(name) for split in splits.values())] for name in names]
    print_table("Quality", ["", *splits], rows)
    for name, part in metrics.items():
        if _is_table(part):
            columns = list(dict.fromkeys(key for row in part for key, value in row.items() if _is_cell(value)))
            print_table(name.replace("_", " ").capitalize(), columns, [[row.get(c) for c in columns] for row in part])


def print_ledger(ledger: Mapping[str, Any]) -> None:
    """What each variant costs, the cheapest rival, and why one was chosen."""
    variants = [v for v in ledger.get("variants", []) if isinstance(v, Mapping)]
    rival = ledger.get("rival")
    rows = [_variant_row(v, chosen=v.get("name") == ledger.get("chosen")) for v in variants]
    if isinstance(rival, Mapping) and rival.get("name") not in [v.get("name") for v in variants]:
        rows.append(_variant_row(rival, chosen=False))
    used = [i for i in range(len(_COLUMNS)) if any(row[i] not in (None, "") for row in rows)]
    print_table("Cost", [_COLUMNS[i] for i in used], [[row[i] for i in used] for row in rows])
    if ledger.get("why"):
        print_text(f"  {ledger['why']}\n")


def print_warnings(warnings: Sequence[str]) -> None:
    """What the user should know of a run, on standard error."""
    for warning in warnings[:_ROWS_SHOWN]:
        say(f"warning: {warning}")
    if len(warnings) > _ROWS_SHOWN:
        say(f"warning: and {len(warnings) - _ROWS_SHOWN} more; --json has them all")


def print_skipped(skipped: Sequence[SkippedRowOutcome]) -> None:
    """Rows that could not be used, on standard error."""
    print_warnings([f"{row.file}{'' if row.row is None else f', row {row.row}'}: {row.reason}" for row in skipped])


def print_response(response: Response) -> None:
    """The answer, then what it rests on; whatever a vertical adds to its response is shown by its name."""
    data = response.model_dump(mode="json")
    print_text(data.pop("answer") + "\n")
    evidence, confidence = data.pop("evidence"), data.pop("confidence")
    attribution, variant, milliseconds = data.pop("attribution"), data.pop("variant"), data.pop("milliseconds")
    pairs = {"confidence": confidence}
    pairs |= {name.replace("_", " "): _indent(value) for name, value in data.items() if value not in (None, "", [], {})}
    pairs["evidence"] = "\n".join(_evidence_line(item) for item in evidence) or None
    pairs["attribution"] = {m: attribution[m] for m in _ALL_MODALITIES if m in attribution} or None
    pairs["answered by"] = f"{variant}, {milliseconds:.0f} ms" if variant else None
    print_pairs("", pairs)


_COLUMNS = ("", "quality", "95 %", "MB", "p50 ms", "p99 ms", "a second", "resident MB", "per million", "")


def _variant_row(variant: Mapping[str, Any], *, chosen: bool) -> list[Any]:
    quality = variant.get("quality") or {}
    low, high = quality.get("low"), quality.get("high")
    cost = variant.get("cost_per_million")
    return [
        variant.get("name"),
        f"{quality.get('metric', '')} {format_value(quality.get('value'))}".strip(),
        None if low is None or high is None else f"{format_value(low)} - {format_value(high)}",
        variant.get("size_mb"),
        variant.get("p50_ms"),
        variant.get("p99_ms"),
        variant.get("throughput_per_s"),
        variant.get("resident_mb"),
        None if cost is None else f"{format_value(float(cost))} {variant.get('currency', '')}".strip(),
        "chosen" if chosen else "",
    ]


def _flat(part: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Scalar metrics, those of nested groups with the group's name; intervals beside the value."""
    for name, value in part.items():
        label = f"{prefix}{name}".replace("_", " ")
        if isinstance(value, Mapping):
            yield from _flat(value, f"{label}: ")
        elif name.endswith(("_low", "_high")) and name.rpartition("_")[0] in part:
            continue
        elif _is_cell(value):
            low, high = part.get(f"{name}_low"), part.get(f"{name}_high")
            interval = "" if low is None or high is None else f" ({format_value(low)} - {format_value(high)})"
            yield label, f"{format_value(value)}{interval}" if interval else value


def _is_cell(value: Any) -> bool:
    return (
        value is None
        or isinstance(value, (str, int, float))
        or (isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value))
    )


def _is_table(part: Any) -> bool:
    return isinstance(part, (list, tuple)) and bool(part) and all(isinstance(row, Mapping) for row in part)


def _indent(value: Any) -> Any:
    if _is_table(value):
        return "\n".join(format_value(row) for row in value)
    return value


def _evidence_line(item: Mapping[str, Any]) -> str:
    title = item["title"] or item["text"][:80]
    return f"[{item['id']}] {title} ({item['kind']}, {item['score']:.2f})"
