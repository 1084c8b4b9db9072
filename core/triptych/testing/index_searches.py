"""What an index finds: neighbours, under filters, and words."""

from __future__ import annotations

from typing import Any

import numpy as np

from triptych.retrieval.base import Hit, Metric, VectorField
from triptych.testing import index_oracle as oracle
from triptych.testing.index_base import CLOSE, IndexMaker, ids_of, plain, random_vectors, refused, texts_of


class SearchChecks(IndexMaker):
    """Hits: which, how many, in which order, with which scores."""

    # Neighbours

    def test_scores_are_those_of_the_metric(self, metric: Metric) -> None:
        """Best first, higher is nearer, as brute force in float64 has them."""
        with self.made(VectorField(dim=5, metric=metric)) as index:
            vectors, queries = random_vectors(60, 5), random_vectors(4, 5, seed=1)
            index.add([str(number) for number in range(60)], vectors)
            for query, hits in zip(queries, index.search(queries, 7), strict=True):
                truth = oracle.scores(vectors, query, metric)
                assert [int(hit.id) for hit in hits] == np.argsort(-truth)[:7].tolist()
                assert np.allclose([hit.score for hit in hits], np.sort(truth)[::-1][:7], atol=CLOSE)

    def test_a_vector_finds_itself(self, metric: Metric) -> None:
        """With a cosine of one and no more, or a distance of zero, whatever its length."""
        with self.made(VectorField(dim=3, metric=metric)) as index:
            index.add(["a", "b"], [[0.001, 0.002, 0.003], [0.9, 0.1, 0.4]])
            hit = index.search(np.array([[0.001, 0.002, 0.003]]), 1)[0][0]
            if metric == "dot":
                assert hit.id == "b"
            else:
                assert hit.id == "a"
                assert abs(hit.score - (1.0 if metric == "cosine" else 0.0)) < CLOSE
                assert hit.score <= 1.0

    def test_zero_vectors_are_allowed_where_they_mean_something(self) -> None:
        """Under l2 they do."""
        with self.made(VectorField(dim=2, metric="l2")) as index:
            index.add(["origin"], [[0, 0]])
            assert plain(index.search([[3, 4]], 1)) == [[Hit("origin", -5.0, {})]]

    def test_k_beyond_the_size_gives_all(self) -> None:
        """And no more."""
        with self.made(VectorField(dim=4)) as index:
            ids = [str(number) for number in range(30)]
            index.add(ids, random_vectors(30, 4))
            assert sorted(ids_of(index, [1, 1, 1, 1], k=1000)) == sorted(ids)

    def test_equal_vectors_are_all_found(self) -> None:
        """Duplicates do not hide one another."""
        with self.made(VectorField(dim=2)) as index:
            ids = [str(number) for number in range(200)]
            index.add(ids, np.ones((200, 2)))
            assert sorted(ids_of(index, [1, 1], k=200)) == sorted(ids)

    def test_items_may_lack_fields(self) -> None:
        """They are found in those they have; what lacks all and has a text is found by words."""
        with self.made(VectorField(name="text", dim=2), VectorField(name="image", dim=3, metric="l2")) as index:
            vectors: dict[str, Any] = {
                "text": [[1, 0], None, [0, 1], None],
                "image": [[1, 2, 3], [0, 0, 0], None, None],
            }
            index.add(["both", "image", "text", "none"], vectors, contents=texts_of("w", "w", "w", "w rare"))
            assert ids_of(index, [1, 0], field="text", k=9) == ["both", "text"]
            assert ids_of(index, [0, 0, 0], field="image", k=9) == ["image", "both"]
            found = {item.id: list(item.vectors) for item in index.get(index.ids()) if item}
            assert found == {"both": ["text", "image"], "image": ["image"], "text": ["text"], "none": []}
            index.add(["later"], {"image": np.array([[5, 5, 5]])})
            index.add(["words"], {}, contents=texts_of("only words"))
            assert ids_of(index, [5, 5, 5], field="image") == ["later", "both", "image"]
            assert [hit.id for hit in index.search_text(["rare"], 3)[0]] == ["none"]
            assert len(index) == 6
            refused(lambda: index.search([[1, 0]], 1), "field")
            refused(lambda: index.add(["x"], [[1, 0]]), "field")
            refused(lambda: index.add(["x"], {"text": [None]}), "'x'")

    # Filters

    def test_a_filter_finds_what_it_describes(self, where: str) -> None:
        """All of it and nothing else, in vectors and in texts, and what stays is ranked as without it."""
        with self.made(VectorField(dim=4)) as index:
            ids = [str(number) for number in range(len(oracle.ROWS))]
            index.add(ids, random_vectors(len(ids), 4), oracle.ROWS, contents=[{"text": f"word {key}"} for key in ids])
            query, asked = random_vectors(1, 4, seed=1), oracle.FILTERS[where]
            expected = {key for key, row in zip(ids, oracle.ROWS, strict=True) if oracle.meets(row, asked)}
            ranked = [hit.id for hit in index.search(query, len(ids))[0] if hit.id in expected]
            assert [hit.id for hit in index.search(query, len(ids), where=asked)[0]] == ranked
            assert {hit.id for hit in index.search_text(["word"], len(ids), where=asked)[0]} == expected
            assert [hit.id for hit in index.search(query, 3, where=asked)[0]] == ranked[:3]

    def test_k_hits_come_whenever_they_exist(self) -> None:
        """However far behind the nearest they are."""
        with self.made(VectorField(dim=4)) as index:
            near, far = random_vectors(600, 4) * 0.1 + [1, 0, 0, 0], random_vectors(9, 4) * 0.1 - [1, 0, 0, 0]
            ids = [f"near{number}" for number in range(600)] + [f"far{number}" for number in range(9)]
            index.add(ids, np.concatenate([near, far]), [{"far": key.startswith("far")} for key in ids])
            assert len(ids_of(index, [1, 0, 0, 0], k=5, where={"far": True})) == 5
            assert len(ids_of(index, [1, 0, 0, 0], k=20, where={"far": True})) == 9
            assert len(ids_of(index, [1, 0, 0, 0], k=605, where={"$not": {"far": None}})) == 605

    def test_a_filter_sees_what_was_changed_after_it_was_first_used(self) -> None:
        """Nothing stale is kept."""
        with self.made(VectorField(dim=2)) as index:
            index.add(["a", "b"], np.eye(2) + 1, [{"even": True}, {"even": False}])
            where = {"even": True}
            assert ids_of(index, [1, 1], where=where) == ["a"]
            index.add(["c"], [[1, 1]], [{"even": True}])
            assert sorted(ids_of(index, [1, 1], where=where)) == ["a", "c"]
            index.add(["a"], [[1, 1]], [{"even": False}])
            index.delete(["c"])
            assert ids_of(index, [1, 1], where=where) == []

    # Words

    def test_rare_words_count_more(self) -> None:
        """Best first, higher is better, and only items with a word in common."""
        with self.made(VectorField(dim=2)) as index:
            texts = [f"where is my parcel number {number}" for number in range(20)]
            texts += ["a refund for my parcel please", "nothing in common", "refund refund refund"]
            index.add([str(number) for number in range(23)], np.ones((23, 2)), contents=texts_of(*texts))
            hits, none, one = index.search_text(["refund parcel", "unheard", "NUMBER 7"], 10)
            assert {hits[0].id, hits[1].id} == {"20", "22"}
            assert len(hits) == 10
            assert "21" not in {hit.id for hit in hits}
            assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
            assert list(none) == []
            assert one[0].id == "7"
            assert [hit.id for hit in index.search_text(["refund parcel"], 1)[0]] == [hits[0].id]

    def test_words_are_words_whatever_stands_around_them(self) -> None:
        """Case, accents and punctuation do not matter, and no sign in a query is an operator."""
        with self.made(VectorField(dim=2)) as index:
            texts = ["The café's menu", "Zürich, 2024!", "退款 refund", "AND or NOT near"]
            index.add(list("abcd"), np.ones((4, 2)), [{"n": key} for key in "abcd"], contents=texts_of(*texts))
            expected = {"CAFE": "a", "zurich": "b", "退款": "c", "not": "d", 'refund" OR "menu': "acd"}
            expected |= {"menu*": "a", "-menu": "a", "text:menu": "a", "^menu": "a", "NEAR(": "d", "the OR the": "ad"}
            found = ["".join(sorted(hit.id for hit in hits)) for hits in index.search_text(list(expected), 5)]
            assert dict(zip(expected, found, strict=True)) == expected
            assert plain(index.search_text(["", "!?", '"', "'", "*"], 5)) == [[]] * 5
            assert index.search_text(["menu"], 1)[0][0].metadata == {"n": "a"}

    def test_text_follows_additions_deletions_and_filters(self) -> None:
        """As vectors do."""
        with self.made(VectorField(dim=2)) as index:
            texts = texts_of("word", "word", "other")
            index.add(["a", "b", "c"], np.ones((3, 2)), [{"n": 1}, {"n": 2}, {}], contents=texts)
            assert {hit.id for hit in index.search_text(["word"], 5)[0]} == {"a", "b"}
            assert [hit.id for hit in index.search_text(["word"], 5, where={"n": {"min": 2}})[0]] == ["b"]
            assert [hit.id for hit in index.search_text(["word"], 5, where={"$not": {"n": 2}})[0]] == ["a"]
            index.delete(["a"])
            index.add(["b", "d"], np.ones((2, 2)), contents=[{}, {"text": "word"}])
            assert [hit.id for hit in index.search_text(["word"], 5)[0]] == ["d"]
