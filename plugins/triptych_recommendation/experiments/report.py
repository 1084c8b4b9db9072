"""The report of an experiment as plain lines for a terminal, and as JSON."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from triptych.evaluation.bootstrap import Interval
from triptych_recommendation.data.times import moment_of
from triptych_recommendation.experiments.analysis import Lift, Report
from triptych_recommendation.experiments.units import METRICS


def lines(report: Report) -> list[str]:
    """What an experiment says so far: the decision first, then what it rests on."""
    decision = report.decision
    found = [
        f"Experiment {report.name!r} ({report.kind}), as known at {moment_of(report.at):%Y-%m-%d %H:%M} UTC",
        f"{'Stop' if decision.stop else 'Go on'}: {decision.reason}.",
        "",
    ]
    found += _preference(report) if report.preference is not None else [*_arms(report), "", *_lifts(report)]
    found += ["", "Intervals hold at every look, however often the report is read."]
    return found + [f"Note: {note}." for note in report.notes]


def as_json(report: Report) -> dict[str, Any]:
    """The report as JSON values: times as ISO 8601, null for what is not known or without end."""
    values: dict[str, Any] = _plain(dataclasses.asdict(report))
    return {**values, "at": moment_of(report.at).isoformat(), "mismatched": report.mismatched}


def _preference(report: Report) -> list[str]:
    (arm,) = report.arms
    first, second = arm.name.split("|", 1)
    assert report.preference is not None
    return [
        f"{arm.users:,} users, of whom {arm.complete:,} count, with {arm.lists:,} lists",
        f"preference from -1 (all for {first!r}) to 1 (all for {second!r}): {_figure(report.preference, '+.4f')}",
    ]


def _arms(report: Report) -> list[str]:
    rows = [
        [arm.name, f"{arm.share:.2%}", f"{arm.users:,}", f"{arm.complete:,}", f"{arm.lists:,}"]
        + [_figure(arm.rates[metric], ".4f") for metric in METRICS]
        for arm in report.arms
    ]
    shares = "do not come in" if report.mismatched else "come in"
    evidence = f"evidence e^{report.mismatch:.1f} that they do not, and e^{report.mismatch_limit:.1f} settles it"
    return [
        *_columns([["variant", "share", "users", "counted", "lists", *METRICS], *rows]),
        f"Users {shares} the shares that were set ({evidence})",
    ]


def _lifts(report: Report) -> list[str]:
    control = report.arms[0].name
    rows = [
        [name, lift.metric, _figure(lift.difference, "+.4f"), _figure(lift.ratio, "+.1%"), _verdict(lift)]
        for name, lifts in report.lifts.items()
        for lift in lifts
    ]
    return _columns([[f"against {control}", "metric", "difference", "relative", ""], *rows])


def _verdict(lift: Lift) -> str:
    if not lift.difference.excludes_zero:
        return "not shown"
    return "higher" if lift.difference.low > 0 else "lower"


def _figure(interval: Interval | None, form: str) -> str:
    """A value with its interval; "-" for none."""
    if interval is None:
        return "-"
    value = "-" if math.isnan(interval.value) else format(interval.value, form)
    return f"{value} [{interval.low:{form}}, {interval.high:{form}}]"


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells below one another; the last one is not filled up."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list) else value
