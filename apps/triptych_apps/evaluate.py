"""`triptych evaluate`: a bundle on labelled data."""

from __future__ import annotations

import time

import click

from triptych_apps.options import bundle_argument, device_option, json_option


@click.command(short_help="Measure a bundle on labelled data.")
@bundle_argument
@click.option(
    "--data", required=True, metavar="FILE", help="Labelled data, with the columns that the bundle learnt from."
)
@device_option
@json_option
def evaluate(bundle: str, data: str, device: str | None, as_json: bool) -> None:
    """Measure a bundle on labelled data.

    BUNDLE is a directory or the name of a vertical (its newest bundle). The data is read as the bundle's own config
    says (column names, what to do with bad rows).
    """
    started = time.perf_counter()
    from triptych import pipeline, predictor  # late: they bring torch
    from triptych_apps.outcomes import EvaluateOutcome, SkippedRowOutcome

    loaded = predictor.load(bundle, device=device or "auto")
    metrics, dataset = pipeline.evaluate(loaded, data)
    outcome = EvaluateOutcome(
        bundle=str(loaded.bundle.path),
        vertical=loaded.vertical.name,
        data=data,
        metrics=metrics,
        skipped=[SkippedRowOutcome(file=str(s.file), row=s.row, reason=s.reason) for s in dataset.skipped],
        seconds=round(time.perf_counter() - started, 2),
    )
    if as_json:
        from triptych_apps.output import print_json

        print_json(outcome)
        return
    from triptych_apps.output import print_pairs
    from triptych_apps.render import print_metrics, print_skipped

    print_pairs("", {"bundle": outcome.bundle, "data": data, "seconds": outcome.seconds})
    print_metrics({data: metrics})
    print_skipped(outcome.skipped)
