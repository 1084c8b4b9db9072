"""Columns of times in any notation as int64 microseconds since 1970 (UTC)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.data.columns import parse_time

SECOND = 1_000_000
DAY = 24 * 3600 * SECOND
MISSING = int(np.iinfo(np.int64).min)
"""Stands for a time that is not there or cannot be read."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = float(2**62)  # microseconds: later than any calendar, and within an int64
_UNITS = ((1e11, 1e6), (1e14, 1e3), (1e17, 1.0), (np.inf, 1e-3))  # numbers below the first are of the unit in us


def microseconds_of(moment: datetime) -> int:
    """A time as microseconds since 1970; without a zone it is taken as UTC."""
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return (aware - _EPOCH) // timedelta(microseconds=1)


def moment_of(microseconds: int) -> datetime:
    """Microseconds since 1970 as a time in UTC. Raises `OverflowError` beyond the year 9999."""
    return _EPOCH + timedelta(microseconds=microseconds)


def read_times(column: Any) -> NDArray[np.int64]:
    """A pyarrow array of times, dates, numbers or strings as int64 [rows]; `MISSING` where there is none.

    Numbers are seconds, milliseconds, microseconds or nanoseconds since 1970: which of them, the size of the middle
    one tells for all. A string without a zone is UTC.
    """
    import pyarrow as pa

    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        in_us = column.cast(pa.timestamp("us"), safe=False) if pa.types.is_date(column.type) else column
        unit = pa.timestamp("us", column.type.tz) if pa.types.is_timestamp(column.type) else pa.timestamp("us")
        whole = in_us.cast(unit, safe=False).cast(pa.int64())
        return np.asarray(whole.fill_null(MISSING).to_numpy(zero_copy_only=False), dtype=np.int64)
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        return _from_numbers(column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False))
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return _from_strings(column)
    return np.full(len(column), MISSING)


def _from_numbers(numbers: NDArray[np.float64]) -> NDArray[np.int64]:
    known = np.isfinite(numbers)
    sizes = np.sort(np.abs(numbers[known]))
    middle = float(sizes[(len(sizes) - 1) // 2]) if len(sizes) else 0.0  # one of them: a mean of two has no unit
    factor = next(factor for limit, factor in _UNITS if middle < limit)
    found = np.where(known, numbers, np.inf) * factor
    readable = np.abs(found) < _LATEST
    return np.where(readable, np.round(np.where(readable, found, 0)), MISSING).astype(np.int64)


def _from_strings(column: Any) -> NDArray[np.int64]:
    import pyarrow as pa
    import pyarrow.compute as pc

    trimmed = pc.utf8_trim_whitespace(column).fill_null("")
    given = pc.not_equal(trimmed, "").to_numpy(zero_copy_only=False)
    texts = trimmed.filter(pa.array(given))
    numbers = _all_as(texts, pa.float64())
    found = np.full(len(column), MISSING)
    found[given] = _from_words(texts) if numbers is None else _from_numbers(numbers.to_numpy(zero_copy_only=False))
    return found


def _from_words(texts: Any) -> NDArray[np.int64]:
    """ISO 8601, all with a zone or all without at full speed, a mixture one by one."""
    import pyarrow as pa

    for kind in (pa.timestamp("us"), pa.timestamp("us", "UTC")):
        found = _all_as(texts, kind)
        if found is not None:
            return np.asarray(found.cast(pa.int64()).to_numpy(zero_copy_only=False), dtype=np.int64)
    return _one_by_one(texts.to_pylist())


def _all_as(texts: Any, kind: Any) -> Any:
    """Strings as values of a kind; None where one of them is none."""
    import pyarrow as pa

    try:
        texts[:1].cast(kind)  # most failures show here, and a million of them take long
        return texts.cast(kind)
    except pa.ArrowInvalid:
        return None


def _one_by_one(texts: Sequence[str]) -> NDArray[np.int64]:
    found = np.full(len(texts), MISSING)
    for row, text in enumerate(texts):
        try:
            found[row] = microseconds_of(datetime.fromisoformat(text))
        except ValueError:
            found[row] = _number(text)
    return found


def _number(text: str) -> int:
    """A number between words; its own size tells its unit."""
    try:
        return int(_from_numbers(np.array([parse_time(text)]))[0])
    except (ValueError, OverflowError):
        return MISSING
