"""A surprise of k bits comes once in 2^k buckets, whatever the distribution."""

from __future__ import annotations

import json
import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from triptych_finance.signal.detector import Detector, Past, Window
from triptych_finance.signal.settings import SignalSettings

SETTING = SignalSettings()


def surprises(changes: np.ndarray, volumes: np.ndarray) -> np.ndarray:
    """Bits [buckets, entities] for changes and volumes [buckets, entities]."""
    detector = Detector(SETTING)
    pasts = [Past(SETTING.window) for _ in range(changes.shape[1])]
    found = np.zeros(changes.shape)
    for bucket in range(len(changes)):
        measured = []
        for entity, past in enumerate(pasts):
            volume = float(volumes[bucket, entity])
            if volume:
                measure = detector.measure(past, bucket, float(changes[bucket, entity]), volume)
                found[bucket, entity] = measure.surprise
                measured.append((past, measure))
        detector.learn(bucket, measured)
    return found


@given(st.lists(st.floats(-5, 5), max_size=60), st.floats(-5, 5))
def test_a_window_is_its_latest_numbers(values: list[float], at: float):
    window = Window(20)
    for value in values:
        window.add(value)
    kept = [round(value, 5) for value in values][-20:]
    assert window.dump() == kept
    assert window.reaching(at) == sum(value >= at for value in kept)
    assert window.middle() == (statistics.median(kept) if kept else 0.0)
    assert window.spread() >= 0.0


def test_the_spread_of_normal_numbers_is_their_standard_deviation():
    window = Window(5000)
    for value in np.random.default_rng(0).normal(3.0, 2.0, 5000):
        window.add(float(value))
    assert window.spread() == pytest.approx(2.0, rel=0.05)


@pytest.mark.parametrize("tails", ["normal", "heavy", "skewed"])
def test_bits_are_what_they_say_or_a_little_less(tails: str):
    rng = np.random.default_rng(1)
    shape = (400, 20)
    draw = {"normal": rng.normal, "heavy": lambda size: rng.standard_t(1.5, size=size), "skewed": rng.exponential}
    changes = np.tanh(draw[tails](size=shape)) * 0.5
    found = surprises(changes, rng.poisson(5, shape) + 1)[50:]
    for k in (1, 2, 3, 4):
        assert 0.65 * 2.0**-k < (found >= k).mean() < 1.1 * 2.0**-k


def test_no_surprise_is_larger_than_the_most():
    rng = np.random.default_rng(2)
    changes = rng.normal(size=(300, 3))
    changes[250:] *= 100
    found = surprises(changes, np.ones((300, 3)))
    assert found.max() <= Detector(SETTING).most_bits()
    assert found[250].min() > 6


def test_a_quiet_week_end_is_no_news_and_a_busy_one_is():
    rng = np.random.default_rng(3)
    days = np.arange(280)
    mean = np.where(days % 7 < 5, 40.0, 8.0)[:, None] * np.ones((1, 10))
    volumes = rng.poisson(mean)
    volumes[days == 278] = 40  # as on any working day, but on a week-end
    found = surprises(rng.normal(0, 0.01, volumes.shape), volumes)
    assert (found[273:278] >= 4).mean() < 0.2
    assert (found[278] >= 4).mean() > 0.8


def test_a_direction_needs_a_clear_change():
    detector, past = Detector(SETTING), Past(SETTING.window)
    rng = np.random.default_rng(4)
    for bucket in range(100):
        measure = detector.measure(past, bucket, float(rng.normal(0, 0.1)), 10.0)
        detector.learn(bucket, [(past, measure)])
    assert detector.measure(past, 100, 0.5, 10.0).direction == 1
    assert detector.measure(past, 100, -0.5, 10.0).direction == -1
    crowd = detector.measure(past, 100, 0.0, 500.0)
    assert crowd.direction == 0
    assert crowd.surprise > 5


def test_fewer_posts_than_usual_are_no_surprise():
    detector, past = Detector(SETTING), Past(SETTING.window)
    for bucket in range(60):
        detector.learn(bucket, [(past, detector.measure(past, bucket, 0.01 * (-1) ** bucket, 100.0 + bucket % 5))])
    assert detector.measure(past, 60, 0.0, 1.0).surprise < 1.0


def test_a_new_entity_is_judged_by_the_others():
    rng = np.random.default_rng(5)
    detector = Detector(SETTING)
    pasts = [Past(SETTING.window) for _ in range(10)]
    for bucket in range(60):
        measured = [(past, detector.measure(past, bucket, float(rng.normal(0, 0.1)), 10.0)) for past in pasts]
        detector.learn(bucket, measured)
    new = Past(SETTING.window)
    assert detector.measure(new, 60, 0.01, 10.0).surprise < 1.5
    assert detector.measure(new, 60, 0.9, 10.0).surprise > 3.5


def test_the_state_is_json_and_comes_back():
    rng = np.random.default_rng(6)
    detector, past = Detector(SETTING), Past(SETTING.window)
    for bucket in range(150):
        change, volume = float(rng.normal()), float(rng.poisson(9) + 1)
        detector.learn(bucket, [(past, detector.measure(past, bucket, change, volume))])
    other = Detector.load(SETTING, json.loads(json.dumps(detector.dump())))
    same = Past(SETTING.window, json.loads(json.dumps(past.dump())))
    assert other.measure(same, 150, 0.3, 12.0) == detector.measure(past, 150, 0.3, 12.0)
    assert math.isfinite(other.most_bits())
