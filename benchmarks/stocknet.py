"""The StockNet tweets in event time: items a second end to end, alarms against the budget, and what they foresee.

    python benchmarks/stocknet.py [--model PATH] [--budget 0.5 --budget 0.25 --budget 1]

`--model` is a bundle of finance, whose chosen variant scores, or the directory of one exported variant, as
`python benchmarks/phrasebank.py --work DIR` leaves them in `DIR/<method>/search/exported`. Without it a bundle is
trained first, on the training and development sentences of the Financial PhraseBank, with the packaged config and its
search for a cheap variant. No tweet and no test sentence is among what it learns from.

Every tweet goes through the engine that runs live: parsed, looked through for companies and copies, encoded, scored,
entered into the index, judged, stored. A tweet has a date and no time, so each counts as published at midnight, and its
alert fires in the morning after the day: what was known at the end of a day is held against the days that follow. The
companies are those of `stocks.csv`, which the tweets also name as their source does.
"""

from __future__ import annotations

import csv
import gzip
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads that wait for each other cost CPU

import click

from common import data_folder, metered, save
from triptych_finance.hindsight.backtest import Backtest, Rules, judge, replay
from triptych_finance.language.entities import Company, Gazetteer
from triptych_finance.scoring import LABELS, ModelScorer
from triptych_finance.settings import Settings
from triptych_finance.store.store import Store
from triptych_finance.surface.happenings import figure
from triptych_finance.surface.opening import open_reader, settings_with
from triptych_finance.volatility.prices import Prices

SEED = 0
CORES = 2  # that may be used at most
CHUNK = 1_000  # items of one transaction


@dataclass(frozen=True, slots=True)
class Model:
    """What scores, and the settings that it comes with."""

    scorer: ModelScorer
    settings: Settings


@click.command()
@click.option("--model", "--bundle", help="A bundle of finance, or the directory of an exported variant.")
@click.option("--budget", "budgets", multiple=True, type=float, default=(0.5, 0.25, 1.0), show_default=True,
              help="Alarms per company and week.")  # fmt: skip
@click.option("--limit", type=int, help="Only so many tweets, for a trial; nothing is saved then.")
def main(model: str | None, budgets: tuple[float, ...], limit: int | None) -> None:
    """Replay the whole sample once for each budget."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    folder = data_folder("finance/stocknet", "finance/phrasebank") / "finance" / "stocknet"
    prices, companies = Prices.read(folder / "prices.csv.gz"), gazetteer(folder / "stocks.csv")
    speed: list[Mapping[str, Any]] = []
    found: list[Backtest] = []
    with tempfile.TemporaryDirectory() as scratch:
        opened = open_model(model or phrasebank_bundle(Path(scratch)))
        items = stream(folder / "tweets.csv.gz", Path(scratch) / "tweets.csv", limit)
        for budget in budgets:
            settings = settings_with(
                opened.settings, [f"vertical.signal.budget_per_week={budget}", f"vertical.stream.chunk={CHUNK}"]
            )
            with Store.open(Path(scratch) / f"{budget}.sqlite3", writer=True) as store:
                with metered() as meter:
                    done = replay(items, store, opened.scorer, companies, settings)
                found.append(judge(store, prices, companies, settings, Rules(seed=SEED), done=done, file=items))
            count = done.counts["items"]
            speed.append(
                {"budget": budget, "items": count, "copies": done.counts["duplicates"], "seconds": meter.seconds,
                 "items/s": count / meter.seconds, "CPU seconds": meter.cpu_seconds,
                 "items/CPU-s": count / meter.cpu_seconds, "peak MB": meter.peak_mb}
            )  # fmt: skip
            print(speed[-1], held(found[-1]), flush=True)
    tables = {"Model": [quality(opened.scorer)], "Speed, end to end": speed}
    if limit is None:
        report(tables, found)


def report(tables: dict[str, Sequence[Mapping[str, Any]]], found: Sequence[Backtest]) -> None:
    """Save what was found."""
    first = found[0]
    tables["Alarms per company and week against the budget"] = [held(one) for one in found]
    for one in found:
        tables[f"Alerts against days of unusual volatility, budget {one.budget:g}"] = ways(one)
        tables[f"How much better the alerts are than, budget {one.budget:g}"] = gaps(one)
    save(
        "stocknet",
        f"StockNet: {first.counts['items']:,} tweets on {len(first.entities)} companies in event time, 2014 and 2015",
        tables,  # type: ignore[arg-type]
        seed=SEED,
        notes=[
            *(f"Budget {one.budget:g}: {one.verdict}" for one in found),
            f"{first.event_count} events: days whose absolute return exceeds the {first.rules.window} days before by "
            f"{first.rules.z:g} robust deviations; an alert hits where one follows within {first.rules.horizon} "
            "trading days. News volume and past returns have the same budget and the same accounts; chance is the "
            "alerts themselves, moved along each company's time.",
            "Nobody confirms an alarm here, so all of them count against the budget. Intervals: 95 %, by a bootstrap "
            "over companies and blocks of four weeks.",
            f"In {silent(first):.0%} of the weeks a company has no tweet, and then nothing can alarm: a budget that "
            "would need alarms in nearly every week with news is not spent.",
            f"End to end: parsing the file, companies and copies, encoding, scoring, index and alarms, evidence, and "
            f"the store (SQLite, WAL, synchronous=FULL), {CHUNK:,} items in a transaction, on {CORES} cores at most. "
            "Loading the model and judging the alerts are outside.",
        ],
    )


def open_model(place: str) -> Model:
    """The model of a bundle, or an exported variant with the settings that finance has by default."""
    from triptych.host import default_host
    from triptych.runtime.exported import RUNTIME, ExportedModel

    if not (Path(place) / RUNTIME).is_file():
        reader = open_reader(place)
        assert isinstance(reader.scorer, ModelScorer)
        return Model(reader.scorer, reader.settings)
    session = ExportedModel.load(Path(place), default_host(), device="cpu", threads=CORES)
    return Model(ModelScorer(session, session, place), Settings())


def quality(scorer: ModelScorer) -> dict[str, Any]:
    """How well the model reads the test sentences of the PhraseBank."""
    from triptych.evaluation.judge import encode_targets
    from triptych.evaluation.metrics import classification_metrics

    rows = phrasebank("test")
    with metered() as meter:
        probabilities = scorer.score([row["text"] for row in rows]).probabilities
    metrics = classification_metrics(
        probabilities, encode_targets("classification", LABELS, [row["label"] for row in rows])
    )
    return {
        "variant": scorer.variant, "PhraseBank test sentences": len(rows),
        "accuracy": 100 * metrics["accuracy"],
        "95 % interval": f"{100 * metrics['low']:.1f} to {100 * metrics['high']:.1f}",
        "macro-F1": metrics["macro_f1"], "CPU-ms a sentence": 1000 * meter.cpu_seconds / len(rows),
    }  # fmt: skip


def phrasebank(*splits: str) -> list[dict[str, str]]:
    """The sentences of some splits."""
    source = data_folder("finance/phrasebank") / "finance" / "phrasebank" / "phrasebank.csv"
    with source.open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if row["split"] in splits]


def phrasebank_bundle(scratch: Path, *, rows: int | None = None, overrides: Sequence[str] = ()) -> str:
    """A bundle trained on the PhraseBank without its test sentences, by the pipeline that `triptych run` uses."""
    from triptych.config import load_config, packaged_config
    from triptych.pipeline import run

    table = scratch / "phrasebank.csv"
    kept = [(row["id"], row["text"], row["label"]) for row in phrasebank("train", "dev")]
    with table.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("id", "text", "label"), *kept[:rows]])
    base = packaged_config("finance")
    base["encoders"] = {"text": base["encoders"]["text"]}
    config = load_config(base, overrides=[f"data.path={table}", *overrides])
    output = scratch / "bundle"
    run("finance", config, output=output)
    return str(output)


def gazetteer(path: Path) -> Gazetteer:
    """The companies of StockNet. Their full names are rarely written in tweets: the symbols find them."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return Gazetteer([Company(row["symbol"], " ".join(row["company"].split()), row["sector"]) for row in rows])


def stream(tweets: Path, to: Path, limit: int | None) -> Path:
    """The tweets as a file that a replay reads, by date."""
    with gzip.open(tweets, "rt", encoding="utf-8", newline="") as file:
        rows = [(row["date"], row["symbol"], row["text"]) for row in csv.DictReader(file)]
    rows = [row for row in sorted(rows, key=lambda row: row[0]) if row[2].strip()][:limit]
    with to.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["id", "published", "entities", "text"])
        table.writerows([number, date, symbol, text] for number, (date, symbol, text) in enumerate(rows))
    return to


def silent(one: Backtest) -> float:
    """The share of weeks, over all companies, without news; weeks begin with a company's first bucket."""
    weeks = [series[start : start + 7] for series in one.readings.values() for start in range(0, len(series) - 6, 7)]
    return sum(all(reading.volume == 0 for reading in week) for week in weeks) / len(weeks)


def held(one: Backtest) -> dict[str, Any]:
    """Alarms per company and week: on the whole, in both halves, and how far they are off the budget."""
    whole, first, second = one.methods[0].alarms_per_week
    return {
        "budget": one.budget, "alarms": whole, "first half": first, "second half": second,
        "off by": f"{whole / one.budget - 1:+.1%}", "halves off by": _off(one.budget, (first, second)),
        "of them not followed by an event": one.methods[0].measures["false_alarms_per_week"].value,
    }  # fmt: skip


def _off(budget: float, rates: Sequence[float]) -> str:
    return ", ".join(f"{rate / budget - 1:+.1%}" for rate in rates)


def ways(one: Backtest) -> list[dict[str, Any]]:
    """What each way of raising alarms comes to."""
    return [
        {"alarms by": way.name, "alerts": way.alerts, "judged": way.judged, "hits": way.hits,
         **{name: figure(way.measures.get(name), 3) for name in ("precision", "recall", "lead")},
         "alarms/week": way.alarms_per_week[0]}
        for way in one.methods
    ]  # fmt: skip


def gaps(one: Backtest) -> list[dict[str, Any]]:
    """The differences to the other ways, with intervals."""
    return [
        {"": gap.name, "precision": figure(gap.precision, 3), "recall": figure(gap.recall, 3), "better": gap.better}
        for gap in one.compared
    ]


if __name__ == "__main__":
    main()
