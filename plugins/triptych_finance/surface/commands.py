"""`triptych finance`: run the monitor, replay and back-test, and look after alerts and the store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from triptych.cores import keep_blas_to_one_thread
from triptych_finance.surface.alert_commands import alerts
from triptych_finance.surface.options import (
    bundle_option,
    json_option,
    prices_option,
    report_option,
    set_option,
    store_option,
)

if TYPE_CHECKING:
    from triptych_finance.monitor.loop import Progress
    from triptych_finance.volatility.prices import Prices

_STOPPED = "stopped; what came so far is in the store, and the same command goes on behind it"


@click.group()
def finance() -> None:
    """Watch a stream of news for alerts, replay and back-test it, and look after what was found."""


finance.add_command(alerts)


@finance.command(short_help="Read sources as items come, and keep index and alerts.")
@click.option(
    "--source",
    "sources",
    multiple=True,
    required=True,
    metavar="SPEC",
    help="Where items come from: replay:FILE, directory:DIR, feed:URL, push:HOST:PORT, redis://HOST/0?stream=NAME; "
    "may be repeated.",
)
@store_option
@bundle_option
@prices_option()
@set_option
@click.option("--once", is_flag=True, help="Take what is there, send what is due, and end.")
@json_option
def monitor(
    sources: tuple[str, ...],
    store: str | None,
    bundle: str,
    prices: Path | None,
    overrides: tuple[str, ...],
    once: bool,
    as_json: bool,
) -> None:
    """Read sources as their items come, and keep items, index, alerts and notices in the store.

    It ends when all sources have ended, or with Ctrl-C; what is committed stays, and the same command goes on behind
    it. One monitor writes a store at a time. Secrets of channels come from the environment variables that the settings
    name.
    """
    keep_blas_to_one_thread()
    from triptych.printing import print_json, say
    from triptych_finance.alerts.delivery import Deliverer, open_channels
    from triptych_finance.monitor.engine import Monitor
    from triptych_finance.monitor.loop import run, stop_on_signals
    from triptych_finance.sources.parsing import utc_now
    from triptych_finance.surface import opening
    from triptych_finance.surface.happenings import print_progress

    with opening.open_store(store, writer=True) as opened, opening.open_sources(sources, opened) as streams:
        known_prices = _prices(prices)
        reader = opening.open_reader(bundle, overrides)
        deliverer = Deliverer(opened, open_channels(reader.settings.alerts.channels))
        engine = Monitor(opened, reader.scorer, reader.gazetteer, reader.settings, known_prices)
        if once:
            done, stopped = opening.take_what_is_there(engine, streams), False
            deliverer.run_once()
        else:
            say(f"watching {', '.join(source.name for source in streams)}; Ctrl-C ends it")
            with stop_on_signals() as stop:
                live = not all(source.startswith("replay:") for source in sources)
                clock = utc_now if live and reader.settings.stream.heartbeat else None
                done = run(
                    engine, streams, deliverer=deliverer, stop=stop, until_ended=not live, progress=_teller(),
                    clock=clock,
                )  # fmt: skip
                stopped = stop.is_set()
    if as_json:
        print_json(done)
    else:
        print_progress(done)
    if stopped:
        _when_stopped(_STOPPED)
        raise KeyboardInterrupt


@finance.command(short_help="Tell what a file of items would have brought.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--store", metavar="PATH|URL", help="Keep what comes of it in this store; by default nothing is kept.")
@bundle_option
@prices_option()
@set_option
@report_option
@json_option
def replay(
    file: Path,
    store: str | None,
    bundle: str,
    prices: Path | None,
    overrides: tuple[str, ...],
    report: Path | None,
    as_json: bool,
) -> None:
    """Run a FILE of dated items through the monitor in event time, and tell what would have happened.

    The same engine as live; no notices are sent. The file is a CSV, TSV, JSONL (each maybe with .gz) or Parquet file
    with the columns text and published.
    """
    import tempfile

    keep_blas_to_one_thread()
    from triptych.printing import plain, print_json
    from triptych_finance.hindsight.backtest import replay as run_replay
    from triptych_finance.store.store import Store
    from triptych_finance.surface import opening
    from triptych_finance.surface.happenings import happenings, print_happenings, print_progress

    known_prices = _prices(prices)
    reader = opening.open_reader(bundle, overrides)
    with tempfile.TemporaryDirectory() as folder:
        place = store if store is not None else Path(folder) / "replay.sqlite3"
        with Store.open(place, writer=True) as opened:
            done = run_replay(
                file, opened, reader.scorer, reader.gazetteer, reader.settings, prices=known_prices, progress=_teller()
            )
            found = happenings(opened)
    written = []
    if report is not None:
        from triptych_finance.hindsight.report import write_replay

        written = write_replay(report, found, known_prices, title=f"Replay of {file.name}")
    if as_json:
        print_json({**plain(done), **found.as_json(), "report": [str(path) for path in written]})
        return
    print_happenings(found)
    print_progress(done)
    _print_written(written)


@finance.command()
@click.option("--items", required=True, type=click.Path(path_type=Path), metavar="FILE", help="Items, as for replay.")
@prices_option(required=True)
@bundle_option
@set_option
@click.option("--horizon", type=click.IntRange(1, 60), default=5, show_default=True, metavar="DAYS",
              help="An alert hits where an event follows within so many trading days.")  # fmt: skip
@click.option("--window", type=click.IntRange(10, 500), default=60, show_default=True, metavar="DAYS",
              help="Trading days that a day is held against to tell an event.")  # fmt: skip
@click.option("--z", type=click.FloatRange(0, min_open=True), default=3.0, show_default=True,
              help="Robust deviations by which an event's absolute return exceeds them.")  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True, help="Of the draws behind intervals and chance.")
@report_option
@json_option
def backtest(
    items: Path,
    prices: Path,
    bundle: str,
    overrides: tuple[str, ...],
    horizon: int,
    window: int,
    z: float,
    seed: int,
    report: Path | None,
    as_json: bool,
) -> None:
    """Replay items, then hold the alerts against what prices did next.

    Precision, recall and lead time of alerts on days of unusual volatility, next to alarms by the volume of news alone,
    by past returns alone and by chance, all with the same budget of false alarms.
    """
    from triptych.printing import print_json
    from triptych_finance.hindsight.backtest import Rules
    from triptych_finance.hindsight.backtest import backtest as run_backtest
    from triptych_finance.surface import opening
    from triptych_finance.surface.happenings import backtest_json, print_backtest

    known_prices = _prices(prices)
    assert known_prices is not None
    reader = opening.open_reader(bundle, overrides)
    rules = Rules(horizon=horizon, window=window, z=z, seed=seed)
    found = run_backtest(
        items, known_prices, reader.scorer, reader.gazetteer, reader.settings, rules, progress=_teller()
    )
    written = []
    if report is not None:
        from triptych_finance.hindsight.report import write_backtest

        written = write_backtest(report, found, known_prices, title=f"Back-test of {items.name}")
    if as_json:
        print_json({**backtest_json(found), "report": [str(path) for path in written]})
        return
    print_backtest(found)
    _print_written(written)


@finance.command(short_help="Show what the store holds.")
@store_option
@json_option
def status(store: str | None, as_json: bool) -> None:
    """Show what the store holds: items by source, open alerts, notices that wait, drift of the inputs."""
    from triptych.printing import print_json
    from triptych_finance.surface.happenings import print_state, state_of
    from triptych_finance.surface.opening import open_store

    with open_store(store, writer=False) as opened:
        found = state_of(opened)
    if as_json:
        print_json(found)
    else:
        print_state(found)


@finance.command()
@click.option("--before", required=True, metavar="TIME", help="As 2026-01-31; UTC where no zone is given.")
@store_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def prune(before: str, store: str | None, yes: bool, as_json: bool) -> None:
    """Remove items, readings and alerts from before a time. It cannot be undone.

    Alerts that are open, or have a notice that is still to be sent, stay. An item that is removed would count as new if
    a source gave it once more.
    """
    from triptych.printing import minute, print_json
    from triptych_finance.surface.opening import open_store
    from triptych_finance.surface.wording import time_of

    moment = time_of(before, "--before")
    with open_store(store, writer=False) as opened:
        name = opened.name
    if not yes:
        click.confirm(f"Remove everything from before {minute(moment)} UTC out of {name}?", abort=True)
    with open_store(store, writer=True) as opened:
        pruned = opened.prune(moment)
    if as_json:
        print_json(pruned)
        return
    click.echo(
        f"Removed: {pruned.items:,} items, {pruned.readings:,} readings, {pruned.alerts:,} alerts, "
        f"{pruned.notices:,} notices."
    )


def _prices(path: Path | None) -> Prices | None:
    """The prices in a file; what was passed over in it is told."""
    if path is None:
        return None
    from triptych.printing import say
    from triptych_finance.volatility.prices import Prices

    prices = Prices.read(path.expanduser())
    for problem in prices.problems[:5]:
        say(problem)
    if len(prices.problems) > 5:
        say(f"... and {len(prices.problems) - 5} more such places in {path}")
    return prices


def _teller() -> Any:
    """What tells of a run's progress, now and then, on standard error."""
    import time

    from triptych.printing import say

    last = time.monotonic()

    def tell(done: Progress) -> None:
        nonlocal last
        if time.monotonic() - last >= 10:
            last = time.monotonic()
            say(f"{done.counts['items']:,} items, {done.readings:,} readings, {done.notices} notices")

    return tell


def _print_written(written: list[Path]) -> None:
    for path in written:
        if path.suffix == ".html":
            click.echo(f"Report: {path}")


def _when_stopped(message: str) -> None:
    """Say what Ctrl-C is answered with, where a surface asks."""
    session = click.get_current_context().obj
    if hasattr(session, "when_stopped"):
        session.when_stopped = message
