"""In or out of scope, learnt from examples of both: a logistic regression, and what it says of unseen examples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

MINIMUM = 20  # examples out of scope, below which a separating plane is a matter of luck
_FOLDS = 10
_STRENGTH = 30.0  # inverse regularisation for vectors of unit length


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """A plane: `weights` float32 [dim] and `bias` float32 [1]; positive logits are on the side of in scope."""

    weights: Array
    bias: Array

    def logits(self, evidence: Any) -> Array:
        """Float [samples, dim] to float32 [samples]."""
        found: Array = np.asarray(evidence, dtype=np.float32) @ self.weights + self.bias
        return found


def fit_probe(inside: Array, outside: Array, groups: Array, *, seed: int = 0) -> tuple[Probe, Array]:
    """Learn from [samples, dim] of both kinds; the two kinds count alike, however many there are of each.

    Also returns the logits of `outside`, each from a probe that was trained without it and its group (int64
    [samples] of `groups`): what such a message would get if it came tomorrow.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict

    vectors = np.concatenate([inside, outside]).astype(np.float32)
    sides = np.r_[np.ones(len(inside)), np.zeros(len(outside))]
    model = LogisticRegression(C=_STRENGTH, class_weight="balanced", max_iter=500)
    alone = len(outside) + np.arange(len(inside))  # each of the others is a group of its own
    together = np.r_[alone, groups]
    parts = min(_FOLDS, len(set(groups.tolist())), len(inside))
    folds = StratifiedGroupKFold(parts, shuffle=True, random_state=seed)
    unseen = cross_val_predict(model, vectors, sides, groups=together, cv=folds, method="decision_function")
    model.fit(vectors, sides)
    plane = Probe(model.coef_[0].astype(np.float32), model.intercept_.astype(np.float32))
    return plane, unseen[len(inside) :].astype(np.float32)
