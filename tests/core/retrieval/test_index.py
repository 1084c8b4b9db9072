"""What the index promises, one fact at a time."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from triptych.errors import ConfigError, DataError
from triptych.retrieval.index import VectorIndex

RANDOM = np.random.default_rng(3)


def filled(rows: int = 40, dim: int = 4, **options: Any) -> tuple[VectorIndex, np.ndarray]:
    vectors = RANDOM.standard_normal((rows, dim)).astype(np.float32)
    index = VectorIndex(dim, **options)
    index.add([f"r{i}" for i in range(rows)], vectors, [{"number": i, "even": i % 2 == 0} for i in range(rows)])
    return index, vectors


def ids(index: VectorIndex, query: np.ndarray, k: int = 3, **options: Any) -> list[str]:
    return [hit.id for hit in index.search(query[None], k, **options)[0]]


def test_a_vector_finds_itself_with_its_metadata() -> None:
    index, vectors = filled()
    hit = index.search(vectors[7:8], 1)[0][0]
    assert (hit.id, hit.metadata) == ("r7", {"number": 7, "even": False})
    assert hit.score == pytest.approx(1.0)
    assert hit.score <= 1.0


def test_l2_scores_are_minus_the_distance() -> None:
    index = VectorIndex(2, metric="l2")
    index.add(["near", "far"], [[0.0, 1.0], [3.0, 4.0]])
    assert [(h.id, h.score) for h in index.search([[0.0, 0.0]], 2)[0]] == [("near", -1.0), ("far", -5.0)]


def test_an_id_that_is_there_is_replaced() -> None:
    index, vectors = filled()
    index.add(["r3"], -vectors[3:4], [{"number": 99}])
    assert len(index) == 40
    hit = index.search(-vectors[3:4], 1)[0][0]
    assert (hit.id, hit.metadata) == ("r3", {"number": 99})
    assert "r3" not in ids(index, vectors[3], 1)


def test_deleted_ids_are_not_found_and_unknown_ones_passed_over() -> None:
    index, vectors = filled()
    assert index.delete(["r3", "nobody", "r3"]) == 1
    assert "r3" not in index
    assert "r3" not in ids(index, vectors[3], 39)
    assert len(ids(index, vectors[3], 40)) == 39


def test_everything_can_be_deleted_and_added_again() -> None:
    index, vectors = filled(flat_below=20)
    index.delete(index.ids)
    assert index.search(vectors[:2], 3) == [[], []]
    index.add(["again"], vectors[:1])
    assert ids(index, vectors[0]) == ["again"]


def test_an_empty_index_finds_nothing() -> None:
    assert VectorIndex(4).search(np.ones((2, 4)), 5) == [[], []]
    assert VectorIndex(4).search(np.empty((0, 4)), 5) == []


def test_adding_nothing_changes_nothing() -> None:
    index, _ = filled()
    index.add([], [])
    assert len(index) == 40


def test_k_beyond_the_size_gives_all() -> None:
    index, vectors = filled()
    assert sorted(ids(index, vectors[0], 1000)) == sorted(index.ids)


@pytest.mark.parametrize("flat_below", [1000, 10], ids=["flat", "ivf"])
def test_a_filter_gives_k_hits_whenever_they_exist(flat_below: int) -> None:
    index, vectors = filled(400, flat_below=flat_below)
    for query in vectors[:20]:
        assert len(ids(index, query, 5, where={"number": {"min": 200, "max": 204}})) == 5
        assert len(ids(index, query, 5, where={"number": {"in": [1, 2, 999]}})) == 2
        assert ids(index, query, 5, where={"number": 1, "even": True}) == []
        assert ids(index, query, 5, where={"absent": 1}) == []


def test_an_ivf_search_gives_k_hits_even_when_the_probed_lists_hold_fewer() -> None:
    index, vectors = filled(400, flat_below=10)
    index._rows.engine.probes = 1
    assert len(ids(index, vectors[0], 399)) == 399


def test_a_filter_sees_what_was_added_after_it_was_first_used() -> None:
    index, vectors = filled()
    where = {"even": True}
    assert len(ids(index, vectors[0], 50, where=where)) == 20
    index.add(["new"], vectors[:1], [{"even": True}])
    assert len(ids(index, vectors[0], 50, where=where)) == 21
    index.delete(["r0"])
    assert len(ids(index, vectors[0], 50, where=where)) == 20


def test_strings_are_filtered_by_range_and_numbers_of_numpy_by_value() -> None:
    index = VectorIndex(2)
    days = ["2024-01-01", "2024-06-01", "2025-01-01"]
    index.add(list("abc"), np.eye(3, 2) + 1, [{"day": day, "n": np.int64(i)} for i, day in enumerate(days)])
    query = np.ones(2)
    assert sorted(ids(index, query, where={"day": {"min": "2024-02-01"}})) == ["b", "c"]
    assert ids(index, query, where={"n": np.float32(1)}) == ["b"]
    assert sorted(ids(index, query, where={"n": {"in": {0, 2}}})) == ["a", "c"]
    assert ids(index, query, where={"day": {"min": 3}}) == []


def test_nested_metadata_comes_back_and_compares() -> None:
    index = VectorIndex(2)
    index.add(["a", "b"], np.eye(2) + 1, [{"tags": ["x", "y"], "box": {"w": 1}}, {"tags": ["x"]}])
    assert ids(index, np.ones(2), where={"tags": {"in": [["x", "y"]]}}) == ["a"]
    assert index.search([[1, 1]], 1, where={"tags": ["x", "y"]})[0][0].metadata["box"] == {"w": 1}


BAD: dict[str, tuple[Any, str]] = {
    "nan": (lambda i: i.add(["a", "b"], [[1, 2], [np.nan, 1]]), r"vector 1 \(id 'b'\) holds NaN"),
    "infinity": (lambda i: i.add(["a"], [[np.inf, 1]]), r"holds NaN or infinity"),
    "too big for float32": (lambda i: i.add(["a"], [[1e300, 1]]), r"holds NaN or infinity"),
    "wrong dim": (lambda i: i.add(["a"], [[1, 2, 3]]), r"shape \[rows, 2\], got \[1, 3\]"),
    "one vector": (lambda i: i.add(["a"], [1, 2]), r"shape \[rows, 2\], got \[2\]"),
    "ragged": (lambda i: i.add(["a", "b"], [[1, 2], [1]]), "is not"),
    "text": (lambda i: i.add(["a"], [["x", "y"]]), "is not"),
    "twice": (lambda i: i.add(["a", "a"], [[1, 2], [2, 1]]), "'a' comes twice"),
    "not a string": (lambda i: i.add([1], [[1, 2]]), "ids are strings"),
    "too few vectors": (lambda i: i.add(["a", "b"], [[1, 2]]), "2 ids came with 1 vectors"),
    "too few metadata": (lambda i: i.add(["a"], [[1, 2]], []), "0 metadata"),
    "zero vector": (lambda i: i.add(["a"], [[0, 0]]), r"vector 0 \(id 'a'\) is all zeros"),
    "metadata nan": (lambda i: i.add(["a"], [[1, 2]], [{"x": float("nan")}]), "'x' of 'a' is not JSON"),
    "metadata object": (lambda i: i.add(["a"], [[1, 2]], [{"x": [object()]}]), "'x' of 'a' is not JSON"),
    "metadata key": (lambda i: i.add(["a"], [[1, 2]], [{1: 2}]), "keys are strings"),
    "query nan": (lambda i: i.search([[np.nan, 0]], 1), "query 0 holds NaN"),
    "query zero": (lambda i: i.search([[1, 1], [0, 0]], 1), "query 1 is all zeros"),
    "query dim": (lambda i: i.search([[1, 1, 1]], 1), r"shape \[rows, 2\]"),
    "k": (lambda i: i.search([[1, 1]], 0), "at least one"),
    "unknown operator": (lambda i: i.search([[1, 1]], 1, where={"n": {"above": 1}}), '"min": low'),
    "mixed range": (lambda i: i.search([[1, 1]], 1, where={"n": {"min": 1, "max": "b"}}), '"min": low'),
    "empty range": (lambda i: i.search([[1, 1]], 1, where={"n": {}}), '"min": low'),
    "in a string": (lambda i: i.search([[1, 1]], 1, where={"n": {"in": "abc"}}), '"min": low'),
    "filter object": (lambda i: i.search([[1, 1]], 1, where={"n": object()}), "is not JSON"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_and_changes_nothing(name: str) -> None:
    act, message = BAD[name]
    index = VectorIndex(2)
    index.add(["there"], [[1, 0]], [{"n": 1}])
    with pytest.raises(DataError, match=message):
        act(index)
    assert index.ids == ["there"]
    assert ids(index, np.ones(2)) == ["there"]


def test_zero_vectors_are_allowed_where_they_mean_something() -> None:
    index = VectorIndex(2, metric="l2")
    index.add(["origin"], [[0, 0]])
    assert ids(index, np.zeros(2)) == ["origin"]


def test_an_unknown_metric_is_refused() -> None:
    with pytest.raises(ConfigError, match="cosine, dot, l2"):
        VectorIndex(2, metric="hamming")


def test_the_caller_s_arrays_stay_as_they_are() -> None:
    index, vectors = filled()
    before = vectors.copy()
    index.add([f"r{i}" for i in range(40)], vectors)
    index.search(vectors, 2)
    assert np.array_equal(vectors, before)


# Inverted lists


def test_the_index_turns_to_inverted_lists_and_back() -> None:
    index, vectors = filled(99, flat_below=100)
    assert index.exact
    index.add(["one more"], vectors[:1] + 1)
    assert not index.exact
    index.delete([f"r{i}" for i in range(50)])
    assert index.exact
    assert ids(index, vectors[60], 1) == ["r60"]


def test_inverted_lists_are_trained_anew_when_the_index_has_grown() -> None:
    index, _ = filled(100, flat_below=100)
    lists = index._rows.engine.lists
    for start in range(100, 1000, 100):
        index.add([f"r{start + i}" for i in range(100)], RANDOM.standard_normal((100, 4)))
    assert index._rows.engine.lists > lists
    assert len(index) == 1000


def test_recall_beyond_the_flat_limit() -> None:
    generator = np.random.default_rng(0)
    centres = generator.standard_normal((300, 24))
    vectors = (centres[generator.integers(0, 300, 120_200)] + 0.6 * generator.standard_normal((120_200, 24))).astype(
        "f"
    )
    stored, queries = vectors[:120_000], vectors[120_000:]
    index = VectorIndex(24)
    index.add([str(i) for i in range(len(stored))], stored)
    assert not index.exact
    assert index._rows.engine.probes < index._rows.engine.lists / 4
    unit = stored / np.linalg.norm(stored, axis=1, keepdims=True)
    truth = np.argpartition(-(queries @ unit.T), 10, axis=1)[:, :10]
    found = index.search(queries, 10)
    recall = np.mean(
        [len({int(h.id) for h in hits} & set(row.tolist())) / 10 for hits, row in zip(found, truth, strict=True)]
    )
    assert recall >= 0.97


# Disk


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
@pytest.mark.parametrize("flat_below", [1000, 10], ids=["flat", "ivf"])
def test_what_is_saved_is_loaded(metric: str, flat_below: int, tmp_path: Path) -> None:
    index, vectors = filled(60, metric=metric, flat_below=flat_below)
    index.add(["中文"], vectors[:1] + 1, [{"题": '退款 "ok"\n', "list": [1, {"a": None}], "none": None}])
    index.delete(["r5"])
    expected = index.search(vectors, 7)
    filtered = index.search(vectors, 7, where={"even": True})
    index.save(tmp_path / "index")
    loaded = VectorIndex.load(tmp_path / "index")
    assert loaded.ids == index.ids
    assert (loaded.dim, loaded.metric, loaded.exact) == (index.dim, metric, index.exact)
    assert loaded.search(vectors, 7) == index.search(vectors, 7)
    assert loaded.search(vectors, 7, where={"even": True}) == index.search(vectors, 7, where={"even": True})
    if index.exact:
        assert [[h.id for h in hits] for hits in loaded.search(vectors, 7)] == [
            [h.id for h in hits] for hits in expected
        ]
        assert [len(hits) for hits in filtered] == [7] * 60
    loaded.add(["more"], vectors[:1], [{"even": False}])
    assert len(loaded) == 61
    assert sorted(p.name for p in (tmp_path / "index").iterdir()) == ["index.json", "rows.json", "vectors.faiss"]


def test_an_empty_index_is_saved_and_loaded(tmp_path: Path) -> None:
    VectorIndex(3).save(tmp_path)
    assert VectorIndex.load(tmp_path).search([[1, 2, 3]], 2) == [[]]


@pytest.mark.parametrize("name", ["index.json", "rows.json", "vectors.faiss"])
@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_a_damaged_index_names_the_file(name: str, damage: str, tmp_path: Path) -> None:
    filled()[0].save(tmp_path)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).unlink()
    if damage == "truncated":
        (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=name.replace(".", r"\.")):
        VectorIndex.load(tmp_path)


@pytest.mark.parametrize(("key", "value", "message"), [("rows", 41, "build the index again"), ("format", 3, "upgrade")])
def test_settings_that_do_not_fit_are_refused(key: str, value: int, message: str, tmp_path: Path) -> None:
    filled()[0].save(tmp_path)
    settings = json.loads((tmp_path / "index.json").read_text())
    (tmp_path / "index.json").write_text(json.dumps(settings | {key: value}))
    with pytest.raises(DataError, match=message):
        VectorIndex.load(tmp_path)


def test_a_disk_that_fills_leaves_the_index_that_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index, vectors = filled()
    index.save(tmp_path)
    index.add(["new"], vectors[:1])

    def full(*args: object) -> None:
        raise RuntimeError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(faiss, "write_index", full)
        with pytest.raises(RuntimeError, match="No space"):
            index.save(tmp_path)
    assert "new" not in VectorIndex.load(tmp_path)


# Threads and devices


def test_threads_search_while_others_write() -> None:
    index, vectors = filled(300, dim=8, flat_below=200)
    failures: list[BaseException] = []
    stop = threading.Event()

    def read(number: int) -> None:
        try:
            while not stop.is_set():
                for hits in index.search(vectors[number : number + 5], 4, where={"even": True} if number % 2 else None):
                    assert len(hits) == 4
                    assert all(hit.id == f"r{hit.metadata['number']}" for hit in hits)
        except BaseException as error:
            failures.append(error)

    readers = [threading.Thread(target=read, args=(i,)) for i in range(4)]
    for thread in readers:
        thread.start()
    for round_ in range(30):
        some = [f"r{i}" for i in range(round_, 300, 7)]
        index.delete(some)
        rows = [int(name[1:]) for name in some]
        index.add(some, vectors[rows], [{"number": i, "even": i % 2 == 0} for i in rows])
    stop.set()
    for thread in readers:
        thread.join()
    assert failures == []
    assert len(index) == 300


def test_batches_use_a_matrix_product_and_single_queries_do_not() -> None:
    index, vectors = filled()
    index.search(vectors[:1], 1)
    assert 1 * index.dim < faiss.cvar.distance_compute_blas_threshold <= 8 * index.dim
