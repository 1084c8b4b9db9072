"""Cascades: cheap variants in front of one that is good enough, each handing on what it is not sure of.

Two or three stages out of the variants that were judged. All numbers that choose are of validation data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from triptych.compression.budget import Budget
from triptych.compression.contract import Standing
from triptych.evaluation.judge import judge_outputs
from triptych.evaluation.risk import ThresholdChoice, choose_threshold, settled_by
from triptych.finalist import Judged, Trained, label_rows
from triptych.pricing import Option
from triptych.runtime.base import Session
from triptych.runtime.cascade import Cascade

Array = np.ndarray[Any, Any]
Stages = tuple[Judged, ...]

ACCURACY = "accuracy"
STEP = 2.0
"""A stage costs at least that many times as much as the one before it."""
MOST_COST = 0.85
"""A cascade that costs more than this share of its last stage alone is not worth several models."""
MOST = 3
"""Cascades that are measured, the cheapest first."""


def cascades(
    parent: Judged,
    judged: Sequence[Judged],
    cost: Mapping[str, float],
    trained: Trained,
    budget: Budget,
    assurance: float,
) -> list[Option]:
    """The cheapest cascades that keep the budget's drop, at most `MOST`; `cost` is CPU milliseconds by variant.

    What is promised is held against the last stage, which would answer everything otherwise; what that one loses
    against the parent on validation data is taken off the bound. All that are tried share the doubt (Bonferroni), for
    the best of them is taken: together, and so for that one, they are as sure as `assurance` says.
    """
    max_drop = min((budget.max_drop if budget.max_drop is not None else 0.5) / 100, 0.99)
    tried = arrangements(parent, judged, cost, max_drop)
    found: list[tuple[float, Stages, ThresholdChoice]] = []
    for stages in tried:
        *front, last = stages
        sure = np.stack([stage.sure["validation"] for stage in front])
        choice = choose_threshold(
            sure,
            np.stack([stage.right["validation"] for stage in front]),
            last.right["validation"],
            max_drop=max(max_drop - max(last.lost(parent, ACCURACY), 0.0), 0.0),
            assurance=1 - (1 - assurance) / len(tried) if assurance else 0.0,
        )
        reached = settled_by(sure, choice.threshold)
        spent = sum(cost[stage.name] * float((reached >= number).mean()) for number, stage in enumerate(stages))
        if spent <= MOST_COST * cost[last.name]:
            found.append((spent, stages, replace(choice, assurance=assurance)))
    found.sort(key=lambda item: item[0])
    return [_cascade(stages, choice, trained) for _, stages, choice in found[:MOST]]


def arrangements(parent: Judged, judged: Sequence[Judged], cost: Mapping[str, float], max_drop: float) -> list[Stages]:
    """Two or three variants in a row, each `STEP` times dearer than the one before it or more.

    The last one keeps `max_drop` (a share of one) by itself: every variant that does, unless another is both cheaper
    and better; the parent where none does.
    """
    priced = sorted((j for j in judged if j.name in cost), key=lambda j: cost[j.name])
    lasts: list[Judged] = []
    for one in priced:
        lost = one.lost(parent, ACCURACY)
        if lost <= max_drop and all(lost < other.lost(parent, ACCURACY) for other in lasts):
            lasts.append(one)
    if not lasts and parent.name in cost:
        lasts = [parent]
    found: list[Stages] = []
    for last in lasts:
        front = [j for j in priced if STEP * cost[j.name] <= cost[last.name]]
        found += [(first, last) for first in front]
        found += [
            (first, second, last) for first in front for second in front if STEP * cost[first.name] <= cost[second.name]
        ]
    return found


def _cascade(stages: Stages, choice: ThresholdChoice, trained: Trained) -> Option:
    """What the stages answer together, told from what each of them said of the same samples."""
    front, first, threshold = stages[:-1], stages[0], choice.threshold
    name = ">".join(stage.name for stage in stages)
    right, sure, seen, metrics = {}, {}, {}, {}
    for split in ("validation", "test"):
        by = settled_by(np.stack([stage.sure[split] for stage in front]), threshold)
        right[split] = _picked([stage.right[split] for stage in stages], by)
        sure[split] = _picked([stage.sure[split] for stage in stages], by)
        probabilities = _picked([stage.seen[split].probabilities for stage in stages], by)
        seen[split] = first.seen[split]._replace(probabilities=probabilities)
        targets = [s.target for s in trained.inside[split]]
        metrics[split] = judge_outputs(first.session.kind, first.session.labels, seen[split], targets)
    groups = {group: right["test"][rows] for group, rows in label_rows(trained).items()}
    for group in first.group_sure:
        by = settled_by(np.stack([stage.group_sure[group] for stage in front]), threshold)
        groups[group] = _picked([stage.standing.groups[group] for stage in stages], by)
    if len(first.strangers):
        by = settled_by(np.stack([stage.strangers for stage in front]), threshold)
        metrics["test"]["out_of_scope"] = {
            "false_accept_rate": float(np.isfinite(_picked([stage.strangers for stage in stages], by)).mean()),
            "in_scope_rejected": float(np.isinf(sure["test"]).mean()),
        }
    agreements = [stage.standing.agreement for stage in stages if stage.standing.agreement is not None]
    judged = Judged(
        name,
        first.session,
        Standing(metrics["test"], groups, min(agreements, default=None)),
        right,
        sure,
        seen,
        np.zeros(0),
        {},
        metrics["validation"],
        sum(stage.size_mb for stage in stages),
        None,
        (),
        (_note(stages, choice),),
        sum(stage.cpu_seconds for stage in stages),
    )
    session = Cascade(name, [_opener(stage.session) for stage in stages], [threshold] * len(front))
    return Option(judged, session, stages, choice)


def _note(stages: Stages, choice: ThresholdChoice) -> str:
    """What is handed on, and what is known of the loss."""
    *front, last = stages
    by = settled_by(np.stack([stage.sure["test"] for stage in front]), choice.threshold)
    shares = " and then ".join(f"{(by > number).mean():.1%}" for number in range(len(front)))
    if not choice.assurance:
        known = (
            f"nothing is promised; on the validation data it loses {100 * choice.drop:.2g} points against {last.name}"
        )
    else:
        known = (
            f"a loss of more than {100 * choice.bound:.2g} points against {last.name} is ruled out with "
            f"{choice.assurance:.1%} assurance by the validation data"
        )
    return f"hands on {shares} of the test requests; {known}"


def _picked(values: Sequence[Array], by: Array) -> Array:
    """Of each sample what the stage said that settled it; `values` has [samples, ...] of each stage."""
    picked: Array = np.stack(values)[by, np.arange(len(by))]
    return picked


def _opener(session: Session) -> Callable[[], Session]:
    return lambda: session
