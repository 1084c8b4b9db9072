"""What a threshold promises is kept, on draw after draw."""

from __future__ import annotations

import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import example, given, settings

from triptych.evaluation.risk import EVERYTHING, choose_threshold, drop_p_value, settled_by, thresholds


def world(generator: np.random.Generator, samples: int, *, cheap: float = 0.9, reference: float = 0.95):
    """A cheap model that knows when it errs, a little: its confidence is higher where it is right."""
    right = generator.random(samples) < cheap
    confidence = np.where(right, generator.beta(9, 1, samples), generator.beta(3, 2, samples))
    return confidence, right, generator.random(samples) < reference


def true_drop(choice, *, cheap: float, reference: float) -> float:
    confidence, right, reference_right = world(np.random.default_rng(99), 200_000, cheap=cheap, reference=reference)
    loss = reference_right.astype(float) - right
    return float(np.where(confidence >= choice.threshold, loss, 0.0).mean())


@pytest.mark.parametrize(("cheap", "reference"), [(0.9, 0.95), (0.8, 0.97), (0.95, 0.95)])
@pytest.mark.parametrize("assurance", [0.8, 0.95])
def test_the_promise_is_broken_no_more_often_than_it_says(cheap, reference, assurance):
    generator, draws, broken = np.random.default_rng(0), 40, 0
    for _ in range(draws):
        sample = world(generator, 800, cheap=cheap, reference=reference)
        choice = choose_threshold(*sample, max_drop=0.02, assurance=assurance)
        broken += true_drop(choice, cheap=cheap, reference=reference) > choice.bound
    allowed = draws * (1 - assurance)
    assert broken <= allowed + 3 * math.sqrt(allowed)


def test_a_p_value_at_the_border_of_the_hypothesis_is_not_too_small_too_often():
    generator = np.random.default_rng(1)
    rejected = sum(
        drop_p_value(generator.choice([1.0, 0.0, -1.0], 600, p=[0.05, 0.92, 0.03]), 0.02) <= 0.1 for _ in range(400)
    )
    assert rejected <= 400 * 0.1 + 3 * math.sqrt(400 * 0.1 * 0.9)


def test_losses_between_right_and_wrong_are_bounded_as_well():
    generator = np.random.default_rng(2)
    rejected = sum(drop_p_value(generator.uniform(-0.4, 0.5, 500), 0.05) <= 0.1 for _ in range(400))
    assert rejected <= 400 * 0.1 + 3 * math.sqrt(400 * 0.1 * 0.9)


def test_with_enough_samples_most_are_not_escalated():
    generator = np.random.default_rng(3)
    right = generator.random(4000) < 0.9
    confidence = np.where(right, 0.98, 0.4)
    choice = choose_threshold(confidence, right, np.ones(4000), max_drop=0.01)
    assert choice.escalation_rate == 1 - right.mean()
    assert choice.drop == 0.0
    assert choice.p_value <= 0.05


def test_the_first_that_is_sure_answers_and_the_last_for_all_others():
    sure = [[0.9, 0.2, -math.inf, 0.1], [0.9, 0.8, 0.95, 0.3]]
    assert settled_by(sure, 0.5).tolist() == [0, 1, 1, 2]
    assert settled_by(sure[0], 0.5).tolist() == [0, 1, 1, 1]
    assert settled_by(sure, EVERYTHING).tolist() == [2, 2, 2, 2]


@pytest.mark.parametrize("assurance", [0.8, 0.95])
def test_the_promise_of_several_stages_is_kept_as_well(assurance):
    def draw(generator, samples):
        first, second = (world(generator, samples, cheap=rate)[:2] for rate in (0.8, 0.92))
        pairs = zip(first, second, strict=True)
        return (*(np.stack(pair) for pair in pairs), generator.random(samples) < 0.95)

    far, worth, reference = draw(np.random.default_rng(99), 200_000)
    worth = np.vstack([worth, reference]).astype(float)
    generator, draws, broken, lower = np.random.default_rng(5), 40, 0, 0
    for _ in range(draws):
        choice = choose_threshold(*draw(generator, 800), max_drop=0.03, assurance=assurance)
        by = settled_by(far, choice.threshold)
        broken += reference.mean() - worth[by, np.arange(len(by))].mean() > choice.bound
        lower += choice.threshold < EVERYTHING
    allowed = draws * (1 - assurance)
    assert broken <= allowed + 3 * math.sqrt(allowed)
    assert lower > draws / 2  # a promise that is never used is easily kept


def test_without_assurance_what_the_samples_lose_decides():
    generator = np.random.default_rng(6)
    confidence, cheap, reference = world(generator, 60)
    assert choose_threshold(confidence, cheap, reference, max_drop=0.02, assurance=0.9).threshold == EVERYTHING
    choice = choose_threshold(confidence, cheap, reference, max_drop=0.02, assurance=0.0)
    assert choice.threshold < 1
    assert choice.drop <= 0.02


@given(st.integers(0, 10_000), st.integers(1, 400))
@settings(max_examples=40, deadline=None)
def test_a_larger_drop_never_raises_the_threshold(seed, samples):
    sample = world(np.random.default_rng(seed), samples)
    found = [choose_threshold(*sample, max_drop=drop, assurance=0.9).threshold for drop in (0.0, 0.01, 0.05, 0.2, 0.5)]
    assert found == sorted(found, reverse=True)


@given(st.integers(0, 10_000), st.sampled_from([0.02, 0.1, 0.3]))
@example(7038, 0.02)  # a gambler who was rich before he lost
@settings(max_examples=40, deadline=None)
def test_rate_and_drop_are_those_of_the_samples(seed, max_drop):
    confidence, cheap, reference = world(np.random.default_rng(seed), 500)
    confidence[:20] = -math.inf  # out of scope for the cheap model
    choice = choose_threshold(confidence, cheap, reference, max_drop=max_drop)
    escalated = confidence < choice.threshold
    assert choice.escalation_rate == pytest.approx(escalated.mean())
    cascade = np.where(escalated, reference, cheap)
    assert choice.drop == pytest.approx(reference.mean() - cascade.mean())
    assert choice.drop <= choice.bound
    assert choice == choose_threshold(confidence, cheap, reference, max_drop=max_drop)


def test_where_nothing_can_be_promised_everything_is_escalated():
    generator = np.random.default_rng(4)
    confidence, cheap, reference = world(generator, 30)
    choice = choose_threshold(confidence, cheap, reference, max_drop=0.005)  # 30 samples say nothing of 0.5 %
    assert (choice.threshold, choice.escalation_rate, choice.drop, choice.bound) == (EVERYTHING, 1.0, 0.0, 0.0)
    never = choose_threshold(np.full(1000, 0.9), np.zeros(1000), np.ones(1000), max_drop=0.1)
    assert 0.9 < never.threshold < 1.0  # just above what is always wrong
    assert never.escalation_rate == 1.0


def test_the_sequence_is_fixed_and_falls():
    assert thresholds() == sorted(thresholds(), reverse=True)
    assert len(set(thresholds())) == len(thresholds())
    assert thresholds()[-1] == 0.0


def test_what_cannot_be_chosen_from():
    with pytest.raises(ValueError, match="equal numbers"):
        choose_threshold([], [], [], max_drop=0.1)
    with pytest.raises(ValueError, match="probabilities"):
        choose_threshold([3.0], [1], [1], max_drop=0.1)
    with pytest.raises(ValueError, match="in \\[0, 1\\]"):
        choose_threshold([0.5], [-1], [1], max_drop=0.1)
    with pytest.raises(ValueError, match="max_drop"):
        choose_threshold([0.5], [1], [1], max_drop=1.0)
    with pytest.raises(ValueError, match="equal numbers"):
        choose_threshold([[0.5], [0.5]], [1], [1], max_drop=0.1)
