"""Metrics, ledgers and answers as people read them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from triptych.types import MODALITIES
from triptych_apps.errors import say
from triptych_apps.output import format_value, print_pairs, print_table, print_text

if TYPE_CHECKING:
    from triptych.vertical import Response
    from triptych_apps.outcomes import SkippedRowOutcome

_ROWS_SHOWN = 10  # of skipped rows and of warnings; --json has all of them


def print_metrics(metrics: Mapping[str, Any]) -> None:
    """A column for each split, a row for each metric; what has `rows` (modality subsets) as a table of its own.

    `low` and `high` are the interval of the metric before them.
    """
    groups = {name: part for name, part in metrics.items() if isinstance(part, Mapping) and name != "data"}
    own = groups.pop("vertical", {})  # what the vertical measured itself
    tables = {name: part for name, part in own.items() if isinstance(part, Mapping) and "rows" in part}
    rest = {name: value for name, value in own.items() if name not in tables}
    groups |= {**({"vertical": rest} if rest else {}), **tables}
    splits = {name: dict(_flat(part)) for name, part in groups.items() if "rows" not in part}
    names = list(dict.fromkeys(name for split in splits.values() for name, value in split.items() if value is not None))
    rows = [[name, *(split.get(name) for split in splits.values())] for name in names]
    print_table("Quality", ["", *splits], rows)
    for name, part in groups.items():
        if "rows" in part:
            _print_rows(name.replace("_", " ").capitalize(), part["rows"])
            if part.get("verdict"):
                print_text(f"{part['verdict']}\n", indent=2)


def print_ledger(ledger: Mapping[str, Any]) -> None:
    """What each variant costs (money: for a million answers), the cheapest rival, and why one was chosen.

    With a parent: how much quality each variant lost against it, and how many times less it costs.
    """
    variants = [v for v in ledger.get("variants", []) if isinstance(v, Mapping)]
    rival = ledger.get("rival")
    parent = next((v for v in variants if v.get("name") == ledger.get("parent")), None) if len(variants) > 1 else None
    rows = [_variant_row(v, _roles(v, ledger) if len(variants) > 1 else ["chosen"], parent) for v in variants]
    if isinstance(rival, Mapping) and rival.get("name") not in [v.get("name") for v in variants]:
        rows.append(_variant_row(rival, ["rival"], parent))
    used = [i for i in range(len(_COLUMNS)) if any(row[i] not in (None, "") for row in rows)]
    print_table("Cost", [_COLUMNS[i] for i in used], [[row[i] for i in used] for row in rows])
    sentences = [ledger[name] for name in ("why", "verdict") if ledger.get(name)]
    sentences += [point["sentence"] for point in ledger.get("break_even", [])]
    if sentences:
        print_text("\n".join(sentences) + "\n", indent=2)


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
    pairs: dict[str, Any] = {"confidence": confidence}
    pairs |= {name.replace("_", " "): _in_words(value) for name, value in data.items()}
    pairs["evidence"] = "\n".join(_evidence_line(item) for item in evidence) or None
    pairs["attribution"] = {m: attribution[m] for m in MODALITIES if m in attribution} or None
    pairs["answered by"] = f"{variant}, {milliseconds:.0f} ms" if variant else None
    print_pairs("", pairs)


def print_brief_response(response: Response) -> None:
    """The answer as it stands in a conversation: one line below it says how sure it is and where it comes from."""
    data = response.model_dump(mode="json", exclude={"answer", "variant", "milliseconds", "conversation"})
    notes = [
        f"{name.replace('_', ' ')} {format_value(v)}" for name, v in data.items() if isinstance(v, (str, float)) and v
    ]
    notes += [f"[{item['id']}] {item['title']}".strip() for item in data["evidence"][:1]]
    print_text(response.answer)
    print_text(", ".join(notes) + "\n", indent=2, dim=True)


_COLUMNS = ("", "quality", "drop", "MB", "p50 / p95 ms", "a second", "memory MB", "a million", "against the parent")


def _roles(variant: Mapping[str, Any], ledger: Mapping[str, Any]) -> list[str]:
    name = variant.get("name")
    roles = {
        "chosen": name == ledger.get("chosen"),
        "parent": name == ledger.get("parent"),
        "front": name in ledger.get("front", []),
        "not offered": name in ledger.get("refused", {}),
    }
    return [role for role, holds in roles.items() if holds]


def _variant_row(variant: Mapping[str, Any], roles: Sequence[str], parent: Mapping[str, Any] | None) -> list[Any]:
    quality = variant.get("quality") or {}
    # ledgers of older bundles have no p95; p99 is never less
    tail = variant.get("p95_ms") if variant.get("p95_ms") is not None else variant.get("p99_ms")
    times = [format_value(number) for number in (variant.get("p50_ms"), tail) if number is not None]
    cost = variant.get("cost_per_million")
    return [
        f"{variant.get('name')} ({', '.join(roles)})" if roles else variant.get("name"),
        f"{quality.get('metric', '')} {format_value(quality.get('value'))}".strip(),
        None if parent is None else _drop(quality, parent["quality"]),
        variant.get("size_mb"),
        " / ".join(times) or None,
        variant.get("throughput_per_s"),
        variant.get("resident_mb"),
        None if cost is None else f"{_money(float(cost))} {variant.get('currency', '')}".strip(),
        None if parent is None or cost is None or variant is parent else _ratio(parent["cost_per_million"], cost),
    ]


def _drop(quality: Mapping[str, Any], parent: Mapping[str, Any]) -> str:
    """The quality that is lost, in points; of an error, in percent of the parent's."""
    from triptych.compression.records import Quality  # late, as everything that `--help` can do without

    lost = round(Quality.model_validate(quality).drop_from(Quality.model_validate(parent)), 2) + 0.0  # -0 is no drop
    return f"{lost:.2f}{'' if quality.get('higher_is_better', True) else ' %'}"


def _ratio(parent: float, cost: float) -> str:
    from triptych.compression.records import times

    return times(parent, cost).removesuffix(" than").removesuffix(" as")


def _money(amount: float) -> str:
    """Sums of money are as small as one likes, and a table of zeros says nothing."""
    return f"{amount:.2g}" if 0 < abs(amount) < 0.1 else format_value(amount)


def _print_rows(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    columns = list(dict.fromkeys(name for row in rows for name, value in row.items() if _is_cell(value)))
    print_table(title, columns, [[row.get(name) for name in columns] for row in rows])


def _flat(part: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Scalar metrics; those of nested groups with the group's name before them, intervals beside the value."""
    names = [name for name in part if name not in ("low", "high")]
    order = list(part)
    for name in names:
        value, label = part[name], f"{prefix}{name}".replace("_", " ")
        if isinstance(value, Mapping):
            yield from _flat(value, f"{label}: ")
        elif _is_cell(value) and order[order.index(name) + 1 :][:2] == ["low", "high"]:
            yield label, f"{format_value(value)} ({format_value(part['low'])} to {format_value(part['high'])})"
        elif _is_cell(value):
            yield label, value


def _is_cell(value: Any) -> bool:
    return (
        value is None
        or isinstance(value, (str, int, float))
        or (isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value))
    )


def _is_table(part: Any) -> bool:
    return isinstance(part, (list, tuple)) and bool(part) and all(isinstance(row, Mapping) for row in part)


def _in_words(value: Any) -> Any:
    """A field of a response: of what is nested, the parts that fit on a line; None for nothing to show."""
    if value in (None, "", [], {}):
        return None
    if isinstance(value, Mapping):
        return "\n".join(f"{key.replace('_', ' ')}: {format_value(v)}" for key, v in value.items() if _fits(v)) or None
    if _is_table(value):
        return "\n".join(format_value({key: v for key, v in row.items() if _fits(v)}) for row in value)
    return value


def _fits(value: Any) -> bool:
    return _is_cell(value) and value not in (None, "", [])


def _evidence_line(item: Mapping[str, Any]) -> str:
    title = item["title"] or item["text"][:80]
    return f"[{item['id']}] {title} ({item['kind']}, {item['score']:.2f})"
