"""Daily prices: read with every problem named, realised volatility as MAEC labels it, days that broke with the past."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from triptych.data.tables import Row, format_of, read_table
from triptych.errors import DataError, UnknownNameError

Array = npt.NDArray[np.float64]

HORIZONS = (3, 7, 15, 30)  # trading days
NUMBERS = ("open", "high", "low", "close", "adj_close", "volume")
COLUMNS = ("symbol", "date", *NUMBERS)
MAX_GAP_DAYS = 14  # two closes further apart are not neighbours: no return is taken between them
LEAST_DEVIATION = 1e-4  # of daily returns, so that a price that stands still has a logarithm


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """The days of one symbol, oldest first; all arrays are [days].

    `returns` are simple daily returns of the adjusted close; the first, and one over a gap, is NaN.
    """

    symbol: str
    dates: npt.NDArray[np.datetime64]  # days
    open: Array
    high: Array
    low: Array
    close: Array
    adj_close: Array
    volume: Array
    rows: npt.NDArray[np.int64]  # where each day stands in the file, counted from 1
    returns: Array = field(init=False)

    def __post_init__(self) -> None:
        returns = np.full(len(self.dates), np.nan)
        returns[1:] = self.adj_close[1:] / self.adj_close[:-1] - 1
        returns[1:][np.diff(self.dates).astype(int) > MAX_GAP_DAYS] = np.nan
        object.__setattr__(self, "returns", returns)

    def __len__(self) -> int:
        return len(self.dates)

    def day(self, position: int) -> datetime.date:
        """The date at a position."""
        value: datetime.date = self.dates[position].item()
        return value

    def part(self, start: int, stop: int) -> History:
        """The days from `start` up to, and without, `stop`."""
        return History(
            self.symbol, *(getattr(self, f.name)[start:stop] for f in fields(self) if f.init and f.name != "symbol")
        )

    def adjusted(self) -> History:
        """The same days with all prices adjusted as the adjusted close is, so that splits draw no cliffs."""
        factor = self.adj_close / self.close
        prices = (self.open * factor, self.high * factor, self.low * factor, self.adj_close, self.adj_close)
        return History(self.symbol, self.dates, *prices, self.volume, self.rows)


class Prices:
    """Daily prices by symbol; `problems` lists what was passed over (days without prices, gaps).

    Wherever a method takes `when`, a date stands for the close of that day and a datetime for the last day that had
    ended by then (UTC), so that an item of the morning never sees the evening's price.
    """

    def __init__(
        self, histories: Mapping[str, History], *, file: str | Path = "prices", problems: tuple[str, ...] = ()
    ) -> None:
        self._histories = dict(histories)
        self.file = file
        self.problems = problems

    @classmethod
    def read(cls, path: Path) -> Prices:
        """A CSV (also gzipped) or Parquet file with the columns `COLUMNS`, in any order of rows.

        A row without any number is a day without trading: it is passed over and listed. Raises `DataError` naming
        file, row and symbol for a row that cannot be right, and naming the file for one that cannot be read.
        """
        kind = format_of(path)
        if kind not in ("csv", "parquet"):
            raise DataError("prices are a .csv, .csv.gz or .parquet file", file=path)
        table = read_table(path, kind)
        missing = [name for name in COLUMNS if name not in table.columns]
        if missing:
            raise DataError(f"the header lacks {', '.join(missing)}; prices need {', '.join(COLUMNS)}", file=path)
        problems: list[str] = []
        days: dict[str, dict[datetime.date, tuple[int, list[float]]]] = {}
        for row in table.rows:
            symbol, date = _key(row, path)
            numbers = _numbers(row, symbol, path)
            if numbers is None:
                problems.append(f"{path}, row {row.number}: {symbol} has no prices on {date}; the day is passed over")
                continue
            known = days.setdefault(symbol, {})
            if date in known:
                reason = f"{symbol} has {date} twice; row {known[date][0]} has it already"
                raise DataError(reason, file=path, row=row.number)
            known[date] = (row.number, numbers)
        if not days:
            raise DataError("the file holds no prices", file=path)
        histories = {symbol: _history(symbol, rows) for symbol, rows in sorted(days.items())}
        for history in histories.values():
            problems += _gaps(history, path)
        return cls(histories, file=path, problems=tuple(problems))

    @property
    def symbols(self) -> list[str]:
        """All symbols, sorted."""
        return sorted(self._histories)

    def __contains__(self, symbol: object) -> bool:
        return symbol in self._histories

    def history(self, symbol: str) -> History:
        """All days of a symbol. Raises `UnknownNameError` for one without prices."""
        if symbol not in self._histories:
            raise UnknownNameError(f"symbol with prices in {self.file}", symbol, self.symbols)
        return self._histories[symbol]

    def returns(self, symbol: str) -> Array:
        """Simple daily returns of the adjusted close, [days]; NaN on the first day and after a gap."""
        return self.history(symbol).returns

    def position(self, symbol: str, when: datetime.date) -> int:
        """The position of the last close known at `when`.

        Raises `DataError` before the first day, and where the last known close is more than `MAX_GAP_DAYS` old.
        """
        history = self.history(symbol)
        day = _last_close(when)
        position = int(np.searchsorted(history.dates, np.datetime64(day), side="right")) - 1
        if position < 0:
            reason = f"{symbol} has no price on or before {day}; its prices begin on {history.day(0)}"
            raise DataError(reason, file=self.file, row=int(history.rows[0]))
        if (day - history.day(position)).days > MAX_GAP_DAYS:
            end = "ends on" if position == len(history) - 1 else "has a gap from"
            reason = f"{symbol} {end} {history.day(position)}, too long before {day}; add the prices in between"
            raise DataError(reason, file=self.file, row=int(history.rows[position]))
        return position

    def realised_volatility(self, symbol: str, when: datetime.date, days: int) -> float:
        """Log of the standard deviation of the `days` daily returns after the close known at `when`.

        As MAEC's labels: simple returns of the adjusted close, deviation with divisor `days`. Raises `DataError` where
        the prices end earlier or have a gap.
        """
        position = self.position(symbol, when)
        return self._volatility(symbol, position + 1, position + 1 + days, when)

    def past_volatility(self, symbol: str, when: datetime.date, days: int) -> float:
        """The same of the last `days` daily returns up to the close known at `when`."""
        position = self.position(symbol, when)
        return self._volatility(symbol, position + 1 - days, position + 1, when)

    def past(self, symbol: str, when: datetime.date) -> npt.NDArray[np.float32]:
        """The past volatility over each of `HORIZONS`, [4]: what `RiskModel` takes as "past"."""
        return np.array([self.past_volatility(symbol, when, days) for days in HORIZONS], dtype=np.float32)

    def change(self, symbol: str, when: datetime.date, days: int) -> float:
        """The simple return over the `days` trading days after the close known at `when`."""
        position, history = self.position(symbol, when), self.history(symbol)
        self._check(history, position, position + days + 1, when)
        return float(history.adj_close[position + days] / history.adj_close[position] - 1)

    def window(self, symbol: str, when: datetime.date, days: int = 60) -> History:
        """The last `days` days (fewer where the prices begin later) up to the close known at `when`, adjusted."""
        stop = self.position(symbol, when) + 1
        return self.history(symbol).part(max(0, stop - days), stop).adjusted()

    def volatility_events(
        self, symbol: str, *, window: int = 60, z: float = 3.0, ahead: int = 0
    ) -> list[datetime.date]:
        """The days that broke with the past by more than `z` robust deviations (1.4826 times the median deviation).

        Of a day counts its absolute return or, with `ahead`, the log volatility of the `ahead` days after it. It is
        held against the `window` values before it, of which `ahead` leaves out those that reach beyond the day.
        """
        if window < 2 or ahead == 1 or ahead < 0:
            raise ValueError(f"an event needs window >= 2 and ahead 0 or >= 2, got {window} and {ahead}")
        history = self.history(symbol)
        values = _log_deviations(history.returns, ahead) if ahead else np.abs(history.returns)
        lag = ahead or 1
        first = window + lag - 1
        if len(values) <= first:
            return []
        before = np.lib.stride_tricks.sliding_window_view(values, window)[: len(values) - first]
        enough = np.isfinite(before).sum(axis=1) > window // 2
        before = np.where(enough[:, None], before, 0.0)
        centre = np.nanmedian(before, axis=1)
        spread = 1.4826 * np.nanmedian(np.abs(before - centre[:, None]), axis=1)
        breaks = enough & (values[first:] > centre + z * np.maximum(spread, LEAST_DEVIATION))
        return [history.day(first + int(i)) for i in np.flatnonzero(breaks)]

    def _volatility(self, symbol: str, start: int, stop: int, when: datetime.date) -> float:
        if stop - start < 2:
            raise ValueError(f"a volatility needs two days or more, got {stop - start}")
        history = self.history(symbol)
        self._check(history, start - 1, stop, when)
        return math.log(max(float(history.returns[start:stop].std()), LEAST_DEVIATION))

    def _check(self, history: History, start: int, stop: int, when: datetime.date) -> None:
        """Whether the closes from `start` up to, and without, `stop` are all there, without a gap."""
        symbol = history.symbol
        if start < 0:
            reason = f"{symbol} has only {stop} closes up to {when}, {stop - start} are needed"
            raise DataError(reason, file=self.file, row=int(history.rows[0]))
        if stop > len(history):
            reason = f"{symbol} ends on {history.day(-1)}; {stop - len(history)} more days after {when} are needed"
            raise DataError(reason, file=self.file, row=int(history.rows[-1]))
        gaps = np.flatnonzero(np.isnan(history.returns[start + 1 : stop]))
        if len(gaps):
            after = start + 1 + int(gaps[0])
            reason = f"{symbol} has no prices between {history.day(after - 1)} and {history.day(after)}"
            raise DataError(f"{reason}; add them", file=self.file, row=int(history.rows[after]))


def _last_close(when: datetime.date) -> datetime.date:
    if not isinstance(when, datetime.datetime):
        return when
    if when.tzinfo is not None:
        when = when.astimezone(datetime.UTC)
    return when.date() - datetime.timedelta(days=1)


def _key(row: Row, path: Path) -> tuple[str, datetime.date]:
    """The symbol and date of a row."""
    if row.problem:
        raise DataError(row.problem, file=path, row=row.number)
    symbol = str(row.values["symbol"] or "").strip()
    if not symbol:
        raise DataError("the symbol is empty", file=path, row=row.number)
    value = row.values["date"]
    if isinstance(value, datetime.datetime):
        return symbol, value.date()
    if isinstance(value, datetime.date):
        return symbol, value
    try:
        return symbol, datetime.datetime.fromisoformat(str(value).strip()).date()
    except ValueError as error:
        reason = f"{symbol}: the date {value!r} is not a date such as 2015-12-31"
        raise DataError(reason, file=path, row=row.number) from error


def _numbers(row: Row, symbol: str, path: Path) -> list[float] | None:
    """The six numbers of a row in the order of `NUMBERS`; None where all are empty."""
    numbers = [_number(row, name, symbol, path) for name in NUMBERS]
    empty = [name for name, number in zip(NUMBERS, numbers, strict=True) if math.isnan(number)]
    if len(empty) == len(NUMBERS):
        return None
    if empty:
        raise DataError(f"{symbol}: {', '.join(empty)} empty, others are not", file=path, row=row.number)
    for name, number in zip(NUMBERS, numbers, strict=True):
        if math.isinf(number) or number < 0 or (number == 0 and name != "volume"):
            bound = "finite" if math.isinf(number) else "0 or more" if name == "volume" else "positive"
            raise DataError(f"{symbol}: {name} must be {bound}, got {number:g}", file=path, row=row.number)
    high, low = numbers[1], numbers[2]
    if high < low:
        raise DataError(f"{symbol}: high {high:g} is lower than low {low:g}", file=path, row=row.number)
    return numbers


def _number(row: Row, name: str, symbol: str, path: Path) -> float:
    value: Any = row.values[name]
    if value is None or (isinstance(value, str) and not value.strip()):
        return math.nan
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise DataError(f"{symbol}: {name} is not a number: {value!r}", file=path, row=row.number) from error


def _history(symbol: str, days: Mapping[datetime.date, tuple[int, list[float]]]) -> History:
    dates = sorted(days)
    opened, high, low, close, adj_close, volume = np.array([days[date][1] for date in dates]).T
    rows = np.array([days[date][0] for date in dates], dtype=np.int64)
    moments = np.array(dates, dtype="datetime64[D]")
    return History(symbol, moments, opened, high, low, close, adj_close, volume, rows)


def _gaps(history: History, path: Path) -> Iterator[str]:
    for i in map(int, np.flatnonzero(np.isnan(history.returns[1:]))):
        between = f"between {history.day(i)} and {history.day(i + 1)}"
        yield f"{path}, row {history.rows[i + 1]}: {history.symbol} has no prices {between}; no return is taken there"


def _log_deviations(returns: Array, days: int) -> Array:
    """At each position, the log deviation of the `days` returns after it; NaN where they are not all known."""
    result = np.full(len(returns), np.nan)
    if len(returns) > days:
        after = np.lib.stride_tricks.sliding_window_view(returns[1:], days)
        result[: len(after)] = np.log(np.maximum(after.std(axis=1), LEAST_DEVIATION))
    return result
