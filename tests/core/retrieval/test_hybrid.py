"""Several searches joined into one answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from triptych.errors import DataError
from triptych.retrieval.base import Hit, Metric, VectorField
from triptych.retrieval.collection import Collection
from triptych.retrieval.hybrid import hybrid


def at(*degrees: float) -> np.ndarray:
    """Unit vectors float32 [degrees, 2]."""
    turns = np.deg2rad(degrees)
    return np.stack([np.cos(turns), np.sin(turns)], axis=1).astype(np.float32)


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Collection]:
    """By the vector [1, 0] a, b, c, d are found; by the word "apple" c, a; by the picture [1, 0] d, b."""
    fields = [VectorField(name="text", dim=2), VectorField(name="image", dim=2)]
    with Collection.create(tmp_path / "shelf", fields) as index:
        index.add(
            list("abcd"),
            {"text": at(0, 10, 20, 30), "image": [None, at(20)[0], None, at(10)[0]]},
            [{"n": 1}, {"n": 2}, {"n": 3}, {"n": 4}],
            contents=[{"text": text} for text in ("apple pear plum fig", "pear", "apple", "plum")],
        )
        yield index


def names(hits: Sequence[Hit]) -> list[str]:
    return [hit.id for hit in hits]


EAST = np.array([1.0, 0.0])


# By rank


def test_the_reciprocals_of_ranks_are_added(shelf: Collection) -> None:
    hits = hybrid(shelf, 4, text="apple", vectors={"text": EAST})
    assert names(hits) == ["a", "c", "b", "d"]
    expected = [1 / 61 + 1 / 62, 1 / 63 + 1 / 61, 1 / 62, 1 / 64]
    assert [hit.score for hit in hits] == pytest.approx(expected, abs=1e-12)
    assert [hit.metadata for hit in hits] == [{"n": 1}, {"n": 3}, {"n": 2}, {"n": 4}]


def test_three_lists_are_joined_and_k_cuts(shelf: Collection) -> None:
    hits = hybrid(shelf, 2, text="apple", vectors={"text": EAST, "image": EAST})
    assert names(hits) == ["a", "c"]
    assert [hit.score for hit in hits] == pytest.approx([1 / 61 + 1 / 62, 1 / 63 + 1 / 61])
    hits = hybrid(shelf, 4, vectors={"text": EAST, "image": EAST})
    assert names(hits) == ["b", "d", "a", "c"]
    assert [hit.score for hit in hits] == pytest.approx([2 / 62, 1 / 64 + 1 / 61, 1 / 61, 1 / 63])


def test_one_list_alone_keeps_its_order(shelf: Collection) -> None:
    assert names(hybrid(shelf, 3, text="apple")) == ["c", "a"]
    assert names(hybrid(shelf, 3, vectors={"image": EAST})) == ["d", "b"]
    assert names(hybrid(shelf, 3, vectors={"text": [1, 0]}, fusion="calibrated")) == ["a", "b", "c"]


def test_weights_give_a_list_more_say(shelf: Collection) -> None:
    def ask(**weights: float) -> list[Hit]:
        return hybrid(shelf, 4, text="apple", vectors={"text": EAST}, weights=weights)

    hits = ask(words=3)
    assert names(hits) == ["c", "a", "b", "d"]
    assert [hit.score for hit in hits] == pytest.approx([1 / 63 + 3 / 61, 1 / 61 + 3 / 62, 1 / 62, 1 / 64])
    assert names(ask(text=0.1, words=1)) == ["c", "a", "b", "d"]
    assert names(ask(text=0)) == ["c", "a"]
    assert names(ask(words=0.0)) == ["a", "b", "c", "d"]
    assert names(ask(image=5)) == names(ask())  # of a field that is not asked


def test_the_depth_says_how_much_of_each_list_counts(shelf: Collection) -> None:
    """Each list is at least as long as what is asked for."""
    hits = hybrid(shelf, 1, text="apple", vectors={"text": EAST}, depth=1)
    assert [(hit.id, hit.score) for hit in hits] == [("a", pytest.approx(1 / 61))]  # as good as c
    assert names(hybrid(shelf, 1, text="apple", vectors={"text": EAST}, depth=3, weights={"words": 1.1})) == ["a"]
    assert names(hybrid(shelf, 4, text="apple", vectors={"text": EAST}, depth=1)) == ["a", "c", "b", "d"]


@pytest.mark.parametrize("fusion", ["rrf", "calibrated"])
def test_a_filter_holds_in_every_list(fusion: Any, shelf: Collection) -> None:
    where = {"n": {"min": 2, "max": 3}}
    hits = hybrid(shelf, 4, text="apple", vectors={"text": EAST, "image": EAST}, where=where, fusion=fusion)
    assert set(names(hits)) == {"b", "c"}
    assert hybrid(shelf, 4, text="apple", vectors={"text": EAST}, where={"n": 9}, fusion=fusion) == []


# By score


def noise(rows: int, dim: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, dim)).astype(np.float32)


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_scores_count_in_standard_deviations_over_all_items(metric: Metric, tmp_path: Path) -> None:
    vectors, query = noise(100, 8), noise(1, 8, seed=1)[0]
    with Collection.create(tmp_path / "c", [VectorField(dim=8, metric=metric)]) as index:
        index.add([str(row) for row in range(100)], vectors)
        hits = hybrid(index, 100, vectors={"vector": query}, fusion="calibrated")
        if metric == "l2":
            scores = -np.linalg.norm(vectors - query, axis=1)
        else:
            scores = vectors @ query
            if metric == "cosine":
                scores = scores / np.linalg.norm(vectors, axis=1) / np.linalg.norm(query)
        standing = (scores - scores.mean()) / scores.std()
        order = np.argsort(-standing)
        assert names(hits) == [str(row) for row in order]
        assert [hit.score for hit in hits] == pytest.approx(standing[order].tolist(), abs=1e-4)


@pytest.mark.parametrize("spread", [0.0, 1e-7, 1e-3])
def test_a_field_in_which_everything_is_alike_does_not_drown_another(spread: float, tmp_path: Path) -> None:
    """Its scores are high, and say nothing."""
    fields = [VectorField(name="telling", dim=32), VectorField(name="dull", dim=32)]
    rows = 400
    telling, base = noise(rows, 32), noise(1, 32, seed=1)
    dull = (base + spread * noise(rows, 32, seed=2)) * np.linspace(1, 2, rows, dtype=np.float32)[:, None]
    with Collection.create(tmp_path / "c", fields) as index:
        index.add([str(row) for row in range(rows)], {"telling": telling, "dull": dull})
        for wanted in (3, 77, 399):
            query = telling[wanted] + 0.5 * noise(1, 32, seed=wanted)[0]
            hits = hybrid(index, 3, vectors={"telling": query, "dull": base[0]}, fusion="calibrated")
            assert hits[0].id == str(wanted)


def test_an_item_that_lacks_a_field_is_not_punished_for_it(tmp_path: Path) -> None:
    fields = [VectorField(name="text", dim=32), VectorField(name="image", dim=32)]
    text, image = noise(200, 32), noise(200, 32, seed=1)
    pictures: list[Any] = list(image)
    pictures[5] = None
    with Collection.create(tmp_path / "c", fields) as index:
        index.add([str(row) for row in range(200)], {"text": text, "image": pictures})
        middling = text[5] + text[9]  # 5 is as near as 9, and 9 has a picture that is less near than its text
        vectors = {"text": middling + 0.05 * text[5], "image": image[9] + 1.2 * noise(1, 32, seed=4)[0]}
        hits = hybrid(index, 2, vectors=vectors, fusion="calibrated")
        assert names(hits) == ["5", "9"]
        image_alone = hybrid(index, 1, vectors={"image": vectors["image"]}, fusion="calibrated")
        assert names(image_alone) == ["9"]  # which would put 9 first if what 5 lacks counted against it


def test_words_and_vectors_are_joined_by_score(shelf: Collection) -> None:
    assert names(hybrid(shelf, 4, text="apple", fusion="calibrated")) == ["c", "a"]
    hits = hybrid(shelf, 4, text="apple", vectors={"text": EAST}, fusion="calibrated")
    assert sorted(names(hits)) == list("abcd")
    assert hits[-1].id == "d"
    heavy = hybrid(shelf, 4, text="apple", vectors={"text": EAST}, fusion="calibrated", weights={"words": 20})
    assert heavy[0].id == "c"


def test_weights_and_zero_weights_in_calibrated_fusion(shelf: Collection) -> None:
    vectors = {"text": EAST, "image": EAST}
    assert names(hybrid(shelf, 4, vectors=vectors, fusion="calibrated", weights={"image": 0})) == list("abcd")
    assert names(hybrid(shelf, 4, vectors=vectors, fusion="calibrated", weights={"text": 0})) == ["d", "b"]


def test_what_others_look_like_is_learnt_anew_after_a_migration(tmp_path: Path) -> None:
    new = VectorField(dim=5, encoder="new")
    with Collection.create(tmp_path / "c", [VectorField(dim=3)]) as index:
        index.add(list("abcdef"), noise(6, 3), contents=[{"text": name} for name in "abcdef"])
        hybrid(index, 2, vectors={"vector": np.ones(3)}, fusion="calibrated")
        index.migrate([new], lambda contents: {"vector": noise(len(contents), 5)})
        query = noise(6, 5)[3]
        hits = hybrid(index, 6, vectors={"vector": query}, fusion="calibrated", encoder="new")
        assert hits[0].id == "d"
        assert np.mean([hit.score for hit in hits]) == pytest.approx(0, abs=1e-5)


def test_what_others_look_like_is_learnt_anew_when_the_index_has_grown(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c", [VectorField(dim=3)]) as index:
        assert hybrid(index, 2, vectors={"vector": np.ones(3)}, fusion="calibrated") == []
        for count in (4, 40):
            index.add([str(row) for row in range(count)], noise(count, 3))
            hits = hybrid(index, count, vectors={"vector": np.ones(3)}, fusion="calibrated")
            assert np.mean([hit.score for hit in hits]) == pytest.approx(0, abs=1e-5)


# Re-ranking


def test_a_re_ranking_sorts_the_candidates_and_gives_the_scores(shelf: Collection) -> None:
    seen: list[Hit] = []

    def rerank(hits: list[Hit]) -> list[float]:
        seen.extend(hits)
        return [hit.metadata["n"] for hit in hits]

    hits = hybrid(shelf, 2, text="apple", vectors={"text": EAST}, rerank=rerank)
    assert seen == hybrid(shelf, 4, text="apple", vectors={"text": EAST})  # all candidates, best first
    assert hits == [Hit("d", 4.0, {"n": 4}), Hit("c", 3.0, {"n": 3})]
    seen.clear()
    assert names(hybrid(shelf, 1, vectors={"text": EAST}, depth=2, rerank=rerank)) == ["b"]
    assert len(seen) == 2


def test_equal_scores_of_a_re_ranking_leave_the_order(shelf: Collection) -> None:
    hits = hybrid(shelf, 4, vectors={"text": EAST}, rerank=lambda hits: np.zeros(len(hits)))
    assert names(hits) == list("abcd")
    assert hybrid(shelf, 4, text="nothing", rerank=lambda hits: []) == []


def test_a_re_ranking_with_another_number_of_scores_is_refused(shelf: Collection) -> None:
    with pytest.raises(DataError, match="gave 3 scores for 4 hits; give one for each"):
        hybrid(shelf, 4, vectors={"text": EAST}, rerank=lambda hits: [1.0, 2.0, 3.0])


# What is asked, and of whom

BAD: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({}, "give a text, a vector, or both"),
    "no vectors": ({"vectors": {}}, "give a text, a vector, or both"),
    "unknown weight": ({"text": "apple", "weights": {"txet": 2.0}}, "weights for txet: there is text, image, words"),
    "unknown field": ({"vectors": {"sound": EAST}}, "no vector field is called 'sound'; there is text, image"),
    "other dims": ({"vectors": {"text": [1, 2, 3]}}, r"shape \[rows, 2\], got \[1, 3\]"),
    "zeros": ({"vectors": {"text": [0, 0]}}, "all zeros"),
    "bad filter": ({"text": "apple", "where": {"$x": 1}}, "and, "),
    "text of bytes": ({"text": b"apple"}, "search for strings"),
}


@pytest.mark.parametrize("fusion", ["rrf", "calibrated"])
@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_asked_is_refused(name: str, fusion: Any, shelf: Collection) -> None:
    options, message = BAD[name]
    with pytest.raises(DataError, match=message):
        hybrid(shelf, 3, fusion=fusion, **options)


def test_k_is_at_least_one(shelf: Collection) -> None:
    with pytest.raises(DataError, match="k is 0"):
        hybrid(shelf, 0, text="apple")


@pytest.mark.parametrize("fusion", ["rrf", "calibrated"])
def test_the_guard_against_foreign_vectors_holds(fusion: Any, tmp_path: Path) -> None:
    fields = [VectorField(name="text", dim=2, encoder="t1"), VectorField(name="image", dim=2, encoder="i1")]
    with Collection.create(tmp_path / "c", fields) as index:
        index.add(["a"], {"text": [EAST], "image": [EAST]}, encoder={"text": "t1", "image": "i1"})
        vectors = {"text": EAST, "image": EAST}
        for encoder in (None, "t1", {"text": "t1"}, {"text": "t1", "image": "t1"}):
            with pytest.raises(DataError, match="encode again with the former"):
                hybrid(index, 1, vectors=vectors, encoder=encoder, fusion=fusion)
        hits = hybrid(index, 1, vectors=vectors, encoder={"text": "t1", "image": "i1"}, fusion=fusion)
        assert names(hits) == ["a"]
        assert names(hybrid(index, 1, vectors={"text": EAST}, encoder="t1", fusion=fusion)) == ["a"]


class Remote:
    """An index of another making: what `Index` promises, and nothing else of a collection."""

    def __init__(self, index: Collection) -> None:
        self._index = index

    def __getattr__(self, name: str) -> Any:
        if name not in ("fields", "get", "ids", "search", "search_text"):
            raise AttributeError(name)
        return getattr(self._index, name)

    def __len__(self) -> int:
        return len(self._index)


@pytest.mark.parametrize("fusion", ["rrf", "calibrated"])
def test_any_index_will_do(fusion: Any, shelf: Collection) -> None:
    asked: dict[str, Any] = {"text": "apple", "vectors": {"text": EAST, "image": EAST}, "fusion": fusion}
    assert hybrid(Remote(shelf), 4, **asked) == hybrid(shelf, 4, **asked)  # type: ignore[arg-type]
