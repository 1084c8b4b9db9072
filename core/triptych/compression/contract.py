"""What a variant is held to beside its headline metric: calibration, scope, its worst group, what it finds.

An average can hide that one language, one kind of message or a picture without words is served worse than before. A
group counts as worse only where chance does not explain it: an exact sign test on the samples whose answer changed
between right and wrong (McNemar 1947), at 5 % over all groups together (Bonferroni).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from triptych.compression.records import Contract

Array = np.ndarray[Any, Any]

MORE_ECE = 0.05
"""How much the expected calibration error may grow."""
LESS_AUROC = 0.03
"""How much of the area under the curve of scope detection may be lost."""
MORE_ACCEPTED = 0.05
"""How much larger the share of out-of-scope requests that get an answer may be."""
LEAST_AGREEMENT = 0.8
"""Of requests whose best document the variant must still find among its first three."""
SMALLEST_GROUP = 10
CHANCE = 0.05


@dataclass(frozen=True, slots=True, eq=False)
class Standing:
    """How one model stands on held-out data.

    `groups` has for each group, by name, whether each of its samples was answered right (bool [samples], the same
    samples in the same order for every model); empty where the task has no right and wrong. `agreement` is the share
    of requests whose best document was found again.
    """

    metrics: Mapping[str, Any]
    groups: Mapping[str, Array] = field(default_factory=dict)
    agreement: float | None = None


def check_contract(parent: Standing, variant: Standing, *, max_drop: float = 0.0) -> Contract:
    """The contract of a variant. What a group may lose in any case is `max_drop` points: that is allowed on average."""
    violations = [*_calibration(parent, variant), *_scope(parent, variant), *_groups(parent, variant, max_drop)]
    if variant.agreement is not None and variant.agreement < LEAST_AGREEMENT:
        violations.append(
            f"only {variant.agreement:.0%} of requests still find their document, {LEAST_AGREEMENT:.0%} are needed"
        )
    worst = min(_means(variant).items(), key=lambda item: item[1], default=(None, None))
    scope = variant.metrics.get("out_of_scope") or {}
    return Contract(
        ece=variant.metrics.get("ece"),
        scope_auroc=scope.get("auroc"),
        false_accept_rate=scope.get("false_accept_rate"),
        worst_group=worst[0],
        worst_group_quality=worst[1],
        retrieval_agreement=variant.agreement,
        violations=violations,
    )


def sign_test(worse: int, better: int) -> float:
    """The chance of at least `worse` of the changed answers having become wrong, if both ways were equally likely."""
    changed = worse + better
    chance: float = sum(math.comb(changed, k) for k in range(worse, changed + 1)) / 2**changed
    return chance


def _calibration(parent: Standing, variant: Standing) -> list[str]:
    before, after = parent.metrics.get("ece"), variant.metrics.get("ece")
    if before is None or after is None or after <= before + MORE_ECE:
        return []
    return [f"calibration error grows from {before:.3f} to {after:.3f}"]


def _scope(parent: Standing, variant: Standing) -> list[str]:
    before, after = parent.metrics.get("out_of_scope") or {}, variant.metrics.get("out_of_scope") or {}
    if not before:
        return []
    found = []
    if "auroc" in before and after.get("auroc", 1.0) < before["auroc"] - LESS_AUROC:
        found.append(f"scope detection falls from {before['auroc']:.3f} to {after['auroc']:.3f} (area under the curve)")
    if not after:
        found.append("what is out of scope was not put to it")
    accepted = after.get("false_accept_rate", 0.0)
    if accepted > before.get("false_accept_rate", 1.0) + MORE_ACCEPTED:
        found.append(f"falsely accepts {accepted:.1%}, where it was {before['false_accept_rate']:.1%}")
    return found


def _groups(parent: Standing, variant: Standing, max_drop: float) -> list[str]:
    """A sentence for each group that is served worse than before."""
    names = [n for n, right in variant.groups.items() if n in parent.groups and len(right) >= SMALLEST_GROUP]
    found = []
    for name in names:
        before, after = parent.groups[name], variant.groups[name]
        worse, better = int((before & ~after).sum()), int((~before & after).sum())
        drop = 100 * float(before.mean() - after.mean())
        if drop > max_drop and sign_test(worse, better) < CHANCE / len(names):
            found.append(f"{name} falls from {before.mean():.3f} to {after.mean():.3f}")
    return found


def _means(standing: Standing) -> dict[str, float]:
    return {n: float(right.mean()) for n, right in standing.groups.items() if len(right) >= SMALLEST_GROUP}
