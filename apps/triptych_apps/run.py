"""`triptych run` and `triptych train`: from data to a bundle."""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from triptych_apps.options import build_options, vertical_argument

if TYPE_CHECKING:
    from triptych.config import Config
    from triptych.pipeline import RunResult
    from triptych.vertical import Request

_DATA_HELP = "A table (CSV, TSV, JSONL, Parquet), a folder of media, or hub:NAME."


@click.command(short_help="Build an application: from data (yours, or a sample) to a bundle.")
@vertical_argument
@click.option("--data", metavar="FILE", help=f"{_DATA_HELP} Without it, the sample data that comes with the vertical.")
@build_options
def run(vertical: str, data: str | None, as_json: bool, **settings: Any) -> None:
    """Build an application: read data, fine-tune, measure, and leave a bundle that answers.

    Without --data it takes the vertical's own sample data, and shows an answer at the end. A build that was stopped
    goes on where it was when the same command is given again; the bundle in service is replaced at the very end.
    """
    result = build(vertical, data, **settings)
    if as_json:
        _print_json(result)
        return
    _print_result(vertical, result)
    _print_next(vertical, result, settings["output"], answer=data is None)


@click.command(short_help="Fine-tune on your own data and build a bundle.")
@vertical_argument
@click.option("--data", required=True, metavar="FILE", help=_DATA_HELP)
@build_options
def train(vertical: str, data: str, as_json: bool, **settings: Any) -> None:
    """Fine-tune on your own data and build a bundle.

    The same build as `run`, for work in earnest: it never falls back on sample data, and it asks nothing of the new
    bundle. A build that was stopped goes on where it was when the same command is given again.
    """
    result = build(vertical, data, **settings)
    if as_json:
        _print_json(result)
        return
    _print_result(vertical, result)
    _print_next(vertical, result, settings["output"], answer=False)


def build(
    vertical: str,
    data: str | None,
    *,
    config: str | None,
    overrides: tuple[str, ...],
    output: Path | None,
    device: str | None,
    verdicts: bool = False,
) -> RunResult:
    """Compose the settings and build. Raises what the pipeline raises."""
    from triptych.host import default_host
    from triptych_apps.progress import Event, progress

    default_host().vertical(vertical)  # a wrong name should not cost the import of torch
    if verdicts:
        from triptych_apps.verdicts import table_for_training

        overrides = (*overrides, f"data.reviewed_path={json.dumps(str(table_for_training(vertical)))}")
    settings = compose(vertical, data=data, config=config, overrides=overrides, device=device)
    click.get_current_context().obj.when_stopped = "stopped; run the same command again to continue"
    with progress() as report:
        report(Event("start", 0, 1, "loading libraries"))
        from triptych import pipeline  # late: it brings torch

        return pipeline.run(vertical, settings, output=output, progress=report)


def compose(
    vertical: str, *, data: str | None, config: str | None, overrides: tuple[str, ...], device: str | None
) -> Config:
    """All layers of the configuration; `--data` and `--device` are the topmost."""
    from triptych.config import load_config
    from triptych.host import default_host

    topmost = list(overrides)
    for key, value in (("data.path", data), ("device", device)):
        if value is not None:  # quoted, or a file called 7 would be a number
            topmost.append(f"{key}={json.dumps(value, ensure_ascii=False)}")
    base = default_host().vertical(vertical).defaults()
    return load_config(base, file=config, overrides=topmost, environment=os.environ)


def _print_json(result: RunResult) -> None:
    from triptych_apps.outcomes import RunOutcome
    from triptych_apps.output import print_json

    print_json(RunOutcome.model_validate(result.to_json()))


def _print_result(vertical: str, result: RunResult) -> None:
    from triptych_apps.output import print_pairs
    from triptych_apps.render import print_ledger, print_metrics, print_warnings

    if sys.stdout.isatty() and sys.stderr.isatty():
        print()  # between the progress above and the results
    print_pairs("", {"vertical": vertical, "bundle": result.bundle, "seconds": round(result.seconds, 1)})
    print_metrics(result.metrics)
    print_ledger(result.ledger)
    print_warnings(result.warnings)


def _print_next(vertical: str, result: RunResult, output: Path | None, *, answer: bool) -> None:
    """A sample answer where it is wanted, and what to type next."""
    from triptych.host import default_host
    from triptych_apps.output import print_text
    from triptych_apps.render import print_response

    request = default_host().vertical(vertical).sample_request()
    name = vertical if output is None else str(result.bundle)
    if answer and request is not None:
        from triptych import predictor

        words = f'"{request.text}"' if request.text else "the vertical's own example"
        print_text(f"A sample answer, to {words}\n")
        print_response(predictor.load(result.bundle).answer(request))
    print_text("Next")
    print_text("\n".join([next_command(name, request), f"triptych chat {_quote(name)}"]), indent=2)


def next_command(bundle: str, request: Request | None) -> str:
    """The `triptych ask` line for a request; without one, `triptych info`."""
    if request is None:
        return f"triptych info {shlex.quote(bundle)}"
    words = ["triptych", "ask", bundle]
    if request.text:
        words.append(request.text)
    for modality in ("image", "audio"):
        value = getattr(request, modality)
        if isinstance(value, Path):
            words += [f"--{modality}", str(value)]
    for name in sorted(request.model_fields_set - {"text", "image", "audio"}):  # the vertical's own fields
        value = getattr(request, name)
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            words += [f"--{name.replace('_', '-')}", str(value)]
    return " ".join(_quote(word) for word in words)


def _quote(word: str) -> str:
    # double quotes read better than what shlex makes of an apostrophe, where nothing in the word needs more
    return f'"{word}"' if " " in word and not set(word) & set('"$`\\!') else shlex.quote(word)
