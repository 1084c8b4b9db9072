"""Rows of a file one after another, so that memory does not grow with the file: CSV, TSV, JSONL and Parquet.

What spoils a whole file raises `DataError`, though maybe not before the spoilt place is reached; what spoils one row
stays with that row.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import itertools
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from triptych.data.tables import Row, csv_cells, format_of
from triptych.errors import DataError
from triptych_finance.sources.parsing import read_json

LONGEST_LINE = 64 << 20  # bytes, or characters of a cell; longer ones are problems
BATCH_ROWS = 1024  # of Parquet, decoded at a time
Stream = gzip.GzipFile | io.BufferedReader
_NOT_UTF8 = re.compile("[\udc80-\udcff]")  # what "surrogateescape" makes of such bytes


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a .csv, .tsv, .jsonl (each maybe with .gz) or .parquet file. Raises `DataError`."""
    kind = format_of(path)
    if kind is None:
        raise DataError("the name must end in .csv, .tsv, .jsonl or .parquet, for it tells the format", file=path)
    if not path.is_file():
        raise DataError("this is a folder" if path.is_dir() else "the file does not exist", file=path)
    return _parquet(path) if kind == "parquet" else _lines_of(path, kind)


def unpacked_bytes(path: Path, limit: int) -> int:
    """How large a file is without its compression; counting stops above `limit`. Raises `DataError`."""
    if format_of(path) == "parquet":
        meta = _open_parquet(path).metadata
        return sum(int(meta.row_group(group).total_byte_size) for group in range(meta.num_row_groups))
    size = path.stat().st_size
    if size > limit or not _is_gzip(path):
        return size
    total = 0
    try:
        with gzip.open(path) as stream:
            while total <= limit and (piece := stream.read(1 << 20)):
                total += len(piece)
    except (OSError, EOFError, zlib.error) as error:
        raise _damaged(path, error) from error
    return total


def _damaged(path: Path, error: BaseException) -> DataError:
    if isinstance(error, OSError) and error.strerror:
        return DataError(f"the file cannot be read ({error.strerror})", file=path)
    return DataError(f"the gzip archive is cut short or damaged ({error})", file=path)


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _lines_of(path: Path, kind: str) -> Iterator[Row]:
    try:
        with gzip.open(path) if _is_gzip(path) else path.open("rb") as stream:
            yield from _json_lines(path, stream) if kind == "jsonl" else _delimited(path, stream, kind)
    except (OSError, EOFError, zlib.error) as error:
        raise _damaged(path, error) from error


def _check_encoding(path: Path, start: bytes) -> None:
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise DataError("the file is UTF-16 (as some spreadsheets export); save it as UTF-8", file=path)


def _json_lines(path: Path, stream: Stream) -> Iterator[Row]:
    for number in itertools.count(1):
        line = stream.readline(LONGEST_LINE + 1)
        if not line:
            return
        if number == 1:
            _check_encoding(path, line)
            line = line.removeprefix(codecs.BOM_UTF8)
        if len(line) > LONGEST_LINE:
            while line and not line.endswith(b"\n"):
                line = stream.readline(LONGEST_LINE)
            yield Row(number, {}, f"the line is longer than {LONGEST_LINE >> 20} MB")
        elif line.strip():
            try:
                yield Row(number, read_json(line))
            except DataError as error:
                yield Row(number, {}, error.reason)


def _delimited(path: Path, stream: Stream, kind: str) -> Iterator[Row]:
    # one limit for the whole process: articles are longer than the default of 131,072 characters
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST_LINE))
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
    lines = iter(lambda: text.readline(LONGEST_LINE), "")
    first = next((line for line in lines if line.strip()), "")
    _check_encoding(path, first.encode("utf-8", "surrogateescape"))
    delimiter = "\t" if kind == "tsv" else next((d for d in (",", ";", "\t") if d in first), ",")
    reader = csv.reader(itertools.chain([first], lines), delimiter=delimiter, strict=True)
    header = _header(path, reader)
    for number, cells in enumerate(csv_cells(path, reader), start=1):
        if isinstance(cells, str):
            yield Row(number, {}, cells)
        elif len(cells) != len(header):
            yield Row(number, {}, f"the row has {len(cells)} cells where the header has {len(header)}")
        elif any(_NOT_UTF8.search(cell) for cell in cells):
            yield Row(number, {}, "not UTF-8: some bytes fit no character; save the file as UTF-8")
        else:
            yield Row(number, dict(zip(header, cells, strict=True)))


def _header(path: Path, reader: Iterator[list[str]]) -> list[str]:
    try:
        header = [name.strip() for name in next(reader, [])]
    except csv.Error as error:
        raise DataError(f"the header cannot be read ({error})", file=path) from error
    if not any(header):
        raise DataError("the file is empty", file=path)
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise DataError(f"the header names a column twice: {', '.join(map(repr, twice))}", file=path)
    return header


def _open_parquet(path: Path) -> Any:
    import pyarrow
    import pyarrow.parquet

    try:
        return pyarrow.parquet.ParquetFile(path)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise DataError(f"the file is not Parquet, or damaged ({error})", file=path) from error


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow

    numbers = itertools.count(1)
    with _open_parquet(path) as file:
        try:
            for batch in file.iter_batches(batch_size=BATCH_ROWS):
                names = batch.schema.names
                columns = [_column(column) for column in batch.columns]
                for cells in zip(*columns, strict=True):
                    yield Row(next(numbers), dict(zip(names, cells, strict=True)))
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            raise DataError(f"the file is damaged ({error})", file=path) from error


def _column(column: Any) -> list[Any]:
    """The cells of a column; times in microseconds, as Python has them."""
    import pyarrow

    if pyarrow.types.is_timestamp(column.type):
        column = column.cast(pyarrow.timestamp("us", tz=column.type.tz), safe=False)
    return list(column.to_pylist())
