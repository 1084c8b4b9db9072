"""Tables from files: CSV, TSV, JSONL and Parquet to named columns and numbered rows.

What spoils a whole file (missing, empty, wrong encoding) raises `DataError`; what spoils one row (ragged, broken JSON)
stays with that row, so that the caller decides whether to skip it.
"""

from __future__ import annotations

import codecs
import csv
import difflib
import gzip
import io
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from triptych.errors import DataError

SUFFIXES = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One row; `number` counts from 1 (lines in JSONL, rows below the header elsewhere).

    `problem` says why the row cannot be read; its `values` are empty then.
    """

    number: int
    values: Mapping[str, Any]
    problem: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Rows with the same columns. `name` is how messages call it, `folder` what relative media paths start from.

    `id_column` holds ids where the source itself has some; `given_split` says that a column "split" comes with it.
    """

    name: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    folder: Path
    id_column: str | None = None
    given_split: bool = False


def first_few(names: Sequence[str], count: int = 5) -> str:
    """Names for a message: "a, b, c and 7 more"."""
    more = len(names) - count
    return ", ".join(names[:count]) + (f" and {more} more" if more > 0 else "")


def format_of(path: Path) -> str | None:
    """The format that a file's name tells ("csv", "tsv", "jsonl", "parquet"), also before ".gz"; None if none."""
    name = path.name.lower().removesuffix(".gz")
    return SUFFIXES.get(Path(name).suffix)


def read_table(path: Path, kind: str) -> Table:
    """Read a file of format "csv", "tsv", "jsonl" or "parquet". Raises `DataError` when nothing in it can be used."""
    data = _read_bytes(path)
    if kind == "parquet":
        return _read_parquet(path, data)
    text = _decode(path, data)
    table = _read_jsonl(path, text) if kind == "jsonl" else _read_delimited(path, text, kind)
    if not table.rows:
        raise DataError("the file has a header but no rows", file=path)
    return table


def _read_bytes(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        near = difflib.get_close_matches(path.name, siblings, n=1)
        hint = f"; did you mean {path.parent / near[0]}?" if near else ""
        raise DataError(f"the file does not exist{hint}", file=path) from error
    except OSError as error:
        raise DataError(f"the file cannot be read ({error.strerror})", file=path) from error
    if data.startswith(b"\x1f\x8b"):
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"the gzip archive is cut short or damaged ({error})", file=path) from error
    if not data.strip():
        raise DataError("the file is empty", file=path)
    return data


def _decode(path: Path, data: bytes) -> str:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise DataError("the file is UTF-16 (as some spreadsheets export); save it as UTF-8", file=path)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # utf-8-sig counts from behind the byte order mark
        offset = error.start + (len(codecs.BOM_UTF8) if data.startswith(codecs.BOM_UTF8) else 0)
        line = data.count(b"\n", 0, offset) + 1
        reason = f"not UTF-8: byte 0x{data[offset]:02x} at offset {offset:,} (line {line:,}) fits no character"
        raise DataError(f"{reason}; save the file as UTF-8", file=path) from error


def _read_delimited(path: Path, text: str, kind: str) -> Table:
    delimiter = "\t" if kind == "tsv" else _delimiter(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header = _header(path, reader)
    rows = []
    for number, cells in enumerate(csv_cells(path, reader), start=1):
        if isinstance(cells, str):
            rows.append(Row(number, {}, cells))
        elif len(cells) != len(header):
            rows.append(Row(number, {}, f"the row has {len(cells)} cells where the header has {len(header)}"))
        else:
            rows.append(Row(number, dict(zip(header, cells, strict=True))))
    return Table(str(path), header, tuple(rows), path.resolve().parent)


def _delimiter(text: str) -> str:
    """The comma, unless the header has none and has semicolons or tabs (spreadsheets in many countries)."""
    header = text.lstrip().partition("\n")[0]
    return next((d for d in (",", ";", "\t") if d in header), ",")


def _header(path: Path, reader: Iterator[list[str]]) -> tuple[str, ...]:
    try:
        names = next(cells for cells in reader if cells)
    except (csv.Error, StopIteration) as error:
        raise DataError(f"the header cannot be read ({error})", file=path) from error
    header = tuple(name.strip() or f"column_{i}" for i, name in enumerate(names, start=1))
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise DataError(f"the header names a column twice: {', '.join(twice)}", file=path)
    return header


def csv_cells(path: Path, reader: Any) -> Iterator[list[str] | str]:
    """The cells of each row of a `csv.reader`, or what is wrong with it; blank lines are no rows.

    Raises `DataError`, naming file and row, for a quote that is never closed.
    """
    number = 0
    while True:
        start = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            number += 1
            if "unexpected end" in str(error):  # this one row has swallowed all that followed
                reason = f"a quote that is opened in line {start:,} is never closed"
                raise DataError(reason, file=path, row=number) from error
            yield f"the row cannot be parsed: {error}"
        else:
            if cells:
                number += 1
                yield cells


def _read_jsonl(path: Path, text: str) -> Table:
    rows = []
    columns: dict[str, None] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        row = _json_row(number, line)
        columns.update(dict.fromkeys(row.values))
        rows.append(row)
    return Table(str(path), tuple(columns), tuple(rows), path.resolve().parent)


def _json_row(number: int, line: str) -> Row:
    try:
        values = json.loads(line)
    except json.JSONDecodeError as error:
        return Row(number, {}, f"not valid JSON: {error.msg} at character {error.pos + 1}")
    except RecursionError:
        return Row(number, {}, "not valid JSON: nested too deeply")
    if not isinstance(values, dict):
        return Row(number, {}, f"a line must be a JSON object, like {{...}}, not a {type(values).__name__}")
    return Row(number, values)


def _read_parquet(path: Path, data: bytes) -> Table:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(pyarrow.BufferReader(data))
        values = table.to_pylist()
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise DataError(f"the file is not Parquet, or damaged ({error})", file=path) from error
    if not values:
        raise DataError("the file has columns but no rows", file=path)
    rows = tuple(Row(number, row) for number, row in enumerate(values, start=1))
    return Table(str(path), tuple(table.column_names), rows, path.resolve().parent)
