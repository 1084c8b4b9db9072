"""Vectors of items as a build and a shop in service make them, and what the gaps between users are counted by."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from triptych.errors import DataError
from triptych.tuning.base import Progress, silent
from triptych.types import Modality, Sample
from triptych_recommendation.about import About, read_about
from triptych_recommendation.building import item_vectors
from triptych_recommendation.data.items import Item
from triptych_recommendation.opening import FILE, open_recommender, store_place
from triptych_recommendation.serving.recommender import Recommender
from triptych_recommendation.settings import RecommendationSettings

KNOWN: set[Modality] = {"text", "image"}
ITEMS = [
    Item("words", title="Words"),
    Item("bare"),
    Item("heard", audio=Path("tune.ogg")),
    Item("both", title="Both", image=Path("fine.png")),
    Item("broken", image=Path("broken.png")),
]


def encode(samples: Sequence[Sample]) -> NDArray[np.float32]:
    """A vector that tells whether there is a text, and whether there is a picture; as a model, it wants either."""
    for sample in samples:
        if not KNOWN & set(sample.modalities):
            raise DataError(f"sample {sample.id!r} has none of: text, image")
        if sample.image == Path("broken.png"):
            raise DataError("the picture cannot be decoded", file="broken.png")
    found = np.array([[s.text is not None, s.image is not None, 1] for s in samples], dtype=np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def test_what_cannot_be_encoded_has_zeros_and_what_is_broken_is_named():
    vectors, unreadable = item_vectors(ITEMS, KNOWN, encode, silent)
    assert vectors is not None
    assert vectors.any(axis=1).tolist() == [True, False, False, True, False]
    np.testing.assert_allclose(np.linalg.norm(vectors[[0, 3]], axis=1), 1, rtol=1e-6)
    assert unreadable == ["item 'broken' has no vector: broken.png: the picture cannot be decoded"]


@pytest.mark.parametrize("items", [[], ITEMS[1:3]])
def test_where_nothing_can_be_encoded_there_are_no_vectors(items: list[Item]):
    assert item_vectors(items, KNOWN, encode, silent) == (None, [])


def test_many_items_are_encoded_in_parts_and_all_of_them():
    items = [Item(str(n), title="x", image=Path("fine.png") if n % 2 else None) for n in range(300)]
    told: list[Progress] = []
    sizes: list[int] = []

    def counted(samples: Sequence[Sample]) -> NDArray[np.float32]:
        sizes.append(len(samples))
        return encode(samples)

    vectors, _ = item_vectors(items, KNOWN, counted, told.append)
    assert vectors is not None
    assert max(sizes) <= 128
    assert sum(sizes) == 300
    np.testing.assert_array_equal(vectors, encode([Sample("", text="x", image=i.image) for i in items]))
    assert told[-1].done == told[-1].total == 300


def test_in_service_an_item_of_which_nothing_is_understood_has_zeros(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    About(("image", "text"), 3, {}).write(tmp_path)
    given: dict[str, Any] = {}
    monkeypatch.setattr(Recommender, "open", lambda *args, **kwargs: given.update(kwargs))
    open_recommender(tmp_path, RecommendationSettings(), "store", encode)
    samples = [Sample("1", text="a"), Sample("2", audio=Path("tune.ogg"))]
    assert given["encode"](samples).any(axis=1).tolist() == [True, False]
    with pytest.raises(DataError, match=r"broken\.png"):
        given["encode"]([Sample("3", image=Path("broken.png"))])
    About((), 0, {}).write(tmp_path)
    open_recommender(tmp_path, RecommendationSettings(), "store", encode)
    assert given["encode"] is None


def test_what_is_noted_of_a_bundle_is_read_again_and_knows_what_was_not_measured(tmp_path: Path):
    about = About(("text",), 8, {"blend": 0.4, "content": 0.2})
    about.write(tmp_path)
    assert read_about(tmp_path) == about
    assert [about.hit_rate(policy) for policy in ("blend", "query", "similar")] == [0.4, 0.2, 0.2]
    assert About((), 0, {"blend": 0.4}).hit_rate("query") == 0.0


def test_the_store_is_where_the_settings_say(tmp_path: Path):
    assert store_place(RecommendationSettings(), tmp_path) == tmp_path / FILE
    assert store_place(RecommendationSettings(store="~/shop.sqlite3"), tmp_path) == Path.home() / "shop.sqlite3"
    url = "postgresql://me@host/shop"
    assert store_place(RecommendationSettings(store=url), tmp_path) == url
