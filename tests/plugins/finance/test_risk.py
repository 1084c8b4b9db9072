"""Volatility model: blocks earn their weight, any subset works, intervals cover, a saved model answers the same."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.errors import BundleError, DataError, UnknownNameError
from triptych_finance.volatility.ridge import ALPHAS, RidgePath, earned_weights, time_blocks
from triptych_finance.volatility.risk import BLOCKS, META, TENSORS, RiskModel
from triptych_finance.volatility.settings import RiskSettings

Blocks = dict[str, np.ndarray]


def made(samples: int, seed: int = 0, *, told: float = 0.0) -> tuple[Blocks, np.ndarray]:
    """Past volatility foretells the next; a direction of the text adds `told`; audio and chart are noise."""
    generator = np.random.default_rng(seed)
    level = generator.normal(-4, 0.5, samples)
    past = level[:, None] + generator.normal(0, 0.2, (samples, 4))
    text = generator.normal(0, 1, (samples, 40))
    blocks = {
        "past": past,
        "text": text,
        "audio": generator.normal(0, 1, (samples, 30)),
        "chart": generator.normal(0, 1, (samples, 20)),
    }
    surprise = told * text[:, :4].sum(axis=1, keepdims=True) / 2
    return blocks, level[:, None] + surprise + generator.normal(0, 0.3, (samples, 4))


def errors(model: RiskModel, blocks: Blocks, y: np.ndarray, *names: str) -> float:
    return float(((model.predict({name: blocks[name] for name in names}).values - y) ** 2).mean())


def test_blocks_of_noise_cost_next_to_nothing():
    worse = []
    for seed in range(8):
        blocks, y = made(70, seed)
        later, z = made(400, seed + 100)
        model = RiskModel.fit(blocks, y)
        worse.append(errors(model, later, z, *BLOCKS) / errors(model, later, z, "past"))
    assert np.mean(worse) < 1.05
    assert max(worse) < 1.2


def test_a_block_that_knows_something_earns_its_weight():
    blocks, y = made(200, told=0.6)
    later, z = made(400, 1, told=0.6)
    model = RiskModel.fit(blocks, y)
    assert errors(model, later, z, "past", "text") < 0.7 * errors(model, later, z, "past")
    assert errors(model, later, z, *BLOCKS) < 0.75 * errors(model, later, z, "past")
    assert errors(model, later, z, "text") < 0.9 * errors(model, later, z, "audio")
    for earned in model.weights(BLOCKS).values():
        assert earned["text"] > 0.5 > max(earned["audio"], earned["chart"])


def test_persistence_is_found_where_it_is_the_truth():
    generator = np.random.default_rng(0)
    past = generator.normal(-4, 1, (60, 4))
    y = past + generator.normal(0, 0.05, past.shape)
    later = generator.normal(-4, 1, (50, 4))
    assert errors(RiskModel.fit({"past": past}, y), {"past": later}, later, "past") < 0.002


def test_any_subset_is_answered_also_sample_by_sample():
    blocks, y = made(80, told=0.5)
    model = RiskModel.fit(blocks, y)
    everything = [c for size in range(1, 5) for c in combinations(BLOCKS, size)]
    mixed = {name: block[: len(everything)].copy() for name, block in blocks.items()}
    for row, subset in enumerate(everything):
        for name in set(BLOCKS) - set(subset):
            mixed[name][row] = np.nan
    together = model.predict(mixed)
    assert together.blocks == tuple(everything)
    for row, subset in enumerate(everything):
        alone = model.predict({name: blocks[name][row : row + 1] for name in subset})
        assert alone.values[0] == pytest.approx(together.values[row])
        assert alone.low[0] == pytest.approx(together.low[row])
        assert np.isfinite(alone.high).all()


def test_without_any_block_the_mean_is_foretold():
    blocks, y = made(60)
    forecast = RiskModel.fit(blocks, y).predict({"text": np.full((1, 40), np.nan)})
    assert forecast.blocks == ((),)
    assert forecast.values[0] == pytest.approx(y.mean(axis=0))


def test_training_may_lack_blocks_and_targets():
    blocks, y = made(120, told=0.6)
    generator = np.random.default_rng(3)
    for name in BLOCKS:
        blocks[name][generator.random(120) < 0.3] = np.nan
    blocks["audio"][:, 3] = np.nan  # a feature that nobody measured
    blocks["text"][generator.random((120, 40)) < 0.05] = np.nan
    y[generator.random(y.shape) < 0.2] = np.nan
    model = RiskModel.fit(blocks, y)
    later, z = made(300, 1, told=0.6)
    assert errors(model, later, z, "past", "text") < errors(model, later, z, "past")


def test_a_block_that_few_samples_have_is_left_out():
    blocks, y = made(60)
    blocks["chart"][5:] = np.nan
    model = RiskModel.fit(blocks, y)
    later, _ = made(5, 1)
    assert model.predict(later).values == pytest.approx(
        model.predict({name: later[name] for name in BLOCKS[:3]}).values
    )
    blocks["past"][5:] = np.nan
    assert RiskModel.fit(blocks, y).predict({"past": later["past"]}).values == pytest.approx(
        np.tile(y.mean(axis=0), (5, 1))
    )


@pytest.mark.parametrize(("level", "names"), [(0.5, ("past",)), (0.8, BLOCKS), (0.9, ("text",))])
def test_intervals_hold_as_often_as_they_say(level: float, names: tuple[str, ...]):
    held = []
    for seed in range(6):
        blocks, y = made(80, seed, told=0.3)
        later, z = made(400, seed + 100, told=0.3)
        forecast = RiskModel.fit(blocks, y, RiskSettings(level=level)).predict({name: later[name] for name in names})
        held.append(((forecast.low <= z) & (z <= forecast.high)).mean())
    assert np.mean(held) == pytest.approx(level, abs=0.06)


def test_a_saved_model_answers_the_same(tmp_path: Path):
    blocks, y = made(70, told=0.5)
    blocks["chart"][:30] = np.nan
    model = RiskModel.fit(blocks, y, RiskSettings(level=0.8, folds=4))
    model.save(tmp_path / "risk")
    again = RiskModel.load(tmp_path / "risk")
    assert again.settings == model.settings
    for size in range(1, 5):
        for names in combinations(BLOCKS, size):
            part = {name: blocks[name] for name in names}
            one, two = model.predict(part), again.predict(part)
            assert np.array_equal(one.values, two.values)
            assert np.array_equal(one.low, two.low)
            assert model.weights(names) == again.weights(names)


def test_what_cannot_be_loaded_is_told(tmp_path: Path):
    folder = tmp_path / "risk"
    with pytest.raises(BundleError, match=r"holds no volatility model: risk\.json is missing"):
        RiskModel.load(folder)
    blocks, y = made(30)
    RiskModel.fit(blocks, y).save(folder)
    good_meta, good_tensors = (folder / META).read_text(), (folder / TENSORS).read_bytes()
    (folder / META).write_text(json.dumps(json.loads(good_meta) | {"format": 9}))
    with pytest.raises(BundleError, match="has format 9, this version reads 1; fit it again"):
        RiskModel.load(folder)
    (folder / META).write_text(good_meta[:100])
    with pytest.raises(BundleError, match="is damaged"):
        RiskModel.load(folder)
    (folder / META).write_text(good_meta)
    (folder / TENSORS).write_bytes(good_tensors[: len(good_tensors) // 2])
    with pytest.raises(BundleError, match="is damaged"):
        RiskModel.load(folder)
    (folder / TENSORS).unlink()
    with pytest.raises(BundleError, match=r"risk\.safetensors is missing"):
        RiskModel.load(folder)


def test_shapes_and_names_that_do_not_fit_are_refused():
    blocks, y = made(40)
    model = RiskModel.fit(blocks, y)
    with pytest.raises(DataError, match=r"targets must be \[samples, 4\], got \[40, 3\]"):
        RiskModel.fit(blocks, y[:, :3])
    with pytest.raises(DataError, match=r"block 'text' must be \[40, columns\], got \[39, 40\]"):
        RiskModel.fit(blocks | {"text": blocks["text"][1:]}, y)
    with pytest.raises(DataError, match=r"block 'past' has 3 columns, one for each of \(3, 7, 15, 30\) days"):
        RiskModel.fit({"past": blocks["past"][:, :3]}, y)
    with pytest.raises(UnknownNameError, match="No block is called 'video'"):
        model.predict({"video": blocks["text"]})
    with pytest.raises(DataError, match="block 'text' has 39 columns, the model was fitted on 40"):
        model.predict({"text": blocks["text"][:, 1:]})
    with pytest.raises(DataError, match="give one block at least"):
        model.predict({"text": None})
    infinite = blocks["audio"].copy()
    infinite[7, 2] = np.inf
    with pytest.raises(DataError, match="block 'audio' holds infinite values, in sample 7"):
        model.predict({"audio": infinite})


def test_too_few_known_targets_are_told_with_the_horizon():
    blocks, y = made(40)
    y[5:, 2] = np.nan
    with pytest.raises(DataError, match="volatility over 15 days is known of 5 samples, 10 are needed"):
        RiskModel.fit(blocks, y)
    blocks, y = made(15)
    with pytest.raises(DataError, match="known of 15 samples, 19 are needed"):
        RiskModel.fit(blocks, y, RiskSettings(level=0.95))


@settings(max_examples=25, deadline=None)
@given(st.integers(3, 40), st.integers(1, 60), st.integers(0, 999))
def test_one_decomposition_gives_the_ridge_of_every_strength(rows: int, columns: int, seed: int):
    generator = np.random.default_rng(seed)
    x, y = generator.normal(5, 3, (rows, columns)), generator.normal(-4, 1, rows)
    path = RidgePath.fit(x, y)
    z = path.scaling.apply(x)
    z1 = np.column_stack([z, np.ones(rows)])
    for alpha, found in zip(ALPHAS, path.predict(x), strict=True):
        penalty = np.diag([alpha] * columns + [0.0])
        direct = z1 @ np.linalg.solve(z1.T @ z1 + penalty, z1.T @ y)
        assert found == pytest.approx(direct, abs=1e-6)


@settings(max_examples=50, deadline=None)
@given(st.integers(12, 80), st.integers(1, 4), st.integers(0, 999))
def test_weights_lie_between_nothing_and_everything(rows: int, count: int, seed: int):
    generator = np.random.default_rng(seed)
    target = generator.normal(0, 1, rows)
    weights = earned_weights(target, [generator.normal(0, 1, rows) for _ in range(count)])
    assert ((weights >= 0) & (weights <= 1)).all()
    assert (earned_weights(target, [-target]) == 0).all()
    assert earned_weights(target, [target]) == pytest.approx([1])


@given(st.integers(10, 200), st.integers(2, 10))
def test_blocks_of_time_are_stretches_that_hold_every_row_once(rows: int, count: int):
    blocks = time_blocks(rows, count)
    assert np.concatenate(blocks).tolist() == list(range(rows))
    assert max(map(len, blocks)) - min(map(len, blocks)) <= 1
