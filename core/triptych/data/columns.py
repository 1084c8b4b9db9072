"""From the columns of a table to samples: which column is what, and what a cell means."""

from __future__ import annotations

import datetime
import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from numbers import Real
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from triptych.config import Columns
from triptych.data.folders import SPLIT_NAMES
from triptych.data.tables import Row, Table, first_few
from triptych.errors import ConfigError, DataError
from triptych.types import MODALITIES, Modality, Sample

TargetKind = Literal["label", "labels", "number"]
RESERVED = ("group", "time", "split")


@dataclass(frozen=True, slots=True)
class Mapped:
    """The columns of one table that are used; None where the table has no such column."""

    id: str | None
    target: str | None
    media: Mapping[Modality, str]
    features: Mapping[Modality, tuple[str, ...]]
    reserved: Mapping[str, str]  # "group", "time", "split" to their columns
    rest: tuple[str, ...]  # becomes metadata


def map_columns(columns: Columns, table: Table, *, require_target: bool) -> Mapped:
    """Match the configured names with the columns that a table has.

    A name that the user wrote must be there; one that is only our default is used where it is. Raises `DataError`
    with the nearest existing column, and `ConfigError` for one modality mapped twice.
    """
    features = {m: _matching(patterns, m, table) for m, patterns in columns.features.items()}
    media: dict[Modality, str] = {}
    for modality in MODALITIES:
        if modality in features:
            if _named(columns, modality):
                key = f"data.columns.{modality}"
                raise ConfigError(f"{key} and data.columns.features.{modality} are both given; leave one out")
        elif column := _present(columns, modality, table):
            media[modality] = column
    if not media and not features:
        wanted = ", ".join(f"data.columns.{m}" for m in MODALITIES)
        reason = f"no column holds text, a picture or sound; say which one does with {wanted} or data.columns.features"
        raise DataError(f"{reason}. {_list(table.columns)}", file=table.name)
    target = columns.target if columns.target in table.columns else None
    if target is None and require_target:
        reason = f"no column is called {columns.target!r}" if columns.target else "no column is given"
        hint = _nearest(columns.target, table.columns)
        raise DataError(
            f"{reason} for the target; name it with data.columns.target.{hint} {_list(table.columns)}", file=table.name
        )
    reserved = {key: column for key in RESERVED if (column := _present(columns, key, table))}
    if table.given_split and "split" not in columns.model_fields_set:
        reserved["split"] = "split"
    id_column = _present(columns, "id", table) or table.id_column
    used = {id_column, target, *media.values(), *reserved.values(), *(c for group in features.values() for c in group)}
    rest = tuple(c for c in table.columns if c not in used)
    return Mapped(id_column, target, media, features, reserved, rest)


def read_sample(
    row: Row, table: Table, mapped: Mapped, *, kind: TargetKind, separator: str | None, require_target: bool
) -> Sample:
    """One row as a sample; media are not decoded yet. Raises `DataError` with file, row and reason."""
    try:
        if row.problem is not None:
            raise DataError(row.problem)
        values: dict[str, Any] = {m: media_value(m, row.values.get(c), table.folder) for m, c in mapped.media.items()}
        values |= {m: _vector(row.values, columns) for m, columns in mapped.features.items()}
        if all(value is None for value in values.values()):
            used = ", ".join([*mapped.media.values(), *(f"the features of {m}" for m in mapped.features)])
            raise DataError(f"the row is empty: nothing in {used}")
        target = None
        if mapped.target is not None:
            target = _target(row.values.get(mapped.target), kind, separator)
        if target is None and require_target:
            raise DataError(f"no target: the column {mapped.target!r} is empty")
        metadata = {c: plain_value(row.values.get(c)) for c in mapped.rest if is_plain(row.values.get(c))}
        metadata |= {key: _reserved(key, c, row.values.get(c)) for key, c in mapped.reserved.items()}
        return Sample(row_id(row, mapped.id), target=target, metadata=metadata, **values)
    except DataError as error:
        raise DataError(error.reason, file=table.name, row=row.number) from error


def parse_time(value: Any) -> float:
    """A number as it is, an ISO 8601 date or time as seconds since 1970 (UTC unless it says otherwise).

    Raises `ValueError`.
    """
    if isinstance(value, Real):
        return float(value)
    text = str(value).strip()
    try:
        return float(text)
    except ValueError:
        moment = datetime.datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    return moment.timestamp()


def _named(columns: Columns, key: str) -> bool:
    """Whether the user named this column: wrote the key, and not just the name that is our default.

    A config that was saved whole and read again has every key; it asks for no more than before.
    """
    name = getattr(columns, key)
    return key in columns.model_fields_set and name is not None and name != Columns.model_fields[key].default


def _present(columns: Columns, key: str, table: Table) -> str | None:
    """The column for one key, or None. Raises `DataError` when the user named one that is not there."""
    name = cast("str | None", getattr(columns, key))
    if name is None or name in table.columns:
        return name
    if _named(columns, key):
        raise DataError(unknown_column(name, f"data.columns.{key}", table.columns), file=table.name)
    return None


def _matching(patterns: Sequence[str], modality: str, table: Table) -> tuple[str, ...]:
    """The columns that any of the patterns names, in the order of the table."""
    for pattern in patterns:
        if not any(fnmatchcase(c, pattern) for c in table.columns):
            raise DataError(
                unknown_column(pattern, f"data.columns.features.{modality}", table.columns), file=table.name
            )
    return tuple(c for c in table.columns if any(fnmatchcase(c, pattern) for pattern in patterns))


def unknown_column(name: str, key: str, columns: Sequence[str]) -> str:
    """What a message says of a column that is not there; `key` is where its name was given."""
    return f"no column is called {name!r}, as {key} says.{_nearest(name, columns)} {_list(columns)}"


def _nearest(name: str | None, columns: Sequence[str]) -> str:
    by_lower = {c.lower(): c for c in columns}
    near = difflib.get_close_matches((name or "").lower(), by_lower, n=1)
    return f" Did you mean {by_lower[near[0]]!r}?" if near else ""


def _list(columns: Sequence[str]) -> str:
    return f"Columns: {first_few(columns, 30)}."


def _blank(value: Any) -> bool:
    """Whether a cell is empty: nothing, white space, or the NaN that data frames write for nothing."""
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, float) and math.isnan(value))


def media_value(modality: Modality, value: Any, folder: Path) -> Any:
    """A cell as raw value: text, a path (of an existing file), bytes, or a vector (a list of numbers).

    None for an empty cell. Raises `DataError`.
    """
    if isinstance(value, Mapping):  # how `datasets` and its Parquet files keep encoded media
        value = value.get("bytes") or value.get("path")
    if isinstance(value, list):
        return number_vector(value, modality)
    if _blank(value):
        return None
    if modality == "text":
        if isinstance(value, bytes):
            raise DataError("the text is bytes, not a string")
        return str(value).strip()
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str | Path):
        raise DataError(f"the {modality} is a {type(value).__name__}, not a path")
    if str(value).startswith(("http://", "https://")):
        raise DataError(f"the {modality} {value} is a web address; download it and give the path of the file")
    path = folder / str(value).strip()
    if not path.is_file():
        raise DataError(f"the {modality} file {value} does not exist (looked for {path})")
    return path


def _vector(values: Mapping[str, Any], columns: Sequence[str]) -> NDArray[np.float32] | None:
    """The feature columns of one modality as float32 [features]; None when all of them are empty."""
    cells = [values.get(c) for c in columns]
    if all(not isinstance(cell, list) and _blank(cell) for cell in cells):
        return None
    parts = [
        number_vector(cell if isinstance(cell, list) else [cell], f"feature {c}")
        for c, cell in zip(columns, cells, strict=True)
    ]
    return np.concatenate(parts)


def number_vector(values: Sequence[Any], what: str) -> NDArray[np.float32]:
    """Numbers as float32 [values]. Raises `DataError`, saying `what`, where one is missing, NaN or infinite."""
    try:
        doubles = np.asarray([math.nan if _blank(v) else float(v) for v in values], dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{what}: not a number ({error})") from error
    with np.errstate(over="ignore"):  # too large for float32 becomes infinite, and is refused as such
        numbers = doubles.astype(np.float32)
    if not numbers.size or not np.isfinite(numbers).all():
        raise DataError(f"{what}: a number is missing, NaN or infinite")
    return numbers


def _target(value: Any, kind: TargetKind, separator: str | None) -> Any:
    """A cell as label (str), labels (tuple of str) or number (float); None when it is empty."""
    if kind == "labels" and isinstance(value, list | tuple):
        return tuple(dict.fromkeys(_label(v) for v in value if not _blank(v)))  # none of the labels is an answer too
    if _blank(value):
        return None
    if kind == "number":
        try:
            number = float(value)
        except (TypeError, ValueError) as error:
            raise DataError(f"the target {value!r} is not a number") from error
        if not math.isfinite(number):
            raise DataError(f"the target {value!r} is not a finite number")
        return number
    if isinstance(value, list | tuple | Mapping):
        raise DataError(f"the target {value!r} is several labels; this task takes exactly one")
    if separator is None:
        return _label(value) if kind == "label" else (_label(value),)
    labels = tuple(dict.fromkeys(part.strip() for part in str(value).split(separator) if part.strip()))
    if kind == "labels":
        return labels
    if len(labels) != 1:
        raise DataError(f"the target {value!r} is {len(labels)} labels; this task takes exactly one")
    return labels[0]


def _label(value: Any) -> str:
    """A label as text; 1.0 is the label "1", for a column with gaps becomes float in many tools."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip()


def row_id(row: Row, column: str | None) -> str:
    """What stands in the id column, or the row's number where there is none. Raises `DataError` for an empty cell."""
    value = None if column is None else row.values.get(column)
    if column is not None and _blank(value):
        raise DataError(f"no id: the column {column!r} is empty")
    return str(row.number) if column is None else _label(value)


def _reserved(key: str, column: str, value: Any) -> Any:
    """The group as text, the time as it was written, the split as train, validation or test."""
    if _blank(value):
        raise DataError(f"no {key}: the column {column!r} is empty")
    if key == "group":
        return _label(value)
    if key == "split":
        name = SPLIT_NAMES.get(str(value).strip().lower())
        if name is None:
            raise DataError(f"the split {value!r} in column {column!r} is none of train, validation, test")
        return name
    moment = plain_value(value)
    try:
        parse_time(moment)
    except (ValueError, OverflowError) as error:
        raise DataError(f"the time {value!r} in column {column!r} is neither ISO 8601 nor a number") from error
    return moment


def is_plain(value: Any) -> bool:
    """Whether a cell can stand in metadata, which is JSON: bytes cannot."""
    return not isinstance(value, bytes) and not (isinstance(value, Mapping) and "bytes" in value)


def plain_value(value: Any) -> Any:
    """A cell as JSON: dates as ISO 8601, other foreign types as text, NaN as None."""
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, list | tuple):
        return [plain_value(v) for v in value]
    if isinstance(value, Mapping):
        return {str(k): plain_value(v) for k, v in value.items()}
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value)
