"""The risk head of a bundle: how much a company's price will move, foretold from its past, the item, and the chart.

It learns from dated items about exactly one company that has prices. What was written and said goes in as the vectors
of the model in service, which learnt the mood of news and nothing of volatility.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np

from triptych.errors import BundleError, DataError
from triptych.files import write_synced
from triptych.types import Sample
from triptych_finance.language.entities import Gazetteer
from triptych_finance.sources.parsing import read_symbols, read_time
from triptych_finance.volatility.charts import render, thumbnail
from triptych_finance.volatility.prices import HORIZONS, Prices
from triptych_finance.volatility.ridge import Array
from triptych_finance.volatility.risk import RiskModel
from triptych_finance.volatility.rivals import EVERYTHING, WAYS, Blocks, Days, Ways, compare
from triptych_finance.volatility.settings import RiskSettings
from triptych_finance.volatility.stacking import PAST

Embed = Callable[[Sequence[Sample]], Any]  # samples to float32 [samples, dim]
Embedded = Literal["text", "audio"]

EMBEDDED: tuple[Embedded, ...] = ("text", "audio")
CHART_DAYS, CHART_SPAN = 60, 0.3
META = "forecasts.json"
FORMAT = 1
_NEVER = np.datetime64("NaT", "D")


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """An item about one company, and when it was published."""

    symbol: str
    when: datetime.datetime
    sample: Sample


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is foretold for one of `HORIZONS`: log volatility with its interval, the way, and the past as it is."""

    days: int
    value: float
    low: float
    high: float
    way: str
    past: float


class RiskHead:
    """Foretells log volatility over `HORIZONS`, each by the way that earned it; made by `fit` or `load`.

    `embedded` are the parts of an item of which it has learnt, `own_prices` says that its prices are not the sample's.
    """

    def __init__(
        self, ways: Ways, answers: tuple[str, ...], embedded: tuple[Embedded, ...], *, own_prices: bool
    ) -> None:
        self.ways, self.answers, self.embedded, self.own_prices = ways, answers, embedded, own_prices

    @classmethod
    def fit(
        cls, cases: Sequence[Case], prices: Prices, embed: Embed, settings: RiskSettings, *, own_prices: bool
    ) -> tuple[Self, dict[str, Any]]:
        """The head and what was measured, as JSON; `cases` as `find_cases` gives them.

        The ways are compared on the newest fifth; what answers is then fitted on all, and only on what it needs. Raises
        `DataError` where there are too few cases.
        """
        if not cases:
            raise DataError("no item is about exactly one company with a time and prices before it")
        targets, known = labels(cases, prices)
        embedded = tuple(part for part in EMBEDDED if any(case.sample.value(part) is not None for case in cases))
        blocks = inputs(cases, prices, embed, embedded)
        days: Days = np.array([case.when.date() for case in cases], dtype="datetime64[D]")
        symbols = [case.symbol for case in cases]
        found = compare(blocks, targets, days, known, symbols, settings)
        if EVERYTHING not in found.answers:
            blocks, embedded = {PAST: blocks[PAST]}, ()
        ways = Ways.fit(blocks, targets, settings)
        measured = {
            "items": len(cases),
            "companies": len(set(symbols)),
            "rows": found.rows,
            "differences": {
                str(days): {way: dataclasses.asdict(interval) for way, interval in ways_of.items()}
                for days, ways_of in found.differences.items()
            },
            "verdict": found.verdict,
        }
        return cls(ways, found.answers, embedded, own_prices=own_prices), measured

    def foretell(
        self, prices: Prices, symbol: str, when: datetime.date, sample: Sample | None, embed: Embed
    ) -> list[Outlook]:
        """The outlook of a company from the last close known at `when`, one for each horizon.

        `sample` is an item about this company alone; nothing is encoded where no answer rests on it. Raises
        `UnknownNameError` for a company without prices and `DataError` where they do not reach back far enough.
        """
        blocks: dict[str, Array] = {PAST: np.asarray(prices.past(symbol, when), dtype=np.float64)[None]}
        if EVERYTHING in self.answers:
            blocks["chart"] = _chart(prices, symbol, when)[None]
            own = Sample("") if sample is None else sample
            for part in self.embedded:
                if (one := own.only([part])).modalities:
                    blocks[part] = np.asarray(embed([one]), dtype=np.float64)
        said = {way: self.ways.foretell(way, blocks) for way in set(self.answers)}
        outlooks = []
        for column, (days, way) in enumerate(zip(HORIZONS, self.answers, strict=True)):
            value, low, high = (float(part[0, column]) for part in (said[way].values, said[way].low, said[way].high))
            outlooks.append(Outlook(days, value, low, high, way, float(blocks[PAST][0, column])))
        return outlooks

    @property
    def level(self) -> float:
        """How often the intervals should hold what comes."""
        return self.ways.model.settings.level

    def save(self, directory: Path) -> None:
        """Write the model (safetensors and JSON) and `forecasts.json` into a directory, made where it is missing."""
        self.ways.model.save(directory)
        meta = {
            "format": FORMAT,
            "answers": list(self.answers),
            "embedded": list(self.embedded),
            "persistence": self.ways.off.tolist(),
            "own_prices": self.own_prices,
        }
        write_synced(directory / META, json.dumps(meta, indent=1) + "\n")

    @classmethod
    def load(cls, directory: Path) -> Self:
        """What `save` wrote. Raises `BundleError` where it is missing, damaged or of another format."""
        model = RiskModel.load(directory)
        try:
            meta = json.loads((directory / META).read_text(encoding="utf-8"))
            if meta["format"] != FORMAT:
                raise BundleError(f"{directory / META} has format {meta['format']}, this version reads {FORMAT}")
            answers, off = tuple(meta["answers"]), np.array(meta["persistence"], dtype=np.float64)
            if len(answers) != len(HORIZONS) or not set(answers) <= set(WAYS) or off.shape != (len(HORIZONS),):
                raise ValueError("it does not fit the horizons")
            embedded = tuple(part for part in EMBEDDED if part in meta["embedded"])
            return cls(Ways(model, off), answers, embedded, own_prices=bool(meta["own_prices"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BundleError(f"the risk head in {directory} is damaged ({error}); build the bundle again") from error


def find_cases(samples: Iterable[Sample], gazetteer: Gazetteer, prices: Prices) -> tuple[list[Case], dict[str, int]]:
    """The samples that a risk head can learn from, oldest first, and of the others how many lack what.

    The time is the metadata's `published` or the column that the config calls time; the company is the one that
    `entities` or the text names.
    """
    cases, lacking = [], Counter[str]()
    for sample in samples:
        when, symbols = _time(sample), _companies(sample, gazetteer)
        if when is None:
            lacking["a time"] += 1
        elif len(symbols) != 1:
            lacking["exactly one company"] += 1
        elif symbols[0] not in prices or not _has_past(prices, symbols[0], when):
            lacking[f"prices of {HORIZONS[-1]} days before"] += 1
        else:
            cases.append(Case(symbols[0], when, sample))
    return sorted(cases, key=lambda case: (case.when, case.sample.id)), dict(lacking)


def labels(cases: Sequence[Case], prices: Prices) -> tuple[Array, Days]:
    """What followed each case, [cases, 4], NaN where prices end or have a gap, and the days on which it was known."""
    targets = np.full((len(cases), len(HORIZONS)), np.nan)
    known = np.full(targets.shape, _NEVER)
    for row, case in enumerate(cases):
        dates, position = prices.history(case.symbol).dates, prices.position(case.symbol, case.when)
        for column, days in enumerate(HORIZONS):
            try:
                targets[row, column] = prices.realised_volatility(case.symbol, case.when, days)
            except DataError:
                continue
            known[row, column] = dates[position + days]
    return targets, known


def inputs(cases: Sequence[Case], prices: Prices, embed: Embed, embedded: Sequence[Embedded]) -> Blocks:
    """The blocks of cases as `RiskModel` takes them; rows without a part are NaN."""
    blocks: dict[str, Array] = {
        PAST: np.array([prices.past(case.symbol, case.when) for case in cases], dtype=np.float64),
        "chart": np.array([_chart(prices, case.symbol, case.when) for case in cases]),
    }
    for part in embedded:
        rows = [row for row, case in enumerate(cases) if case.sample.value(part) is not None]
        vectors = np.asarray(embed([cases[row].sample.only([part]) for row in rows]), dtype=np.float64)
        blocks[part] = np.full((len(cases), vectors.shape[1]), np.nan)
        blocks[part][rows] = vectors
    return blocks


def _chart(prices: Prices, symbol: str, when: datetime.date) -> Array:
    drawn = render(prices.window(symbol, when, CHART_DAYS), span=CHART_SPAN)
    return thumbnail(drawn).astype(np.float64)


def _has_past(prices: Prices, symbol: str, when: datetime.date) -> bool:
    try:
        prices.past(symbol, when)
    except DataError:
        return False
    return True


def _time(sample: Sample) -> datetime.datetime | None:
    published, seconds = sample.metadata.get("published"), sample.metadata.get("time")
    try:
        if published is not None:
            return read_time(published)
        return None if seconds is None else datetime.datetime.fromtimestamp(float(seconds), datetime.UTC)
    except (DataError, ValueError, OverflowError, OSError, TypeError):
        return None


def _companies(sample: Sample, gazetteer: Gazetteer) -> list[str]:
    try:
        named = read_symbols(sample.metadata.get("entities"))
    except DataError:
        named = ()
    found = [symbol for given in named if (symbol := gazetteer.known(given)) is not None]
    if isinstance(sample.text, str):
        found += [mention.symbol for mention in gazetteer.find(sample.text)]
    return list(dict.fromkeys(found))
