"""Replay of a file in event time: `replay:news.csv`, `replay:news.jsonl.gz?speed=60`, `replay:news.parquet`."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field

from triptych.data.tables import Row
from triptych.errors import ConfigError, DataError
from triptych_finance.sources.parsing import EPOCH, MEGABYTE, Rules, read_options, read_record, utc_now
from triptych_finance.sources.rows import read_rows, unpacked_bytes
from triptych_finance.stream.item import Item
from triptych_finance.stream.source import Poll

if TYPE_CHECKING:
    from triptych_finance.store.store import Store

SORTED_IN_MEMORY = 64 * MEGABYTE  # of a file without its compression; its items take some four times as much


class ReplayOptions(Rules):
    """What may stand behind `?` in the address of a replay."""

    speed: Annotated[float, Field(gt=0)] | None = None  # times real time; None: as fast as the items are taken
    order: Literal["time", "file"] = "time"  # "file": as they stand, so that rows that go back in time come late


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """How far a replay has come: rows handed out, and its clock, the latest event time among them."""

    rows: int
    clock: datetime

    @classmethod
    def read(cls, cursor: str | None) -> Self:
        """The place that a cursor names. Raises `DataError` for a cursor that no replay has written."""
        if not cursor:
            return cls(0, EPOCH)
        rows, _, clock = cursor.partition("@")
        try:
            return cls(int(rows), datetime.fromisoformat(clock))
        except ValueError as error:
            raise DataError(f"{cursor!r} is no place in a replay; give this source another name") from error

    def __str__(self) -> str:
        return f"{self.rows}@{self.clock.isoformat()}"


class Replay:
    """A CSV, TSV, JSONL (each maybe with .gz) or Parquet file as a stream that ends.

    With `order=time` a file of up to 64 MB (unpacked) is read whole and sorted by `published`, rows of equal time as
    they stand; a larger one is read row by row and must be sorted already: a row that goes back in time raises
    `DataError`. With `order=file` any file is read row by row, and what goes back in time is late. `arrived` is the
    clock of the replay: the latest event time so far. Rows without an id take their number in the file.

    The cursor counts rows. Between two runs a file may grow by later rows; after any other change, start anew.
    """

    def __init__(
        self,
        path: Path,
        *,
        name: str,
        options: ReplayOptions | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.name = name
        self.path = path
        self._options = options or ReplayOptions()
        self._clock, self._sleep = clock, sleep
        self._entries: Iterator[Item | str] = iter(())
        self._next: Item | str | None = None
        self._place: Place | None = None
        self._began: tuple[float, datetime] | None = None  # the clock, and the first event time, of this run

    @classmethod
    def open(cls, spec: str, *, name: str, store: Store | None = None) -> Self:
        """The replay of an address. Raises `ConfigError` for its options, `DataError` for its file."""
        place, options = read_options(spec.partition(":")[2], ReplayOptions)
        if not place:
            raise ConfigError("a replay needs a file, as replay:news.csv")
        path = Path(place).expanduser()
        read_rows(path)  # a missing file is an error now, not when the first item is asked for
        return cls(path, name=name, options=options)

    @property
    def paced(self) -> bool:
        """Whether it waits for the times of its rows."""
        return self._options.speed is not None

    def poll(self, cursor: str | None, limit: int, wait_s: float) -> Poll:
        """At most `limit` rows after the cursor. Raises `DataError` for a file that cannot be used."""
        until = self._clock() + wait_s
        place = Place.read(cursor)
        if place != self._place:
            self._go_to(place)
        items: list[Item] = []
        problems: list[str] = []
        rows, clock, ended = place.rows, place.clock, False
        for _ in range(limit):
            entry = self._peek()
            if entry is None:
                ended = True
                break
            if isinstance(entry, str):
                problems.append(entry)
            elif self._due(max(entry.published, clock), until, may_wait=not items and not problems):
                clock = max(entry.published, clock)
                items.append(dataclasses.replace(entry, arrived=clock))
            else:
                break
            self._next = None
            rows += 1
        self._place = Place(rows, clock)
        return Poll(items, str(self._place), ended, problems)

    def acknowledge(self, cursor: str) -> None:
        """Nothing to do: the file keeps its rows."""

    def close(self) -> None:
        """Let go of the file."""
        self._entries, self._next, self._place = iter(()), None, None

    def _go_to(self, place: Place) -> None:
        in_time = self._options.order == "time"
        if in_time and unpacked_bytes(self.path, SORTED_IN_MEMORY) <= SORTED_IN_MEMORY:
            entries = self._sorted()
            if place.rows > len(entries):
                raise DataError(
                    f"the replay stopped behind row {place.rows:,}, but the file has {len(entries):,}; has it changed?",
                    file=self.path,
                )
            self._entries = iter(entries[place.rows :])
        else:
            rows = itertools.islice(read_rows(self.path), place.rows, None)
            self._entries = self._checked(rows, place.clock) if in_time else map(self._read, rows)
        self._next, self._began = None, None

    def _read(self, row: Row) -> Item | str:
        where = f"{self.path}, row {row.number}"
        if row.problem is not None:
            return f"{where}: {row.problem}"
        return read_record(
            row.values, source=self.name, place=where, spare_id=str(row.number), now=utc_now(), rules=self._options
        )

    def _sorted(self) -> list[Item | str]:
        """All rows by time; one that cannot be read stays behind the row before it."""
        entries = [self._read(row) for row in read_rows(self.path)]
        if not any(isinstance(entry, Item) for entry in entries):
            raise DataError(f"no row can be used. {entries[0] if entries else 'There is none.'}", file=self.path)
        moment, keyed = EPOCH, []
        for entry in entries:
            moment = entry.published if isinstance(entry, Item) else moment
            keyed.append((moment, entry))
        return [entry for _, entry in sorted(keyed, key=lambda pair: pair[0])]

    def _checked(self, rows: Iterator[Row], clock: datetime) -> Iterator[Item | str]:
        for row in rows:
            entry = self._read(row)
            if isinstance(entry, Item):
                if entry.published < clock:
                    raise DataError(
                        f"'published' goes back from {clock.isoformat()} to {entry.published.isoformat()}. A file of "
                        f"more than {SORTED_IN_MEMORY // MEGABYTE} MB must be sorted by time; or say order=file, "
                        "and such rows are taken as late",
                        file=self.path,
                        row=row.number,
                    )
                clock = entry.published
            yield entry

    def _peek(self) -> Item | str | None:
        if self._next is None:
            self._next = next(self._entries, None)
        return self._next

    def _due(self, moment: datetime, until: float, *, may_wait: bool) -> bool:
        """Whether the replay's clock has reached `moment`; waits for it until `until`."""
        if self._options.speed is None:
            return True
        if self._began is None:
            self._began = (self._clock(), moment)
        start, first = self._began
        due = start + (moment - first).total_seconds() / self._options.speed
        while (left := due - self._clock()) > 0:
            patience = until - self._clock() if may_wait else 0.0
            if patience <= 0:
                return False
            self._sleep(min(left, patience))
        return True
