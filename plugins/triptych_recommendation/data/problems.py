"""How many rows that cannot be used are borne."""

from __future__ import annotations

from collections.abc import Sequence

from triptych.data.sources import SkippedRow
from triptych.errors import DataError
from triptych_recommendation.data.settings import DataSettings

_SHOWN = 3


def tolerate(problems: Sequence[SkippedRow], total: int, source: str, settings: DataSettings) -> list[SkippedRow]:
    """The problems in the order of their rows, where the settings bear them.

    Raises `DataError` for the first with `on_error = "fail"`, and for more than the share `max_skipped` of all rows.
    """
    found = sorted(problems, key=lambda problem: problem.row)
    if found and settings.on_error == "fail":
        raise DataError(found[0].reason, file=source, row=found[0].row)
    if found and (len(found) == total or len(found) > settings.max_skipped * total):
        reasons = [f"  row {bad.row}: {bad.reason}" for bad in found[:_SHOWN]]
        if len(found) > _SHOWN:
            reasons.append(f"  and {len(found) - _SHOWN:,} more")
        limit = f"vertical.data.max_skipped allows {settings.max_skipped:.0%}"
        head = f"{len(found):,} of {total:,} rows cannot be used ({limit}):"
        raise DataError("\n".join([head, *reasons]), file=source)
    return found
