"""Snapshots: what FAISS and the table need to open without reading the whole log, each file with its hash.

A snapshot is written aside, synced and renamed; then the log points to it. One that is missing or damaged costs time
and nothing else: the index is built from the log again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from triptych.errors import DataError, MissingError
from triptych.files import is_full_disk, sha256, sync, sync_tree
from triptych.retrieval.base import VectorField
from triptych.retrieval.columns import Column, Columns
from triptych.retrieval.engines.base import Engine, Kind, Plan
from triptych.retrieval.engines.choose import read_index, restore_engine, write_index
from triptych.retrieval.field import FieldSearch
from triptych.retrieval.ids import Ids
from triptych.retrieval.locks import ReadWriteLock
from triptych.retrieval.log import Mark
from triptych.retrieval.search import RowSearch
from triptych.retrieval.state import State
from triptych.retrieval.table import Table

FOLDER = "snapshots"
MANIFEST = "snapshot.json"
FORMAT = 2
_INCOMING = ".incoming-"
_BLOCK = 20_000  # ids read at a time

log = logging.getLogger(__name__)


class FieldSnapshot(BaseModel):
    """One field: how its engine is searched, and what recall that had when it was built."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    field: VectorField
    kind: Kind
    parameters: dict[str, Any]
    recall: float


class Manifest(BaseModel):
    """The content of `snapshot.json`. `files` has the SHA-256 of each of the others."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    format: int = FORMAT
    key: int
    seq: int
    fields: list[FieldSnapshot]
    metadata: list[str]
    files: dict[str, str]


class Pointer(BaseModel):
    """Which snapshot is in use, as the log has it: its directory's name, its manifest's SHA-256, and its mark."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    manifest: str
    key: int
    seq: int


def write_snapshot(home: Path, state: State, mark: Mark) -> Pointer:
    """Write the state at a mark of the log. The caller keeps others from changing it. Raises `OSError`."""
    folder = home / FOLDER
    folder.mkdir(exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=_INCOMING, dir=folder))
    try:
        fields = []
        for name, search in state.searches.items():
            engine = search.rows.engine
            write_index(engine.index, work / f"{name}.faiss")
            np.save(work / f"{name}.positions.npy", search.positions.view)
            fields.append(
                FieldSnapshot(
                    field=search.field, kind=engine.kind, parameters=engine.parameters, recall=search.rows.recall
                )
            )
        names = _write_table(work, state.table)
        files = {path.name: sha256(path) for path in sorted(work.iterdir())}
        manifest = Manifest(key=mark.key, seq=mark.seq, fields=fields, metadata=names, files=files).model_dump_json()
        (work / MANIFEST).write_text(manifest, encoding="utf-8")
        sync_tree(work)
        digest = hashlib.sha256(manifest.encode("utf-8")).hexdigest()
        target = folder / f"{mark.key}-{mark.seq}-{secrets.token_hex(4)}"  # never the name of one that is in use
        os.rename(work, target)
        sync(folder)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    return Pointer(name=target.name, manifest=digest, key=mark.key, seq=mark.seq)


def check_snapshot(home: Path, pointer: Pointer) -> Manifest:
    """The manifest, after every hash was compared. Raises `DataError` naming the file that is missing or damaged."""
    folder = home / FOLDER / pointer.name
    manifest = _read_manifest(folder, pointer)
    for name, digest in manifest.files.items():
        path = folder / name
        if Path(name).name != name or not path.is_file():
            raise DataError("does not exist", file=path)
        if sha256(path) != digest:
            raise DataError("is damaged: its content is not what was written", file=path)
    return manifest


def load_snapshot(
    home: Path, pointer: Pointer, fields: Iterable[VectorField], plans: Mapping[str, Plan], *, mapped: bool
) -> tuple[State, Mark]:
    """The state and the mark it was written at. `mapped` leaves in the files what can be left there.

    Raises `DataError` naming the file that is missing, damaged or of other fields.
    """
    folder = home / FOLDER / pointer.name
    manifest = check_snapshot(home, pointer)
    if {entry.field for entry in manifest.fields} != set(fields):
        raise DataError("is of other vector fields than the log", file=folder / MANIFEST)
    try:
        table = _read_table(folder, manifest.metadata)
        lock = ReadWriteLock()
        searches = {}
        for entry in manifest.fields:
            name = entry.field.name
            index = read_index(folder / f"{name}.faiss", mapped=mapped)
            engine: Engine = restore_engine(index, plans[name], entry.kind, entry.parameters)
            rows = RowSearch(plans[name], engine, recall=entry.recall, frozen=mapped, lock=lock)
            searches[name] = FieldSearch(entry.field, table, rows, np.load(folder / f"{name}.positions.npy"))
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise DataError(f"cannot be read: {error}", file=folder) from error
    return State(table, searches, lock), Mark(manifest.key, manifest.seq)


def clear_snapshots(home: Path, keep: str = "") -> None:
    """Remove every snapshot but one, and what interrupted writers left."""
    folder = home / FOLDER
    for path in folder.iterdir() if folder.is_dir() else []:
        if path.name != keep:
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def full_disk_explained(home: Path) -> Iterator[None]:
    """Turn the errors of a full disk into a `MissingError`."""
    try:
        yield
    except Exception as error:
        if is_full_disk(error):
            raise MissingError(f"{home}: no snapshot was written, for the disk is full; nothing is lost") from error
        raise


def _read_manifest(folder: Path, pointer: Pointer) -> Manifest:
    path = folder / MANIFEST
    try:
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != pointer.manifest:
            raise DataError("is damaged: its content is not what was written", file=path)
        manifest = Manifest.model_validate_json(content)
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", file=path) from error
    except ValidationError as error:
        raise DataError(f"is not the manifest of a snapshot: {error}", file=path) from error
    if manifest.format != FORMAT:
        raise DataError(f"has format {manifest.format}, this triptych reads {FORMAT}", file=path)
    return manifest


def _write_table(folder: Path, table: Table) -> list[str]:
    """Keys, ids, deaths and metadata; returns the names of the metadata's fields, in the order of their files."""
    ids = [name.encode("utf-8") for name in table.ids_at(np.arange(len(table)))]
    np.save(folder / "keys.npy", table.keys.view)
    np.save(folder / "deaths.npy", table.deaths.view)
    # with something between them, or two ids beside each other could look like a third one that was erased
    np.save(folder / "ids.npy", np.frombuffer(b"\n".join([*ids, b""]), dtype=np.uint8))
    np.save(folder / "lengths.npy", np.fromiter(map(len, ids), dtype=np.int32, count=len(ids)))
    names = table.columns.names
    for number, name in enumerate(names):
        column = table.columns.column(name)
        np.save(folder / f"codes-{number}.npy", column.codes.view)
        (folder / f"values-{number}.json").write_text(json.dumps(column.values, allow_nan=False), encoding="utf-8")
    return names


def _read_table(folder: Path, names: list[str]) -> Table:
    keys = np.load(folder / "keys.npy")
    ids = _read_ids(folder)
    columns = {}
    for number, name in enumerate(names):
        values = json.loads((folder / f"values-{number}.json").read_text(encoding="utf-8"))
        columns[name] = Column(np.load(folder / f"codes-{number}.npy"), values)
    table = Table.of(keys, ids, Columns(len(keys), columns))
    table.bury(np.load(folder / "deaths.npy"))
    return table


def _read_ids(folder: Path) -> Ids:
    """The ids, some at a time: a million Python strings at once would leave holes in memory that stay."""
    lengths, raw = np.load(folder / "lengths.npy"), np.load(folder / "ids.npy")
    ids = Ids()
    end = 0
    for start in range(0, len(lengths), _BLOCK):
        some = lengths[start : start + _BLOCK]
        first, end = end, end + int(some.sum()) + len(some)
        names = raw[first:end].tobytes()
        stops = np.cumsum(some) + np.arange(len(some))
        ids.extend(
            [
                names[stop - length : stop].decode("utf-8")
                for stop, length in zip(stops.tolist(), some.tolist(), strict=True)
            ]
        )
    return ids
