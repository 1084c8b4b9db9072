"""Lists that are good and unlike within."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from triptych_recommendation.serving.diversity import contenders, diversified


def _unit(rows: list[list[float]]) -> np.ndarray:
    vectors = np.array(rows, dtype=np.float32)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)


def test_without_diversity_the_order_is_that_of_relevance() -> None:
    relevance = np.array([0.2, 0.9, 0.5, 0.9], dtype=np.float32)
    assert diversified(relevance, np.zeros((4, 1), np.float32), 3, 0.0).tolist() == [1, 3, 2]


def test_a_copy_of_what_stands_above_gives_way_to_something_else() -> None:
    relevance = np.array([1.0, 0.99, 0.9], dtype=np.float32)
    vectors = _unit([[1, 0], [1, 0], [0, 1]])
    assert diversified(relevance, vectors, 3, 0.0).tolist() == [0, 1, 2]
    assert diversified(relevance, vectors, 3, 0.5).tolist() == [0, 2, 1]


def test_the_first_ones_are_taken_as_they_come() -> None:
    relevance = np.array([0.0, 0.1, 0.9, 1.0], dtype=np.float32)
    assert diversified(relevance, np.zeros((4, 1), np.float32), 4, 0.3, first=2).tolist() == [0, 1, 3, 2]


@given(
    st.lists(st.floats(0, 1, width=32), min_size=1, max_size=12),
    st.integers(1, 15),
    st.floats(0, 1),
    st.integers(0, 1_000),
)
def test_each_item_stands_once_and_diversity_alone_spreads(
    relevance: list[float], k: int, diversity: float, seed: int
) -> None:
    vectors = _unit(np.random.default_rng(seed).normal(size=(len(relevance), 3)).tolist())
    chosen = diversified(np.array(relevance, dtype=np.float32), vectors, k, diversity)
    assert len(set(chosen.tolist())) == len(chosen) == min(k, len(relevance))
    if not diversity:
        assert sorted(relevance, reverse=True)[: len(chosen)] == [relevance[one] for one in chosen]


@given(
    st.lists(st.floats(0, 1, width=32), max_size=40),
    st.integers(0, 12),
    st.floats(0, 1),
    st.integers(0, 1_000),
    st.integers(0, 3),
)
def test_those_out_of_question_are_never_chosen(
    relevance: list[float], k: int, diversity: float, seed: int, first: int
) -> None:
    ordered = np.array(sorted(relevance, reverse=True), dtype=np.float32)
    vectors = _unit(np.random.default_rng(seed).normal(size=(first + len(ordered) + 1, 3)).tolist())[:-1]
    pinned = np.zeros(first, dtype=np.float32)
    count = first + contenders(ordered, max(k - first, 0), diversity)
    everything = np.concatenate([pinned, ordered])
    whole = diversified(everything, vectors, k, diversity, first=first)
    few = diversified(everything[:count], vectors[:count], k, diversity, first=first)
    assert few.tolist() == whole.tolist()


def test_of_steeply_falling_relevance_few_come_into_question() -> None:
    relevance = np.linspace(1, 0, 101).astype(np.float32)
    assert contenders(relevance, 10, 0.0) == 10
    assert 20 <= contenders(relevance, 10, 0.1) <= 22
    assert contenders(relevance, 10, 1.0) == 101
