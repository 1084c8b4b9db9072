"""MAEC: realised log volatility after earnings calls, from the past, words, voice and chart, resampled many times.

    python benchmarks/maec.py

One `RiskModel` is fitted for each resample; the rows are what it makes of each subset of its blocks. Nothing is chosen
here: strengths and weights come from the model's own inner validation on the training calls.
"""

from __future__ import annotations

import csv
import datetime
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from common import data_folder, metered, save
from triptych.evaluation.bootstrap import Interval, bootstrap_statistic
from triptych.host import Host
from triptych_finance.volatility.acoustics import pool, read_calls
from triptych_finance.volatility.charts import render, thumbnail
from triptych_finance.volatility.prices import HORIZONS, Prices
from triptych_finance.volatility.ridge import RidgePath, best, time_blocks
from triptych_finance.volatility.risk import RiskModel
from triptych_finance.volatility.settings import RiskSettings

Array = np.ndarray[Any, Any]

SEED, RESAMPLES, LEVEL = 42, 200, 0.95
ENCODER = "sentence:all-MiniLM-L6-v2"
CHART_DAYS, CHART_SPAN = 60, 0.3
TRAIN_SHARE, TEST_SHARE = 0.8, 0.5  # of the calls before and after a cut
EARLIEST, LATEST = 0.45, 0.75  # between which quantiles of the calls a cut may lie
COMPANIES_HELD = 0.25
REFERENCE = "ridge on past volatility"
SUBSETS = {
    "past, shrunk (this model)": ("past",),
    "text alone": ("text",),
    "audio alone": ("audio",),
    "text + audio alone": ("text", "audio"),
    "chart alone": ("chart",),
    "past + text": ("past", "text"),
    "past + audio": ("past", "audio"),
    "past + text + audio": ("past", "text", "audio"),
    "past + chart": ("past", "chart"),
    "all": ("past", "text", "audio", "chart"),
}
PLAIN = {
    "plain ridge: text": ("text",),
    "plain ridge: audio": ("audio",),
    "plain ridge: text + audio": ("text", "audio"),
    "plain ridge: all side by side": ("past", "text", "audio", "chart"),
}
MODELS = ("train mean", "persistence", REFERENCE, *PLAIN, *SUBSETS)
MANIFEST = {  # measured by those who put the data together: MSE over 3, 7, 15 and 30 days on the saved test calls
    "train mean": (0.522, 0.437, 0.281, 0.226),
    "past volatility as is": (0.661, 0.409, 0.175, 0.091),
    "ridge past": (0.535, 0.366, 0.212, 0.166),
    "ridge text (MiniLM)": (0.522, 0.480, 0.297, 0.171),
    "ridge audio": (0.490, 0.421, 0.250, 0.122),
    "ridge all": (0.503, 0.397, 0.238, 0.088),
}


@dataclass(frozen=True)
class Calls:
    """All calls in order of time."""

    dates: Array  # [calls], days
    known: Array  # [calls, 4]: the day on which each label was known
    companies: Array  # [calls]
    split: Array  # [calls]
    blocks: dict[str, Array]
    y: Array  # [calls, 4], NaN where the prices end too early


def read(folder: Path) -> Calls:
    prices = Prices.read(folder / "finance/stocknet/prices.csv.gz")
    said = read_calls(folder / "finance/maec/sentences.csv.gz")
    with (folder / "finance/maec/calls.csv").open(encoding="utf-8") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: (row["date"], row["call_id"]))
    days = [(row["symbol"], datetime.date.fromisoformat(row["date"])) for row in rows]
    known = np.full((len(rows), len(HORIZONS)), np.datetime64("2100-01-01"), dtype="datetime64[D]")
    for i, (symbol, day) in enumerate(days):
        dates, at = prices.history(symbol).dates, prices.position(symbol, day)
        for h, n in enumerate(HORIZONS):
            if at + n < len(dates):
                known[i, h] = dates[at + n]
    charts = [render(prices.window(symbol, day, CHART_DAYS), span=CHART_SPAN) for symbol, day in days]
    return Calls(
        dates=np.array([day for _, day in days], dtype="datetime64[D]"),
        known=known,
        companies=np.array([symbol for symbol, _ in days]),
        split=np.array([row["split"] for row in rows]),
        blocks={
            "past": np.stack([prices.past(symbol, day) for symbol, day in days]),
            "text": _text([said[row["call_id"]].texts for row in rows]),
            "audio": np.stack([pool(said[row["call_id"]].features) for row in rows]),
            "chart": np.stack([thumbnail(chart) for chart in charts]),
        },
        y=np.array([[float(row[f"vol_{n}"] or "nan") for n in HORIZONS] for row in rows]),
    )


def _text(calls: Sequence[Sequence[str]]) -> Array:
    """The mean of the sentences' vectors of each call."""
    family, model = Host(installed=False).load_family("encoder", ENCODER)
    vectors = family.create(model).encode([text for texts in calls for text in texts]).numpy()
    ends = np.cumsum([len(texts) for texts in calls])
    return np.stack([part.mean(axis=0) for part in np.split(vectors, ends[:-1])])


def errors(calls: Calls, train: Array, y: Array, test: Array) -> tuple[Array, Array, RiskModel]:
    """Squared errors [models, test, 4] and whether the interval of "all" held [test, 4].

    `y` [train, 4] are the labels known at training time.
    """
    blocks = {name: block[train] for name, block in calls.blocks.items()}
    asked = {name: block[test] for name, block in calls.blocks.items()}
    wanted = calls.y[test]
    model = RiskModel.fit(blocks, y, RiskSettings())
    said = [np.tile(np.nanmean(y, axis=0), (len(test), 1)), asked["past"], _ridge(blocks["past"], y, asked["past"])]
    for subset in PLAIN.values():
        both = (np.concatenate([part[name] for name in subset], axis=1) for part in (blocks, asked))
        said.append(_ridge(next(both), y, next(both)))
    for subset in SUBSETS.values():
        forecast = model.predict({name: asked[name] for name in subset})
        said.append(forecast.values)
    held = np.where(np.isnan(wanted), np.nan, (forecast.low <= wanted) & (wanted <= forecast.high))
    return (np.stack(said) - wanted) ** 2, held, model


def _ridge(inputs: Array, y: Array, asked: Array) -> Array:
    """A plain ridge on standardised inputs, its strength chosen on five stretches of time, [asked, 4]."""
    result = np.zeros((len(asked), len(HORIZONS)))
    for h in range(len(HORIZONS)):
        rows = np.flatnonzero(np.isfinite(y[:, h]))
        x, target = inputs[rows], y[rows, h]
        tried = []
        for fold in time_blocks(len(rows), 5):
            rest = np.setdiff1d(np.arange(len(rows)), fold)
            tried.append(target[fold] - RidgePath.fit(x[rest], target[rest]).predict(x[fold]))
        result[:, h] = RidgePath.fit(x, target).pick(best(np.concatenate(tried, axis=1))).predict(asked)
    return result


def later_calls(calls: Calls, generator: np.random.Generator) -> Iterator[tuple[Array, Array, Array]]:
    """Training calls before a random day, with labels known by then, and calls from that day on."""
    cuts = calls.dates[int(EARLIEST * len(calls.dates)) : int(LATEST * len(calls.dates))]
    for _ in range(RESAMPLES):
        cut = generator.choice(cuts)
        before, after = np.flatnonzero(calls.dates < cut), np.flatnonzero(calls.dates >= cut)
        train = np.sort(generator.choice(before, round(TRAIN_SHARE * len(before)), replace=False))
        test = np.sort(generator.choice(after, round(TEST_SHARE * len(after)), replace=False))
        yield train, np.where(calls.known[train] < cut, calls.y[train], np.nan), test


def other_companies(calls: Calls, generator: np.random.Generator) -> Iterator[tuple[Array, Array, Array]]:
    """Companies of which the training has not seen a call, at whatever time."""
    names = np.unique(calls.companies)
    for _ in range(RESAMPLES):
        held = np.isin(calls.companies, generator.choice(names, round(COMPANIES_HELD * len(names)), replace=False))
        train = np.flatnonzero(~held)
        yield train, calls.y[train], np.flatnonzero(held)


@dataclass
class Measured:
    """All resamples of a scheme; NaN where a call was not tested or has no label."""

    squared: Array  # [resamples, models, calls, 4]
    held: Array  # [resamples, calls, 4]
    ratio: float  # mean of test calls / training calls
    weights: dict[int, dict[str, float]]  # of "all", mean by horizon
    earned: dict[int, dict[str, float]]  # how often a weight was more than 0


def measure(calls: Calls, splits: Iterator[tuple[Array, Array, Array]]) -> Measured:
    count = len(calls.dates)
    squared, held, ratios, weights = [], [], [], []
    for train, y, test in splits:
        found, inside, model = errors(calls, train, y, test)
        squared.append(np.full((len(MODELS), count, len(HORIZONS)), np.nan))
        squared[-1][:, test] = found
        held.append(np.full((count, len(HORIZONS)), np.nan))
        held[-1][test] = inside
        ratios.append(len(test) / len(train))
        weights.append(model.weights(SUBSETS["all"]))

    def over(statistic: Any) -> dict[int, dict[str, float]]:
        return {n: {b: float(statistic([w[n][b] for w in weights])) for b in weights[0][n]} for n in HORIZONS}

    share = over(lambda values: np.mean(np.array(values) > 0))
    return Measured(np.stack(squared), np.stack(held), float(np.mean(ratios)), over(np.mean), share)


def corrected(differences: Array, ratio: float) -> Interval:
    """Of a mean difference over resamples that share calls: t with the variance of Nadeau and Bengio (2003)."""
    count = len(differences)
    error = np.sqrt((1 / count + ratio) * differences.var(ddof=1))
    reach = float(stats.t.ppf((1 + LEVEL) / 2, count - 1) * error)
    mean = float(differences.mean())
    return Interval(mean, mean - reach, mean + reach)


def by_company(differences: Array, companies: Array) -> Interval:
    """Of a mean difference over calls [calls]: bootstrap over companies, whose calls stay together."""
    known = np.isfinite(differences)
    sums = [
        (differences[known & (companies == name)].sum(), (known & (companies == name)).sum())
        for name in np.unique(companies[known])
    ]
    return bootstrap_statistic(np.array(sums), lambda means: means[:, 0] / means[:, 1], level=LEVEL, seed=SEED)


def verdict(intervals: Sequence[Interval]) -> str:
    """Better or worse only where every interval of the difference in error excludes zero."""
    if all(i.high < 0 for i in intervals):
        return "better"
    return "worse" if all(i.low > 0 for i in intervals) else "no difference shown"


def resampled_rows(calls: Calls, measured: Measured, h: int) -> list[dict[str, Any]]:
    """The table of one horizon."""
    squared = measured.squared[..., h]
    reference = squared[:, MODELS.index(REFERENCE)]
    rows = []
    for m, name in enumerate(MODELS):
        row: dict[str, Any] = {"model": name, "MSE": float(np.nanmean(np.nanmean(squared[:, m], axis=1)))}
        if name != REFERENCE:
            difference = squared[:, m] - reference
            with np.errstate(invalid="ignore"):
                tested = np.isfinite(difference).any(axis=0)
                of_calls = np.full(len(tested), np.nan)
                of_calls[tested] = np.nanmean(difference[:, tested], axis=0)
            one = corrected(np.nanmean(difference, axis=1), measured.ratio)
            two = by_company(of_calls, calls.companies)
            ends = {"difference": one.value, "low": one.low, "high": one.high}
            ends |= {"bootstrap low": two.low, "bootstrap high": two.high}
            row |= {key: round(value, 5) for key, value in ends.items()} | {"verdict": verdict([one, two])}
        rows.append(row)
    return rows


def _brief(row: dict[str, Any]) -> str:
    """An error, with the verdict where there is one."""
    shown = f", {row['verdict']}" if row.get("verdict") in ("better", "worse") else ""
    return f"{row['MSE']:.3f}{shown}"


def saved_split(calls: Calls) -> list[dict[str, Any]]:
    """Trained on the saved training and dev calls, tested on the saved test calls; all horizons."""
    train, test = (np.flatnonzero(np.isin(calls.split, names)) for names in (("train", "dev"), ("test",)))
    y = np.where(calls.known[train] < calls.dates[test].min(), calls.y[train], np.nan)
    found, _, _ = errors(calls, train, y, test)
    rows = []
    for m, name in enumerate(MODELS):
        row: dict[str, Any] = {"model": name}
        for h, n in enumerate(HORIZONS):
            row[f"{n} days"] = float(np.nanmean(found[m, :, h]))
            if name != REFERENCE:
                difference = found[m, :, h] - found[MODELS.index(REFERENCE), :, h]
                interval = by_company(difference, calls.companies[test])
                row[f"{n} days, difference"] = f"{interval.value:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]"
        rows.append(row)
    return rows


def main() -> None:
    folder = data_folder("finance/maec", "finance/stocknet")
    with metered() as reading:
        calls = read(folder)
    tables: dict[str, Sequence[dict[str, Any]]] = {"The saved split (75 training, 27 test calls)": saved_split(calls)}
    tables["The saved split in the data's own notes"] = [
        {"model": name, **{f"{n} days": value for n, value in zip(HORIZONS, values, strict=True)}}
        for name, values in MANIFEST.items()
    ]
    schemes = {"later calls": later_calls, "other companies": other_companies}
    spent = []
    for title, splits in schemes.items():
        with metered() as meter:
            measured = measure(calls, splits(calls, np.random.default_rng(SEED)))
        spent.append(meter.cpu_seconds / RESAMPLES)
        details = {n: resampled_rows(calls, measured, h) for h, n in enumerate(HORIZONS)}
        tables[f"{title.capitalize()}: mean squared error, and what is better or worse than {REFERENCE}"] = [
            {"model": name, **{f"{n} days": _brief(details[n][m]) for n in HORIZONS}} for m, name in enumerate(MODELS)
        ]
        tables |= {f"{title.capitalize()}, {n} days": rows for n, rows in details.items()}
        tables[f'{title.capitalize()}: what the blocks earned in "all", and its 90 % intervals'] = [
            {
                "days": n,
                **{f"{block}: weight": weight for block, weight in measured.weights[n].items()},
                **{f"{block}: resamples with weight": share for block, share in measured.earned[n].items()},
                "labels inside the interval": float(np.nanmean(measured.held[..., h])),
            }
            for h, n in enumerate(HORIZONS)
        ]
    save(
        "maec",
        "Volatility after earnings calls (MAEC, 102 calls of 39 companies)",
        tables,
        seed=SEED,
        notes=notes(reading, spent),
    )


def notes(reading: Any, spent: Sequence[float]) -> list[str]:
    return [
        "log volatility: log of the deviation of daily returns after a call; MSE: mean squared error, lower is better",
        f"later calls: {RESAMPLES} resamples; a random day between the {EARLIEST:.0%} and {LATEST:.0%} quantile of the "
        f"calls; training on {TRAIN_SHARE:.0%} of the calls before it, with the labels that were known by that day; "
        f"test on {TEST_SHARE:.0%} of the calls from that day on",
        f"other companies: {RESAMPLES} resamples; {COMPANIES_HELD:.0%} of the companies are the test, at any time: it "
        "knows the weather of the market on both sides, so it says less about the future than the first",
        f"difference to {REFERENCE}, paired call by call, with two 95 % intervals: low and high by the t test "
        "corrected for resamples that share calls (Nadeau and Bengio 2003), bootstrap low and high over companies "
        "whose calls stay together; a verdict only where both exclude zero. With 16 models and 4 horizons some single "
        "intervals exclude zero by accident",
        f"text: mean of the frozen {ENCODER} vectors of all sentences; audio: mean, deviation and three quantiles of "
        f"the 29 published features over the sentences; chart: {CHART_DAYS} days up to the call drawn by the plugin "
        f"with a fixed span of {CHART_SPAN:.0%}, shrunk to 12 x 24 cells of ink (nothing learnt); past: log "
        "volatility of the last 3, 7, 15 and 30 days",
        "plain ridge: standardised inputs, its strength chosen as that of the reference; rows 'alone' know no past "
        "volatility; all rows from 'past, shrunk' on are one model, asked with subsets",
        "the saved split trains on train and dev with the labels known before the first test call; its intervals are "
        "by bootstrap over the companies of the 27 test calls (19 for 30 days), which is all they account for",
        "the table of the data's own notes was trained on other calls (train alone) and on the first 25 sentences",
        "published: Li et al. 2020 report MSE of log volatility on all 3,443 calls, not comparable (only calls of "
        "StockNet companies can be labelled here), so no number of theirs stands beside these",
        f"cost: {reading.cpu_seconds:.0f} CPU-seconds to read and encode all calls, "
        f"{max(spent):.2f} CPU-seconds for each resample (four horizons, all subsets)",
    ]


if __name__ == "__main__":
    main()
