from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from triptych.compression.contract import Standing, check_contract, sign_test


def standing(
    groups: dict[str, list[bool]] | None = None, agreement: float | None = None, **metrics: object
) -> Standing:
    return Standing(metrics, {k: np.array(v) for k, v in (groups or {}).items()}, agreement)


def test_the_same_model_keeps_its_contract() -> None:
    same = standing({"label a": [True] * 8 + [False] * 4}, 1.0, ece=0.04, out_of_scope={"auroc": 0.9})
    contract = check_contract(same, same)
    assert contract.violations == []
    assert (contract.worst_group, contract.worst_group_quality) == ("label a", pytest.approx(8 / 12))


def test_a_group_that_is_served_worse_is_named() -> None:
    before = standing({"label a": [True] * 40, "label b": [True] * 40})
    after = standing({"label a": [True] * 40, "label b": [True] * 20 + [False] * 20})
    violations = check_contract(before, after).violations
    assert violations == ["label b falls from 1.000 to 0.500"]


def test_two_answers_lost_may_be_chance() -> None:
    before = standing({"label a": [True] * 40})
    after = standing({"label a": [True] * 38 + [False] * 2})
    assert check_contract(before, after).violations == []


def test_what_is_allowed_on_average_is_allowed_in_a_group() -> None:
    before = standing({"label a": [True] * 1000})
    after = standing({"label a": [True] * 985 + [False] * 15})
    assert check_contract(before, after, max_drop=2.0).violations == []
    assert check_contract(before, after, max_drop=1.0).violations != []


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        (standing(ece=0.02), standing(ece=0.09), "calibration error grows from 0.020 to 0.090"),
        (
            standing(out_of_scope={"auroc": 0.95}),
            standing(out_of_scope={"auroc": 0.85}),
            "scope detection falls from 0.950 to 0.850",
        ),
        (standing(), standing(agreement=0.6), "only 60% of requests still find their document"),
    ],
)
def test_every_other_promise_is_checked(before: Standing, after: Standing, named: str) -> None:
    assert named in check_contract(before, after).violations[0]


@given(st.integers(0, 60), st.integers(0, 40))  # one loss among more gains is less than floats can tell
def test_the_sign_test_is_a_probability_and_falls_with_every_loss(worse: int, better: int) -> None:
    p = sign_test(worse, better)
    assert 0 <= p <= 1
    assert sign_test(worse + 1, better) < p or worse == better == 0


def test_more_false_answers_are_a_violation() -> None:
    before = standing(out_of_scope={"auroc": 0.9, "false_accept_rate": 0.05})
    after = standing(out_of_scope={"auroc": 0.9, "false_accept_rate": 0.6})
    assert check_contract(before, after).violations == ["falsely accepts 60.0%, where it was 5.0%"]
    assert check_contract(before, standing()).violations == ["what is out of scope was not put to it"]
