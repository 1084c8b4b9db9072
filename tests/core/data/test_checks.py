"""What cannot be learnt is refused; what is doubtful is warned of."""

from __future__ import annotations

from typing import Any

import pytest

from triptych.data.checks import check_targets
from triptych.data.columns import TargetKind
from triptych.errors import DataError
from triptych.types import Sample


def check(targets: list[Any], kind: TargetKind = "label", **options: Any) -> list[str]:
    return check_targets([Sample(str(i), text=f"t{i}", target=t) for i, t in enumerate(targets)], kind, **options)


def test_good_targets_pass_without_a_word() -> None:
    assert check(["a", "b"] * 5) == []
    assert check([("a",), ("a", "b"), ("b",)] * 5, "labels") == []
    assert check([float(i) for i in range(20)], "number") == []


@pytest.mark.parametrize(
    ("targets", "kind", "reason"),
    [
        ([], "label", "no sample has a target"),
        ([None, None], "label", "no sample has a target"),
        (["a"] * 5, "label", "all 5 samples have the one label 'a'"),
        (["a", "a", "b"], "label", "the label 'b' has a single example"),
        (["a", "a", "b", "c"], "label", r"2 labels \(b, c\) have a single example"),
        ([("a", "b"), ("b", "a")], "labels", r"the same labels \(a, b\)"),
        ([2.0] * 3, "number", "the target is 2 for all 3 samples"),
    ],
)
def test_targets_that_cannot_be_learnt_are_refused(targets: list[Any], kind: TargetKind, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        check(targets, kind)


def test_labels_that_the_task_lacks_are_refused_with_the_nearest() -> None:
    with pytest.raises(DataError, match=r"refnd; did you mean 'refund' by 'refnd'\? It has: refund, greet"):
        check(["refnd", "greet"] * 3, labels=["refund", "greet"])


def test_out_of_scope_is_no_label() -> None:
    assert check(["a", "b"] * 5 + ["oos"], out_of_scope="oos", labels=["a", "b"]) == []
    with pytest.raises(DataError, match="one label"):
        check(["a", "a", "oos", "oos"], out_of_scope="oos")


@pytest.mark.parametrize(
    ("targets", "kind", "options", "warning"),
    [
        (["a"] * 5 + ["b"] * 3, "label", {}, "1 labels have fewer than 5 examples: b"),
        (["a"] * 100 + ["b"] * 5, "label", {}, "very unbalanced: 100 examples of 'a', 5 of 'b'"),
        (["late_fee", "Late fee"] * 5, "label", {}, "labels that may be one: Late fee, late_fee"),
        (["a", "b"] * 5, "label", {"labels": ["a", "b", "c"]}, "no example of 1 labels: c"),
        ([("a",)] * 5 + [("a", "b")], "labels", {}, "1 labels have fewer than 5 examples: b"),
        ([1.0, 2.0], "number", {}, "only 2 samples have a target"),
        ([float(i) for i in range(20)] + [1e6], "number", {}, "1 targets lie very far from the rest (samples 20)"),
    ],
)
def test_doubtful_targets_are_warned_of(targets: list[Any], kind: TargetKind, options: Any, warning: str) -> None:
    assert any(warning in found for found in check(targets, kind, **options))


def test_one_content_with_two_labels_is_warned_of() -> None:
    samples = [Sample(str(i), text="same" if i < 2 else f"t{i}", target="ab"[i % 2]) for i in range(12)]
    assert check_targets(samples) == ["1 contents stand with different labels, the first in samples 0, 1"]
