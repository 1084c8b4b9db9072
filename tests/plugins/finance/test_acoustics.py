"""Voice: features from tables and from waveforms, and how sentences become one vector."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.errors import DataError
from triptych_finance.volatility.acoustics import FEATURES, POOLED, measure, pool, read_calls

RATE = 16000


def named(vector: np.ndarray) -> dict[str, float]:
    return dict(zip(FEATURES, map(float, vector), strict=True))


def voice(hertz: float = 120.0, seconds: float = 1.0, jitter: float = 0.0, shimmer: float = 0.0) -> np.ndarray:
    """A train of rounded pulses whose periods and heights are drawn around their mean."""
    generator = np.random.default_rng(0)
    count = int(seconds * hertz)
    periods = (1 + jitter * generator.choice([-1, 1], count)) / hertz
    heights = 1 + shimmer * generator.choice([-1, 1], count)
    times, grid = np.cumsum(periods), np.arange(int(seconds * RATE)) / RATE
    sound = np.zeros(len(grid))
    for time, height in zip(times, heights, strict=True):
        near = slice(max(0, int((time - 0.01) * RATE)), int((time + 0.01) * RATE))
        sound[near] += height * np.exp(-(((grid[near] - time) / 4e-4) ** 2))
    return 0.5 * (sound - sound.mean())


def test_the_published_table_is_read_and_pooled(shared_data: Path):
    calls = read_calls(shared_data / "finance/maec/sentences.csv.gz")
    assert len(calls) == 102
    assert sum(len(call.texts) for call in calls.values()) == 11191
    call = calls["20150325_REX"]
    assert call.texts[0].startswith("Good morning and thank you")
    assert named(call.features[0])["mean_pitch"] == pytest.approx(208.5)
    assert np.isnan(np.concatenate([c.features for c in calls.values()])).sum() > 1000  # undefined ones
    unheard = [call for call in calls if np.isnan(pool(calls[call].features)).any()]
    assert unheard == ["20160728_AEP"]  # "Thank you.", a third of a second


def test_sentences_are_put_in_order_and_undefined_cells_are_unknown(tmp_path: Path):
    path = tmp_path / "calls.csv"
    path.write_text("call_id,sentence,text,mean_pitch,mean_hnr\na,1,second,--undefined--,\na,0,first,120,nan\n")
    call = read_calls(path)["a"]
    assert call.texts == ("first", "second")
    assert named(call.features[0])["mean_pitch"] == 120
    assert np.isnan(call.features).sum() == 2 * len(FEATURES) - 1


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("call_id,mean_pitch\na,3\n", "calls.csv: the header lacks sentence"),
        ("call_id,sentence,pitch\na,0,3\n", "calls.csv: no column is an acoustic feature; known are mean_pitch"),
        ("call_id,sentence,mean_pitch\na,0,3\na,0,4\n", "calls.csv, row 2: a has sentence 0 twice"),
        ("call_id,sentence,mean_pitch\na,0,high\n", "calls.csv, row 1: a: mean_pitch is not a number: 'high'"),
        ("call_id,sentence,mean_pitch\na,x,3\n", "calls.csv, row 1: sentence must be a whole number, got 'x'"),
        ("call_id,sentence,mean_pitch\n,0,3\n", "calls.csv, row 1: call_id is empty"),
        ("call_id,sentence,mean_pitch\na,0\n", "calls.csv, row 1: the row has 2 cells"),
    ],
)
def test_a_table_that_cannot_be_right_is_named(tmp_path: Path, content: str, problem: str):
    (tmp_path / "calls.csv").write_text(content)
    with pytest.raises(DataError) as caught:
        read_calls(tmp_path / "calls.csv")
    assert problem in str(caught.value)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_pooling_knows_no_order_and_is_not_disturbed_by_unknown_values(data: st.DataObject):
    sentences = data.draw(st.integers(1, 12))
    generator = np.random.default_rng(data.draw(st.integers(0, 999)))
    features = generator.normal(100, 30, (sentences, len(FEATURES)))
    pooled = pool(features)
    assert pooled.shape == (POOLED,)
    assert pool(features[generator.permutation(sentences)]) == pytest.approx(pooled, rel=1e-5)
    unknown = np.full((3, len(FEATURES)), np.nan)
    unknown[1] = np.inf
    assert pool(np.concatenate([features, unknown])) == pytest.approx(pooled, rel=1e-5)


def test_of_nothing_everything_is_unknown():
    assert np.isnan(pool(np.zeros((0, len(FEATURES))))).all()
    one = np.full((2, len(FEATURES)), np.nan)
    one[0, 0] = 5.0
    assert np.isfinite(pool(one)).sum() == 5


@pytest.mark.parametrize("hertz", [90, 120, 210, 330])
def test_pitch_and_period_are_those_of_the_pulses(hertz: int):
    found = named(measure(voice(hertz), RATE))
    assert found["mean_pitch"] == pytest.approx(hertz, rel=0.01)
    assert found["mean_period"] == pytest.approx(1 / hertz, rel=0.01)
    assert found["fraction_of_unvoiced"] < 10
    assert found["mean_hnr"] > 15
    assert found["audio_length"] == pytest.approx(1)


def test_jitter_and_shimmer_are_those_of_the_pulses():
    steady, rough = named(measure(voice(), RATE)), named(measure(voice(jitter=0.02, shimmer=0.1), RATE))
    assert steady["jitter_local"] < 0.2
    assert steady["shimmer_local"] < 1
    # neighbours differ in half of the cases, by twice the amount
    assert rough["jitter_local"] == pytest.approx(2, rel=0.3)
    assert rough["shimmer_local"] == pytest.approx(10, rel=0.3)
    assert rough["mean_hnr"] < steady["mean_hnr"]


def test_noise_and_silence_have_no_voice():
    noise = np.random.default_rng(0).normal(0, 0.1, RATE)
    for sound, known in ((noise, 3), (np.zeros(RATE), 2)):
        found = named(measure(sound, RATE))
        assert found["fraction_of_unvoiced"] > 95
        assert found["audio_length"] == 1
        if known == 2:
            assert sum(np.isfinite(list(found.values()))) == known
    assert named(measure(noise, RATE))["mean_intensity"] == pytest.approx(20 * np.log10(0.1 / 2e-5), abs=0.2)


@settings(max_examples=15, deadline=None)
@given(st.floats(0.05, 2.0))
def test_loudness_changes_the_intensity_alone(factor: float):
    sound = voice(jitter=0.01, shimmer=0.05, seconds=0.5)
    before, after = named(measure(sound, RATE)), named(measure(factor * sound, RATE))
    assert after.pop("mean_intensity") - before.pop("mean_intensity") == pytest.approx(20 * np.log10(factor), abs=1e-3)
    assert after == pytest.approx(before, rel=1e-3, nan_ok=True)


def test_women_of_a_public_set_are_heard_higher_than_men(shared_data: Path):
    soundfile = pytest.importorskip("soundfile")
    folder = shared_data / "audio/emodb"
    heard: dict[str, list[float]] = {}
    with (folder / "clips.csv").open(encoding="utf-8") as file:
        for clip in csv.DictReader(file):
            pitches = heard.setdefault(clip["gender"], [])
            if clip["label"] == "neutral" and len(pitches) < 8:
                samples, rate = soundfile.read(folder / clip["file"])
                pitches.append(named(measure(samples, rate))["mean_pitch"])
    low, high = sorted(float(np.median(pitches)) for pitches in heard.values())
    assert 90 < low < 160 < high < 260


@pytest.mark.parametrize(
    ("sound", "rate", "problem"),
    [
        (np.zeros((2, 100)), RATE, r"expected a mono sound at 1000 Hz or more, got \(2, 100\) at 16000 Hz"),
        (np.zeros(100), 0, "at 0 Hz"),
        (np.array([0.0, np.nan]), RATE, "values that are not numbers"),
    ],
)
def test_what_is_no_sound_is_refused(sound: np.ndarray, rate: int, problem: str):
    with pytest.raises(DataError, match=problem):
        measure(sound, rate)


def test_a_sound_shorter_than_a_frame_has_a_length_only():
    for samples in (0, 1, 100):
        found = named(measure(np.ones(samples), RATE))
        assert np.isfinite(list(found.values())).sum() == 1
        assert found["audio_length"] == pytest.approx(samples / RATE)
