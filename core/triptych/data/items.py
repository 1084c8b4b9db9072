"""Rows of a table as items for an index: an id, what is encoded, what is kept beside it, vectors made elsewhere."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.config import DataConfig
from triptych.data import hub
from triptych.data.columns import is_plain, media_value, number_vector, plain_value, row_id, unknown_column
from triptych.data.sources import SkippedRow, open_source
from triptych.data.tables import Row, Table, first_few, format_of
from triptych.errors import DataError
from triptych.types import MODALITIES, Modality

VECTOR = "vector"  # the column, and the field of an index, with vectors that were made elsewhere
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?")
_LARGEST = 2**53  # beyond it a float64, as which filters compare, no longer tells whole numbers apart
_ID_DIGITS = 16  # of a hash: two of a million rows agree by chance once in thirty million files


@dataclass(frozen=True, slots=True, eq=False)
class NewItem:
    """One row. `content` has any of text, image and audio (absolute paths), `vectors` float32 [dim] by field."""

    row: int
    id: str
    content: dict[str, str]
    metadata: dict[str, Any]
    vectors: dict[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True, eq=False)
class NewItems:
    """What a file holds for an index, and the rows that cannot be used; `parts` are the columns that were found."""

    source: str
    items: list[NewItem]
    skipped: list[SkippedRow]
    parts: Mapping[str, str]  # "id", "text", "image", "audio" and fields of vectors, to their columns


@dataclass(frozen=True, slots=True)
class ItemColumns:
    """Which column holds what. None: the column of that name, where the table has it.

    `vectors` has the columns of vectors by field of the index.
    """

    id: str | None = None
    text: str | None = None
    image: str | None = None
    audio: str | None = None
    vectors: Mapping[str, str | None] = field(default_factory=lambda: {VECTOR: None})


def read_items(path: str | Path, columns: ItemColumns = ItemColumns()) -> NewItems:
    """Read a CSV, TSV, JSONL or Parquet file, a folder of media, or hub:NAME.

    Columns that are no id, content or vector become metadata, as JSON; what is a plain decimal number in a CSV or TSV
    file becomes one (12, -0.5; not 007 or 1e5). Empty cells are left out. Without an id column the id is a hash of the
    row, so that the same row has the same id in every file.

    Raises `DataError` for a file that cannot be used, a column that is not there, and where no row can be used.
    """
    place = Path(path)
    if not str(path).startswith(hub.PREFIX) and place.is_file() and format_of(place) is None:
        raise DataError("the name must end in .csv, .tsv, .jsonl or .parquet, for it tells the format", file=path)
    table = open_source(DataConfig(), path)
    parts = _parts(columns, table)
    reader = _Reader(table, parts, tuple(columns.vectors), texts_are_numbers=format_of(place) in ("csv", "tsv"))
    items: list[NewItem] = []
    skipped: list[SkippedRow] = []
    first_row: dict[str, int] = {}
    for row in table.rows:
        try:
            item = reader.item(row)
            earlier = first_row.setdefault(item.id, row.number)
            if earlier != row.number:
                raise DataError(f"the id {item.id!r} was already used in row {earlier}")
        except DataError as error:
            skipped.append(SkippedRow(table.name, row.number, error.reason))
        else:
            items.append(item)
    if not items:
        raise none_usable(table.name, skipped)
    return NewItems(table.name, items, skipped, parts)


def none_usable(source: str, skipped: Sequence[SkippedRow]) -> DataError:
    """The error for a file of which nothing is left; shows the first reasons."""
    reasons = "; ".join(f"row {bad.row}: {bad.reason}" for bad in skipped[:3])
    return DataError(f"none of the {len(skipped):,} rows can be used ({reasons})", file=source)


class _Reader:
    """Rows of one table to items."""

    def __init__(
        self, table: Table, parts: Mapping[str, str], vectors: Sequence[str], *, texts_are_numbers: bool
    ) -> None:
        self._table = table
        self._id = parts.get("id")
        self._media: dict[Modality, str] = {m: parts[m] for m in MODALITIES if m in parts}
        self._vectors = {name: parts[name] for name in vectors if name in parts}
        used = set(parts.values())
        self._rest = [column for column in table.columns if column not in used]
        self._texts_are_numbers = texts_are_numbers
        self._sizes: dict[str, int] = {}

    def item(self, row: Row) -> NewItem:
        """Raises `DataError` with the reason alone."""
        if row.problem is not None:
            raise DataError(row.problem)
        content: dict[str, str] = {
            m: text for m, c in self._media.items() if (text := self._content(m, row.values.get(c))) is not None
        }
        vectors = {
            name: number_vector(cell, f"column {column!r}")
            for name, column in self._vectors.items()
            if (cell := _list_cell(row.values.get(column), column)) is not None
        }
        if not content and not vectors:
            raise DataError(
                f"the row is empty: nothing in {', '.join([*self._media.values(), *self._vectors.values()])}"
            )
        for name, vector in vectors.items():
            if self._sizes.setdefault(name, len(vector)) != len(vector):
                reason = f"the vector has {len(vector)} numbers where earlier rows have {self._sizes[name]}"
                raise DataError(reason)
        metadata = {c: value for c in self._rest if (value := self._metadata(row.values.get(c))) is not None}
        key = row_id(row, self._id) if self._id is not None else _hash_of(content, metadata, vectors)
        return NewItem(row.number, key, content, metadata, vectors)

    def _content(self, modality: Modality, cell: Any) -> str | None:
        value = media_value(modality, cell, self._table.folder)
        if value is None or isinstance(value, str):
            return value
        if isinstance(value, Path):
            return str(value.resolve())
        what = "bytes; an index keeps the path of a file" if isinstance(value, bytes) else "a list of numbers"
        raise DataError(f"the {modality} is {what}")

    def _metadata(self, cell: Any) -> Any:
        """A cell as JSON; None for one that is empty or cannot be kept."""
        if not is_plain(cell):
            return None
        value = plain_value(cell)
        if not self._texts_are_numbers or not isinstance(value, str):
            return value
        value = value.strip()
        if not _NUMBER.fullmatch(value):
            return value or None
        number = float(value) if "." in value else int(value)
        return number if abs(number) <= _LARGEST else value


def _parts(columns: ItemColumns, table: Table) -> dict[str, str]:
    """The columns that the table has. Raises `DataError` for one that was named and is not there."""
    found: dict[str, str] = {}
    wanted: dict[str, str | None] = {
        "id": columns.id,
        **{m: getattr(columns, m) for m in MODALITIES},
        **columns.vectors,
    }
    for part, name in wanted.items():
        if name is not None and name not in table.columns:
            raise DataError(unknown_column(name, f"{part}={name}", table.columns), file=table.name)
        column = name or (part if part in table.columns else None)
        if column is None and part == "id":
            column = table.id_column
        if column is not None:
            found[part] = column
    if not set(found) - {"id"}:
        reason = "no column holds text, a picture, a sound or a vector; say which one does"
        raise DataError(f"{reason}. Columns: {first_few(table.columns, 30)}.", file=table.name)
    return found


def _list_cell(cell: Any, column: str) -> list[Any] | None:
    """A cell with a vector; None for an empty one."""
    if cell is None or cell == "":
        return None
    if not isinstance(cell, list):
        reason = f"the column {column!r} holds no list of numbers; vectors come in JSONL or Parquet files"
        raise DataError(reason)
    return cell


def _hash_of(
    content: Mapping[str, str], metadata: Mapping[str, Any], vectors: Mapping[str, NDArray[np.float32]]
) -> str:
    digest = hashlib.sha256(json.dumps([content, metadata], sort_keys=True).encode())
    for name, vector in sorted(vectors.items()):
        digest.update(name.encode() + vector.tobytes())
    return digest.hexdigest()[:_ID_DIGITS]
