"""An index on disk: FAISS' own file, and JSON for ids, metadata and the settings. No pickle."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from triptych.errors import DataError
from triptych.retrieval.columns import Column, Columns
from triptych.retrieval.engines.base import Engine, Kind
from triptych.retrieval.engines.choose import read_index, write_index

SETTINGS = "index.json"
VECTORS = "vectors.faiss"
ROWS = "rows.json"  # "ids", and for each field its different "values" and the "codes" of the rows that point to them
FORMAT = 2


class Settings(BaseModel):
    """The content of `index.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    format: int = FORMAT
    dim: int
    metric: str
    flat_below: int
    rows: int


def write(directory: Path, settings: Settings, engine: Engine, ids: list[str], columns: Columns) -> None:
    """Write the three files into `directory`, which is made; each is replaced whole. Raises `OSError`."""
    directory.mkdir(parents=True, exist_ok=True)
    found = {name: columns.column(name) for name in columns.names}
    fields = {name: {"values": column.values, "codes": column.codes.view.tolist()} for name, column in found.items()}
    rows = json.dumps({"ids": ids, "fields": fields}, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    _new(directory / ROWS).write_text(rows + "\n", encoding="utf-8", errors="surrogatepass")
    if not engine.exact:
        engine.index.nprobe = engine.parameters["probes"]
    write_index(engine.index, _new(directory / VECTORS))
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
        index = read_index(path)
    except RuntimeError as error:
        raise DataError(f"is not a whole FAISS index ({error}); build the index again", file=path) from error
    if (index.ntotal, index.d, len(ids)) != (settings.rows, settings.dim, settings.rows):
        raise DataError(
            f"holds {index.ntotal} vectors of {index.d} dimensions and {len(ids)} ids, where {SETTINGS} says"
            f" {settings.rows} of {settings.dim}; build the index again",
            file=directory,
        )
    return settings, index, ids, columns


def describe(index: Any) -> tuple[Kind, dict[str, Any]]:
    """The kind of an index that was read, and the parameters of its engine."""
    if not isinstance(index, faiss.IndexIVF):
        return "flat", {}
    if index.direct_map.no():  # written before rows were looked up by it
        index.make_direct_map()
    return "ivf-flat", {"probes": index.nprobe, "factor": 1, "breadth": 0}


def _new(path: Path) -> Path:
    return path.with_name(path.name + ".new")


def _read_settings(path: Path) -> Settings:
    try:
        settings = Settings.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise DataError("does not exist; is this the directory of an index?", file=path) from error
    except ValidationError as error:
        raise DataError(f"is not the settings of an index: {error}", file=path) from error
    if settings.format != FORMAT:
        advice = "upgrade triptych" if settings.format > FORMAT else "build the index again"
        raise DataError(f"has format {settings.format}, this triptych reads {FORMAT}: {advice}", file=path)
    return settings


def _read_rows(path: Path) -> tuple[list[str], Columns]:
    try:
        content = json.loads(path.read_text(encoding="utf-8", errors="surrogatepass"))
        ids: list[str] = content["ids"]
        columns = {name: _column(field, len(ids)) for name, field in content["fields"].items()}
    except FileNotFoundError as error:
        raise DataError("does not exist; build the index again", file=path) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise DataError(f"is not the rows of an index ({error!r}); build the index again", file=path) from error
    return ids, Columns(len(ids), columns)


def _column(field: dict[str, Any], rows: int) -> Column:
    codes, values = np.array(field["codes"], dtype=np.int32), field["values"]
    if len(codes) != rows or (rows and not -1 <= codes.min() <= codes.max() < len(values)):
        raise ValueError("a field has other rows than the ids")
    return Column(codes, values)
