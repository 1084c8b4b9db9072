"""A folder of media as a table: one sub-folder for each class, or flat.

    pets/dog/1.jpg  pets/dog/1.txt  pets/cat/7.png       label = "dog", "cat"
    pets/train/dog/1.jpg  pets/test/dog/9.jpg            the same, split as the folders say

Files of one stem in one folder (1.jpg, 1.txt, 1.wav) are one sample.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from triptych.data.media import AUDIO_SUFFIXES, IMAGE_SUFFIXES, TEXT_SUFFIXES
from triptych.data.tables import Row, Table, format_of
from triptych.errors import DataError
from triptych.types import MODALITIES, Modality

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "development": "validation",
    "test": "test",
    "testing": "test",
}
_NOT_DATA = {"thumbs.db", "desktop.ini", "__macosx"}  # what operating systems leave behind


def read_folder(root: Path) -> Table:
    """Every picture, sound and `.txt` under a folder as a table.

    Its columns are `file` (the id) and those that occur of text, image, audio, label and split. A file of another
    kind becomes a row with a problem. Raises `DataError` when there is nothing to use.
    """
    files = _files_below(root)
    given_split = _has_split_folders(files)
    rows: list[Row] = []
    samples: dict[tuple[Path, str], dict[str, Any]] = {}
    for file in files:
        modality = modality_of(file)
        if modality is None:
            known = "no picture, sound or .txt"
            rows.append(Row(len(rows) + 1, {}, f"{file.as_posix()}: {known} by the end of its name"))
            continue
        values = samples.get((file.parent, file.stem))
        if values is None or modality in values:  # a second picture of one stem is a sample of its own
            values = _place(file, given_split)
            samples[file.parent, file.stem] = values
            rows.append(Row(len(rows) + 1, values))
        values[modality] = root.resolve() / file
    if not samples:
        raise DataError(_nothing_usable(root, files), file=root)
    columns = ("file", *(c for c in (*MODALITIES, "label", "split") if any(c in row.values for row in rows)))
    finished = tuple(_with_text(row) for row in rows)
    return Table(str(root), columns, finished, root.resolve(), id_column="file", given_split=given_split)


def modality_of(file: Path) -> Modality | None:
    """What a file holds, by the end of its name."""
    suffix = file.suffix.lower()
    kinds: dict[Modality, tuple[str, ...]] = {"image": IMAGE_SUFFIXES, "audio": AUDIO_SUFFIXES, "text": TEXT_SUFFIXES}
    return next((modality for modality, suffixes in kinds.items() if suffix in suffixes), None)


def _files_below(root: Path) -> list[Path]:
    """All files, relative to the root and in a fixed order; hidden ones are left out."""
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if _is_data(name))
        found += [Path(folder, name).relative_to(root) for name in sorted(names) if _is_data(name)]
    return found


def _is_data(name: str) -> bool:
    return not name.startswith(".") and name.lower() not in _NOT_DATA


def _has_split_folders(files: list[Path]) -> bool:
    """Whether all media lie under train and validation or test."""
    tops = {file.parts[0].lower() if len(file.parts) > 1 else "" for file in files if modality_of(file)}
    return len(tops) > 1 and {SPLIT_NAMES.get(top) for top in tops} >= {"train"} and tops <= SPLIT_NAMES.keys()


def _place(file: Path, given_split: bool) -> dict[str, Any]:
    """What the place of a file says: its own path, the split and the label."""
    folders = list(file.parts[:-1])
    values: dict[str, Any] = {"file": file.as_posix()}
    if given_split:
        values["split"] = folders.pop(0)
    if folders:
        values["label"] = folders[0]
    return values


def _with_text(row: Row) -> Row:
    """The row with its `.txt` file read."""
    file = row.values.get("text")
    if file is None:
        return row
    try:
        return Row(row.number, {**row.values, "text": Path(file).read_text(encoding="utf-8-sig")})
    except (OSError, UnicodeDecodeError) as error:
        return Row(row.number, {}, f"{file}: cannot be read as UTF-8 ({error})")


def _nothing_usable(root: Path, files: list[Path]) -> str:
    tables = [file.as_posix() for file in files if format_of(file)]
    if tables:
        return f"the folder holds no pictures, sound or .txt, but a table: give {root / tables[0]} as the path"
    return "the folder holds no pictures, sound or .txt files" if files else "the folder is empty"
