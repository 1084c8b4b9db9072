"""The risk head within the vertical: built with the bundle, asked with each item."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triptych.errors import DataError
from triptych.types import Sample
from triptych_finance.language.entities import Gazetteer
from triptych_finance.responses import Risk
from triptych_finance.sample import sample_prices, sample_table
from triptych_finance.settings import Settings
from triptych_finance.volatility.forecasts import RiskHead, find_cases
from triptych_finance.volatility.prices import Prices

if TYPE_CHECKING:
    import datetime

    from triptych.predictor import AnswerContext
    from triptych.vertical import Extension

HEAD = "risk"  # the folder of the head among the files of the vertical
NO_PRICES = "vertical.prices was not set when the bundle was built"
DIGITS = 4


def read_prices(settings: Settings, data: Path) -> Prices | None:
    """The prices that the settings name, or the sample's where the sample is the data; None: there are none.

    Raises `DataError` for a file that cannot be read.
    """
    if settings.prices is not None:
        return _prices_at(_place(settings.prices))
    return _prices_at(sample_prices()) if data.resolve() == sample_table() else None


def build_head(extension: Extension, gazetteer: Gazetteer) -> dict[str, Any]:
    """Put a risk head into the bundle, and return what was measured; where there can be none, why."""
    from triptych.tuning.base import Progress  # late: it brings torch

    settings: Settings = extension.settings
    prices = read_prices(settings, extension.data)
    if prices is None:
        return {"rows": [], "verdict": f"No volatility is foretold: {NO_PRICES}."}
    extension.progress(Progress(HEAD, 0, 1, "volatility"))
    samples = [sample for part in extension.splits.values() for sample in part]
    cases, lacking = find_cases(samples, gazetteer, prices)
    own = settings.prices is not None
    try:
        head, measured = RiskHead.fit(cases, prices, extension.embed, settings.risk, own_prices=own)
    except DataError as error:
        return {"rows": [], "verdict": f"No volatility is foretold: {error.reason}.", "lacking": lacking}
    head.save(extension.directory / HEAD)
    extension.progress(Progress(HEAD, 1, 1, f"answered by {', '.join(dict.fromkeys(head.answers))}"))
    return {**measured, "lacking": lacking}


def risk_of(symbols: Sequence[str], when: datetime.date | None, context: AnswerContext) -> tuple[list[Risk], list[str]]:
    """What is foretold of each company of the request, and why there is nothing, or nothing of one.

    The item itself speaks only where it is about one company. Without `when`, the latest price is the last one known.
    """
    settings = context.settings
    assert isinstance(settings, Settings)  # `settings_type` says so
    head = context.cached("risk head", lambda: _head(context.files / HEAD))
    if head is None:
        return [], [NO_PRICES if settings.prices is None else "the bundle has no risk head; its report says why"]
    if not symbols:
        return [], ["the item names no company; give one as `entities`"]
    try:
        prices = _prices_at(_place(settings.prices) if head.own_prices else sample_prices())
    except DataError as error:
        return [], [f"the prices cannot be read: {error.reason}"]
    sample = context.sample if len(symbols) == 1 else None
    found: list[Risk] = []
    reasons = []
    for symbol in symbols:
        try:
            found += _risk(head, prices, symbol, when, sample, context)
        except DataError as error:
            reasons.append(error.reason)
    return found, reasons


def _risk(
    head: RiskHead,
    prices: Prices,
    symbol: str,
    when: datetime.date | None,
    sample: Sample | None,
    context: AnswerContext,
) -> list[Risk]:
    if symbol not in prices:
        raise DataError(f"there are no prices of {symbol}")
    history = prices.history(symbol)
    since = history.day(-1 if when is None else prices.position(symbol, when))
    return [
        Risk(
            symbol=symbol,
            since=since,
            days=one.days,
            daily_percent=round(100 * math.exp(one.value), DIGITS),
            log_volatility=round(one.value, DIGITS),
            low=round(one.low, DIGITS),
            high=round(one.high, DIGITS),
            level=head.level,
            past=round(one.past, DIGITS),
            model=one.way,
        )
        for one in head.foretell(prices, symbol, since, sample, context.embed)
    ]


def risk_words(risk: Sequence[Risk]) -> list[str]:
    """Forecasts in words, a sentence for each company."""
    said = []
    for symbol in dict.fromkeys(one.symbol for one in risk):
        first, *others = (one for one in risk if one.symbol == symbol)
        later = "".join(f", {one.daily_percent:.1f} over {one.days}" for one in others)
        said.append(
            f"{symbol} may move {first.daily_percent:.1f} % a day over {first.days} trading days{later} "
            f"(prices until {first.since})."
        )
    return said


def _place(prices: str | None) -> Path:
    return Path(prices or "").expanduser()


def _prices_at(path: Path) -> Prices:
    """The prices in a file, read once for each state of it. Raises `DataError`."""
    try:
        state = path.stat()
    except OSError:
        return Prices.read(path)  # says what is wrong
    return _read(path, state.st_mtime_ns, state.st_size)


@functools.lru_cache(maxsize=4)
def _read(path: Path, changed: int, size: int) -> Prices:
    return Prices.read(path)


def _head(directory: Path) -> RiskHead | None:
    return RiskHead.load(directory) if directory.is_dir() else None
