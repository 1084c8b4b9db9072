"""Examples from wherever they are: tables, folders of media, the hub. Bad rows are reported, never silently dropped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from triptych.config import DataConfig
from triptych.data import folders, hub
from triptych.data.columns import Mapped, TargetKind, map_columns, read_sample
from triptych.data.media import check_media, content_digest, is_vector
from triptych.data.tables import Table, format_of, read_table
from triptych.errors import ConfigError, DataError
from triptych.types import MODALITIES, Sample

_DECODERS = 4  # threads; Pillow, libsndfile and FFmpeg let others run while they decode
_REASONS_SHOWN = 3


@dataclass(frozen=True, slots=True)
class SkippedRow:
    """A row that could not be read; `row` counts from 1 (lines in JSONL, rows below the header elsewhere)."""

    file: str
    row: int
    reason: str

    def __str__(self) -> str:
        return f"{self.file}, row {self.row}: {self.reason}"


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """The samples of one source and the rows that were left out.

    `fingerprint` changes with any sample: its id, target, metadata, text, or a byte of its media.
    """

    samples: list[Sample]
    skipped: list[SkippedRow]
    source: str
    fingerprint: str
    given_split: bool = False  # whether the data says which split a sample belongs to: `metadata["split"]`


def load_dataset(
    config: DataConfig,
    path: str | Path | None = None,
    *,
    kind: TargetKind = "label",
    require_target: bool = True,
) -> Dataset:
    """Read all samples of `path` (by default `config.path`) and decode their media once to see that they can be used.

    `kind` says what a target is: one label (str), several labels (tuple of str) or a number (float).

    Raises `DataError` for a source that cannot be used, for the first bad row with `on_error = "fail"`, and when more
    than the share `max_skipped` of the rows is bad; `MissingError` for a hub that cannot be reached.
    """
    table = open_source(config, path)
    total = len(table.rows)
    skipped: list[SkippedRow] = []
    if all(row.problem for row in table.rows):
        skipped = [SkippedRow(table.name, row.number, row.problem or "") for row in table.rows]
        raise _too_many_bad(table.name, skipped, total, config)
    mapped = map_columns(config.columns, table, require_target=require_target)
    samples = _read_rows(table, mapped, config, kind, require_target, skipped)
    samples = _decodable(samples, table, config, skipped)
    skipped.sort(key=lambda bad: bad.row)
    if not samples or len(skipped) > config.max_skipped * total:
        raise _too_many_bad(table.name, skipped, total, config)
    kept = [sample for _, sample in samples]
    return Dataset(kept, skipped, table.name, _fingerprint(kept), given_split="split" in mapped.reserved)


def open_source(config: DataConfig, path: str | Path | None = None) -> Table:
    """The table behind a path, a folder or a hub name, before any column is mapped.

    Raises `ConfigError` when there is no path, `DataError` or `MissingError` when nothing can be read from it.
    """
    source = config.path if path is None else path
    if source is None or not str(source):
        raise ConfigError("data.path is not set; give a CSV, TSV, JSONL or Parquet file, a folder or hub:NAME")
    if config.format == "hub" or (config.format == "auto" and str(source).startswith(hub.PREFIX)):
        return hub.read_hub(str(source))
    place = Path(source)
    kind = config.format
    if kind == "folder" or (kind == "auto" and place.is_dir()):
        if not place.is_dir():
            raise DataError("the folder does not exist" if not place.exists() else "this is not a folder", file=place)
        return folders.read_folder(place)
    found = format_of(place) if kind == "auto" else kind
    if found is None and place.exists():
        reason = "its name does not tell the format; set data.format to csv, tsv, jsonl, parquet or folder"
        raise DataError(reason, file=place)
    return read_table(place, found or "csv")


def _read_rows(
    table: Table,
    mapped: Mapped,
    config: DataConfig,
    kind: TargetKind,
    require_target: bool,
    skipped: list[SkippedRow],
) -> list[tuple[int, Sample]]:
    """Row numbers and samples; what is wrong with other rows is added to `skipped`."""
    samples: list[tuple[int, Sample]] = []
    first_row: dict[str, int] = {}
    sizes: dict[str, int] = {}
    separator = config.columns.target_separator
    for row in table.rows:
        try:
            sample = read_sample(row, table, mapped, kind=kind, separator=separator, require_target=require_target)
            earlier = first_row.setdefault(sample.id, row.number)
            if earlier != row.number:
                reason = f"the id {sample.id!r} was already used in row {earlier}"
                raise DataError(reason, file=table.name, row=row.number)
            _check_sizes(sample, sizes, table, row.number)
        except DataError as error:
            _skip(error, table, row.number, config, skipped)
        else:
            samples.append((row.number, sample))
    return samples


def _check_sizes(sample: Sample, sizes: dict[str, int], table: Table, number: int) -> None:
    """Feature vectors of one modality have one length, that of the first."""
    for modality in MODALITIES:
        value = sample.value(modality)
        if is_vector(value) and sizes.setdefault(modality, len(value)) != len(value):
            reason = f"the {modality} vector has {len(value)} numbers where earlier rows have {sizes[modality]}"
            raise DataError(reason, file=table.name, row=number)


def _decodable(
    samples: list[tuple[int, Sample]], table: Table, config: DataConfig, skipped: list[SkippedRow]
) -> list[tuple[int, Sample]]:
    """The samples whose media can be decoded."""

    def problem(entry: tuple[int, Sample]) -> DataError | None:
        number, sample = entry
        try:
            check_media(sample, max_pixels=config.max_image_pixels, max_seconds=config.max_audio_seconds)
            content_digest(sample)  # read while the file is in the system's cache; the digest is remembered
        except DataError as error:
            bad = DataError(str(error), file=table.name, row=number)
            bad.__cause__ = error
            return bad
        return None

    good = []
    with ThreadPoolExecutor(_DECODERS) as pool:
        for entry, error in zip(samples, pool.map(problem, samples), strict=True):
            if error is None:
                good.append(entry)
            else:
                _skip(error, table, entry[0], config, skipped)
    return good


def _skip(error: DataError, table: Table, number: int, config: DataConfig, skipped: list[SkippedRow]) -> None:
    if config.on_error == "fail":
        raise error
    skipped.append(SkippedRow(table.name, number, error.reason))


def _too_many_bad(name: str, skipped: list[SkippedRow], total: int, config: DataConfig) -> DataError:
    reasons = [f"  row {bad.row}: {bad.reason}" for bad in skipped[:_REASONS_SHOWN]]
    if len(skipped) > _REASONS_SHOWN:
        reasons.append(f"  and {len(skipped) - _REASONS_SHOWN} more")
    limit = f"data.max_skipped allows {config.max_skipped:.0%}"
    return DataError("\n".join([f"{len(skipped)} of {total} rows cannot be used ({limit}):", *reasons]), file=name)


def _fingerprint(samples: Iterable[Sample]) -> str:
    digest = hashlib.sha256()
    for sample in samples:
        about = [sample.id, sample.target, dict(sample.metadata), content_digest(sample)]
        digest.update(json.dumps(about, sort_keys=True, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n")
    return digest.hexdigest()
