"""Vectors by row: compact in memory, exact where it counts, alive."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from triptych.errors import BundleError
from triptych_recommendation.codes import Codes, nearest_exactly
from triptych_recommendation.content import model as content
from triptych_recommendation.content.settings import ContentSettings
from triptych_recommendation.data.interactions import History
from triptych_recommendation.mapped import floats
from triptych_recommendation.serving import vectors as module
from triptych_recommendation.serving.vectors import LiveVectors

DIM = 96


@pytest.fixture(scope="module")
def halves() -> np.ndarray:
    """Six thousand unit vectors around sixty points; every hundredth row is zeros."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(60, DIM))
    found = 0.7 * centres[rng.integers(0, 60, 6_000)] + rng.normal(size=(6_000, DIM))
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    found[::100] = 0
    return found.astype(np.float16)


@pytest.fixture(scope="module")
def tensors(halves: np.ndarray) -> dict:
    return Codes.build(halves, np.flatnonzero(halves.any(axis=1))).tensors()


@pytest.fixture
def live(halves: np.ndarray, tensors: dict) -> LiveVectors:
    return LiveVectors(halves, Codes.of(tensors))


def _queries(halves: np.ndarray, count: int = 50) -> np.ndarray:
    rng = np.random.default_rng(1)
    rows = rng.choice(np.flatnonzero(halves.any(axis=1)), count, replace=False)
    return halves[rows].astype(np.float32) + rng.normal(0, 0.02, (count, DIM)).astype(np.float32)


def _recall(live: LiveVectors, halves: np.ndarray, allowed: np.ndarray) -> float:
    queries = _queries(halves)
    true = nearest_exactly(halves, np.flatnonzero(allowed & halves.any(axis=1)), queries, 10)
    found = [live.nearest(query, 10, allowed)[0] for query in queries]
    return float(np.mean([np.isin(a, b).mean() for a, b in zip(true, found, strict=True)]))


def test_codes_find_the_nearest_in_an_eighth_of_the_memory(live: LiveVectors, halves: np.ndarray) -> None:
    assert _recall(live, halves, np.ones(len(halves), dtype=bool)) > 0.97
    assert live.nbytes["memory"] < halves.size * 4 / 8
    assert live.nbytes["mapped"] == halves.nbytes


def test_under_a_filter_the_nearest_allowed_are_found(
    live: LiveVectors, halves: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    allowed = np.random.default_rng(2).random(len(halves)) < 0.2
    rows, _ = live.nearest(_queries(halves)[0], 10, allowed)
    assert allowed[rows].all()
    assert _recall(live, halves, allowed) == 1.0  # so few are compared one by one
    monkeypatch.setattr(module, "EXACT", 0)
    assert _recall(live, halves, allowed) > 0.9


def test_cosines_are_those_of_the_stored_vectors(live: LiveVectors, halves: np.ndarray) -> None:
    query = _queries(halves)[0]
    rows, cosines = live.nearest(query, 5, np.ones(len(halves), dtype=bool))
    expected = halves[rows].astype(np.float32) @ (query / np.linalg.norm(query))
    np.testing.assert_allclose(cosines, expected, atol=1e-6)
    assert (np.diff(cosines) <= 0).all()


def test_rows_without_content_and_empty_queries_find_nothing(live: LiveVectors, halves: np.ndarray) -> None:
    everything = np.ones(len(halves), dtype=bool)
    assert not live.there[::100].any()
    assert len(live.nearest(np.zeros(DIM, np.float32), 5, everything)[0]) == 0
    only_bare = np.zeros(len(halves), dtype=bool)
    only_bare[::100] = True
    assert len(live.nearest(_queries(halves)[0], 5, only_bare)[0]) == 0
    assert len(live.nearest(_queries(halves)[0], 5, ~everything)[0]) == 0


def test_what_is_put_is_found_at_once_and_what_was_there_is_not(live: LiveVectors, halves: np.ndarray) -> None:
    rng = np.random.default_rng(3)
    new = rng.normal(size=(2, DIM)).astype(np.float32)
    new /= np.linalg.norm(new, axis=1, keepdims=True)
    live.put([1, len(halves)], new)
    everything = np.ones(len(live), dtype=bool)
    assert len(live) == len(halves) + 1
    for vector, row in zip(new, (1, len(halves)), strict=True):
        rows, cosines = live.nearest(vector, 3, everything)
        assert rows[0] == row
        assert cosines[0] == pytest.approx(1, abs=1e-3)
        assert len(set(rows.tolist())) == 3  # the old code of row 1 is no second row 1
    np.testing.assert_allclose(live.get(np.array([0, 1, 2])), [halves[0], new[0], halves[2]], atol=1e-3)
    old, cosines = live.nearest(halves[1].astype(np.float32), 1, everything)
    assert old[0] != 1
    live.put([1], np.zeros((1, DIM), np.float32))
    assert not live.there[1]
    assert 1 not in live.nearest(new[0], 50, everything)[0]


def test_without_codes_all_are_compared() -> None:
    live = LiveVectors(np.eye(4, dtype=np.float16))
    live.put([4, 5], np.array([[0.6, 0.8, 0, 0], [0, 0, 0, 0]], dtype=np.float32))
    rows, cosines = live.nearest(np.array([0, 2, 0, 0], dtype=np.float32), 3, np.ones(6, dtype=bool))
    assert rows.tolist()[:2] == [1, 4]
    np.testing.assert_allclose(cosines[:2], [1, 0.8], atol=1e-3)


class _Slow:
    """What `GpuCopy` does, on the CPU."""

    def __init__(self, engine: Any) -> None:
        self._vectors = engine.vectors(np.arange(engine.rows))

    def search(self, queries: np.ndarray, k: int, mask: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
        assert share == pytest.approx(mask.mean())
        rows = np.flatnonzero(mask)
        scores = queries @ self._vectors[rows].T
        order = np.argsort(-scores, axis=1)[:, :k]
        return np.take_along_axis(scores, order, 1), rows[order]


@pytest.mark.parametrize("device", [pytest.param("gpu", marks=pytest.mark.gpu), "stand-in"])
def test_candidates_are_found_on_the_gpu_where_there_is_one(
    device: str, halves: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "worthwhile", lambda rows: True)
    if device == "stand-in":
        monkeypatch.setattr(module, "gpu_count", lambda: 1)
        monkeypatch.setattr(module.GpuCopy, "of", lambda engine, plan: _Slow(engine))
    elif not module.gpu_count():
        pytest.skip("FAISS sees no GPU")
    live = LiveVectors(halves)
    assert _recall(live, halves, np.ones(len(halves), dtype=bool)) > 0.99
    assert _recall(live, halves, np.random.default_rng(2).random(len(halves)) < 0.5) > 0.99
    new = np.eye(1, DIM, dtype=np.float32)
    live.put([7], new)
    live.put([len(halves)], new)
    found = live.nearest(new[0], 2, np.ones(len(live), dtype=bool))[0]
    assert sorted(found.tolist()) == [7, len(halves)]


def test_many_content_vectors_are_searched_by_codes(halves: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "_CODES_FROM", 1_000)
    model = content.Content(halves, ContentSettings())
    history = History.of([1, 2, 3])
    scores = model.scores([history])[0]
    found = model.candidates(history, 20)
    assert np.isin(found, np.argsort(-scores)[:20]).mean() >= 0.9
    np.testing.assert_allclose(model.score(history, found), scores[found], atol=1e-5)
    assert (np.diff(scores[found]) <= 1e-6).all()
    assert len(model.candidates(History.of([0]), 20)) == 0  # has no content


def test_damaged_codes_are_a_damaged_bundle(tensors: dict) -> None:
    broken = {**tensors, "index": tensors["index"][:100].copy()}
    for damaged in (broken, {"probes": tensors["probes"]}):
        with pytest.raises(BundleError, match="build the bundle again"):
            Codes.of(damaged)


@given(st.lists(st.floats(width=16, allow_nan=False, allow_infinity=False), min_size=1, max_size=50))
def test_halves_become_floats_exactly(values: list[float]) -> None:
    halves = np.array([values, values], dtype=np.float16)
    np.testing.assert_array_equal(floats(halves), halves.astype(np.float32))
    assert (np.signbit(floats(halves)) == np.signbit(halves)).all()
