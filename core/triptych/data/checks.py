"""Whether targets can be learnt at all, before anything is computed."""

from __future__ import annotations

import difflib
import statistics
from collections import Counter
from collections.abc import Sequence

from triptych.data.columns import TargetKind
from triptych.data.media import content_digest
from triptych.data.partition import labels_of
from triptych.data.tables import first_few
from triptych.errors import DataError
from triptych.types import Sample

FEW_EXAMPLES = 5  # of a label, below which quality is a matter of luck
UNBALANCED = 20  # times as many examples of the commonest label as of the rarest


def check_targets(
    samples: Sequence[Sample],
    kind: TargetKind = "label",
    *,
    labels: Sequence[str] | None = None,
    out_of_scope: str | None = None,
) -> list[str]:
    """What is worth a warning about the targets of all samples, before they are split.

    `labels` are the only ones allowed, where the task fixes them; `out_of_scope` is the target that marks samples
    outside every label. Samples without a target are passed over.

    Raises `DataError` when there is nothing to learn: no target at all, one label only, a label with a single example
    (it cannot stand in train and in a test), a label that is not allowed, a number that never changes.
    """
    known = [sample for sample in samples if sample.target is not None and sample.target != out_of_scope]
    if not known:
        raise DataError("no sample has a target, so there is nothing to learn from")
    if kind == "number":
        return _check_numbers(known)
    counts = Counter(label for sample in known for label in labels_of(sample))
    if labels is not None:
        _check_allowed(counts, labels)
    if kind == "label":
        _check_enough(counts)
    elif len({frozenset(labels_of(sample)) for sample in known}) == 1:
        raise DataError(f"all samples have the same labels ({first_few(sorted(counts))}), so there is nothing to learn")
    absent = [label for label in labels or () if label not in counts]
    return [
        *([f"no example of {len(absent)} labels: {first_few(absent)}"] if absent else []),
        *_rare(counts),
        *_alike(counts),
        *_contradictions(known),
    ]


def _check_numbers(samples: Sequence[Sample]) -> list[str]:
    values = [float(sample.target) for sample in samples]
    if min(values) == max(values):
        raise DataError(f"the target is {values[0]:g} for all {len(values)} samples, so there is nothing to learn")
    if len(values) < 2 * FEW_EXAMPLES:
        return [f"only {len(values)} samples have a target"]
    # robust: one slipped decimal point must not hide itself by widening the scale
    middle = statistics.median(values)
    spread = statistics.median(abs(value - middle) for value in values)
    far = [sample.id for sample, v in zip(samples, values, strict=True) if spread and abs(v - middle) > 50 * spread]
    return [f"{len(far)} targets lie very far from the rest (samples {first_few(far)})"] if far else []


def _check_allowed(counts: Counter[str], labels: Sequence[str]) -> None:
    foreign = sorted(label for label in counts if label not in labels)
    if foreign:
        near = difflib.get_close_matches(foreign[0], labels, n=1)
        hint = f"; did you mean {near[0]!r} by {foreign[0]!r}?" if near else "."
        raise DataError(f"labels that the task does not have: {first_few(foreign)}{hint} It has: {', '.join(labels)}")


def _check_enough(counts: Counter[str]) -> None:
    if len(counts) == 1:
        ((label, number),) = counts.items()
        raise DataError(f"all {number} samples have the one label {label!r}; at least two labels are needed")
    single = sorted(label for label, number in counts.items() if number == 1)
    if single:
        what = (
            f"the label {single[0]!r} has" if len(single) == 1 else f"{len(single)} labels ({first_few(single)}) have"
        )
        raise DataError(f"{what} a single example; add examples, or remove or merge the label (at least 2 are needed)")


def _rare(counts: Counter[str]) -> list[str]:
    few = sorted(label for label, number in counts.items() if number < FEW_EXAMPLES)
    warnings = [f"{len(few)} labels have fewer than {FEW_EXAMPLES} examples: {first_few(few)}"] if few else []
    if counts:
        (most, highest), (least, lowest) = counts.most_common()[0], counts.most_common()[-1]
        if highest >= UNBALANCED * lowest:
            numbers = f"{highest} examples of {most!r}, {lowest} of {least!r}"
            warnings.append(f"the labels are very unbalanced: {numbers}; look at macro averages, not at accuracy")
    return warnings


def _alike(counts: Counter[str]) -> list[str]:
    """Labels that differ only in case, or in blanks, hyphens and underscores."""
    spellings: dict[str, list[str]] = {}
    for label in sorted(counts):
        spellings.setdefault("".join(c for c in label.casefold() if c not in " -_"), []).append(label)
    return [f"labels that may be one: {', '.join(same)}" for same in spellings.values() if len(same) > 1]


def _contradictions(samples: Sequence[Sample]) -> list[str]:
    """Samples with the same content and different labels."""
    targets: dict[str, set[frozenset[str]]] = {}
    ids: dict[str, list[str]] = {}
    for sample in samples:
        digest = content_digest(sample)
        targets.setdefault(digest, set()).add(frozenset(labels_of(sample)))
        ids.setdefault(digest, []).append(sample.id)
    torn = [digest for digest, found in targets.items() if len(found) > 1]
    if not torn:
        return []
    return [f"{len(torn)} contents stand with different labels, the first in samples {first_few(ids[torn[0]])}"]
