"""An index on disk: FAISS' own file, Parquet for ids and metadata, JSON for the settings. No pickle."""

from __future__ import annotations

import json
import os
from array import array
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from triptych.errors import DataError
from triptych.retrieval.columns import Column, Columns

SETTINGS = "index.json"
VECTORS = "vectors.faiss"
ROWS = "rows.parquet"
_FIELD = "metadata."  # prefix of a metadata field's column; the column "id" holds the ids


class Settings(BaseModel):
    """The content of `index.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    format: int = 1
    dim: int
    metric: str
    flat_below: int
    rows: int


def write(directory: Path, settings: Settings, index: Any, ids: list[str], columns: Columns) -> None:
    """Write the three files into `directory`, which is made; each is replaced whole. Raises `OSError`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    directory.mkdir(parents=True, exist_ok=True)
    table: dict[str, Any] = {"id": pa.array(ids, pa.large_string())}
    for name in columns.names:
        column = columns.column(name)
        codes = np.array(column.codes, dtype=np.int32)
        texts = [json.dumps(value, ensure_ascii=False, allow_nan=False) for value in column.values]
        table[_FIELD + name] = pa.DictionaryArray.from_arrays(
            pa.array(codes, mask=codes < 0), pa.array(texts, pa.string())
        )
    pq.write_table(pa.table(table), _new(directory / ROWS), compression="zstd")
    # not faiss.write_index: it does not report a disk that fills with the file's last bytes
    with _new(directory / VECTORS).open("wb") as file:
        faiss.write_index(index, faiss.PyCallbackIOWriter(file.write))
    _new(directory / SETTINGS).write_text(settings.model_dump_json(indent=1) + "\n", encoding="utf-8")
    for name in (ROWS, VECTORS, SETTINGS):
        os.replace(_new(directory / name), directory / name)


def read(directory: Path) -> tuple[Settings, Any, list[str], Columns]:
    """What `write` was given. Raises `DataError` naming the file that is missing or damaged."""
    settings = _read_settings(directory / SETTINGS)
    ids, columns = _read_rows(directory / ROWS)
    path = directory / VECTORS
    if not path.is_file():
        raise DataError("does not exist; build the index again", file=path)
    try:
        index = faiss.read_index(str(path))
    except RuntimeError as error:
        raise DataError(f"is not a whole FAISS index ({error}); build the index again", file=path) from error
    if (index.ntotal, index.d, len(ids)) != (settings.rows, settings.dim, settings.rows):
        raise DataError(
            f"holds {index.ntotal} vectors of {index.d} dimensions and {len(ids)} ids, where {SETTINGS} says"
            f" {settings.rows} of {settings.dim}; build the index again",
            file=directory,
        )
    return settings, index, ids, columns


def _new(path: Path) -> Path:
    return path.with_name(path.name + ".new")


def _read_settings(path: Path) -> Settings:
    try:
        settings = Settings.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise DataError("does not exist; is this the directory of an index?", file=path) from error
    except ValidationError as error:
        raise DataError(f"is not the settings of an index: {error}", file=path) from error
    if settings.format != 1:
        raise DataError(f"has format {settings.format}, this triptych reads 1: upgrade triptych", file=path)
    return settings


def _read_rows(path: Path) -> tuple[list[str], Columns]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        names = pq.read_schema(path).names
        table = pq.read_table(path, read_dictionary=[name for name in names if name.startswith(_FIELD)])
    except FileNotFoundError as error:
        raise DataError("does not exist; build the index again", file=path) from error
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"is not a whole Parquet file ({error}); build the index again", file=path) from error
    columns: dict[str, Column] = {}
    for name in names:
        if name.startswith(_FIELD):
            cells = table[name].unify_dictionaries().combine_chunks()
            codes = cells.indices.fill_null(-1).to_numpy().astype(np.int32)
            values = [json.loads(text) for text in cells.dictionary.to_pylist()]
            columns[name.removeprefix(_FIELD)] = Column(array("i", codes.tobytes()), values)
    return table["id"].to_pylist(), Columns(table.num_rows, columns)
