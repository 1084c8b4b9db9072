"""A few columns of a large table at once, by pyarrow; what pyarrow cannot read, the suite's reader reads row by row.

Both number the rows alike (below the header; lines in JSONL), and both keep what spoils one row with that row.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.data.columns import unknown_column
from triptych.data.sources import SkippedRow
from triptych.data.tables import first_few, format_of, read_table
from triptych.errors import DataError


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Columns of the rows that could be read. `names` are all that the file has, `columns` those that were wanted."""

    source: str
    names: tuple[str, ...]
    columns: dict[str, Any]  # pyarrow arrays [rows]
    numbers: NDArray[np.int64]  # [rows], counted from 1 in the file
    problems: list[SkippedRow]

    @property
    def total(self) -> int:
        """All rows of the file."""
        return len(self.numbers) + len(self.problems)


class _NotPlainError(Exception):
    """The fast way does not do; the careful one says what is wrong, or reads it."""


def read_columns(path: Path, wanted: Sequence[str], *, time: str | None = None) -> Table:
    """Those of the columns that the file has, of CSV, TSV, JSONL (each also with .gz) or Parquet.

    The column `time` alone may come as times; in JSONL others would be names that look like some.

    Raises `DataError` for a file that cannot be read, is empty, or whose name does not tell the format.
    """
    kind = format_of(path)
    if kind is None or path.is_dir():
        reason = "the name must end in .csv, .tsv, .jsonl (also with .gz) or .parquet, for it tells the format"
        raise DataError(reason if path.exists() else "the file does not exist", file=path)
    try:
        if kind == "jsonl":
            return _read_json(path, wanted, time)
        return _read_parquet(path, wanted) if kind == "parquet" else _read_csv(path, wanted)
    except _NotPlainError:
        return _read_carefully(path, kind, wanted)


def require(table: Table, key: str, name: str) -> Any:
    """The column `name`, which the setting `key` names. Raises `DataError` with the columns that there are."""
    if name not in table.columns:
        raise DataError(unknown_column(name, key, table.names), file=table.source)
    return table.columns[name]


def _bytes(path: Path) -> bytes:
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
    except (OSError, EOFError, zlib.error) as error:
        raise _NotPlainError from error


def _read_csv(path: Path, wanted: Sequence[str]) -> Table:
    import pyarrow as pa
    import pyarrow.csv

    data = _bytes(path)
    names, delimiter = _header(data, tabs=format_of(path) == "tsv")
    columns = [name for name in names if name in wanted]
    bad: list[Any] = []

    def keep(row: Any) -> str:
        bad.append(row)
        return "skip"

    try:
        found = pyarrow.csv.read_csv(
            pa.BufferReader(data),
            # one thread: only so are the rows that are skipped numbered
            pyarrow.csv.ReadOptions(column_names=names, skip_rows=1, use_threads=False),
            pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=b'"' in data, invalid_row_handler=keep),
            pyarrow.csv.ConvertOptions(
                include_columns=columns or names[:1],
                column_types=dict.fromkeys(names, pa.string()),
                strings_can_be_null=False,
            ),
        )
    except pa.ArrowException as error:
        raise _NotPlainError from error
    source = str(path)
    problems = [
        SkippedRow(source, row.number - 1, f"the row has {row.actual_columns} cells where the header has {len(names)}")
        for row in bad
    ]
    places = np.array([problem.row - 1 for problem in problems], dtype=np.int64)
    numbers = np.delete(np.arange(1, found.num_rows + len(bad) + 1), places)
    return _table(source, names, found, columns, numbers, problems)


def _header(data: bytes, *, tabs: bool) -> tuple[list[str], str]:
    """The names of the columns in the first line, and what divides them."""
    line, _, rest = data.partition(b"\n")
    if not line.strip() or not rest.strip() or data.count(b'"') % 2 or line.count(b'"') % 2:
        raise _NotPlainError
    try:
        text = line.decode("utf-8-sig").strip("\r")
    except UnicodeDecodeError as error:
        raise _NotPlainError from error
    delimiter = "\t" if tabs else next((d for d in (",", ";", "\t") if d in text), ",")
    names = [name.strip() for name in next(csv.reader(io.StringIO(text), delimiter=delimiter))]
    if not all(names) or len(set(names)) < len(names) or "\r" in text:
        raise _NotPlainError
    return names, delimiter


def _read_json(path: Path, wanted: Sequence[str], time: str | None) -> Table:
    import pyarrow as pa
    import pyarrow.json

    data = _bytes(path)
    try:
        found = pyarrow.json.read_json(
            pa.BufferReader(data), pyarrow.json.ReadOptions(use_threads=False, block_size=1 << 24)
        )
    except pa.ArrowException as error:
        raise _NotPlainError from error
    lines = data.count(b"\n") + (not data.endswith(b"\n"))
    names = list(found.column_names)
    columns = [name for name in names if name in wanted]
    kinds = {name: found.schema.field(name).type for name in columns}
    odd = [name for name, kind in kinds.items() if not (_is_plain(kind) or (name == time and _is_time(kind)))]
    if odd or lines != found.num_rows:  # a blank line moves the numbers
        raise _NotPlainError
    return _table(str(path), names, found, columns, np.arange(1, lines + 1), [])


def _is_plain(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _is_time(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_timestamp(kind))


def _read_parquet(path: Path, wanted: Sequence[str]) -> Table:
    import pyarrow as pa
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            names = list(file.schema_arrow.names)
            columns = [name for name in names if name in wanted]
            found = file.read(columns=columns or names[:1])
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _NotPlainError from error
    return _table(str(path), names, found, columns, np.arange(1, found.num_rows + 1), [])


def _table(
    source: str,
    names: Sequence[str],
    found: Any,
    columns: Sequence[str],
    numbers: NDArray[np.int64],
    problems: list[SkippedRow],
) -> Table:
    if not len(numbers):
        if problems:
            raise DataError(f"none of the {len(problems):,} rows can be used: {problems[0].reason}", file=source)
        raise DataError("the file has columns but no rows", file=source)
    arrays = {name: _flat(found.column(name)) for name in columns}
    return Table(source, tuple(names), arrays, numbers, problems)


def _flat(column: Any) -> Any:
    """One array of a column that may be in chunks, or hold places in a dictionary."""
    import pyarrow as pa

    whole = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    return whole.dictionary_decode() if pa.types.is_dictionary(whole.type) else whole


def _read_carefully(path: Path, kind: str, wanted: Sequence[str]) -> Table:
    """The columns as strings, cell by cell."""
    import pyarrow as pa

    table = read_table(path, kind)
    columns = [name for name in table.columns if name in wanted]
    cells: dict[str, list[str | None]] = {name: [] for name in columns}
    numbers, problems = [], []
    for row in table.rows:
        odd = [name for name in columns if not isinstance(row.values.get(name), str | int | float | None)]
        problem = row.problem or (f"{first_few(odd)}: neither a text nor a number" if odd else None)
        if problem:
            problems.append(SkippedRow(table.name, row.number, problem))
            continue
        numbers.append(row.number)
        for name in columns:
            cells[name].append(_word(row.values.get(name)))
    arrays = pa.table({name: pa.array(values, pa.string()) for name, values in cells.items()})
    return _table(table.name, table.columns, arrays, columns, np.array(numbers, dtype=np.int64), problems)


def _word(cell: str | int | float | None) -> str | None:
    """A cell as text; 1.0 is "1", for a column with gaps becomes float in many tools."""
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    return None if cell is None else str(cell)
