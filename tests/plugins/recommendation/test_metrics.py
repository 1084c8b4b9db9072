"""Ranking metrics, and what lists are like, against values worked out by hand or in another way."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from triptych.evaluation.bootstrap import bootstrap_interval
from triptych_recommendation.hindsight.metrics import (
    NAMES,
    difference,
    gini,
    group_gaps,
    intervals,
    list_metrics,
    per_user,
    ranking_metrics,
    target_ranks,
)


def ranks_of(scores: list[float], targets: list[int]) -> list[int]:
    return target_ranks(np.array([scores], np.float32), [np.array(targets, np.int32)])[0].tolist()


def test_ranks_count_from_zero_and_ties_go_against_the_model():
    assert ranks_of([0.1, 0.9, 0.5], [1]) == [0]
    assert ranks_of([0.1, 0.9, 0.5], [0, 2]) == [1, 2]
    assert ranks_of([1, 1, 1, 1], [2]) == [3]
    assert ranks_of([0.5, 0.5, 0.2, 0.5], [0, 2]) == [2, 3]
    assert ranks_of([0.5, 0.2, -math.inf], [1]) == [1]
    with pytest.raises(ValueError, match="NaN"):
        ranks_of([0.1, math.nan], [0])


@given(st.data())
def test_ranks_are_those_of_sorting_with_targets_last_among_equals(data: st.DataObject):
    scores = data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=12))
    targets = data.draw(st.lists(st.integers(0, len(scores) - 1), min_size=1, unique=True))
    order = sorted(range(len(scores)), key=lambda item: (-scores[item], item in targets))
    expected = sorted(order.index(item) for item in targets)
    assert ranks_of([float(score) for score in scores], targets) == expected


def test_metrics_of_known_ranks():
    found = per_user([np.array([0]), np.array([1, 12]), np.array([25])])
    assert found["ndcg@10"] == pytest.approx([1, (1 / math.log2(3)) / (1 + 1 / math.log2(3)), 0])
    both = (1 / math.log2(3) + 1 / math.log2(14)) / (1 + 1 / math.log2(3))
    assert found["ndcg@20"] == pytest.approx([1, both, 0])
    assert found["recall@10"].tolist() == [1, 0.5, 0]
    assert found["recall@20"].tolist() == [1, 1, 0]
    assert found["hit@10"].tolist() == [1, 1, 0]
    assert found["mrr"] == pytest.approx([1, 1 / 2, 1 / 26])


@given(st.lists(st.lists(st.integers(0, 60), min_size=1, max_size=30, unique=True), min_size=1, max_size=8))
def test_metrics_lie_between_none_and_all_and_grow_with_better_ranks(ranks: list[list[int]]):
    worse = per_user([np.sort(np.array(own)) for own in ranks])
    for values in worse.values():
        assert ((values >= 0) & (values <= 1 + 1e-12)).all()
    better = per_user([np.arange(len(own)) for own in ranks])
    assert better["ndcg@20"] == pytest.approx(np.ones(len(ranks)))
    assert all((better[name] >= worse[name] - 1e-12).all() for name in NAMES)


def test_the_mean_has_its_interval_and_a_difference_is_paired():
    generator = np.random.default_rng(0)
    users = {name: generator.random(300) for name in NAMES}
    found = ranking_metrics(users)
    assert found["ndcg@10"] == pytest.approx(users["ndcg@10"].mean())
    assert found["low"] < found["ndcg@10"] < found["high"]
    ahead = {name: values + 0.01 for name, values in users.items()}
    gap = difference(ahead, users)
    assert (gap.low, gap.value, gap.high) == pytest.approx((0.01, 0.01, 0.01))


def test_intervals_are_those_of_the_core_but_for_the_draws():
    columns = np.random.default_rng(1).random((400, 3)) * [1, 5, 0.1]
    for number, found in enumerate(intervals(columns)):
        core = bootstrap_interval(columns[:, number])
        width = core.high - core.low
        assert found.value == pytest.approx(core.value)
        assert (found.low, found.high) == pytest.approx((core.low, core.high), abs=0.1 * width)
    with pytest.raises(ValueError, match="no users"):
        intervals(np.zeros((0, 2)))


def test_lists_are_described_by_what_is_in_them():
    counts = np.array([7, 3, 1, 0])
    found = list_metrics(np.array([[0, 1], [0, -1]], np.int32), counts)
    assert found["coverage"] == 0.5
    probability = (counts + 1) / 15
    assert found["novelty"] == pytest.approx(-(2 * math.log2(probability[0]) + math.log2(probability[1])) / 3)
    assert found["popularity"] == pytest.approx((2 * 0.875 + 0.625) / 3)
    assert found["gini"] == pytest.approx(gini(np.array([2, 1, 0, 0])))
    assert list_metrics(np.full((2, 3), -1, np.int32), counts) == dict.fromkeys(found, 0.0)


def test_popular_lists_are_told_from_rare_ones():
    counts = np.arange(100, 0, -1)
    head, tail = (np.tile(np.arange(start, start + 10, dtype=np.int32), (50, 1)) for start in (0, 90))
    every = np.arange(100, dtype=np.int32).reshape(10, 10)
    popular, rare, even = (list_metrics(lists, counts) for lists in (head, tail, every))
    assert popular["popularity"] > 0.9 > 0.1 > rare["popularity"]
    assert popular["novelty"] < rare["novelty"]
    assert even["popularity"] == pytest.approx(0.5)
    assert (even["coverage"], even["gini"]) == (1, pytest.approx(0))


@given(arrays(np.int64, st.integers(1, 20), elements=st.integers(0, 50)).filter(lambda times: times.sum() > 0))
def test_gini_is_the_mean_difference_over_twice_the_mean(times: np.ndarray):
    by_pairs = np.abs(times[:, None] - times).mean() / (2 * times.mean())
    assert gini(times) == pytest.approx(by_pairs)


def test_a_gap_is_that_of_a_group_to_all_others():
    generator = np.random.default_rng(2)
    groups = ["short"] * 200 + ["long"] * 300 + ["middling"] * 100
    values = np.concatenate([generator.normal(0.1, 0.05, 200), generator.normal(0.3, 0.05, 400)])
    gaps = group_gaps(values, groups)
    assert set(gaps) == {"short", "long", "middling"}
    assert gaps["short"].value == pytest.approx(values[:200].mean() - values[200:].mean())
    assert gaps["short"].high < 0 < gaps["long"].low
    for gap in gaps.values():
        assert gap.low < gap.value < gap.high
    assert group_gaps(values, ["all"] * 600) == {}
