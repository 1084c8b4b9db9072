"""Events from files: a million rows in a second or so, and every row that cannot be used is reported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.data.sources import SkippedRow
from triptych.data.tables import first_few
from triptych.errors import DataError
from triptych_recommendation.data.columns import Table, read_columns, require
from triptych_recommendation.data.interactions import MOST_KINDS, Interactions
from triptych_recommendation.data.problems import tolerate
from triptych_recommendation.data.settings import DataSettings
from triptych_recommendation.data.times import DAY, MISSING, microseconds_of, moment_of, read_times

LARGEST_WEIGHT = 1e6
"""A heavier event is taken for a mistake: it would outweigh all others."""
_KEY = "vertical.data.columns"


@dataclass(frozen=True, slots=True, eq=False)
class Events:
    """What a file says that people did, in its order, without the rows that cannot be used.

    A weight of 0 marks what is known but not learnt from: a dislike, or a type that the settings weigh with 0.
    """

    source: str
    users: tuple[str, ...]  # in the order of their first appearance
    items: tuple[str, ...]
    kinds: tuple[str, ...]
    user: NDArray[np.int32]  # [events], the place in `users`
    item: NDArray[np.int32]  # [events]
    kind: NDArray[np.int8]  # [events]
    time: NDArray[np.int64]  # [events], microseconds since 1970 (UTC); the number of the row where there are no times
    weight: NDArray[np.float32]  # [events], at least 0
    timed: bool
    repeated: int  # events that were there before, with the same user, item, type and time
    skipped: list[SkippedRow]

    def __len__(self) -> int:
        return len(self.user)

    def interactions(self) -> Interactions:
        """What is learnt from: the events with a weight above 0. All users and items keep their rows."""
        keep = self.weight > 0
        return Interactions.of_rows(
            self.users, self.items, self.user[keep], self.item[keep], self.time[keep], self.weight[keep],
            self.kind[keep], self.kinds,
        )  # fmt: skip

    def notes(self) -> list[str]:
        """What is worth telling whoever gave the file."""
        unlearnt = int((self.weight == 0).sum())
        counted = (
            (len(self.skipped), f"rows cannot be used; the first: {self.skipped[0] if self.skipped else ''}"),
            (self.repeated, "events stand more than once and count once"),
            (unlearnt, "events are known but not learnt from: dislikes, or types that weigh 0"),
        )
        found = [f"{self.source}: {count:,} {words}" for count, words in counted if count]
        return found if self.timed else [*found, f"{self.source}: no column of times, so the order of the rows counts"]


def read_events(path: Path, settings: DataSettings | None = None, *, now: datetime | None = None) -> Events:
    """Read events from CSV, TSV, JSONL (each also with .gz) or Parquet; the settings say what the columns are called.

    Only user and item must be there. A missing type is "rating" where there are values, otherwise "view"; the weight
    is the one in its column, or else that of its type. A rating below `like_from` weighs 0. Further columns are
    passed over. A row cannot be used where user or item is empty, a time or number cannot be read, a time is more
    than a day after `now`, or a weight is below 0 or above `LARGEST_WEIGHT`.

    Raises `DataError` for a file that cannot be used, for the first bad row with `on_error = "fail"`, and when more
    than the share `max_skipped` of the rows is bad.
    """
    settings = settings or DataSettings()
    names = settings.columns
    table = read_columns(path, list(names.model_dump().values()), time=names.time)
    for part in sorted(names.model_fields_set):
        require(table, f"{_KEY}.{part}", getattr(names, part))
    rows = _Rows(table, settings)
    user = rows.names("user", require(table, f"{_KEY}.user", names.user))
    item = rows.names("item", require(table, f"{_KEY}.item", names.item))
    kind = rows.kinds(table.columns.get(names.type), "rating" if names.value in table.columns else "view")
    time = rows.times(table.columns.get(names.time), now or datetime.now(UTC))
    weight = rows.weights(table.columns.get(names.weight), table.columns.get(names.value), kind)
    skipped = rows.skipped()
    good = np.flatnonzero(rows.good)
    first = _first_of_equals(user.places[good], item.places[good], kind.places[good], time[good])
    kept = good[first]
    users, items, kinds = user.compact(kept), item.compact(kept), kind.compact(kept)
    return Events(
        table.source, users.words, items.words, kinds.words, users.places, items.places, kinds.places.astype(np.int8),
        time[kept], weight[kept], names.time in table.columns, len(good) - len(kept), skipped,
    )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class _Words:
    """A column of names: the different ones, and the place of each row's among them."""

    words: tuple[str, ...]
    places: NDArray[np.int32]

    def compact(self, rows: NDArray[np.int64]) -> _Words:
        """Those rows alone, and the words that they have."""
        there = self.places[rows]
        used = np.flatnonzero(np.bincount(there, minlength=len(self.words)))
        new = np.zeros(len(self.words), dtype=np.int32)
        new[used] = np.arange(len(used))
        return _Words(tuple(self.words[place] for place in used), new[there])


class _Rows:
    """The rows of one table and what is wrong with each; the first finding about a row stands."""

    def __init__(self, table: Table, settings: DataSettings) -> None:
        self.table, self.settings = table, settings
        self.good = np.ones(len(table.numbers), dtype=bool)
        self.problems = list(table.problems)

    def refuse(self, bad: NDArray[np.bool_], reason: Callable[[int], str]) -> None:
        """Mark rows; `reason` says of one what is wrong."""
        for row in np.flatnonzero(bad & self.good):
            self.problems.append(SkippedRow(self.table.source, int(self.table.numbers[row]), reason(int(row))))
        self.good &= ~bad

    def names(self, what: str, column: Any) -> _Words:
        """The users or items; an empty one is a problem."""
        found = self._words(column, what)
        empty = np.array([not word for word in found.words], dtype=bool)
        self.refuse(empty[found.places], lambda row: f"no {what}: the cell is empty")
        return found

    def kinds(self, column: Any | None, default: str) -> _Words:
        """The types. Raises `DataError` for more than there can be."""
        if column is None:
            return _Words((default,), np.zeros(len(self.good), np.int32))
        found = self._words(column, "type")
        if len(found.words) > MOST_KINDS:
            few = f"{len(found.words):,} different types ({first_few(found.words)}), at most {MOST_KINDS} can be told"
            raise DataError(f"{few} apart; is {self.settings.columns.type!r} the column?", file=self.table.source)
        return _Words(tuple(word or default for word in found.words), found.places)

    def times(self, column: Any | None, now: datetime) -> NDArray[np.int64]:
        """Microseconds since 1970, or the numbers of the rows."""
        if column is None:
            return self.table.numbers.copy()
        found = read_times(column)
        self.refuse(found == MISSING, lambda row: f"the time {_shown(column, row)} is neither ISO 8601 nor a number")
        self.refuse(
            found > microseconds_of(now) + DAY,
            lambda row: f"the time {_shown(column, row)} is in the future ({_date(int(found[row]))})",
        )
        return found

    def weights(self, given: Any | None, values: Any | None, kind: _Words) -> NDArray[np.float32]:
        """Float32 [rows], 0 for what is not learnt from."""
        of_kind = np.array([self.settings.weights.get(word, 1.0) for word in kind.words], dtype=np.float32)
        found = of_kind[kind.places] if len(of_kind) else np.zeros(0, np.float32)
        if given is not None:
            numbers = self._numbers(given, "weight")
            reason = f"is not between 0 and {LARGEST_WEIGHT:,.0f}"
            self.refuse(
                (numbers < 0) | (numbers > LARGEST_WEIGHT), lambda row: f"the weight {_shown(given, row)} {reason}"
            )
            found = np.where(np.isnan(numbers), found, numbers).astype(np.float32)
        if values is not None:
            rating = np.array([word == "rating" for word in kind.words], dtype=bool)[kind.places]
            found[rating & (self._numbers(values, "value") < self.settings.like_from)] = 0
        return found

    def skipped(self) -> list[SkippedRow]:
        """What is wrong, in the order of the rows. Raises `DataError` where the settings do not bear it."""
        return tolerate(self.problems, self.table.total, self.table.source, self.settings)

    def _words(self, column: Any, what: str) -> _Words:
        import pyarrow as pa
        import pyarrow.compute as pc

        kind = column.type
        if pa.types.is_floating(kind):  # a column of whole numbers with gaps becomes float in many tools
            column = pc.if_else(pc.is_nan(column), pa.scalar(None, kind), column)
            column = column.cast(pa.int64()) if _are_whole(column.to_numpy(zero_copy_only=False)) else column
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or _is_text(kind) or pa.types.is_null(kind)):
            raise DataError(f"the column of the {what} holds {kind}, neither texts nor numbers", file=self.table.source)
        texts = pc.utf8_trim_whitespace(column.cast(pa.string())).fill_null("")
        encoded = pc.dictionary_encode(texts)
        return _Words(tuple(encoded.dictionary.to_pylist()), encoded.indices.to_numpy().astype(np.int32))

    def _numbers(self, column: Any, what: str) -> NDArray[np.float64]:
        """Float64 [rows], NaN for an empty cell; what is no number, or a NaN that was written, is a problem."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if _is_text(column.type):
            trimmed = pc.utf8_trim_whitespace(column)
            column = pc.if_else(pc.equal(trimmed, ""), pa.scalar(None, trimmed.type), trimmed)
        given = pc.is_valid(column).to_numpy(zero_copy_only=False)
        try:
            found = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False).copy()
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            found = np.array([_float(cell) for cell in column.to_pylist()], dtype=np.float64)
        bad = given & ~np.isfinite(found)
        self.refuse(bad, lambda row: f"the {what} {_shown(column, row)} is not a finite number")
        found[bad] = np.nan
        return np.asarray(found, dtype=np.float64)


def _first_of_equals(*keys: NDArray[Any]) -> NDArray[np.int64]:
    """The places of the first of each group of rows that agree in all keys, in order."""
    order = np.lexsort(keys)
    new = np.ones(len(order), dtype=bool)
    if len(order):
        new[1:] = np.logical_or.reduce([key[order[1:]] != key[order[:-1]] for key in keys])
    return np.sort(order[new])


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _are_whole(numbers: NDArray[np.float64]) -> bool:
    known = numbers[~np.isnan(numbers)]
    return bool(np.all((np.abs(known) < 2**53) & (known == np.round(known))))


def _float(cell: Any) -> float:
    try:
        return float(cell)
    except (TypeError, ValueError):
        return float("nan")


def _shown(column: Any, row: int) -> str:
    """A cell as a message shows it."""
    return repr(column[row].as_py())


def _date(microseconds: int) -> str:
    try:
        return moment_of(microseconds).date().isoformat()
    except OverflowError:
        return "after the year 9999"
