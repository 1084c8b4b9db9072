"""When may a cheap model keep its answer? A threshold on its confidence, with a promise on what that costs.

Learn then test (Angelopoulos, Bates, Candès, Jordan and Lei 2021, "Learn then Test: Calibrating Predictive Algorithms
to Achieve Risk Control"): each threshold is a hypothesis "this loses more than allowed", and a threshold is used only
if its hypothesis is rejected. The thresholds stand in one fixed order, from escalating everything downwards, and
testing stops at the first that is not rejected, so that no correction for their number is needed. The promise is free
of assumptions on the models and on the data, but that later requests are like the samples it was made on.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

EVERYTHING = 2.0
"""A threshold above every probability: all samples go on to the next stage."""
_FINE, _COARSE = 80, 50  # thresholds above and below one half; those near one decide, so they lie closer there
_BETS, _SMALLEST_BET = 10, 0.05  # shares of the largest stake that cannot ruin
_LARGEST = 0.98


@dataclass(frozen=True, slots=True)
class ThresholdChoice:
    """A sample with confidence below `threshold` is handed on, by every stage but the last.

    `escalation_rate` (of the first stage) and `drop` (mean of reference minus cascade) are of the samples the threshold
    was chosen on. With probability `assurance` over their draw, the drop on samples like them is at most `bound`; it is
    zero where everything is escalated. `p_value` is of the test that allowed the threshold.
    """

    threshold: float
    escalation_rate: float
    drop: float
    bound: float
    assurance: float
    p_value: float
    samples: int

    def to_json(self) -> dict[str, Any]:
        """The same for `cascade.json`."""
        return asdict(self)


def choose_threshold(
    confidence: Any, cheap_correct: Any, reference_correct: Any, *, max_drop: float, assurance: float = 0.95
) -> ThresholdChoice:
    """The lowest threshold that provably costs at most `max_drop` of the reference's mean, with `assurance`.

    All three are [samples]: the calibrated confidence of the cheap model (minus infinity for what it sends on in any
    case), and what its answer and the reference's are worth, in [0, 1]: right or wrong, or one minus a bounded loss.
    With several models in front of the reference the first two are [models, samples], in the order they are asked; one
    threshold serves them all, for a calibrated probability means the same of each. None of the samples may have been
    trained on. Where nothing can be promised, everything is escalated; with an assurance of zero nothing is promised
    and what these very samples lose decides. Raises `ValueError` for no samples or values out of range.
    """
    confidence = np.atleast_2d(np.asarray(confidence, dtype=np.float64))
    reference = np.asarray(reference_correct, dtype=np.float64)
    worth = np.atleast_2d(np.asarray(cheap_correct, dtype=np.float64))
    _check(confidence, worth, reference, max_drop, assurance)
    worth = np.vstack([worth, reference])
    best = ThresholdChoice(EVERYTHING, 1.0, 0.0, 0.0, assurance, 0.0, len(reference))
    before, p_value = np.full(len(reference), -1), 0.0
    for threshold in thresholds():
        stage = settled_by(confidence, threshold)
        lost = reference - worth[stage, np.arange(len(reference))]
        if (stage != before).any():  # else the same answers as at the threshold before, and so the same test
            before, p_value = stage, drop_p_value(lost, max_drop)
        drop = float(lost.mean())
        # the most that a gambler ever had may lie before a bad end: what these very samples lose counts as well
        if p_value > 1 - assurance or drop > max_drop:
            break
        handed_on = 1 - float((stage == 0).mean())
        best = ThresholdChoice(threshold, handed_on, drop, max_drop, assurance, p_value, len(reference))
    return best


def settled_by(confidence: Any, threshold: float) -> Array:
    """Which model answers each sample, int64 [samples]: the first that is sure enough, else the one behind them all.

    `confidence` is [models, samples], of all but the last; the last has the number `len(confidence)`.
    """
    sure = np.atleast_2d(np.asarray(confidence)) >= threshold
    stage: Array = np.where(sure.any(axis=0), sure.argmax(axis=0), len(sure))
    return stage


def thresholds() -> list[float]:
    """The fixed sequence of tested thresholds, from nearly one to zero; it must not depend on the data."""
    near_one = 1 - np.geomspace(1e-4, 0.5, _FINE)
    return [float(t) for t in np.concatenate([near_one, np.linspace(0.49, 0.0, _COARSE)])]


def drop_p_value(losses: Any, max_drop: float) -> float:
    """A p-value for "the mean loss is `max_drop` or more", of losses [samples] in [-1, 1] drawn alike.

    Somebody who bets on losses below `max_drop`, and never more than he has, cannot be expected to win while the
    hypothesis is true: his wealth, here spread over `_BETS` constant stakes, is a supermartingale that starts at one.
    By Ville's inequality one over the most he ever had is a p-value (Waudby-Smith and Ramdas 2024, "Estimating means
    of bounded random variables by betting"). It never grows with `max_drop`.
    """
    losses = np.asarray(losses, dtype=np.float64)
    shares = np.geomspace(_SMALLEST_BET, 1.0, _BETS)
    stakes = shares * _LARGEST / (1 - max_drop)  # a loss of one leaves something even of the largest
    wealth = np.cumsum(np.log1p(stakes[:, None] * (max_drop - losses)), axis=1)  # its logarithm, [stakes, samples]
    weights = np.log(shares / shares.sum())
    together = np.logaddexp.reduce(wealth + weights[:, None], axis=0)
    return min(1.0, math.exp(-float(together.max(initial=0.0))))


def _check(confidence: Array, worth: Array, reference: Array, max_drop: float, assurance: float) -> None:
    if (
        reference.ndim != 1
        or len(reference) == 0
        or not confidence.shape == worth.shape == (len(worth), len(reference))
    ):
        raise ValueError(
            f"equal numbers of samples are needed, got {confidence.shape}, {worth.shape} and {reference.shape}"
        )
    if np.isnan(confidence).any() or confidence.max() > 1 + 1e-6:
        raise ValueError("confidences are probabilities, or minus infinity")
    if not np.abs(reference - worth).max() <= 1:
        raise ValueError("what answers are worth lies in [0, 1]")
    if not (0 <= max_drop < 1 and 0 <= assurance < 1):
        raise ValueError(f"max_drop and assurance are in [0, 1), got {max_drop} and {assurance}")
