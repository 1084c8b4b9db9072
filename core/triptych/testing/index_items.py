"""What an index keeps, and what it refuses."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from triptych.retrieval.base import Hit, Index, Item, VectorField
from triptych.testing import index_oracle as oracle
from triptych.testing.index_base import (
    IndexMaker,
    ids_of,
    plain,
    random_vectors,
    refused,
    texts_of,
    types_of,
    vector_of,
)


class ItemChecks(IndexMaker):
    """Items by id: what is added, replaced, deleted, and left alone."""

    # What is kept

    def test_an_index_says_what_it_is(self) -> None:
        """Fields in the order of their declaration; an `Index` by its methods."""
        fields = [VectorField(name="z", dim=3, encoder="e1", source="s"), VectorField(name="a", dim=2, metric="l2")]
        with self.made(*fields) as index:
            assert isinstance(index, Index)
            assert list(index.fields.values()) == fields
            assert list(index.fields) == ["z", "a"]

    def test_what_is_added_is_there(self) -> None:
        """Vector, metadata with the types it had, and content come back by id, in the order that was asked for."""
        with self.made(VectorField(dim=2, metric="dot")) as index:
            metadata = [dict(row) for row in oracle.ROWS]
            ids = [f"r{number}" for number in range(len(metadata))]
            vectors = random_vectors(len(ids), 2)
            contents = [{"text": "héllo\nworld", "image": "a b.png"}] + [{} for _ in ids[1:]]
            index.add(ids, vectors, metadata, contents=contents)
            found = index.get(["r1", "nobody", "r0", "r1"])
            assert [item and item.id for item in found] == ["r1", None, "r0", "r1"]
            for number, item in enumerate(index.get(ids)):
                assert isinstance(item, Item)
                assert item.metadata == metadata[number]
                assert types_of(item.metadata) == types_of(metadata[number])
                assert item.content == contents[number]
                assert list(item.vectors) == ["vector"]
                assert item.vectors["vector"].dtype == np.float32
                assert np.array_equal(item.vectors["vector"], vectors[number])

    def test_numbers_of_numpy_are_numbers(self) -> None:
        """In metadata and in filters."""
        with self.made(VectorField(dim=2)) as index:
            index.add(list("abc"), np.eye(3, 2) + 1, [{"n": np.int64(number)} for number in range(3)])
            assert ids_of(index, [1, 1], where={"n": np.float32(1)}) == ["b"]
            assert sorted(ids_of(index, [1, 1], where={"n": {"in": {0, 2}}})) == ["a", "c"]
            item = index.get(["c"])[0]
            assert item is not None
            assert item.metadata == {"n": 2}

    def test_under_cosine_vectors_are_kept_normalised(self) -> None:
        """So that their length is one."""
        with self.made(VectorField(dim=2)) as index:
            index.add(["a"], [[3.0, 4.0]])
            assert np.allclose(vector_of(index, "a"), [0.6, 0.8], atol=1e-6)

    def test_ids_come_in_the_order_of_their_last_addition(self) -> None:
        """A replaced one goes to the end."""
        with self.made(VectorField(dim=2)) as index:
            index.add(["c", "a", "b"], np.eye(3, 2) + 1)
            index.add(["d", "c"], np.eye(2) + 1)
            assert index.ids() == ["a", "b", "d", "c"]
            assert len(index) == 4
            assert "c" in index
            assert "e" not in index
            assert 3 not in index

    def test_an_id_may_be_any_string(self) -> None:
        """Empty, with quotes, in any script."""
        ids = ["", " ", "it's", 'say "hi"', "%s", "a;b--", "中文", "🎈", "\n", "{}", "\\", "A", "a"]
        with self.made(VectorField(dim=2)) as index:
            index.add(ids, random_vectors(len(ids), 2), [{"own": key} for key in ids])
            assert index.ids() == ids
            assert sorted(ids_of(index, [1, 1], k=99)) == sorted(ids)
            for key in ids:
                assert ids_of(index, [1, 1], where={"own": key}) == [key]
            assert index.delete(ids) == len(ids)

    def test_an_id_that_is_there_is_replaced_whole(self) -> None:
        """Vectors in every field, metadata and text."""
        with self.made(VectorField(name="text", dim=2), VectorField(name="image", dim=2)) as index:
            index.add(
                ["a", "b"], {"text": np.eye(2), "image": np.eye(2)}, [{"n": 1}, {"n": 2}], contents=texts_of("old", "x")
            )
            index.add(["a"], {"text": [[0.0, 1.0]]}, [{"m": 3}], contents=texts_of("new"))
            assert len(index) == 2
            item = index.get(["a"])[0]
            assert item is not None
            assert (item.metadata, item.content) == ({"m": 3}, {"text": "new"})
            assert list(item.vectors) == ["text"]
            assert ids_of(index, [1, 0], field="image", k=5) == ["b"]
            assert ids_of(index, [1, 1], field="text", where={"n": 1}) == []
            assert index.search_text(["old"], 5)[0] == []
            assert [hit.id for hit in index.search_text(["new"], 5)[0]] == ["a"]

    def test_deleted_ids_are_gone_and_unknown_ones_passed_over(self) -> None:
        """An id that comes twice counts once; everything can be deleted and added again."""
        with self.made(VectorField(dim=2)) as index:
            index.add(["a", "b", "c"], np.eye(3, 2) + 1, contents=texts_of("one word", "two words", "none"))
            assert index.delete(["a", "nobody", "a"]) == 1
            assert index.delete(["a"]) == 0
            assert index.delete([]) == 0
            assert "a" not in index
            assert index.get(["a"]) == [None]
            assert index.ids() == ["b", "c"]
            assert sorted(ids_of(index, [1, 1], k=9)) == ["b", "c"]
            assert index.search_text(["word"], 5)[0] == []
            assert index.delete(iter(["b", "c"])) == 2
            assert len(index) == 0
            index.add(["a"], [[1, 2]])
            assert ids_of(index, [1, 1]) == ["a"]

    def test_the_caller_s_own_stay_as_they_are(self) -> None:
        """Arrays are not normalised in place, and later changes of metadata are not seen."""
        with self.made(VectorField(dim=2)) as index:
            vectors, metadata = np.array([[3, 4]], dtype=np.float32), [{"n": [1]}]
            index.add(["a"], vectors, metadata)
            index.search(vectors, 1)
            assert vectors.tolist() == [[3, 4]]
            metadata[0]["n"].append(2)
            item = index.get(["a"])[0]
            assert item is not None
            assert item.metadata == {"n": [1]}

    def test_nothing_can_be_added_and_searched_for(self) -> None:
        """An empty batch, no queries, an empty index."""
        with self.made(VectorField(dim=3)) as index:
            index.add([], [])
            index.add([], np.empty((0, 3)), [])
            assert (len(index), index.ids(), index.get([])) == (0, [], [])
            assert plain(index.search(np.ones((2, 3)), 5)) == [[], []]
            assert plain(index.search(np.empty((0, 3)), 5)) == []
            assert plain(index.search_text(["word", ""], 5)) == [[], []]
            assert plain(index.search_text([], 5)) == []
            index.compact()

    # Guards

    def test_vectors_of_another_encoder_are_refused(self) -> None:
        """In additions and queries, with both named; a field that records none takes any."""
        mine, other = "sentence:mine@1", "sentence:other@2"
        with self.made(VectorField(name="text", dim=2, encoder=mine), VectorField(name="image", dim=2)) as index:
            one = {"text": [[1, 0]]}
            index.add(["a"], one, encoder=mine)
            index.add(["b"], one | {"image": [[1, 0]]}, encoder={"text": mine, "image": "anything"})
            index.add(["c"], {"image": [[0, 1]]})
            index.add(["d"], {"image": [[0, 1]]}, encoder=other)
            others: list[Any] = [other, {"text": other}]
            for wrong in others:
                message = refused(partial(index.add, ["x"], one, encoder=wrong), mine)
                assert other in message
            nobody: list[Any] = [None, {}, {"image": mine}]
            for missing in nobody:
                refused(partial(index.add, ["x"], one, encoder=missing), mine)
            assert other in refused(lambda: index.search([[1, 0]], 1, field="text", encoder=other), mine)
            refused(lambda: index.search([[1, 0]], 1, field="text"), mine)
            assert len(index.search([[1, 0]], 9, field="text", encoder=mine)[0]) == 2
            assert len(index.search([[1, 0]], 9, field="image")[0]) == 3
            assert index.ids() == ["a", "b", "c", "d"]

    def test_bad_input_is_refused_and_changes_nothing(self, bad: str) -> None:
        """A `DataError` that says what is wrong."""
        with self.made(VectorField(dim=2)) as index:
            index.add(["there"], [[1, 0]], [{"n": 1}], contents=texts_of("x"))
            act, message = oracle.BAD[bad]
            refused(lambda: act(index), message)
            assert index.ids() == ["there"]
            assert plain(index.search([[2, 0]], 5)) == [[Hit("there", 1.0, {"n": 1})]]
            assert [hit.id for hit in index.search_text(["x"], 5)[0]] == ["there"]
