"""The release gate: a candidate and the version in service on the same labelled data, side by side."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

from triptych import pipeline
from triptych.bundle import Plan, Verdict, change_plan, first_plan
from triptych.bundle.files import VERSIONS
from triptych.compression.contract import Standing, check_contract
from triptych.compression.measure import measure_all
from triptych.errors import BundleError, ConfigError, DataError
from triptych.evaluation.bootstrap import Interval, bootstrap_statistic, paired_bootstrap
from triptych.evaluation.judge import HEADLINE, encode_targets
from triptych.predictor import Predictor, load
from triptych.types import Sample

Array = np.ndarray[Any, Any]
_SMALLEST_GROUP = 10
_UNNOTICED_MS = 5.0  # that much slower is no reason to refuse
_TIMED = 64  # samples that latency is measured with
_BLOCK = 1000  # rows of a matrix of similarities


class Limits(BaseModel):
    """What a candidate may lose. `margin` is in the metric's points, 0 to 1; of a regression, a share of its error."""

    margin: float = 0.01
    slower: float = 0.5  # shares of what the version in service takes
    larger: float = 0.5
    dearer: float = 0.1


class Row(BaseModel):
    """One thing that was compared; `low` and `high` are the difference's 95 % interval, null where it has none."""

    what: str
    service: float | None
    candidate: float | None
    low: float | None = None
    high: float | None = None
    ok: bool = True


class GateOutcome(BaseModel):
    """`triptych release gate --json`."""

    service: str
    candidate: str
    data: str
    samples: int
    rows: list[Row]
    reasons: list[str]  # why it is refused; empty where it passed
    passed: bool


def gate(output: Path, candidate: str, data: str, *, group: str | None, limits: Limits, device: str) -> GateOutcome:
    """Compare, and write the verdict into the plan, where `promote` looks for it.

    Quality must not be worse by more than the margin (non-inferiority: the whole interval of the paired difference
    lies above it). Raises `DataError` for data that cannot be used, and what `triptych.load` raises.
    """
    plan = first_plan(output)
    if candidate == plan.service:
        raise ConfigError(f"{candidate} is the version in service; the gate compares another one with it")
    ours, theirs = (load(output / VERSIONS / version, device=device) for version in (plan.service, candidate))
    if ours.vertical.name != theirs.vertical.name:
        raise BundleError(f"{candidate} is a bundle of {theirs.vertical.name!r}, not of {ours.vertical.name!r}")
    if ours.session.kind != theirs.session.kind:
        raise BundleError(f"{candidate} learnt a {theirs.session.kind}, the version in service {ours.session.kind}")
    metrics, dataset = pipeline.evaluate(ours, data)
    both = (metrics, theirs.evaluate(dataset.samples))
    samples = list(dataset.samples)
    scores = (_scores(ours, samples), _scores(theirs, samples))
    rows = [_quality(ours, scores, limits)]
    reasons = [] if rows[0].ok else [f"{rows[0].what} may be worse by more than the margin"]
    contract = _contract(ours, samples, scores, both, limits)
    reasons += contract
    if group is not None:
        rows += _fairness(samples, scores, group)
    rows += _prices(ours, theirs, limits) + _latency(ours, theirs, samples, limits)
    reasons += [_refusal(row) for row in rows[1:] if not row.ok]
    verdict = Verdict(
        against=plan.service,
        passed=not reasons,
        at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        data=data,
        reasons=reasons,
    )
    change_plan(output, lambda now: _noted(now, candidate, verdict))
    return GateOutcome(
        service=plan.service,
        candidate=candidate,
        data=data,
        samples=len(samples),
        rows=rows,
        reasons=reasons,
        passed=verdict.passed,
    )


def _noted(now: Plan, candidate: str, verdict: Verdict) -> Plan:
    return now.model_copy(update={"verdicts": {**now.verdicts, candidate: verdict}})


def _scores(predictor: Predictor, samples: Sequence[Sample]) -> Array:
    """What quality is the mean of, float64 [samples], higher is better.

    Right answers, where what is out of scope is right when it is rejected; the F1 of each sample for several labels;
    the negated squared error; for an embedding, whether the nearest other sample is of the same group (not a number
    for one that is alone in its group).
    """
    kind = predictor.session.kind
    if kind == "embedding":
        enriched = [predictor.vertical.enrich(sample, predictor.settings) for sample in samples]
        return _found(predictor.encode(enriched), encode_targets(kind, (), [s.target for s in samples]))
    said = predictor.predict(samples)
    if kind == "classification":
        outside = predictor.vertical.task(predictor.settings).out_of_scope
        return np.array(
            [
                not p.in_scope if outside is not None and s.target == outside else p.label == s.target
                for p, s in zip(said, samples, strict=True)
            ],
            dtype=np.float64,
        )
    if kind == "regression":
        values = np.array([list(p.values.values()) for p in said], dtype=np.float64)
        wanted = encode_targets(kind, (), [s.target for s in samples])
        errors: Array = -np.square(values - wanted).mean(axis=1)
        return errors
    labels = predictor.session.labels
    actual = encode_targets(kind, labels, [s.target for s in samples]) > 0.5
    predicted = np.array([[p.probabilities[label] >= 0.5 for label in labels] for p in said])
    sizes = predicted.sum(axis=1) + actual.sum(axis=1)
    f1: Array = np.where(sizes > 0, 2 * (predicted & actual).sum(axis=1) / np.maximum(sizes, 1), 1.0)
    return f1


def _found(vectors: Array, groups: Array) -> Array:
    """Float64 [samples]: one where the nearest other vector is of the same group, not a number without one."""
    found = np.full(len(vectors), np.nan)
    for start in range(0, len(vectors), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(vectors)))
        similar = vectors[rows] @ vectors.T
        similar[rows - start, rows] = -np.inf
        found[rows] = groups[similar.argmax(axis=1)] == groups[rows]
    counts = np.bincount(groups)[groups]
    found[counts < 2] = np.nan
    return found


def _quality(predictor: Predictor, scores: tuple[Array, Array], limits: Limits) -> Row:
    """Non-inferiority of the candidate on the same samples."""
    kept = ~np.isnan(scores[0])
    if not kept.any():
        raise DataError("no sample can be judged: each is alone in its group")
    before, after = scores[0][kept], scores[1][kept]
    difference = paired_bootstrap(after, before)
    sign, margin, name = 1.0, limits.margin, HEADLINE[predictor.session.kind]
    if predictor.session.kind == "regression":
        sign, margin = -1.0, limits.margin * -float(before.mean())
    if predictor.session.kind == "multilabel":
        name = "f1 of a sample"
    low, high = sorted((sign * difference.low, sign * difference.high))
    ok = difference.low >= -margin
    return Row(what=name, service=sign * before.mean(), candidate=sign * after.mean(), low=low, high=high, ok=ok)


def _contract(
    predictor: Predictor,
    samples: Sequence[Sample],
    scores: tuple[Array, Array],
    metrics: tuple[dict[str, Any], dict[str, Any]],
    limits: Limits,
) -> list[str]:
    """What compressed variants are held to as well: calibration, scope, and every label by itself."""
    groups: list[dict[str, Array]] = [{}, {}]
    if predictor.session.kind == "classification":
        labels = np.array([str(sample.target) for sample in samples])
        for label in sorted(set(labels.tolist())):
            for side in (0, 1):
                groups[side][f"label {label}"] = scores[side][labels == label] > 0.5
    before, after = (Standing(metrics[side], groups[side]) for side in (0, 1))
    return list(check_contract(before, after, max_drop=100 * limits.margin).violations)


def _fairness(samples: Sequence[Sample], scores: tuple[Array, Array], column: str) -> list[Row]:
    """Each group, and the gap between the one served best and the one served worst.

    Refused where the gap has grown and chance does not explain it (its interval lies above zero).
    """
    names = np.array([str(sample.metadata.get(column, "")) for sample in samples])
    if not any(column in sample.metadata for sample in samples):
        raise DataError(f"the data has no column {column!r} beside what the model reads")
    kept = ~np.isnan(scores[0])
    known = [n for n in sorted(set(names.tolist())) if (kept & (names == n)).sum() >= _SMALLEST_GROUP]
    if len(known) < 2:
        raise DataError(f"the column {column!r} has fewer than two groups of {_SMALLEST_GROUP} samples")
    members = np.stack([(names == name)[kept] for name in known], axis=1).astype(np.float64)
    columns = np.hstack([members, members * scores[0][kept, None], members * scores[1][kept, None]])
    count = len(known)

    def gaps(means: Array) -> tuple[Array, Array]:
        size = np.maximum(means[:, :count], 1e-12)
        quality = means[:, count : 2 * count] / size, means[:, 2 * count :] / size
        return np.ptp(quality[0], axis=1), np.ptp(quality[1], axis=1)

    def growth(means: Array) -> Array:
        before, after = gaps(means)
        grown: Array = after - before
        return grown

    grown: Interval = bootstrap_statistic(columns, growth)
    before, after = gaps(columns.mean(axis=0, keepdims=True))
    rows = [Row(what=f"{column} = {n}", **_means(scores, kept & (names == n))) for n in known]
    gap = Row(
        what=f"gap over {column}", service=float(before[0]), candidate=float(after[0]), low=grown.low, high=grown.high
    )
    return [*rows, gap.model_copy(update={"ok": grown.low <= 0})]


def _means(scores: tuple[Array, Array], rows: Array) -> dict[str, float]:
    return {"service": float(scores[0][rows].mean()), "candidate": float(scores[1][rows].mean())}


def _prices(ours: Predictor, theirs: Predictor, limits: Limits) -> list[Row]:
    sizes = ours.bundle.size_mb, theirs.bundle.size_mb
    costs = _cost(ours), _cost(theirs)
    dearer = None not in costs and (costs[1] or 0.0) > (costs[0] or 0.0) * (1 + limits.dearer)
    return [
        Row(what="size, MB", service=sizes[0], candidate=sizes[1], ok=sizes[1] <= sizes[0] * (1 + limits.larger)),
        Row(what="cost of a million answers", service=costs[0], candidate=costs[1], ok=not dearer),
    ]


def _cost(predictor: Predictor) -> float | None:
    rows = {row["name"]: row for row in predictor.bundle.manifest.ledger.get("variants", [])}
    cost: float | None = rows.get(predictor.session.variant, {}).get("cost_per_million")
    return cost


def _latency(ours: Predictor, theirs: Predictor, samples: Sequence[Sample], limits: Limits) -> list[Row]:
    """One request at a time, in turns, without the vertical's rules; what nobody notices is no reason to refuse."""
    answers = {"service": ours.predict, "candidate": theirs.predict}
    measured = measure_all(answers, samples[:_TIMED], batches=1, round_seconds=1.0)
    rows = []
    for name, field in (("p50, ms", "p50_ms"), ("p95, ms", "p95_ms")):
        before, after = (float(getattr(measured[side], field)) for side in answers)
        ok = after <= max(before * (1 + limits.slower), before + _UNNOTICED_MS)
        rows.append(Row(what=name, service=before, candidate=after, ok=ok))
    return rows


def _refusal(row: Row) -> str:
    return f"{row.what} grows from {row.service:.4g} to {row.candidate:.4g}"
