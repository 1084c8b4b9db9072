"""Every kind of engine finds what exact search finds, as far as it promises."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from triptych.retrieval.engines.base import ArraySource, Engine, Kind, Plan
from triptych.retrieval.engines.choose import build_engine, outgrown, read_index, restore_engine, write_index
from triptych.retrieval.engines.flat import FlatEngine
from triptych.retrieval.engines.lists import ListsEngine
from triptych.retrieval.engines.trial import exact_nearest, make_trial, measured_recall
from triptych.retrieval.engines.tune import tune

from .vectors import clustered, nearest, recall

ROWS, DIM = 12_000, 64
STORED = clustered(ROWS + 200, DIM)
QUERIES, STORED = STORED[ROWS:], STORED[:ROWS]
KINDS: list[Kind] = ["flat", "ivf-flat", "ivf-sq8", "ivf-pq", "ivf-rabitq", "hnsw"]


def plan(kind: Kind, **options: object) -> Plan:
    return Plan(DIM, kind=kind, flat_below=1000, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def engines() -> dict[Kind, tuple[Engine, float]]:
    return {kind: build_engine(ArraySource(STORED), plan(kind)) for kind in KINDS}


def rows_of(engine: Engine, queries: np.ndarray, k: int = 10) -> list[set[int]]:
    return [set(row.tolist()) for row in engine.search(queries, k)[1]]


@pytest.mark.parametrize("kind", KINDS)
def test_the_recall_asked_for_holds_on_queries_that_nobody_tuned_on(engines, kind: Kind) -> None:
    engine, measured = engines[kind]
    assert engine.kind == kind
    assert measured >= 0.95
    assert recall(rows_of(engine, QUERIES), nearest(STORED, QUERIES)) >= 0.93


@pytest.mark.parametrize("kind", KINDS)
def test_one_neighbour_is_found_as_surely_as_ten(engines, kind: Kind) -> None:
    engine = engines[kind][0]
    assert np.mean(engine.search(QUERIES, 1)[1] == engine.search(QUERIES, 10)[1][:, :1]) >= 0.98


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_those_of_the_vectors(engines, kind: Kind) -> None:
    scores, rows = engines[kind][0].search(QUERIES, 10)
    exact = np.take_along_axis(QUERIES @ STORED.T, rows, axis=1)
    assert np.abs(scores - exact).max() < (1e-5 if "flat" in kind else 5e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_looking_at_everything_finds_everything(engines, kind: Kind) -> None:
    engine = engines[kind][0]
    _, rows = engine.search_all(QUERIES[:20], 10)
    assert recall([set(row.tolist()) for row in rows], nearest(STORED, QUERIES[:20])) >= 0.98


@pytest.mark.parametrize("kind", KINDS)
def test_vectors_come_back_by_row(engines, kind: Kind) -> None:
    chosen = np.array([5, 11_999, 0, 77])
    held = engines[kind][0].vectors(chosen)
    assert np.abs(held - STORED[chosen]).max() < 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_an_engine_opens_as_it_was_closed(engines, kind: Kind, tmp_path: Path) -> None:
    engine = engines[kind][0]
    write_index(engine.index, tmp_path / "index.faiss")
    for mapped in (False, True):
        index = read_index(tmp_path / "index.faiss", mapped=mapped)
        opened = restore_engine(index, plan(kind), kind, engine.parameters)
        assert opened.parameters == engine.parameters
        for queries in (QUERIES, QUERIES[:1]):
            assert np.array_equal(opened.search(queries, 10)[1], engine.search(queries, 10)[1])


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_added_later_is_found(kind: Kind) -> None:
    engine, _ = build_engine(ArraySource(STORED[:5000]), plan(kind))
    engine.add(STORED[5000:6000])
    assert engine.rows == 6000
    found = engine.search(STORED[5000:5050], 1)[1].ravel()
    assert np.mean(found == np.arange(5000, 5050)) >= 0.9


def test_lone_queries_are_served_through_a_graph_over_many_centroids() -> None:
    engine = ListsEngine.build(ArraySource(STORED), plan("ivf-rabitq"), "ivf-rabitq", lists=600)
    trial = make_trial(ArraySource(STORED), plan("ivf-rabitq"))
    tune(engine, trial, 0.95)
    assert engine.breadth > 0
    alone = [set(engine.search(query[None], 10)[1][0].tolist()) for query in QUERIES]
    assert recall(alone, nearest(STORED, QUERIES)) >= 0.93
    engine.add(QUERIES[:1])
    assert engine.search(QUERIES[:1], 1)[1].item() == ROWS


def test_a_higher_recall_costs_more_and_is_reached() -> None:
    source = ArraySource(STORED)
    trial = make_trial(source, plan("ivf-rabitq"))
    engine = ListsEngine.build(source, plan("ivf-rabitq"), "ivf-rabitq")
    low = tune(engine, trial, 0.8)
    cheap = (engine.probes, engine.factor)
    high = tune(engine, trial, 0.97)
    assert low < high
    assert high >= 0.965
    assert (engine.probes, engine.factor) > cheap


def test_queries_of_the_user_s_own_are_tuned_on() -> None:
    source = ArraySource(STORED)
    trial = make_trial(source, plan("ivf-flat"), QUERIES)
    assert not trial.own
    engine = ListsEngine.build(source, plan("ivf-flat"), "ivf-flat")
    tune(engine, trial, 0.95)
    assert measured_recall(engine, trial)[0] >= 0.95


def test_exact_nearest_is_exact_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("triptych.retrieval.engines.base.BLOCK", 999)
    for similarity in (True, False):
        found = exact_nearest(ArraySource(STORED), Plan(DIM, similarity=similarity), QUERIES, 10)
        assert recall([set(row.tolist()) for row in found], nearest(STORED, QUERIES)) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("kind", ["ivf-rabitq", "ivf-sq8", "hnsw"])
def test_equal_vectors_are_as_good_as_one_another(kind: Kind) -> None:
    twins = np.repeat(clustered(300, DIM), 40, axis=0)  # which of forty equal ones is found is chance
    engine, measured = build_engine(ArraySource(twins), plan(kind))
    assert measured >= 0.95
    assert engine.parameters.get("probes", 0) <= 30


@pytest.mark.parametrize(("rows", "kind"), [(500, "flat"), (0, "flat")])
def test_few_vectors_are_searched_exactly(rows: int, kind: Kind) -> None:
    engine, measured = build_engine(ArraySource(STORED[:rows]), plan("auto"))
    assert (engine.kind, measured) == (kind, 1.0)


def test_auto_takes_exact_search_where_it_is_faster_or_nothing_else_finds_enough(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seconds = {"flat": 1.0, "ivf-pq": 2.0, "hnsw": 4.0}
    monkeypatch.setattr("triptych.retrieval.engines.choose._seconds", lambda engine, _: seconds[engine.kind])
    assert isinstance(build_engine(ArraySource(STORED[:3000]), plan("auto"))[0], FlatEngine)
    seconds["flat"] = 3.0
    assert build_engine(ArraySource(STORED[:3000]), plan("auto"))[0].kind == "ivf-pq"
    seconds["hnsw"] = 1.0
    assert build_engine(ArraySource(STORED[:3000]), plan("auto"))[0].kind == "hnsw"


def test_few_dimensions_are_held_in_eight_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("triptych.retrieval.engines.choose._seconds", lambda engine, _: float(engine.kind != "ivf-sq8"))
    narrow = clustered(3000, 8)
    assert build_engine(ArraySource(narrow), Plan(8, flat_below=100))[0].kind == "ivf-sq8"


def test_engines_say_when_they_are_outgrown() -> None:
    flat = FlatEngine(plan("auto"))
    assert not outgrown(flat, plan("auto"))
    flat.add(STORED[:1000])
    assert outgrown(flat, plan("auto"))
    assert not outgrown(flat, plan("flat"))
    lists, _ = build_engine(ArraySource(STORED[:2000]), plan("ivf-flat"))
    assert not outgrown(lists, plan("ivf-flat"))
    lists.add(STORED[:8000])
    assert outgrown(lists, plan("ivf-flat"))


def test_batches_use_a_matrix_product_and_single_queries_do_not() -> None:
    import faiss

    FlatEngine.build(ArraySource(STORED), plan("flat")).search(QUERIES, 3)
    assert 1 * DIM < faiss.cvar.distance_compute_blas_threshold <= 8 * DIM
