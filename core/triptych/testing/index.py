"""The promises of an index, whatever keeps it: one suite for every backend.

    from triptych.testing.index import IndexChecks

    class TestShelf(IndexChecks):
        @pytest.fixture(autouse=True)
        def place(self, tmp_path):
            self.path = tmp_path

        def make(self, fields):
            return Shelf.create(self.path / "shelf", fields)

        def reopen(self, index):
            index.close()
            return Shelf.open(self.path / "shelf")

Every test says one promise and runs on an index of its own, which is verified and closed at its end.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.retrieval.base import METRICS, Index, Metric, VectorField
from triptych.testing import index_oracle as oracle
from triptych.testing.index_base import CLOSE, all_items, plain, random_vectors, refused, texts_of
from triptych.testing.index_items import ItemChecks
from triptych.testing.index_searches import SearchChecks


class IndexChecks(ItemChecks, SearchChecks):
    """Subclass it as `Test...`, give `make` and `reopen`, and run pytest."""

    def test_an_index_that_is_opened_again_has_everything(self) -> None:
        """Fields, vectors, metadata, words, and the guard."""
        fields = VectorField(name="text", dim=3, encoder="e1"), VectorField(name="image", dim=2, metric="l2")
        with self.made(*fields) as index:
            vectors: dict[str, Any] = {"text": random_vectors(4, 3), "image": [[1, 2], None, [3, 4], None]}
            index.add(list("abcd"), vectors, [{"n": n} for n in range(4)], contents=texts_of(*"wxyz"), encoder="e1")
            index.add(["b"], {"text": [[1, 2, 3]]}, [{"n": 9}], contents=texts_of("again"), encoder="e1")
            index.delete(["a"])

            def seen(index: Index) -> list[Any]:
                text = index.search([[1, 2, 3]], 9, field="text", encoder="e1")
                image = index.search([[0, 0]], 9, field="image")
                words = index.search_text(["again", "w", "z"], 3)
                items = [
                    (item.metadata, item.content, {name: vector.tolist() for name, vector in item.vectors.items()})
                    for item in all_items(index)
                ]
                return [dict(index.fields), index.ids(), len(index), items, plain(text), plain(image), plain(words)]

            before = seen(index)
            index = self.opened_again(index)
            assert seen(index) == before
            refused(lambda: index.add(["x"], {"text": [[1, 2, 3]]}), "e1")
            index.add(["x"], {"text": [[1, 2, 3]]}, encoder="e1")
            assert index.ids() == ["c", "d", "b", "x"]

    def test_compaction_changes_nothing_that_is_seen(self) -> None:
        """It may be called at any time."""
        with self.made(VectorField(dim=4)) as index:
            ids = [str(number) for number in range(50)]
            texts = [{"text": f"word {number}"} for number in range(50)]
            index.add(ids, random_vectors(50, 4), [{"n": number} for number in range(50)], contents=texts)
            index.delete(ids[::2])

            def seen() -> list[Any]:
                return [plain(index.search(np.ones((1, 4)), 60)), plain(index.search_text(["word 7"], 60)), index.ids()]

            before = seen()
            index.compact()
            assert seen() == before
            assert len(index) == 25

    def test_stats_are_json_and_count(self) -> None:
        """At least the number of items."""
        with self.made(VectorField(dim=2)) as index:
            index.add(["a", "b"], np.eye(2))
            assert json.loads(json.dumps(index.stats()))["items"] == 2

    def test_closing_twice_does_nothing(self) -> None:
        """And an empty index can be opened again."""
        with self.made(VectorField(dim=2)) as index:
            index.close()
            index.close()
            index = self.opened_again(index)
            assert len(index) == 0

    def test_threads_search_while_one_writes(self) -> None:
        """Each finds k hits that belong together, at every moment."""
        with self.made(VectorField(dim=8)) as index:
            vectors, ids = random_vectors(120, 8), [f"r{number}" for number in range(120)]
            rows = [{"number": number, "even": number % 2 == 0} for number in range(120)]
            index.add(ids, vectors, rows, contents=[{"text": f"word w{number}"} for number in range(120)])
            failures: list[BaseException] = []
            stop = threading.Event()

            def read(number: int) -> None:
                try:
                    while not stop.is_set():
                        where = {"even": True} if number % 2 else None
                        hits = [*index.search(vectors[number : number + 2], 4, where=where)]
                        hits += index.search_text(["word"], 4, where=where)
                        for found in hits:
                            assert len(found) == 4, "fewer than k hits while another thread writes"
                            assert all(hit.id == f"r{hit.metadata['number']}" for hit in found)
                except BaseException as error:
                    failures.append(error)

            readers = [threading.Thread(target=read, args=(number,)) for number in range(3)]
            for thread in readers:
                thread.start()
            for start in range(15):
                some = list(range(start, 120, 7))
                texts = [{"text": f"word w{number}"} for number in some]
                index.add([ids[n] for n in some], vectors[some], [rows[n] for n in some], contents=texts)
            stop.set()
            for thread in readers:
                thread.join()
            assert failures == []
            assert len(index) == 120

    def test_whatever_is_done_it_agrees_with_brute_force(self, metric: Metric) -> None:
        """Additions, replacements, deletions, compactions, reopening and searches in any order."""
        random = np.random.default_rng(METRICS.index(metric))
        with self.made(VectorField(dim=5, metric=metric)) as index:
            filters = list(oracle.FILTERS.values())
            kept: dict[str, tuple[NDArray[np.float32], Mapping[str, Any]]] = {}
            for step in range(30):
                keys = [str(key) for key in random.choice(40, size=random.integers(1, 12), replace=False)]
                if random.random() < 0.3:
                    assert index.delete(keys) == len(kept.keys() & set(keys))
                    kept = {key: value for key, value in kept.items() if key not in keys}
                else:
                    vectors = random.standard_normal((len(keys), 5)).astype(np.float32)
                    rows = [oracle.ROWS[int(random.integers(len(oracle.ROWS)))] for _ in keys]
                    index.add(keys, vectors, rows)
                    for key, vector, row in zip(keys, vectors, rows, strict=True):
                        kept.pop(key, None)
                        kept[key] = vector, row
                if step in (10, 20):
                    index.compact()
                if step in (15, 25):
                    index = self.opened_again(index)
                assert index.ids() == list(kept)
                where, k = filters[random.integers(len(filters))], int(random.integers(1, 9))
                query = random.standard_normal((1, 5)).astype(np.float32)
                hits = index.search(query, k, where=where)[0]
                found = {key: pair for key, pair in kept.items() if oracle.meets(pair[1], where)}
                matrix = np.array([vector for vector, _ in found.values()], dtype=np.float32).reshape(-1, 5)
                truth = dict(zip(found, oracle.scores(matrix, query[0], metric).tolist(), strict=True))
                best = sorted(truth.values(), reverse=True)[:k]
                assert len(hits) == len(best)
                assert np.allclose([hit.score for hit in hits], best, atol=CLOSE)
                assert all(abs(hit.score - truth[hit.id]) < CLOSE and hit.metadata == kept[hit.id][1] for hit in hits)
