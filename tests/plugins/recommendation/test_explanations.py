"""Reasons that a buyer can read, each checked by taking the evidence away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.plugins.recommendation import served
from triptych.types import Sample
from triptych_recommendation.catalogue.schema import EventRow
from triptych_recommendation.data.interactions import Interactions
from triptych_recommendation.data.items import Item
from triptych_recommendation.serving.answers import Context, Recommended
from triptych_recommendation.serving.files import Files
from triptych_recommendation.serving.recommender import Recommender, now_us
from triptych_recommendation.serving.settings import RuleSettings
from triptych_recommendation.serving.shared import Together, in_common

PLAIN = RuleSettings(exploration=0.0, diversity=0.0)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return served.write_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture
def recommender(shop: Path) -> Iterator[Recommender]:
    with Recommender.open(shop, None, PLAIN, encode=served.encode) as found:
        yield found


def _text(one: Recommended) -> str:
    assert one.explanation is not None
    return one.explanation.text


def test_what_is_cited_lowers_the_models_score_when_it_is_taken_out(shop: Path, recommender: Recommender) -> None:
    files = Files.open(shop)
    rows = {name: row for row, name in enumerate(files.past.items)}
    cited = 0
    for user in range(12):
        history = files.past.history(files.past.users.index(f"u{user}"))
        found = recommender.recommend(f"u{user}", 8)
        top = found.items[0]
        scale = files.model.score(history, np.array([rows[top.item.id]]))[0]
        for one in found.items:
            explanation = one.explanation
            assert explanation is not None
            if not explanation.cited:
                continue
            cited += 1
            assert {rows[name] for name in explanation.cited} <= set(history.items.tolist())
            less = history.where(~np.isin(history.items, [rows[name] for name in explanation.cited]))
            row = np.array([rows[one.item.id]])
            drop = (files.model.score(history, row)[0] - files.model.score(less, row)[0]) / scale
            assert drop > 0
            assert explanation.drop == pytest.approx(drop, abs=1e-4)
    assert cited > 60


def test_at_most_so_many_are_cited_as_the_settings_say(shop: Path) -> None:
    for most in (1, 3):
        rules = PLAIN.model_copy(update={"cited": most})
        with Recommender.open(shop, None, rules) as recommender:
            counts = [len(one.explanation.cited) for one in recommender.recommend("u0").items if one.explanation]
        assert max(counts) == most


def test_the_verb_is_that_of_the_event(recommender: Recommender) -> None:
    for kind, verb in [
        ("view", "looked at"),
        ("click", "clicked on"),
        ("purchase", "bought"),
        ("rating", "rated"),
        ("comment", "commented on"),
        ("play", "played"),
        ("wink", "chose"),
    ]:
        recommender.add_events([EventRow(f"by {kind}", "puzzle03", kind, now_us())])
        first = recommender.recommend(f"by {kind}", 3, where={"category": "puzzle"}).items[0]
        assert _text(first).startswith(f"Because you {verb} Puzzle Tale 3; same category (puzzle)")
    looking = recommender.recommend(None, 3, context=Context(items=["puzzle03"]))
    assert _text(looking.items[0]).startswith("Because you are looking at Puzzle Tale 3")


def test_two_events_stand_in_one_sentence(recommender: Recommender) -> None:
    now = now_us()
    recommender.add_events(
        [EventRow("two", "puzzle03", "purchase", now - 10), EventRow("two", "puzzle05", "view", now - 5)]
    )
    texts = [_text(one) for one in recommender.recommend("two", 10).items]
    both = "bought Puzzle Tale 3 and looked at Puzzle Tale 5", "looked at Puzzle Tale 5 and bought Puzzle Tale 3"
    assert any(one in text for one in both for text in texts)


def test_a_new_item_is_explained_by_what_it_is_like(recommender: Recommender) -> None:
    recommender.add_items([Item("night", "Horror Night", "A horror game.", category="horror")])
    found = recommender.recommend("u0", 10, where={"id": {"in": ["night", "horror03", "horror07"]}})
    new = next(one for one in found.items if one.item.id == "night")
    assert new.reason == "content"
    assert new.explanation is not None
    assert new.explanation.drop > 0
    assert "same category (horror)" in _text(new)
    assert "people chose both" not in _text(new)


def test_content_is_spoken_of_where_two_items_are_more_alike_than_most(recommender: Recommender) -> None:
    texts = [_text(one) for n in range(8) for one in recommender.recommend(f"u{n}", 10).items]
    alike = [text for text in texts if "similar description" in text]
    assert 0 < len(alike) < len(texts) / 2


def test_where_no_event_speaks_nothing_is_cited(recommender: Recommender) -> None:
    popular = recommender.recommend("nobody", 3).items[0]
    assert _text(popular).startswith("Popular: chosen ")
    assert (popular.explanation.cited, popular.explanation.drop) == ((), 0.0)  # type: ignore[union-attr]
    query = served.encode([Sample("q", text="farming")])[0]
    assert _text(recommender.recommend(None, 3, context=Context(query=query)).items[0]) == "Like what you asked for"


def test_places_of_the_shop_and_of_chance_say_so(shop: Path) -> None:
    rules = RuleSettings(exploration=0.5, pinned=["farming03"], little_seen=0)
    with Recommender.open(shop, None, rules, encode=served.encode) as recommender:
        recommender.add_items([Item("bare")])
        found = recommender.recommend("nobody", 4)
        texts = {one.item.id: _text(one) for one in found.items}
    assert texts["farming03"] == "Picked by the shop"
    assert texts["bare"] == "New here"


def test_explanations_are_left_out_where_they_are_not_wanted(recommender: Recommender) -> None:
    assert all(one.explanation is None for one in recommender.recommend("u0", explain=False).items)
    assert all(one.explanation is None for one in recommender.similar("horror01", explain=False).items)


def test_the_share_of_a_tired_item_falls_with_its_score(shop: Path) -> None:
    rules = PLAIN.model_copy(update={"tired_after": 1, "tired_factor": 0.5, "cited": 1})
    with Recommender.open(shop, None, rules) as recommender:
        fresh = recommender.recommend("u0", 5).items
        tired = {one.item.id: one for one in recommender.recommend("u0", 50).items}
    for one in fresh:
        again = tired[one.item.id]
        assert again.score == pytest.approx(one.score / 2)
        assert again.explanation is not None
        assert one.explanation is not None
        assert again.explanation.drop == pytest.approx(one.explanation.drop / 2)


def test_what_two_items_have_in_common() -> None:
    one = Item("a", "The Lost Valley", "Words", image=Path("a.png"), category="film", tags=("film", "slow", "sad"))
    two = Item("b", "Valley of Kings", "Words", image=Path("b.png"), category="film", tags=("sad", "film"))
    assert in_common(one, two, 0.9, 0.5) == [
        "same category (film)",
        "both sad",
        "“valley” in both titles",
        "similar picture and description",
    ]
    assert in_common(one, two, 0.4, 0.5)[-1] == "“valley” in both titles"
    assert in_common(Item("a", "Red"), Item("b", "Red"), 0.9, 0.5) == ["similar words"]
    assert in_common(one, Item("b"), 0.9, 0.5) == []


def test_people_who_chose_both_are_counted_once_each() -> None:
    past = Interactions.of(["ann", "ann", "ann", "bob", "bob", "cat"], ["x", "y", "x", "x", "y", "y"])
    together = Together(past.with_items(["z"]))
    assert together.counts([(0, 1), (1, 0), (0, 2), (0, 9), (1, 1)]) == [2, 2, 0, 0, 3]
    assert together.counts([(2, 0)]) == [0]
    assert together.counts([]) == []
