"""Search on GPUs: on a stand-in that rounds as they do, and on a real one where there is any (`-m gpu`)."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from triptych.retrieval import gpu
from triptych.retrieval.base import Metric, VectorField
from triptych.retrieval.collection import Collection, CollectionSettings
from triptych.retrieval.engines.base import Plan
from triptych.retrieval.engines.flat import FlatEngine
from triptych.retrieval.engines.lists import centroids

from .vectors import clustered

DIM, ROWS = 32, 1_200
VECTORS = clustered(ROWS + 400, DIM)
QUERIES = clustered(20, DIM, seed=7)


class Resources:
    """Stands for `faiss.StandardGpuResources`."""

    scratch_bytes = 0

    def setTempMemory(self, count: int) -> None:
        self.scratch_bytes = count


class Options:
    """Stands for `faiss.GpuClonerOptions`."""

    useFloat16 = False


class StandIn:
    """GPUs that are not there: indexes in float16 on the CPU. `devices` are those that were asked to hold something."""

    def __init__(self, count: int = 1) -> None:
        self.count = count
        self.devices: list[int] = []
        self.indexes: list[Any] = []
        self.wrap: Callable[[Any], Any] = lambda index: index

    def put(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for module in (faiss, faiss.extra_wrappers):  # the latter has k-means
            monkeypatch.setattr(module, "get_num_gpus", lambda: self.count)
        monkeypatch.setattr(faiss, "StandardGpuResources", Resources)
        monkeypatch.setattr(faiss, "GpuClonerOptions", Options)
        monkeypatch.setattr(faiss, "index_cpu_to_gpu", self.to_gpu)
        monkeypatch.setattr(faiss, "index_cpu_to_all_gpus", self.to_all_gpus)

    def to_gpu(self, resource: Resources, device: int, index: Any, options: Options) -> Any:
        assert resource.scratch_bytes == 256 << 20
        assert options.useFloat16
        assert index.ntotal == 0
        self.devices.append(device)
        made = self.wrap(faiss.IndexScalarQuantizer(index.d, faiss.ScalarQuantizer.QT_fp16, index.metric_type))
        self.indexes.append(made)
        return made

    def to_all_gpus(self, index: Any, ngpu: int) -> Any:
        """What k-means asks."""
        assert ngpu == self.count
        return index


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each search that was put to a GPU whether it answered; a few rows are enough for it."""
    monkeypatch.delenv(gpu.ENVIRONMENT, raising=False)
    monkeypatch.setattr(gpu, "_FROM_ROWS", 1_000)
    said: list[bool] = []
    search = gpu.GpuCopy.search

    def noted(self: gpu.GpuCopy, *args: Any) -> Any:
        found = search(self, *args)
        said.append(found is not None)
        return found

    monkeypatch.setattr(gpu.GpuCopy, "search", noted)
    return said


@pytest.fixture
def fake(answers: list[bool], monkeypatch: pytest.MonkeyPatch) -> StandIn:
    stand_in = StandIn()
    stand_in.put(monkeypatch)
    return stand_in


@pytest.fixture(params=["stand-in", "two stand-ins", pytest.param("real", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest, answers: list[bool], monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test that does not look inside runs on."""
    if request.param != "real":
        StandIn(1 if request.param == "stand-in" else 2).put(monkeypatch)
    elif not gpu.gpu_count():
        pytest.skip("FAISS sees no GPU")


def filled(path: Path, rows: int = ROWS, *, metric: Metric = "cosine", kind: str = "flat") -> Collection:
    settings = CollectionSettings(kind=kind, flat_below=100)  # type: ignore[arg-type]
    made = Collection.create(path, [VectorField(dim=DIM, metric=metric)], settings=settings)
    made.add([f"r{row}" for row in range(rows)], VECTORS[:rows], [{"n": row} for row in range(rows)])
    made.compact()
    return made


def on_the_cpu(index: Collection, queries: np.ndarray, k: int, monkeypatch: pytest.MonkeyPatch, **options: Any) -> Any:
    """What the same search finds without any GPU."""
    with monkeypatch.context() as patch:
        patch.setattr(type(index._state.searches["vector"].rows), "_on_gpu", lambda *_: None)
        return index.search(queries, k, **options)


@pytest.fixture
def index(tmp_path: Path, device: None) -> Iterator[Collection]:
    with filled(tmp_path / "c") as made:
        yield made


# As on the CPU


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_a_gpu_answers_as_the_cpu_does(
    metric: Metric, device: None, answers: list[bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with filled(tmp_path / "c", metric=metric) as index:
        there, here = index.search(QUERIES, 10), on_the_cpu(index, QUERIES, 10, monkeypatch)
        assert answers == [True]
        np.testing.assert_allclose(there.scores, here.scores, atol=2e-3)
        same = [len(set(a) & set(b)) for a, b in zip(there.ids, here.ids, strict=True)]
        assert np.mean(same) > 9.8  # two that differ by less than float16 tells apart may change places
        assert [hits[0].id for hits in index.search(VECTORS[:50], 1)] == [f"r{row}" for row in range(50)]


@pytest.mark.parametrize("kind", ["ivf-flat", "ivf-sq8", "ivf-rabitq", "hnsw"])
def test_every_kind_is_searched_exactly_there(
    kind: str, device: None, answers: list[bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with filled(tmp_path / "c", kind=kind) as index:
        assert index.stats()["fields"]["vector"]["kind"] == kind
        there = index.search(QUERIES, 10)
        assert answers[-1]
        exact = -np.sort(-(QUERIES @ VECTORS[:ROWS].T), axis=1)[:, :10]
        rounded = 0.0 if kind == "ivf-flat" else 2e-2  # what the kind itself holds in eight bits
        np.testing.assert_allclose(there.scores, exact, atol=2e-3 + rounded)


def test_few_rows_stay_on_the_cpu_until_they_are_many(device: None, answers: list[bool], tmp_path: Path) -> None:
    with filled(tmp_path / "c", 900) as index:
        index.search(QUERIES, 3)
        assert answers == []
        index.add([f"s{row}" for row in range(100)], VECTORS[ROWS : ROWS + 100])
        assert index.search(VECTORS[ROWS + 99][None], 1)[0][0].id == "s99"
        assert answers == [True]


def test_what_is_added_is_found_there(index: Collection, answers: list[bool]) -> None:
    """Again and again, one by one and many at once."""
    assert index.search(VECTORS[:1], 1)[0][0].id == "r0"
    for first, count in ((0, 1), (1, 1), (2, 3), (5, 200)):
        some = VECTORS[ROWS + first : ROWS + first + count]
        index.add([f"s{row}" for row in range(first, first + count)], some)
        found = [hits[0].id for hits in index.search(some, 1)]
        assert found == [f"s{row}" for row in range(first, first + count)]
    assert [hits[0].id for hits in index.search(VECTORS[:100], 1)] == [f"r{row}" for row in range(100)]
    assert len(answers) == 6
    assert all(answers)


def test_what_was_deleted_or_replaced_is_not_found(index: Collection, answers: list[bool]) -> None:
    index.search(QUERIES, 1)
    index.delete(["r3", "r4"])
    index.add(["r5"], VECTORS[ROWS : ROWS + 1])
    hits = index.search(VECTORS[[3, 4, 5]], 5)
    assert all(len(some) == 5 for some in hits)
    assert not {hit.id for some in hits for hit in some} & {"r3", "r4", "r5"}
    assert index.search(VECTORS[ROWS : ROWS + 1], 1)[0][0].id == "r5"
    assert len(answers) == 3
    assert all(answers)
    index.compact()
    assert index.search(VECTORS[ROWS : ROWS + 1], 1)[0][0].id == "r5"
    assert answers[-1]
    assert index.verify() == []


@pytest.mark.parametrize("share", [0.9, 0.5, 0.1])
def test_a_filter_gives_as_many_as_were_asked_for(
    share: float, index: Collection, answers: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    where = {"n": {"max": int(share * ROWS) - 1}}
    there, here = index.search(QUERIES, 10, where=where), on_the_cpu(index, QUERIES, 10, monkeypatch, where=where)
    assert (there.positions >= 0).all()
    assert (there.positions < share * ROWS).all()
    np.testing.assert_allclose(there.scores, here.scores, atol=2e-3)
    assert len(answers) == 1


def test_a_filter_that_is_far_from_the_query_falls_back_to_the_cpu(index: Collection, answers: list[bool]) -> None:
    """What passes lies at the far end of everything that was fetched."""
    query = VECTORS[0]
    far = np.argsort(VECTORS[:ROWS] @ query)[:200]
    index.add([f"r{row}" for row in far], VECTORS[far], [{"far": 1}] * 200)
    hits = index.search(query[None], 20, where={"far": 1})[0]
    assert answers == [False]
    assert len(hits) == 20
    assert all(hit.metadata == {"far": 1} for hit in hits)
    expected = np.sort(VECTORS[far] @ query)[::-1][:20]
    np.testing.assert_allclose([hit.score for hit in hits], expected, atol=2e-3)


def test_more_than_a_gpu_can_give_is_for_the_cpu(
    index: Collection, answers: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "_LIMIT", 50)
    assert len(index.search(QUERIES, 50)[0]) == 50
    assert len(index.search(QUERIES, 51)[0]) == 51
    assert len(index.search(QUERIES, 30, where={"n": {"min": 600}})[0]) == 30
    assert answers == [True, False, False]


def test_a_reader_searches_there_until_news_come(device: None, answers: list[bool], tmp_path: Path) -> None:
    with filled(tmp_path / "c") as index, Collection.open(tmp_path / "c", read_only=True) as reader:
        assert reader.search(VECTORS[9:10], 1)[0][0].id == "r9"
        assert answers == [True]
        index.add(["new"], VECTORS[ROWS : ROWS + 1])
        index.delete(["r9"])
        assert reader.refresh()
        assert reader.search(VECTORS[ROWS : ROWS + 1], 1)[0][0].id == "new"
        assert reader.search(VECTORS[9:10], 1)[0][0].id != "r9"


def test_many_threads_search_and_one_writes(device: None, answers: list[bool], tmp_path: Path) -> None:
    index = filled(tmp_path / "c")
    failures: list[BaseException] = []

    def read(first: int) -> None:
        try:
            for row in range(first, first + 40):
                assert index.search(VECTORS[row : row + 1], 3)[0][0].id == f"r{row}"
                assert len(index.search(QUERIES, 5, where={"n": {"min": 300}})[3]) == 5
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=read, args=(100 * number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for row in range(20):
        index.add([f"s{row}"], VECTORS[ROWS + row : ROWS + row + 1])
        index.delete([f"r{1199 - row}"])
    for thread in threads:
        thread.join()
    assert failures == []
    assert [hits[0].id for hits in index.search(VECTORS[ROWS : ROWS + 20], 1)] == [f"s{row}" for row in range(20)]
    assert any(answers)
    index.close()


@pytest.mark.parametrize("similarity", [True, False])
def test_cells_are_found_there_too(similarity: bool, device: None) -> None:
    cells = centroids(VECTORS, Plan(DIM, similarity=similarity), 16)
    assert cells.shape == (16, DIM)
    index = faiss.IndexFlat(DIM, faiss.METRIC_L2)
    index.add(cells)
    assert len(np.unique(index.search(VECTORS, 1)[1])) == 16


# What goes on behind it


def test_it_is_from_ten_thousand_rows_on(fake: StandIn, answers: list[bool], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert [gpu.worthwhile(rows) for rows in (0, 9_999, 10_000)] == [False, False, True]


def test_an_engine_is_copied_in_blocks(fake: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "_BLOCK", 100)
    plan = Plan(DIM)
    engine = FlatEngine(plan)
    engine.add(VECTORS)
    copy = gpu.GpuCopy.of(engine, plan)
    assert copy is not None
    assert copy.rows == len(VECTORS)
    found = copy.search(VECTORS[:64], 1)
    assert found is not None
    assert found[1].ravel().tolist() == list(range(64))


def test_several_gpus_share_the_rows(
    fake: StandIn, answers: list[bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In blocks, and after additions too, which FAISS' own division would refuse."""
    monkeypatch.setattr(gpu, "_BLOCK", 500)
    fake.count = 3
    with filled(tmp_path / "c") as index:
        index.search(QUERIES, 1)
        assert fake.devices == [0, 1, 2]
        assert [part.ntotal for part in fake.indexes] == [398, 401, 401]
        index.add([f"s{row}" for row in range(300)], VECTORS[ROWS : ROWS + 300])
        assert [part.ntotal for part in fake.indexes] == [498, 501, 501]
        assert [hits[0].id for hits in index.search(VECTORS[ROWS : ROWS + 300], 1)] == [f"s{row}" for row in range(300)]
        assert answers == [True, True]
        copy = index._state.searches["vector"].rows._gpu
        assert copy is not None
        assert copy.rows == ROWS + 300


def test_the_environment_keeps_indexes_off_the_gpus(
    fake: StandIn, answers: list[bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(gpu.ENVIRONMENT, "cpu")
    assert gpu.gpu_count() == 0
    with filled(tmp_path / "c", kind="ivf-flat") as index:
        assert len(index.search(QUERIES, 5)[0]) == 5
    assert fake.devices == []
    assert answers == []
    monkeypatch.setenv(gpu.ENVIRONMENT, "auto")
    assert gpu.gpu_count() == 1


def test_a_faiss_without_gpus_is_none(fake: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(faiss, "get_num_gpus")
    assert gpu.gpu_count() == 0


class Failing:
    """An index whose memory ends: when it is filled, added to or searched."""

    def __init__(self, index: Any, when: str) -> None:
        self.index, self.when, self.adds = index, when, 0

    @property
    def ntotal(self) -> int:
        return int(self.index.ntotal)

    def add(self, vectors: np.ndarray) -> None:
        self.adds += 1
        if self.when == "filled" or (self.when == "added to" and self.adds > 1):
            raise RuntimeError("cudaMalloc error out of memory")
        self.index.add(vectors)

    def search(self, queries: np.ndarray, k: int) -> Any:
        if self.when == "searched":
            raise RuntimeError("cudaMalloc error out of memory")
        return self.index.search(queries, k)


@pytest.mark.parametrize("when", ["made", "filled", "added to", "searched"])
def test_without_memory_there_is_one_warning_and_the_cpu_answers(
    when: str, fake: StandIn, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def wrap(index: Any) -> Any:
        if when == "made":
            raise RuntimeError("cudaMalloc error out of memory")
        return Failing(index, when)

    fake.wrap = wrap
    with caplog.at_level(logging.WARNING), filled(tmp_path / "c") as index:
        for row in range(5):
            assert index.search(VECTORS[row : row + 1], 3)[0][0].id == f"r{row}"
            index.add([f"s{row}"], VECTORS[ROWS + row : ROWS + row + 1])
            assert index.search(VECTORS[ROWS + row : ROWS + row + 1], 3)[0][0].id == f"s{row}"
        assert index.verify() == []
    (message,) = [record.getMessage() for record in caplog.records]
    assert "out of memory" in message
    assert fake.devices == [0]


def test_cells_are_found_on_the_cpu_where_memory_does_not_suffice(
    fake: StandIn, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(index: Any, ngpu: int) -> None:
        raise RuntimeError("cudaMalloc error out of memory")

    monkeypatch.setattr(faiss, "index_cpu_to_all_gpus", full)
    with caplog.at_level(logging.WARNING):
        assert centroids(VECTORS, Plan(DIM), 8).shape == (8, DIM)
    assert "on the CPU: cudaMalloc error out of memory" in caplog.text


def test_one_thread_at_a_time_is_on_the_gpu(fake: StandIn, answers: list[bool], tmp_path: Path) -> None:
    class Alone(Failing):
        busy = False

        def search(self, queries: np.ndarray, k: int) -> Any:
            assert not self.busy
            self.busy = True
            time.sleep(0.005)
            found = super().search(queries, k)
            self.busy = False
            return found

    fake.wrap = lambda index: Alone(index, "never")
    failures: list[BaseException] = []
    index = filled(tmp_path / "c")

    def read() -> None:
        try:
            for _ in range(10):
                index.search(QUERIES, 3)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert answers == [True] * 40
    assert fake.devices == [0]  # one copy, though four threads found none
    index.close()
