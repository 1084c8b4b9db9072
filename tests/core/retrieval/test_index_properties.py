"""Whatever is added, replaced, deleted and filtered: the index finds what brute force finds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.retrieval.index import VectorIndex

DIM = 5
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 2), st.sampled_from([-1.5, 0.5, 1.0]), st.sampled_from("abc")
)
METADATA = st.dictionaries(st.sampled_from(["x", "y"]), VALUES)
IDS = st.lists(st.integers(0, 30).map(str), unique=True, max_size=12)
STEPS = st.lists(st.one_of(st.tuples(st.just("add"), IDS), st.tuples(st.just("delete"), IDS)), max_size=8)
CONDITIONS = st.one_of(
    VALUES,
    st.lists(VALUES, max_size=3).map(lambda values: {"in": values}),
    st.tuples(st.integers(-2, 2), st.integers(-2, 2)).map(lambda pair: {"min": pair[0], "max": pair[1]}),
    st.integers(-2, 2).map(lambda low: {"min": low}),
    st.sampled_from("abc").map(lambda high: {"max": high}),
)
WHERE = st.one_of(st.none(), st.dictionaries(st.sampled_from(["x", "y", "z"]), CONDITIONS, max_size=2))


def equal(value: Any, wanted: Any) -> bool:
    return isinstance(value, bool) == isinstance(wanted, bool) and bool(value == wanted)


def meets(row: Mapping[str, Any], name: str, condition: Any) -> bool:
    if name not in row:
        return False
    value = row[name]
    if not isinstance(condition, dict):
        return equal(value, condition)
    if "in" in condition:
        return any(equal(value, wanted) for wanted in condition["in"])
    bounds = list(condition.values())
    if isinstance(bounds[0], str) != isinstance(value, str) or value is None or isinstance(value, bool):
        return False
    return bool(condition.get("min", value) <= value <= condition.get("max", value))


def brute_force(
    stored: Mapping[str, tuple[np.ndarray, dict[str, Any]]],
    query: np.ndarray,
    metric: str,
    where: Mapping[str, Any] | None,
) -> dict[str, float]:
    found = {}
    for key, (vector, row) in stored.items():
        if all(meets(row, name, condition) for name, condition in (where or {}).items()):
            a, b = vector.astype(np.float64), query.astype(np.float64)
            if metric == "cosine":
                found[key] = float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
            else:
                found[key] = float(a @ b) if metric == "dot" else -float(np.linalg.norm(a - b))
    return found


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
@pytest.mark.parametrize("flat_below", [1000, 10], ids=["flat", "ivf"])
@settings(max_examples=60, deadline=None)
@given(
    steps=STEPS,
    where=WHERE,
    rows=st.lists(METADATA, min_size=31, max_size=31),
    k=st.integers(1, 8),
    seed=st.integers(0, 99),
)
def test_the_index_agrees_with_brute_force(
    metric: str,
    flat_below: int,
    steps: list[tuple[str, list[str]]],
    where: dict[str, Any] | None,
    rows: list[dict[str, Any]],
    k: int,
    seed: int,
) -> None:
    generator = np.random.default_rng(seed)
    index = VectorIndex(DIM, metric=metric, flat_below=flat_below)
    stored: dict[str, tuple[np.ndarray, dict[str, Any]]] = {}
    for action, keys in steps:
        if action == "delete":
            assert index.delete(keys) == len(stored.keys() & set(keys))
            for key in keys:
                stored.pop(key, None)
        else:
            vectors = generator.standard_normal((len(keys), DIM)).astype(np.float32)
            metadata = [rows[int(key)] for key in keys]
            index.add(keys, vectors, metadata)
            stored.update({key: (v, row) for key, v, row in zip(keys, vectors, metadata, strict=True)})
    assert len(index) == len(stored)
    assert set(index.ids) == set(stored)
    queries = generator.standard_normal((5, DIM)).astype(np.float32)
    for query, hits in zip(queries, index.search(queries, k, where=where), strict=True):
        truth = brute_force(stored, query, metric, where)
        assert len(hits) == min(k, len(truth))
        assert len({hit.id for hit in hits}) == len(hits)
        if index.exact or where:
            best = sorted(truth.values(), reverse=True)[:k]
            assert [hit.score for hit in hits] == pytest.approx(best, abs=1e-4)
        for hit in hits:
            assert hit.score == pytest.approx(truth[hit.id], abs=1e-4)
            assert hit.metadata == stored[hit.id][1]
            assert {n: type(v) for n, v in hit.metadata.items()} == {n: type(v) for n, v in stored[hit.id][1].items()}
