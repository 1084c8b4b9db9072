"""The filter language, and the indexes that filters in regular use get."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from triptych.errors import DataError
from triptych.retrieval.base import VectorField
from triptych.retrieval.checks import check_batch
from triptych.retrieval.columns import Columns
from triptych.retrieval.engines.base import ArraySource, Kind, Plan
from triptych.retrieval.engines.choose import build_engine
from triptych.retrieval.engines.flat import FlatEngine
from triptych.retrieval.engines.lists import ListsEngine
from triptych.retrieval.field import FieldSearch
from triptych.retrieval.filters import Between, Both, Either, OneOf, Without, key_of, parse
from triptych.retrieval.locks import ReadWriteLock
from triptych.retrieval.search import RowSearch
from triptych.retrieval.state import State
from triptych.retrieval.table import Table

from .vectors import clustered, recall

BAD: dict[str, tuple[Any, str]] = {
    "no mapping": ([("a", 1)], "a mapping of fields"),
    "a number as name": ({1: 2}, "names are strings"),
    "unknown operator": ({"$nor": []}, r"\$and, \$or and \$not"),
    "or without a list": ({"$or": {"a": 1}}, "takes a list of filters"),
    "and of values": ({"$and": [1]}, "takes a list of filters"),
    "not of a value": ({"$not": 1}, "takes a filter"),
    "unknown condition": ({"a": {"above": 1}}, '"min": low'),
    "inside": ({"$or": [{"a": {"min": "x", "max": 1}}]}, "filter on 'a'"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_filter_that_is_not_understood_is_refused(name: str) -> None:
    where, message = BAD[name]
    with pytest.raises(DataError, match=message):
        parse(where)


def test_a_filter_becomes_a_tree() -> None:
    assert parse({"a": 1}) == OneOf("a", (1,))
    assert parse({"a": {"min": 2}, "b": {"in": ["x"]}}) == Both((Between("a", 2, None), OneOf("b", ("x",))))
    assert parse({"$or": [{"a": 1}, {"$not": {"b": 2}}]}) == Either((OneOf("a", (1,)), Without(OneOf("b", (2,)))))
    assert parse({}) == Both(())
    assert key_of({"a": {"in": {2, 1}}, "b": np.int64(3)}) == key_of({"b": 3, "a": {"in": {1, 2}}})


def test_a_filter_looks_at_new_rows_only_when_asked_to() -> None:
    columns = Columns()
    columns.extend([{"n": i} for i in range(10)])
    assert columns.select(parse({"n": {"min": 8}}), start=7).tolist() == [False, True, True]


def test_integers_beyond_floats_compare() -> None:
    columns = Columns()
    columns.extend([{"n": 10**400}, {"n": -(10**400)}, {"n": 1}])
    assert columns.select(parse({"n": {"min": 0}})).tolist() == [True, False, True]


ROWS, DIM = 20_000, 32
VECTORS = clustered(ROWS + 100, DIM)
QUERIES, VECTORS = VECTORS[ROWS:], VECTORS[:ROWS]


def state_of(kind: Kind, *, frozen: bool = False) -> State:
    """Items whose metadata says their number, in lists of the kind."""
    field = VectorField(dim=DIM)
    plan = Plan(DIM, kind=kind, flat_below=100)
    table, lock = Table(), ReadWriteLock()
    table.extend(range(ROWS), [f"i{n}" for n in range(ROWS)], [{"n": n, "odd": n % 2} for n in range(ROWS)])
    engine, measured = build_engine(ArraySource(VECTORS), plan)
    rows = RowSearch(plan, engine, recall=measured, lock=lock, frozen=frozen)
    return State(table, {"vector": FieldSearch(field, table, rows, np.arange(ROWS))}, lock)


def found(state: State, where: Any, k: int = 10) -> list[set[int]]:
    return [set(row.tolist()) for row in state.search("vector", QUERIES, k, where).positions]


def truth(passing: np.ndarray, vectors: np.ndarray = VECTORS, k: int = 10) -> list[set[int]]:
    scores = np.where(passing, QUERIES @ vectors.T, -np.inf)
    return [set(row.tolist()) for row in np.argsort(-scores, axis=1)[:, :k]]


@pytest.mark.parametrize("kind", ["flat", "ivf-flat", "ivf-sq8", "ivf-pq", "ivf-rabitq", "hnsw"])
def test_a_filter_in_regular_use_gets_an_index_that_finds_what_exact_search_finds(kind: Kind) -> None:
    state = state_of(kind)
    search = state.searches["vector"].rows
    for share in (0.1, 0.002):  # indexes of filters share a room, in which there is place for these
        where = {"n": {"max": int(share * ROWS) - 1}}
        passing = np.arange(ROWS) < share * ROWS
        first = found(state, where)
        assert recall(first, truth(passing)) >= 0.8  # through a selector, before it has an index
        for _ in range(4):
            found(state, where)
        state.settle()
        selection = search._selections[key_of(where)]
        assert selection.own is not None
        assert selection.own.rows == passing.sum()
        again = found(state, where)
        assert all(row < passing.sum() for rows in again for row in rows)
        assert recall(again, truth(passing)) >= 0.93


@pytest.mark.parametrize("kind", ["flat", "ivf-pq"])
@pytest.mark.parametrize("share", [0.3, 0.01])
def test_the_index_of_a_filter_lives_through_additions_and_deletions(kind: Kind, share: float) -> None:
    state = state_of(kind)
    where = {"n": {"max": int(share * ROWS) - 1}}
    for _ in range(5):
        found(state, where)
    state.settle()
    best = [min(rows) for rows in found(state, where, k=1)]
    state.remove(best)
    assert not {row for rows in found(state, where) for row in rows} & set(best)
    new = QUERIES[:5]
    field = {"vector": state.searches["vector"].field}
    batch = check_batch(field, [f"new{n}" for n in range(5)], new, [{"n": 0}] * 5)
    state.apply(range(ROWS, ROWS + 5), batch)
    hits = found(state, where)
    assert all(ROWS + n in hits[n] for n in range(5))
    passing = np.arange(ROWS + 5) < share * ROWS
    passing[best] = False
    passing[ROWS:] = True
    assert recall(hits, truth(passing, np.concatenate([VECTORS, new]))) >= 0.9


def test_the_index_of_a_filter_may_have_a_graph_over_its_centroids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("triptych.retrieval.engines.lists._SINGLE_FROM_LISTS", 50)
    state = state_of("ivf-pq")
    where = {"n": {"max": ROWS // 2 - 1}}
    for _ in range(5):
        found(state, where)
    state.settle()
    (selection,) = state.searches["vector"].rows._selections.values()
    assert isinstance(selection.own, ListsEngine)
    assert selection.own.breadth > 0
    alone = [set(state.search("vector", query[None], 10, where).positions[0].tolist()) for query in QUERIES]
    assert recall(alone, found(state, where)) >= 0.95
    assert all(row < ROWS // 2 for rows in alone for row in rows)


def test_few_passing_rows_are_searched_exactly_at_once() -> None:
    state = state_of("ivf-flat")
    where = {"n": {"min": 500, "max": 999}}
    assert recall(found(state, where), truth((np.arange(ROWS) >= 500) & (np.arange(ROWS) < 1000))) >= 0.97
    (selection,) = state.searches["vector"].rows._selections.values()
    assert isinstance(selection.own, FlatEngine)


def test_indexes_of_filters_share_a_limited_room() -> None:
    state = state_of("ivf-flat")
    rows = state.searches["vector"].rows
    for number in range(6):
        where = {"n": {"min": number * 1000, "max": number * 1000 + 5999}}
        for _ in range(4):
            found(state, where)
        state.settle()
    kept = [s.own.rows for s in rows._selections.values() if s.own is not None]
    assert 6000 <= sum(kept) <= 0.75 * ROWS
    assert len(rows._selections) == 6


def test_the_least_used_filters_are_forgotten() -> None:
    state = state_of("flat")
    for number in range(70):
        found(state, {"n": number})
    assert len(state.searches["vector"].rows._selections) == 64


def test_a_frozen_engine_is_added_to_behind_it_and_searched_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("triptych.retrieval.search._TAIL_FROM", 300)
    state = state_of("ivf-sq8", frozen=True)
    search = state.searches["vector"]
    extra = clustered(1000, DIM, seed=5)
    for start in range(0, 1000, 100):
        names = [f"new{n}" for n in range(start, start + 100)]
        metadata = [{"n": -1, "odd": n % 2} for n in range(100)]
        batch = check_batch({"vector": search.field}, names, extra[start : start + 100], metadata)
        state.apply(range(ROWS + start, ROWS + start + 100), batch)
    assert search.rows.rows == ROWS + 1000
    assert isinstance(search.rows.engine, ListsEngine)
    assert search.rows.engine.rows == ROWS
    everything = np.concatenate([VECTORS, extra])
    assert recall(found(state, None), truth(np.ones(ROWS + 1000, bool), everything)) >= 0.93
    odd = np.concatenate([np.arange(ROWS) % 2, np.arange(1000) % 2]).astype(bool)
    for _ in range(4):
        hits = found(state, {"odd": 1})
    state.settle()
    hits = found(state, {"odd": 1})
    assert recall(hits, truth(odd, everything)) >= 0.93
    assert all(odd[list(rows)].all() for rows in hits)
    state.remove([ROWS + 3])
    assert ROWS + 3 not in found(state, {"odd": 1})[0]
    chosen = np.array([0, ROWS + 7])
    assert np.abs(search.rows.vectors(chosen) - everything[chosen]).max() < 0.02
