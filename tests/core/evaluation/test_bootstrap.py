"""Intervals hold what they should and are the same every time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.evaluation.bootstrap import bootstrap_interval, bootstrap_statistic, paired_bootstrap


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=50), st.integers(0, 100))
@settings(max_examples=50, deadline=None)
def test_an_interval_lies_within_the_values_and_repeats(values, seed):
    interval = bootstrap_interval(values, draws=200, seed=seed)
    assert interval == bootstrap_interval(values, draws=200, seed=seed)
    assert interval.value == pytest.approx(np.mean(values), abs=1e-9)
    assert min(values) - 1e-9 <= interval.low <= interval.high <= max(values) + 1e-9


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
@settings(max_examples=50, deadline=None)
def test_a_paired_difference_turns_round_with_its_sides(pairs):
    a, b = zip(*pairs, strict=True)
    there, back = paired_bootstrap(a, b, draws=300), paired_bootstrap(b, a, draws=300)
    assert there.value == pytest.approx(-back.value)
    assert there.low == pytest.approx(-back.high, abs=1e-9)
    assert there.excludes_zero == back.excludes_zero


def test_coverage_is_near_what_is_promised():
    generator = np.random.default_rng(1)
    held = sum(
        interval.low <= 0.7 <= interval.high
        for interval in (bootstrap_interval(generator.random(200) < 0.7, draws=400) for _ in range(200))
    )
    assert 0.89 <= held / 200 <= 0.99


def test_pairing_sees_a_small_steady_gain_that_separate_intervals_do_not():
    generator = np.random.default_rng(2)
    b = generator.random(400) < 0.6
    a = b.copy()
    a[np.flatnonzero(~b)[:20]] = True  # twenty more right, none lost
    assert paired_bootstrap(a, b).excludes_zero
    assert bootstrap_interval(a).low < bootstrap_interval(b).high


def test_a_statistic_of_several_columns():
    values = np.array([[1.0, 2.0], [3.0, 2.0], [2.0, 2.0]])
    ratio = bootstrap_statistic(values, lambda means: means[:, 0] / means[:, 1], draws=500)
    assert ratio.value == pytest.approx(1.0)
    assert 0.5 <= ratio.low < 1.0 < ratio.high <= 1.5


def test_what_cannot_be_resampled():
    with pytest.raises(ValueError, match="no samples"):
        bootstrap_interval([])
    with pytest.raises(ValueError, match="equal shapes"):
        paired_bootstrap([1, 2], [1, 2, 3])
