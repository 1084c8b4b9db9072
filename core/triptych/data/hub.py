"""Data sets of the Hugging Face hub, through `datasets` where that is installed and the hub (or its cache) is at hand.

`hub:NAME` takes every split and respects it; `hub:NAME:SPLIT` takes one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from triptych.data.tables import Row, Table
from triptych.errors import DataError, MissingError

PREFIX = "hub:"


def read_hub(source: str) -> Table:
    """A data set as a table; pictures and sounds stay encoded (bytes or path), class numbers become their names.

    Raises `MissingError` when `datasets` is not installed or the data set cannot be fetched, `DataError` when it has
    no rows.
    """
    name, _, split = source.removeprefix(PREFIX).partition(":")
    if not name:
        raise DataError("a hub data set is named like hub:owner/name or hub:owner/name:train", file=source)
    rows: list[Row] = []
    columns: dict[str, None] = {}
    for part_name, part in _load(source, name, split or None).items():
        columns.update(dict.fromkeys(part.column_names))
        for values in _encoded_rows(part):
            rows.append(Row(len(rows) + 1, values if split else {**values, "split": part_name}))
    if not rows:
        raise DataError("the data set has no rows", file=source)
    if not split:
        columns["split"] = None
    return Table(source, tuple(columns), tuple(rows), Path(), given_split=not split)


def _load(source: str, name: str, split: str | None) -> dict[str, Any]:
    try:
        import datasets
    except ImportError as error:
        raise MissingError(f"{source} needs the package datasets: pip install 'triptych[hub]'") from error
    try:
        loaded = datasets.load_dataset(name, split=split)
    except Exception as error:  # network, cache, authorisation and builders fail in many ways
        reason = f"{source} could not be fetched ({type(error).__name__}: {error})"
        hint = "check the name and the network, or save the data as CSV, JSONL or Parquet and give its path"
        raise MissingError(f"{reason}; {hint}") from error
    return {split: loaded} if split else dict(loaded)


def _encoded_rows(part: Any) -> Iterator[dict[str, Any]]:
    """Rows with media undecoded (we decode them ourselves, with our limits) and labels by name."""
    import datasets

    names: dict[str, list[str]] = {}
    for column, feature in part.features.items():
        if isinstance(feature, datasets.Image | datasets.Audio):
            part = part.cast_column(column, type(feature)(decode=False))
        elif isinstance(feature, datasets.ClassLabel):
            names[column] = feature.names
    for row in part:
        yield {column: _named(value, names.get(column)) for column, value in row.items()}


def _named(value: Any, names: list[str] | None) -> Any:
    """A class number by its name; the hub writes -1 where there is no label."""
    if names is None or value is None:
        return value
    return names[value] if value >= 0 else None
