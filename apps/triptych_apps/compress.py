"""`triptych compress`: the cheapest variant of a bundle that keeps what is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from triptych_apps.options import bundle_argument, json_option

if TYPE_CHECKING:
    from triptych.config import CompressionConfig
    from triptych.pipeline import RunResult

_LIMIT = click.FloatRange(min=0, min_open=True)


@click.command(short_help="Find the cheapest variant of a bundle that keeps the quality asked for.")
@bundle_argument
@click.option(
    "--data", metavar="FILE", help="What the bundle was built from; not needed for a vertical's own sample data."
)
@click.option(
    "--max-drop",
    type=click.FloatRange(min=0),
    default=0.5,
    show_default=True,
    help="Points of the metric that may be lost (percent of an error).",
)
@click.option("--max-p95-ms", type=_LIMIT, help="Milliseconds of one request, at the 95th percentile.")
@click.option("--max-mb", type=_LIMIT, help="Size of the model on disk.")
@click.option("--max-cost", type=_LIMIT, help="Cost of a million requests, in the currency of the prices.")
@click.option("--seconds", type=_LIMIT, help="Time for the search; the best so far is taken after that.")
@click.option(
    "--chain", "chains", multiple=True, metavar="CHAIN", help="Try this chain only, as layers:3+int8; may be repeated."
)
@click.option(
    "--unlabelled",
    multiple=True,
    metavar="FILE",
    help="More data of the same columns, no target needed: smaller models learn the trained one's answers on it. "
    "May be repeated.",
)
@click.option("--no-cascade", is_flag=True, help="Do not put cheap variants in front of a good one.")
@click.option(
    "--assurance",
    type=click.FloatRange(min=0, max=1, max_open=True),
    default=0.9,
    show_default=True,
    help="How sure it must be that a cascade loses no more than it says; 0: what it loses on held-out data decides.",
)
@click.option("--prices", metavar="FILE", help="A TOML file with the prices of an hour.")
@click.option("--target", metavar="DEVICE", help="Where the trained model is measured: auto, cpu, cuda, cuda:N or mps.")
@json_option
def compress(
    bundle: str,
    data: str | None,
    max_drop: float,
    max_p95_ms: float | None,
    max_mb: float | None,
    max_cost: float | None,
    seconds: float | None,
    chains: tuple[str, ...],
    unlabelled: tuple[str, ...],
    no_cascade: bool,
    assurance: float,
    prices: str | None,
    target: str | None,
    as_json: bool,
) -> None:
    """Find the cheapest variant of a bundle that keeps the quality asked for, and put it into service.

    Chains of compressors are tried with little effort first, the better half with more. Everything is measured on this
    machine, quality on data that was held out. Where no variant holds all limits, the nearest miss is named, the exit
    code is 7 and the bundle stays as it was. A search that was stopped goes on when the same command is given again.
    """
    from triptych.config import CompressionConfig

    settings = CompressionConfig(
        max_drop=max_drop,
        max_p95_ms=max_p95_ms,
        max_mb=max_mb,
        max_cost=max_cost,
        seconds=seconds,
        chains=list(chains),
        unlabelled=list(unlabelled),
        cascade=not no_cascade,
        assurance=assurance,
    )
    click.get_current_context().obj.when_stopped = "stopped; give the same command again to continue"
    result = _search(bundle, settings, data, target, prices)
    if as_json:
        from triptych_apps.outcomes import RunOutcome
        from triptych_apps.output import print_json

        print_json(RunOutcome.model_validate(result.to_json()))
        return
    _print(result)


def _search(
    bundle: str, settings: CompressionConfig, data: str | None, target: str | None, prices: str | None
) -> RunResult:
    from triptych_apps.progress import Event, progress

    with progress() as report:
        report(Event("start", 0, 1, "loading libraries"))
        from triptych import recompress  # late: it brings torch

        return recompress.compress(
            bundle,
            settings,
            data=data,
            device=target,
            prices=prices,
            progress=report,
        )


def _print(result: RunResult) -> None:
    from triptych_apps.output import print_pairs
    from triptych_apps.render import print_ledger, print_metrics, print_warnings

    print_pairs("", {"bundle": result.bundle, "variant": result.chosen, "seconds": round(result.seconds, 1)})
    print_metrics(result.metrics)
    print_ledger(result.ledger)
    print_warnings(result.warnings)
