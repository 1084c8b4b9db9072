"""The StockNet tweets in event time: items a second end to end, alarms against the budget, and what they foresee.

    python benchmarks/stocknet.py [--bundle PATH] [--budget 0.5 --budget 0.25]

Without a bundle one is trained first, on the training and development sentences of the Financial PhraseBank, with the
packaged config and its search for a cheap variant. No tweet is among what it learns from.

Every tweet goes through the engine that runs live: parsed, looked through for companies and copies, encoded, scored,
entered into the index, judged, stored. A tweet has a date and no time, so each counts as published at midnight, and its
alert fires in the morning after the day: what was known at the end of a day is held against the days that follow. The
companies are those of `stocks.csv`, which the tweets also name as their source does.
"""

from __future__ import annotations

import csv
import gzip
import resource
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from common import data_folder, metered, save
from triptych_finance.hindsight.backtest import Backtest, Rules, judge, replay
from triptych_finance.language.entities import Company, Gazetteer
from triptych_finance.store.store import Store
from triptych_finance.surface.happenings import figure
from triptych_finance.surface.opening import open_reader
from triptych_finance.volatility.prices import Prices

SEED = 0


@click.command()
@click.option("--bundle", help="A bundle of finance; its chosen variant scores.")
@click.option("--budget", "budgets", multiple=True, type=float, default=(0.5, 0.25), show_default=True,
              help="Alarms per company and week; the first one is held against the baselines.")  # fmt: skip
@click.option("--limit", type=int, help="Only so many tweets, for a trial; nothing is saved then.")
def main(bundle: str | None, budgets: tuple[float, ...], limit: int | None) -> None:
    """Replay the whole sample once for each budget."""
    folder = data_folder("finance/stocknet") / "finance" / "stocknet"
    prices = Prices.read(folder / "prices.csv.gz")
    companies = gazetteer(folder / "stocks.csv")
    held: list[Mapping[str, Any]] = []
    found: list[Backtest] = []
    speed: list[Mapping[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        bundle = bundle or phrasebank_bundle(Path(scratch))
        items = stream(folder / "tweets.csv.gz", Path(scratch) / "tweets.csv", limit)
        for budget in budgets:
            reader = open_reader(bundle, [f"vertical.signal.budget_per_week={budget}", "vertical.stream.chunk=1000"])
            with Store.open(Path(scratch) / f"{budget}.sqlite3", writer=True) as store:
                with metered() as meter:
                    done = replay(items, store, reader.scorer, companies, reader.settings)
                one = judge(
                    store, prices, companies, reader.settings, Rules(seed=SEED), done=done, file=items,
                )  # fmt: skip
            found.append(one)
            count = done.counts["items"]
            speed.append(
                {"budget": budget, "items": count, "copies": done.counts["duplicates"], "seconds": meter.seconds,
                 "items/s": count / meter.seconds, "CPU seconds": meter.cpu_seconds, "peak MB": meter.peak_mb}
            )  # fmt: skip
            held.append(_held(one))
            print(held[-1], speed[-1], flush=True)
    if limit is not None:
        return
    save(
        "stocknet",
        "StockNet: 67,579 tweets on 62 companies in event time, 2014 and 2015",
        {
            "Speed, end to end": speed,
            "Alarms per company and week against the budget": held,
            f"Alerts against days of unusual volatility, budget {budgets[0]:g}": _ways(found[0]),
            "How much better the alerts are than": _gaps(found[0]),
        },
        seed=SEED,
        notes=[
            found[0].verdict,
            f"{found[0].event_count} events: days whose absolute return exceeds the {found[0].rules.window} days "
            f"before by {found[0].rules.z:g} robust deviations; an alert hits where one follows within "
            f"{found[0].rules.horizon} trading days.",
            "Nobody confirms an alarm here, so all of them count against the budget. Intervals: 95 %, by a bootstrap "
            "over companies and blocks of four weeks.",
            f"Peak memory of the process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB.",
        ],
    )


def phrasebank_bundle(scratch: Path, *, rows: int | None = None, overrides: Sequence[str] = ()) -> str:
    """A bundle trained on the PhraseBank without its test sentences, by the pipeline that `triptych run` uses."""
    from triptych.config import load_config, packaged_config
    from triptych.pipeline import run

    source = data_folder("finance/phrasebank") / "finance" / "phrasebank" / "phrasebank.csv"
    table = scratch / "phrasebank.csv"
    with source.open(encoding="utf-8", newline="") as file:
        kept = [(row["id"], row["text"], row["label"]) for row in csv.DictReader(file) if row["split"] != "test"]
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


def _held(one: Backtest) -> dict[str, Any]:
    whole, first, second = one.methods[0].alarms_per_week
    return {
        "budget": one.budget, "alarms": whole, "first half": first, "second half": second,
        "off by": f"{whole / one.budget - 1:+.1%}", "halves off by": _off(one.budget, (first, second)),
        "of them not followed by an event": one.methods[0].measures["false_alarms_per_week"].value,
    }  # fmt: skip


def _off(budget: float, rates: Sequence[float]) -> str:
    return ", ".join(f"{rate / budget - 1:+.1%}" for rate in rates)


def _ways(one: Backtest) -> list[dict[str, Any]]:
    return [
        {"alarms by": way.name, "alerts": way.alerts, "judged": way.judged, "hits": way.hits,
         **{name: figure(way.measures.get(name), 3) for name in ("precision", "recall", "lead")},
         "alarms/week": way.alarms_per_week[0]}
        for way in one.methods
    ]  # fmt: skip


def _gaps(one: Backtest) -> list[dict[str, Any]]:
    return [
        {"": gap.name, "precision": figure(gap.precision, 3), "recall": figure(gap.recall, 3), "better": gap.better}
        for gap in one.compared
    ]


if __name__ == "__main__":
    main()
