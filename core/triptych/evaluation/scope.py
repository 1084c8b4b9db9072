"""Is a message within what the model was trained for? A score, and a threshold for a stated error rate.

The score adds up four kinds of evidence, each in deviations of the in-scope validation samples:

- how near the message is to training examples of the very label that was predicted (deep nearest neighbours, Sun et
  al. 2022, here within the label: near to other labels is no support for this one);
- the log-odds of that label;
- where out-of-scope examples are known, how much nearer one of those is. That takes points away and never gives any:
  unlike the known out-of-scope messages does not mean in scope;
- where there are enough of them, the logit of a probe that tells the two apart by the encoders' own vectors. What it
  gives is bounded, for the same reason.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from triptych.errors import BundleError
from triptych.evaluation.probe import MINIMUM, Array, Probe, fit_probe


class Seen(NamedTuple):
    """What is known of some samples: embeddings [samples, dim] and calibrated probabilities [samples, labels].

    `evidence` [samples, width] is what the probe looks at (see `evidence_of`); None: the embeddings. Arrays, or
    whatever NumPy makes one of, such as a tensor on the CPU.
    """

    embeddings: Any
    probabilities: Any
    evidence: Any = None


class Encodings(Protocol):
    """Encoders' vectors of some samples and which of them are present, of torch or of NumPy, on the CPU."""

    @property
    def vectors(self) -> Mapping[Any, Any]:
        """Float [samples, dim] of each modality."""

    @property
    def mask(self) -> Any:
        """Bool [samples, modalities], its columns in the order of `vectors`."""


SETTINGS, VECTORS = "scope.json", "scope.safetensors"
_ROWS = 512  # messages compared with all examples at once
_TOGETHER = 16  # messages with one predicted label, from which on one product is faster than one for each
_SURE = 1e-6  # probabilities nearer to 0 or 1 than this say no more
# How much the known out-of-scope examples count, found on splits of HWU64's training messages with intents withheld:
# strong enough to use them well, while messages out of scope in a new way are ranked no worse than without.
_WEIGHT, _MARGIN, _BEND = 8.0, 0.5, 2.0
_MOST = 3.0  # points that the probe may give
_PRESENCE = 0.2  # length of a presence bit beside vectors of unit length


def evidence_of(features: Encodings) -> Array:
    """The encoders' vectors side by side, each of unit length or zero where absent, then the presence bits."""
    mask = np.asarray(features.mask)
    parts = [_normalized(vectors) * mask[:, i : i + 1] for i, vectors in enumerate(features.vectors.values())]
    return np.concatenate([*parts, mask * np.float32(_PRESENCE)], axis=1)


@dataclass(frozen=True, slots=True)
class ScopeSettings:
    """Everything of a detector but its vectors; JSON.

    `basis` says what `threshold` was set on: "out-of-scope" (then `rate` is the share of out-of-scope messages
    accepted), or "in-scope" (then it is the share of in-scope messages rejected, for there was nothing else to set it
    on). `assurance` is the probability that the rate is held on messages like those it was set on; None where there
    were too few to give one.
    """

    neighbours: int
    threshold: float | None = None  # None: everything is accepted
    rate: float = 0.0
    basis: str = "none"
    assurance: float | None = None
    examples: int = 0  # how many scores the threshold was set on
    centre: tuple[float, float] = (0.0, 0.0)  # of nearness and log-odds, over in-scope validation samples
    scale: tuple[float, float] = (1.0, 1.0)


class ScopeDetector:
    """Accept a message as in scope when `score` >= `threshold`. `fit`, then `set_threshold`."""

    def __init__(
        self, vectors: Array, labels: Array, outside: Array, settings: ScopeSettings, probe: Probe | None = None
    ) -> None:
        order = np.argsort(labels, kind="stable")  # those of one label side by side, to be looked at without a copy
        self.vectors, self.labels, self.outside = vectors[order], labels[order], outside
        self.settings = settings
        self.probe = probe
        self._trained_on: Array | None = None  # evidence of the training examples, until the threshold is set

    @classmethod
    def fit(cls, embeddings: Any, labels: Any, *, neighbours: int = 3, evidence: Any = None) -> ScopeDetector:
        """Remember the training examples: embeddings [samples, dim], int64 labels [samples], and their evidence."""
        if len(embeddings) == 0 or len(embeddings) != len(labels):
            raise ValueError(f"one label for each example is needed, got {len(labels)} for {len(embeddings)}")
        vectors = _unit(embeddings)
        detector = cls(vectors, np.asarray(labels), vectors[:0], ScopeSettings(neighbours))
        detector._trained_on = vectors if evidence is None else np.asarray(evidence)
        return detector

    @property
    def threshold(self) -> float:
        """The lowest score that is accepted; minus infinity where everything is."""
        return -math.inf if self.settings.threshold is None else self.settings.threshold

    def set_threshold(
        self,
        *,
        inside: Seen,
        outside: Seen | None = None,
        groups: Sequence[str | None] | None = None,
        rate: float = 0.05,
        assurance: float = 0.9,
    ) -> None:
        """Set the threshold on validation samples, none of which the model was trained on.

        With `outside`, at most `rate` of out-of-scope messages are accepted, with probability `assurance` over the
        draw of the examples (with fewer examples than that takes, on average over such draws). The examples are kept
        as evidence too, each judged here as if neither it nor others of its group in `groups` were among them.
        Without `outside`, or with too few, at most `rate` of in-scope messages are rejected, on average. Raises
        `ValueError` for no in-scope samples.
        """
        inside = Seen(*inside)
        if len(inside.embeddings) == 0:
            raise ValueError("a threshold needs in-scope validation samples")
        near, odds = self._nearness(*inside[:2]), _log_odds(inside.probabilities)
        self.settings = ScopeSettings(
            self.settings.neighbours,
            centre=(float(near.mean()), float(odds.mean())),
            scale=(_spread(near), _spread(odds)),
        )
        if outside is not None and len(outside[0]):
            outside = Seen(*outside)
            self.outside = _unit(outside.embeddings)
            alike = np.arange(len(self.outside)) if groups is None else _numbered(groups)
            scores = self._score(outside, leave_out=alike)
            if len(self.outside) >= MINIMUM and self._trained_on is not None:
                known = np.concatenate([self._trained_on, _evidence(inside)])
                self.probe, unseen = fit_probe(known, _evidence(outside), alike)
                scores = scores + np.minimum(unseen, _MOST)
            threshold, sure = accept_threshold(scores, rate, assurance)
            if threshold is not None:
                self._settle(threshold, rate, "out-of-scope", assurance if sure else None, len(scores))
                return
            self.probe = None  # it has seen the samples that the threshold is set on now
        scores = self.score(*inside)
        self._settle(reject_threshold(scores, rate), rate, "in-scope", None, len(scores))

    def score(self, embeddings: Any, probabilities: Any, evidence: Any = None) -> Array:
        """Float32 [samples], higher is more in scope; the arguments are those of `Seen`."""
        seen = Seen(embeddings, probabilities, evidence)
        score = self._score(seen)
        return score if self.probe is None else score + np.minimum(self.probe.logits(_evidence(seen)), _MOST)

    def save(self, directory: Path) -> None:
        """Write JSON and safetensors into an existing directory. Vectors are kept in half precision."""
        (directory / SETTINGS).write_text(json.dumps(asdict(self.settings), indent=1), encoding="utf-8")
        tensors = {"vectors": _half(self.vectors), "labels": self.labels, "outside": _half(self.outside)}
        if self.probe is not None:
            tensors |= {"probe": self.probe.weights, "probe_bias": self.probe.bias}
        save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, directory / VECTORS)

    @classmethod
    def load(cls, directory: Path) -> ScopeDetector:
        """What `save` wrote. Raises `BundleError`."""
        try:
            settings = json.loads((directory / SETTINGS).read_text(encoding="utf-8"))
            settings |= {k: tuple(settings[k]) for k in ("centre", "scale")}
            tensors = load_file(directory / VECTORS)
            found = _float(tensors["vectors"]), tensors["labels"], _float(tensors["outside"])
            probe = Probe(tensors["probe"], tensors["probe_bias"]) if "probe" in tensors else None
            return cls(*found, ScopeSettings(**settings), probe)
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise BundleError(f"the scope detector in {directory} cannot be read: {error!r}") from error

    def describe(self) -> dict[str, Any]:
        """The threshold and what it rests on, as JSON."""
        kept = asdict(self.settings)
        return {k: kept[k] for k in ("threshold", "rate", "basis", "assurance", "examples")}

    def _score(self, seen: Seen, *, leave_out: Array | None = None) -> Array:
        """The score without the probe. `leave_out` numbers the groups of the known out-of-scope examples themselves.

        Each is then judged as if neither it nor its group were known.
        """
        embeddings, probabilities, _ = seen
        (near_centre, odds_centre), (near_scale, odds_scale) = self.settings.centre, self.settings.scale
        near = self._nearness(embeddings, probabilities)
        score = (near - near_centre) / near_scale + (_log_odds(probabilities) - odds_centre) / odds_scale
        if len(self.outside) == 0:
            return score
        known = np.empty(len(embeddings), dtype=np.float32)
        queries = _unit(embeddings)
        count = min(self.settings.neighbours, len(self.outside))
        for start in range(0, len(queries), _ROWS):
            rows = slice(start, start + _ROWS)
            similar = queries[rows] @ self.outside.T
            if leave_out is not None:
                similar[leave_out[rows, None] == leave_out] = -1.0  # as far as can be
            known[rows] = _mean_of_largest(similar, count)
        gap = (known - near) / near_scale + _MARGIN
        return _float(score - _WEIGHT * np.logaddexp(0.0, _BEND * gap) / _BEND)

    def _nearness(self, embeddings: Any, probabilities: Any) -> Array:
        """Mean cosine with the nearest training examples of the predicted label, float32 [samples]."""
        predicted = np.asarray(probabilities).argmax(axis=1)
        firsts, ends = self.labels.searchsorted(predicted), self.labels.searchsorted(predicted, side="right")
        queries = _unit(embeddings)
        nearness = np.full(len(predicted), -1.0, dtype=np.float32)  # of a label without examples nothing is near
        places: dict[tuple[int, int], list[int]] = {}
        for row, place in enumerate(zip(firsts.tolist(), ends.tolist(), strict=True)):
            places.setdefault(place, []).append(row)
        for (first, end), rows in places.items():  # of each predicted label: only its own examples are looked at
            count = min(self.settings.neighbours, end - first)
            if count and len(rows) >= _TOGETHER:
                nearness[rows] = _mean_of_largest(queries[rows] @ self.vectors[first:end].T, count)
            elif count:
                for row in rows:
                    similar = self.vectors[first:end] @ queries[row]
                    similar.partition(-count)
                    nearness[row] = similar[-count:].sum() / count
        return nearness

    def _settle(self, threshold: float | None, rate: float, basis: str, assurance: float | None, examples: int) -> None:
        kept = self.settings
        self.settings = ScopeSettings(
            kept.neighbours, threshold, rate, basis, assurance, examples, kept.centre, kept.scale
        )


def accept_threshold(scores: Any, rate: float, assurance: float) -> tuple[float | None, bool]:
    """The lowest threshold that accepts at most `rate` of scores like these, and whether with `assurance`.

    Tolerance limits by order statistics (Wilks 1941): of n scores at most j may be accepted, where a binomial
    (n, rate) gives j or fewer with probability at most 1 - `assurance`. Where n is too small for any j, the split
    conformal quantile holds the rate on average (Vovk et al. 2005); where n < 1 / rate - 1, nothing does: None.
    """
    from scipy.stats import binom

    ordered = np.sort(_float(scores))
    n = len(ordered)
    accepted = int(binom.ppf(1 - assurance, n, rate))
    if binom.cdf(accepted, n, rate) > 1 - assurance:
        accepted -= 1
    accepted = min(accepted, n - 1)
    sure = accepted >= 0
    if not sure:
        accepted = math.floor((n + 1) * rate) - 1
        if accepted < 0:
            return None, False
    highest_rejected = ordered[n - 1 - accepted]
    # the next number of the scores' own precision: one in double precision would be rounded back
    return float(np.nextafter(highest_rejected, np.float32(math.inf))), sure


def reject_threshold(scores: Any, rate: float) -> float | None:
    """The highest threshold that rejects at most `rate` of scores like these on average (split conformal).

    None where there are too few to reject any.
    """
    ordered = np.sort(_float(scores))
    rejected = math.floor((len(ordered) + 1) * rate)
    return None if rejected == 0 else float(ordered[rejected - 1])


def auroc(inside: Any, outside: Any) -> float:
    """The probability that an in-scope score is higher than an out-of-scope one, ties counting half."""
    ordered = np.sort(np.asarray(outside, dtype=np.float64))
    scores = np.asarray(inside, dtype=np.float64)
    lower, not_higher = np.searchsorted(ordered, scores), np.searchsorted(ordered, scores, side="right")
    return float((lower + not_higher).mean() / (2 * len(ordered)))


def scope_metrics(detector: ScopeDetector, *, inside: Seen, outside: Seen) -> dict[str, Any]:
    """How well a detector tells test samples apart, beside the maximum probability.

    `false_accept_rate` is the share of out-of-scope samples accepted at the detector's threshold, `recall_at_rate`
    the share rejected, `in_scope_rejected` what that costs. `in_scope_rejected_at_rate` compares with the maximum
    probability on equal terms: both thresholds are put on these very samples so that the stated rate is just held.
    """
    inside, outside = Seen(*inside), Seen(*outside)
    kept, strange = detector.score(*inside), detector.score(*outside)
    sure_kept, sure_strange = (np.asarray(seen.probabilities).max(axis=1) for seen in (inside, outside))
    accepted = float((strange >= detector.threshold).mean())
    rate = detector.settings.rate
    return {
        "auroc": auroc(kept, strange),
        "max_probability_auroc": auroc(sure_kept, sure_strange),
        "recall_at_rate": 1 - accepted,
        "false_accept_rate": accepted,
        "stated_false_accept_rate": rate if detector.settings.basis == "out-of-scope" else None,
        "in_scope_rejected": float((kept < detector.threshold).mean()),
        "in_scope_rejected_at_rate": _rejected_at(kept, strange, rate),
        "max_probability_in_scope_rejected_at_rate": _rejected_at(sure_kept, sure_strange, rate),
        "in_scope": len(kept),
        "out_of_scope": len(strange),
        "threshold_basis": detector.settings.basis,
        "assurance": detector.settings.assurance,
    }


def _rejected_at(inside: Array, outside: Array, rate: float) -> float:
    """Share of `inside` rejected when just `rate` of `outside` is accepted."""
    ordered = np.sort(outside)
    highest_rejected = ordered[len(ordered) - 1 - math.floor(rate * (len(ordered) - 1))]
    return float((inside <= highest_rejected).mean())


def _float(values: Any) -> Array:
    return np.asarray(values, dtype=np.float32)


def _half(values: Array) -> Array:
    return values.astype(np.float16)


def _normalized(vectors: Any) -> Array:
    """Float32 rows of unit length; a row of zeros stays as it is."""
    rows = _float(vectors)
    unit: Array = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.float32(1e-12))
    return unit


def _unit(embeddings: Any) -> Array:
    """Unit rows, rounded to half precision, so that a saved detector gives the scores of the one that was fitted."""
    return _float(_half(_normalized(embeddings)))


def _mean_of_largest(values: Array, count: int) -> Array:
    """The mean of the `count` largest of each row."""
    means: Array = np.partition(values, -count, axis=1)[:, -count:].sum(axis=1) / np.float32(count)
    return means


def _numbered(groups: Sequence[str | None]) -> Array:
    """Int64 [samples]: equal for members of one group; a sample without a group is one of its own."""
    numbers: dict[Any, int] = {}
    keys = [(row, None) if group is None else group for row, group in enumerate(groups)]
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def _evidence(seen: Seen) -> Array:
    return _unit(seen.embeddings) if seen.evidence is None else np.asarray(seen.evidence)


def _log_odds(probabilities: Any) -> Array:
    sure = np.clip(_float(probabilities).max(axis=1), np.float32(_SURE), np.float32(1 - _SURE))
    odds: Array = np.log(sure / (1 - sure))
    return odds


def _spread(values: Array) -> float:
    """A deviation that is never zero, so that equal values do not divide by nothing."""
    return max(float(values.std()), 1e-3)
