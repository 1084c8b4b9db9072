"""`kill -9` of a monitor at random moments of a replay, and whether its store ends like that of an undisturbed one.

A child replays the synthetic sample, with a cheap scorer, and delivers to a log; it is killed, another goes on in the
same store, until one comes to the end. A test runs it with few kills, `benchmarks/finance_crash.py` with many.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import random
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import create_engine, make_url, select

from triptych.config import Section
from triptych_finance.alerts.delivery import Deliverer, LogChannel
from triptych_finance.alerts.settings import AlertSettings
from triptych_finance.language.entities import Gazetteer
from triptych_finance.monitor.engine import Monitor
from triptych_finance.monitor.loop import run
from triptych_finance.sample import sample_gazetteer, sample_prices, sample_stream
from triptych_finance.scoring import Scores
from triptych_finance.signal.settings import SignalSettings
from triptych_finance.sources.tables import Replay
from triptych_finance.store.store import Store
from triptych_finance.store.tables import metadata
from triptych_finance.stream.settings import StreamSettings

DIM = 24
LONG_S = 120.0  # more than a replay takes
DELIVERY = {"notice": {"attempts", "next_try", "sent", "error"}}  # columns that tell when, and not what
GOOD = frozenset(
    """
    raises raised wins won soars beats beat record gains up upgraded hiring strong profit rises jumps
    rose gained approval contract order growth expands dividend higher improved
    """.split()  # noqa: SIM905
)
BAD = frozenset(
    """
    cuts cut loses lost falls fell misses warns warning down downgraded layoffs weak loss slips strike
    recall recalls fined fine stumbles delay lower closes probe lawsuit halts debt
    """.split()  # noqa: SIM905
)


class Settings(Section):
    """What a monitor is set by."""

    sentences: int = 60
    signal: SignalSettings = SignalSettings(budget_per_week=0.3)
    alerts: AlertSettings = AlertSettings()
    stream: StreamSettings = StreamSettings(chunk=5, wait_seconds=0.05)


class Words:
    """Counts good and bad words; a text's vector is the sum of its words', each made of a hash."""

    def score(self, texts: Sequence[str]) -> Scores:
        rows = np.zeros((len(texts), 3), np.float32)
        vectors = np.zeros((len(texts), DIM), np.float32)
        for row, text in enumerate(texts):
            words = re.findall(r"\w+", text.lower())
            good, bad = sum(word in GOOD for word in words), sum(word in BAD for word in words)
            rows[row] = np.array([bad, 0.5, good]) / (bad + good + 0.5)
            for word in words:
                vectors[row] += _vector_of(word)
        lengths = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return Scores(rows, (vectors / lengths).astype(np.float32))


_vectors: dict[str, Any] = {}


def _vector_of(word: str) -> Any:
    if word not in _vectors:
        digest = hashlib.shake_256(word.encode()).digest(DIM)
        _vectors[word] = (np.frombuffer(digest, np.uint8).astype(np.float32) - 127.5) / 127.5
    return _vectors[word]


def replay(place: str, log: Path, began: Callable[[], None] = lambda: None) -> None:
    """Replay the sample into a store, from where the last one stopped."""
    from triptych_finance.volatility.prices import Prices

    gazetteer, prices = Gazetteer.read(sample_gazetteer()), Prices.read(sample_prices())
    with Store.open(place, writer=True) as store:
        source = Replay.open(f"replay:{sample_stream()}", name="sample")
        monitor = Monitor(store, Words(), gazetteer, Settings(), prices)
        began()
        run(monitor, [source], deliverer=Deliverer(store, {"log": LogChannel(log)}, monitor.now))
        source.close()


def contents(place: str) -> dict[str, list[tuple[Any, ...]]]:
    """All tables of a store but for when notices were delivered, each in the order of its primary key."""
    url = make_url(place) if "://" in place else make_url(f"sqlite:///{place}")
    engine = create_engine(url.set(drivername="postgresql+psycopg") if "://" in place else url)
    found = {}
    try:
        with engine.connect() as connection:
            for name, table in metadata.tables.items():
                columns = [c for c in table.c if c.name not in DELIVERY.get(name, ())]
                rows = connection.execute(select(*columns).order_by(*table.primary_key)).all()
                found[name] = [tuple(v.tobytes() if isinstance(v, np.ndarray) else v for v in row) for row in rows]
    finally:
        engine.dispose()
    return found


def delivered(log: Path) -> list[str]:
    """The ids of the notices in a log, in order."""
    return [json.loads(line)["id"] for line in log.read_text().splitlines()] if log.exists() else []


@dataclass
class Tally:
    """What kills did: `whole_runs` came to an end, `differing` names tables that then were not as they should be."""

    kills: int = 0
    before_any: int = 0  # kills before a first transaction
    whole_runs: int = 0
    expected: dict[str, int] = field(default_factory=dict)  # rows
    differing: list[str] = field(default_factory=list)


def fuzz(new_place: Callable[[int], str], folder: Path, *, kills: int, seed: int) -> Tally:
    """Kill monitors so many times, then let the last come to its end. `new_place` gives stores that are not there."""
    tally = Tally()
    began = time.monotonic()
    _child(new_place(0), folder / "0.jsonl")
    usual = time.monotonic() - began
    expected, told = contents(new_place(0)), delivered(folder / "0.jsonl")
    tally.expected = {name: len(rows) for name, rows in expected.items()}
    moments = random.Random(seed)
    while tally.kills < kills or not tally.whole_runs:
        place, log = new_place(tally.whole_runs + 1), folder / f"{tally.whole_runs + 1}.jsonl"
        most = min(kills, max(20, kills // 5))  # in one replay
        for _ in range(most):
            if tally.kills == kills or not _child(place, log, kill_after=moments.uniform(0, 2 * usual / most)):
                break
            tally.kills += 1
        _child(place, log)
        tally.whole_runs += 1
        found = contents(place)
        tally.differing += [f"{name}: {_first_difference(found[name], expected[name])}" for name in expected
                            if found[name] != expected[name]]  # fmt: skip
        if delivered(log) != told:
            tally.differing.append(f"log: {delivered(log)} where {told} were expected")
    return tally


def _child(place: str, log: Path, kill_after: float | None = None) -> bool:
    """A replay in a process of its own. Returns whether it was killed before it had ended."""
    context = multiprocessing.get_context("fork")
    began = context.Event()
    child = context.Process(target=replay, args=(place, log, began.set))
    child.start()
    try:
        assert began.wait(LONG_S), f"the monitor ended with {child.exitcode}"
        child.join(LONG_S if kill_after is None else kill_after)
        killed = child.is_alive()
        assert not (killed and kill_after is None), "the replay takes too long"
    finally:
        child.kill()
        child.join()
    assert killed or child.exitcode == 0, f"the monitor ended with {child.exitcode}"
    return killed


def _first_difference(found: list[Any], expected: list[Any]) -> str:
    for one, other in zip(found, expected, strict=False):
        if one != other:
            return f"{one} where {other} was expected"
    return f"{len(found)} rows where {len(expected)} were expected"
