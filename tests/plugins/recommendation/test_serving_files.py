"""The files of a bundle: whole, damaged, missing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.plugins.recommendation import served
from triptych.errors import BundleError
from triptych_recommendation.data.interactions import Interactions
from triptych_recommendation.data.items import Item
from triptych_recommendation.models.popularity import Popularity
from triptych_recommendation.models.settings import PopularitySettings
from triptych_recommendation.serving import files as module
from triptych_recommendation.serving.files import Files, write_files
from triptych_recommendation.serving.recommender import Recommender


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return served.write_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture
def shop(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "shop"))


def test_what_is_written_is_read(shop: Path) -> None:
    items = served.catalogue()
    past = served.events(items)
    found = Files.open(shop)
    assert {item.id: item for item in found.items} == {item.id: item for item in items}
    assert found.past.items == past.items == tuple(item.id for item in found.items)
    assert found.past.users == past.users
    for name in ("user", "item", "time", "weight", "kind", "starts"):
        np.testing.assert_array_equal(getattr(found.past, name), getattr(past, name))
    assert (found.encoder, found.model.name, found.codes) == ("words", "neighbours", None)
    np.testing.assert_allclose(found.vectors, served.vectors(found.items), atol=1e-3)
    assert not found.vectors.flags.writeable
    assert not found.vectors.flags.owndata  # mapped, not read


@pytest.mark.parametrize(
    "name", ["recommendation.json", "items.jsonl", "users.json", "history.safetensors", "vectors.safetensors"]
)
@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_a_damaged_file_is_named(shop: Path, name: str, damage: str) -> None:
    path = shop / name
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(BundleError, match=name):
        Files.open(shop)


def test_another_format_is_refused(shop: Path) -> None:
    head = json.loads((shop / "recommendation.json").read_text())
    (shop / "recommendation.json").write_text(json.dumps({**head, "format": 99}))
    with pytest.raises(BundleError, match="format 99"):
        Files.open(shop)


def test_files_that_do_not_fit_together_are_refused(shop: Path) -> None:
    lines = (shop / "items.jsonl").read_text().splitlines()
    (shop / "items.jsonl").write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(BundleError, match="59 items, 60 expected"):
        Files.open(shop)


def test_many_vectors_get_codes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CODES_FROM", 100)
    rng = np.random.default_rng(0)
    items = [Item(f"i{n}", f"Thing {n}") for n in range(400)]
    past = Interactions.of([f"u{n % 9}" for n in range(400)], [item.id for item in items])
    vectors = rng.normal(size=(400, 64)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    model = Popularity.fit(past, PopularitySettings(), seed=0)
    write_files(tmp_path, items=items, past=past, model=model, vectors=vectors, encoder="x", built=served.BUILT)
    assert Files.open(tmp_path).codes is not None
    with Recommender.open(tmp_path) as recommender:
        assert len(recommender.similar("i3", 5).items) == 5
    (tmp_path / "codes.safetensors").write_bytes(b"nothing")
    with pytest.raises(BundleError, match=r"codes\.safetensors"):
        Files.open(tmp_path)


def test_without_vectors_behaviour_alone_speaks(tmp_path: Path) -> None:
    items = served.catalogue()
    past = served.events(items)
    by_id = {item.id: item for item in items}
    ordered = [by_id[name] for name in past.items]
    model = Popularity.fit(past, PopularitySettings(), seed=0)
    write_files(tmp_path, items=ordered, past=past, model=model, vectors=None, encoder="", built=served.BUILT)
    with Recommender.open(tmp_path) as recommender:
        assert recommender.recommend("u0", 5).policy == "popularity"
        assert recommender.similar("horror03").items == ()  # what is popular is like nothing for that
        assert len(recommender.recommend("u0", 5).items) == 5


def test_what_does_not_fit_is_not_written(tmp_path: Path) -> None:
    items = served.catalogue()
    past = served.events(items)
    model = Popularity.fit(past, PopularitySettings(), seed=0)
    by_id = {item.id: item for item in items}
    ordered = [by_id[name] for name in past.items]
    bad = served.vectors(ordered)
    bad[3, 2] = np.nan
    with pytest.raises(ValueError, match="in their order"):
        write_files(tmp_path, items=ordered[::-1], past=past, model=model, vectors=None, encoder="", built=served.BUILT)
    with pytest.raises(ValueError, match="finite"):
        write_files(tmp_path, items=ordered, past=past, model=model, vectors=bad, encoder="", built=served.BUILT)
    assert not any(tmp_path.iterdir())


def test_a_head_without_a_key_is_told(shop: Path) -> None:
    head = json.loads((shop / "recommendation.json").read_text())
    del head["kinds"]
    (shop / "recommendation.json").write_text(json.dumps(head))
    with pytest.raises(BundleError, match="lacks 'kinds'"):
        Files.open(shop)
