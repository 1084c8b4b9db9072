"""The walk-forward back-test: items are replayed through the very engine that runs live, then held against prices.

Nothing in it can see the future. The engine is given one item after the other and its alerts fire in event time, from
what had arrived by then; prices are looked at when all alerts have fired. What a model was trained on is another
matter: texts that it has seen are no test of it.
"""

from __future__ import annotations

import datetime as dt
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from triptych.errors import DataError, UnknownNameError
from triptych_finance.alerts.settings import Channels, LogSettings
from triptych_finance.hindsight import baselines
from triptych_finance.hindsight.baselines import Rival
from triptych_finance.hindsight.judging import (
    RETURNS,
    SENTIMENT,
    VOLUME,
    Compared,
    Judged,
    compare,
    compare_with_chance,
    in_words,
    judged,
    of_chance,
)
from triptych_finance.hindsight.outcomes import DRAWS, Alarms, Bootstrap, Hindsight, Outcome, Span
from triptych_finance.monitor.engine import Monitor
from triptych_finance.monitor.loop import Progress, run
from triptych_finance.signal.board import SECTOR, Observation, SignalReading
from triptych_finance.sources.rows import read_rows
from triptych_finance.sources.tables import Replay
from triptych_finance.store.store import Store
from triptych_finance.volatility.prices import Prices

if TYPE_CHECKING:
    from triptych_finance.language.entities import Gazetteer
    from triptych_finance.scoring import Scorer
    from triptych_finance.settings import Settings

_PAGE = 1_000  # items read back at a time
_FOREVER = 100_000  # days: a replay forgets nothing


@dataclass(frozen=True, slots=True)
class Rules:
    """How alerts are judged: what an event is, and how soon after an alert it must come."""

    horizon: int = 5  # trading days
    window: int = 60  # trading days that a day is held against
    z: float = 3.0  # robust deviations by which the day's absolute return must exceed them
    draws: int = DRAWS
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Backtest:
    """All that a back-test found. `readings` and `events` are by entity, for pictures."""

    counts: Mapping[str, int]
    begin: dt.datetime
    end: dt.datetime
    seconds: float
    budget: float
    rules: Rules
    entities: Sequence[str]
    without_prices: Sequence[str]
    event_count: int
    methods: Sequence[Judged]
    compared: Sequence[Compared]
    verdict: str
    outcomes: Sequence[Outcome]
    problems: Sequence[str] = ()
    readings: Mapping[str, Sequence[SignalReading]] = field(default_factory=dict, repr=False)
    events: Mapping[str, Sequence[dt.date]] = field(default_factory=dict, repr=False)

    @property
    def better(self) -> bool:
        """Whether sentiment is better than every baseline."""
        return bool(self.compared) and all(one.better for one in self.compared)


def quiet(settings: Settings) -> Settings:
    """The same settings for a replay: nobody is sent a notice, and nothing is forgotten."""
    alerts = settings.alerts.model_copy(update={"channels": Channels(log=LogSettings(enabled=False))})
    stream = settings.stream.model_copy(update={"keep_days": _FOREVER})
    return settings.model_copy(update={"alerts": alerts, "stream": stream})


def replay(
    items: Path,
    store: Store,
    scorer: Scorer,
    gazetteer: Gazetteer,
    settings: Settings,
    *,
    prices: Prices | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Progress:
    """Run a file of items through the engine into a store; nobody is told. Raises `DataError` for the file."""
    items = items.expanduser()
    read_rows(items)  # a missing file is told by its name
    source = Replay(items, name="replay")
    try:
        monitor = Monitor(store, scorer, gazetteer, quiet(settings), prices)
        return run(monitor, [source], progress=progress)
    finally:
        source.close()


def backtest(
    items: Path,
    prices: Prices,
    scorer: Scorer,
    gazetteer: Gazetteer,
    settings: Settings,
    rules: Rules | None = None,
    *,
    progress: Callable[[Progress], None] | None = None,
) -> Backtest:
    """Replay items into a temporary store and judge the alerts by prices, next to baselines with the same budget.

    Raises `DataError` where nothing can be judged: no entity has both prices and enough news.
    """
    with tempfile.TemporaryDirectory() as folder, Store.open(Path(folder) / "replay.sqlite3", writer=True) as store:
        done = replay(items, store, scorer, gazetteer, settings, progress=progress)
        return judge(store, prices, gazetteer, settings, rules or Rules(), done=done, file=items)


def judge(
    store: Store,
    prices: Prices,
    gazetteer: Gazetteer,
    settings: Settings,
    rules: Rules,
    *,
    done: Progress,
    file: Path,
) -> Backtest:
    """Judge what a replay has left in a store."""
    signal = settings.signal
    sector = _sector_of(gazetteer)
    readings, fired = _left_in(store)
    spans = spans_of(readings, settings)
    hindsight = Hindsight(prices, spans, horizon=rules.horizon, window=rules.window, z=rules.z)
    if not hindsight.entities:
        raise DataError(_nothing_to_judge(readings, spans, prices, settings), file=file)
    everything = [reading for series in readings.values() for reading in series]
    everything.sort(key=lambda reading: (reading.end, reading.entity))
    watched = {entity: (series[0].start, series[-1].end) for entity, series in readings.items() if entity in spans}
    rivals = {
        SENTIMENT: Rival(fired, baselines.alarms_of(everything, signal)),
        VOLUME: baselines.news_volume(_said(store, sector), signal, settings.alerts, sector),
        RETURNS: baselines.past_returns(prices, watched, signal, settings.alerts, sector),
    }
    bootstrap = Bootstrap(hindsight, draws=rules.draws, seed=rules.seed)
    draws = {name: bootstrap.measures(hindsight.sums(rival.alerts)) for name, rival in rivals.items()}
    events = {entity: hindsight.events(entity) for entity in hindsight.entities}
    event_count = sum(len(days) for days in events.values())
    ways = {name: judged(name, rival, hindsight, draws[name]) for name, rival in rivals.items()}
    own = ways[SENTIMENT]
    chance = baselines.shifted(hindsight, fired, draws=rules.draws, seed=rules.seed)
    compared = [compare(own, ways[name], draws[SENTIMENT], draws[name]) for name in (VOLUME, RETURNS)]
    compared.append(compare_with_chance(own, chance))
    starts, ends = [s[0].start for s in readings.values()], [s[-1].end for s in readings.values()]
    return Backtest(
        counts=done.counts, begin=min(starts), end=max(ends), seconds=done.seconds, budget=signal.budget_per_week,
        rules=rules, entities=hindsight.entities, without_prices=sorted(set(spans) - set(hindsight.entities)),
        event_count=event_count, methods=[*ways.values(), of_chance(own, chance, event_count)],
        compared=compared, verdict=in_words(own, compared, enough=bootstrap.enough),
        outcomes=hindsight.outcomes(fired), problems=done.problems,
        readings={entity: readings[entity] for entity in hindsight.entities},
        events=events,
    )  # fmt: skip


def spans_of(readings: Mapping[str, Sequence[SignalReading]], settings: Settings) -> dict[str, Span]:
    """Where each entity could raise alarms: behind its warm-up, up to its last bucket."""
    lateness = dt.timedelta(hours=settings.signal.lateness_hours)
    warmup = settings.signal.warmup_buckets
    return {
        entity: Span(series[warmup].start + lateness, series[-1].end + lateness)
        for entity, series in readings.items()
        if len(series) > warmup and not entity.startswith(SECTOR)
    }


def _left_in(store: Store) -> tuple[dict[str, list[SignalReading]], Alarms]:
    """The readings of each entity, and the moments at which alerts on entities fired."""
    series: dict[str, list[SignalReading]] = defaultdict(list)
    fired: dict[str, list[dt.datetime]] = defaultdict(list)
    with store.reading() as tx:
        for row in tx.readings():
            if not row.entity.startswith(SECTOR):
                values = {name: getattr(row, name) for name in SignalReading.__dataclass_fields__}
                series[row.entity].append(SignalReading(**values))
        for alert in tx.alerts():
            if alert.fired is not None and not alert.entity.startswith(SECTOR):
                fired[alert.entity].append(alert.fired)
    return dict(series), {entity: sorted(moments) for entity, moments in fired.items()}


def _said(store: Store, sector: Callable[[str], str]) -> Iterator[tuple[dt.datetime, list[Observation]]]:
    """What the board was given, item by item in the order in which they came."""
    first = 1
    with store.reading() as tx:
        while rows := tx.items(numbers=range(first, first + _PAGE)):
            for row in rows:
                about = row.entities if row.duplicate_of is None else ()
                said = [Observation(e.entity, sector(e.entity), row.published, e.score, e.weight) for e in about]
                yield row.arrived, said
            first += _PAGE


def _sector_of(gazetteer: Gazetteer) -> Callable[[str], str]:
    def sector(symbol: str) -> str:
        try:
            return gazetteer.sector(symbol)
        except UnknownNameError:
            return ""

    return sector


def _nothing_to_judge(
    readings: Mapping[str, Sequence[SignalReading]], spans: Mapping[str, Span], prices: Prices, settings: Settings
) -> str:
    if not readings:
        return "no item names a company of the gazetteer, so there is nothing to judge; check vertical.entities"
    if not spans:
        most = max(len(series) for series in readings.values())
        return (
            f"the items span {most} buckets for any one company, and the first {settings.signal.warmup_buckets} are "
            "its warm-up, in which nothing alarms; give more items, or lower vertical.signal.warmup_buckets"
        )
    some = ", ".join(sorted(spans)[:5])
    return f"none of the companies with news ({some}, ...) has prices in {prices.file} in that time"
