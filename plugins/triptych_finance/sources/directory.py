"""Files that appear in a folder: `directory:inbox/`, `directory:/srv/news?every=5`.

A file is read once it is complete: written under another name (a dot in front, or .tmp or .part behind) and renamed,
or unchanged from one look to the next. When its items are committed it is moved to `done/` below the folder, and one
that cannot be read to `failed/`; so the folder is the list of what is still to do, and nothing else has to be kept.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field

from triptych.data.tables import Row, format_of
from triptych.errors import DataError, MissingError
from triptych_finance.sources.parsing import MEGABYTE, Rules, content_id, read_options, read_record, utc_now
from triptych_finance.sources.rows import read_rows
from triptych_finance.stream.item import Item, storable
from triptych_finance.stream.source import Poll

if TYPE_CHECKING:
    from triptych_finance.store.store import Store

DONE, FAILED = "done", "failed"
UNFINISHED = (".tmp", ".part")
LARGEST_JSON = 64 * MEGABYTE  # of a .json file, which is read whole
LONGEST_TITLE = 200  # characters of the first line of a .txt file

log = logging.getLogger(__name__)


class DirectoryOptions(Rules):
    """What may stand behind `?` in the address of a folder."""

    every: Annotated[float, Field(gt=0)] = 2.0  # seconds between two looks


@dataclasses.dataclass(frozen=True, slots=True)
class File:
    """A file of the folder in one state: another size, time or inode is another file."""

    name: str
    stamp: str
    failed: bool = False

    @classmethod
    def at(cls, path: Path) -> Self | None:
        """The file of a path as it is now; None where it is gone."""
        try:
            stat = path.lstat()
        except OSError:
            return None
        return cls(path.name, f"{stat.st_size}-{stat.st_mtime_ns}-{stat.st_ino}")

    def same(self, other: File | None) -> bool:
        """Whether the other one is this file, and unchanged."""
        return other is not None and (self.name, self.stamp) == (other.name, other.stamp)


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """Files that were read to their end and still lie in the folder, and how many rows of `file` were taken."""

    done: tuple[File, ...] = ()
    file: File | None = None
    row: int = 0

    @classmethod
    def read(cls, cursor: str | None) -> Self:
        """The place that a cursor names. Raises `DataError` for a cursor that no folder has written."""
        if not cursor:
            return cls()
        try:
            values = json.loads(cursor)
            file = None if values["file"] is None else File(**values["file"])
            return cls(tuple(File(**done) for done in values["done"]), file, int(values["row"]))
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{cursor!r} is no place in a folder; give this source another name") from error

    def __str__(self) -> str:
        return json.dumps(dataclasses.asdict(self))  # ASCII, for a name need not be UTF-8


class Directory:
    """The files of one folder (not of those below it), oldest first: .csv, .jsonl, .json, .txt, .tsv, .parquet.

    A .json file holds one item or a list of them; a .txt file is one item, published when the file was last written.
    An item without an id takes a hash of its content. A file that cannot be read is one problem, a bad row another.
    """

    def __init__(
        self,
        folder: Path,
        *,
        name: str,
        options: DirectoryOptions | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.name = name
        self.folder = folder
        self._options = options or DirectoryOptions()
        self._clock, self._sleep = clock, sleep
        self._seen: dict[str, File] = {}  # at the last look
        self._next_look = clock()
        self._ready: deque[File] = deque()
        self._told: set[str] = set()  # problems with the folder itself, told once
        self._place: Place | None = None
        self._entries: Iterator[Item | str] | None = None  # what follows in the file of `_place`

    @classmethod
    def open(cls, spec: str, *, name: str, store: Store | None = None) -> Self:
        """The folder of an address. Raises `ConfigError`, `DataError` for a missing folder, `MissingError`."""
        place, options = read_options(spec.partition(":")[2], DirectoryOptions)
        folder = Path(place).expanduser()
        if not folder.is_dir():
            raise DataError("the folder does not exist" if not folder.exists() else "this is no folder", file=folder)
        if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            raise MissingError(f"{folder}: files that were read are moved to {DONE}/, so it must be writable")
        return cls(folder, name=name, options=options)

    def poll(self, cursor: str | None, limit: int, wait_s: float) -> Poll:
        """At most `limit` rows after the cursor; looks into the folder at most every `every` seconds."""
        until = self._clock() + wait_s
        place = Place.read(cursor)
        if self._place is None:  # the cursor of an earlier run: what it names is committed
            self._put_away(place)
        if place != self._place:
            self._entries = None
        place = dataclasses.replace(place, done=tuple(f for f in place.done if f.same(File.at(self.folder / f.name))))
        items: list[Item] = []
        problems: list[str] = []
        for _ in range(limit):
            if place.file is None:
                file = self._next_file(place, until if not items and not problems else None, problems)
                if file is None:
                    break
                place = dataclasses.replace(place, file=file, row=0)
                self._entries = None
            place = self._step(place, items, problems)
        self._place = place
        told = [storable(problem) for problem in problems]
        return Poll(items, str(place), False, told, answered="folder" not in self._told)

    def acknowledge(self, cursor: str) -> None:
        """Move the files that the cursor names as read to `done/` or `failed/`."""
        self._put_away(Place.read(cursor))

    def close(self) -> None:
        """Let go of the file that is being read."""
        self._entries, self._place = None, None

    def _step(self, place: Place, items: list[Item], problems: list[str]) -> Place:
        """Take one row, or find that there is none."""
        file = place.file
        assert file is not None
        try:
            if self._entries is None:
                self._entries = self._skip(file, place.row)
            entry = next(self._entries, None)
        except (DataError, OSError) as error:
            reason = str(error) if isinstance(error, DataError) else f"{self.folder / file.name}: {error.strerror}"
            problems.append(reason)
            self._entries = None
            return Place((*place.done, dataclasses.replace(file, failed=True)))
        if entry is None:
            self._entries = None
            return Place((*place.done, file))
        if isinstance(entry, Item):
            items.append(entry)
        else:
            problems.append(entry)
        return dataclasses.replace(place, row=place.row + 1)

    def _skip(self, file: File, rows: int) -> Iterator[Item | str]:
        """The entries behind the first `rows`. Raises `DataError` where the file is no longer the one it was."""
        path = self.folder / file.name
        if not file.same(File.at(path)):
            raise DataError(
                f"changed or vanished after {rows:,} of its rows; if it is there, it is read anew", file=path
            )
        entries = self._entries_of(path)
        for _ in range(rows):
            next(entries, None)
        return entries

    def _entries_of(self, path: Path) -> Iterator[Item | str]:
        kind = path.suffix.lower()
        written = datetime.fromtimestamp(path.stat().st_mtime, UTC) if kind == ".txt" else None
        rows = _text_file(path, self._options) if kind == ".txt" else _json_file(path) if kind == ".json" else None
        for row in read_rows(path) if rows is None else rows:
            where = str(path) if kind == ".txt" else f"{path}, row {row.number}"
            if row.problem is not None:
                yield f"{where}: {row.problem}"
                continue
            yield read_record(
                row.values, source=self.name, place=where, spare_id=content_id(row.values), now=utc_now(),
                rules=self._options, undated=written,
            )  # fmt: skip

    def _next_file(self, place: Place, until: float | None, problems: list[str]) -> File | None:
        """The oldest complete file that is not done; waits for one until `until`, unless that is None."""
        while True:
            while self._ready:
                file = self._ready.popleft()
                if not any(file.same(done) for done in place.done) and file.same(File.at(self.folder / file.name)):
                    return file
            pause = self._next_look - self._clock()
            if pause <= 0:
                self._look(problems)
                continue
            if until is None or problems or (patience := until - self._clock()) <= 0:
                return None
            self._sleep(min(pause, patience))

    def _look(self, problems: list[str]) -> None:
        """List the folder; what is as it was at the look before is ready."""
        self._next_look = self._clock() + self._options.every
        try:
            with os.scandir(self.folder) as entries:
                paths = [Path(entry.path) for entry in entries if entry.is_file(follow_symlinks=False)]
            self._told.discard("folder")
        except OSError as error:
            self._tell("folder", f"{self.folder}: the folder cannot be read ({error.strerror})", problems)
            return
        seen: dict[str, File] = {}
        for path in paths:
            if path.name.startswith(".") or path.name.lower().endswith(UNFINISHED):
                continue
            if format_of(path) is None and path.suffix.lower() not in (".json", ".txt"):
                self._tell(path.name, f"{path}: not a .csv, .jsonl, .json or .txt file; it stays there", problems)
            elif (file := File.at(path)) is not None:
                seen[path.name] = file
        ready = [file for file in seen.values() if file.same(self._seen.get(file.name))]
        self._ready = deque(sorted(ready, key=lambda file: (int(file.stamp.split("-")[1]), file.name)))
        self._seen = seen

    def _tell(self, key: str, problem: str, problems: list[str]) -> None:
        if key not in self._told:
            self._told.add(key)
            problems.append(problem)

    def _put_away(self, place: Place) -> None:
        for file in place.done:
            path = self.folder / file.name
            if not file.same(File.at(path)):
                continue
            try:
                target = self.folder / (FAILED if file.failed else DONE)
                target.mkdir(exist_ok=True)
                path.rename(_free(target / file.name))
            except OSError as error:  # it stays in the cursor, so it is not read twice
                log.warning("%s was read, but cannot be moved: %s", path, error.strerror)


def _free(path: Path) -> Path:
    """A path like this one that does not exist: news.csv, news.1.csv, news.2.csv."""
    number, free = 0, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.stem}.{number}{path.suffix}")
    return free


def _json_file(path: Path) -> Iterator[Row]:
    if path.stat().st_size > LARGEST_JSON:
        raise DataError(f"a .json file may have {LARGEST_JSON // MEGABYTE} MB; use .jsonl, one item a line", file=path)
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DataError(f"not valid JSON: {error}", file=path) from error
    for number, values in enumerate(content if isinstance(content, list) else [content], start=1):
        if isinstance(values, dict):
            yield Row(number, values)
        else:
            yield Row(number, {}, f"must be a JSON object, like {{...}}, not a {type(values).__name__}")


def _text_file(path: Path, rules: Rules) -> Iterator[Row]:
    if path.stat().st_size > rules.max_text_mb * MEGABYTE:
        raise DataError(f"the text is longer than {rules.max_text_mb:g} MB (max_text_mb)", file=path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"not UTF-8 ({error.reason} at byte {error.start}); save the file as UTF-8", file=path
        ) from error
    first, _, rest = text.strip().partition("\n")
    title = first if rest.strip() and len(first) <= LONGEST_TITLE else ""
    yield Row(1, {"text": text, "title": title})
