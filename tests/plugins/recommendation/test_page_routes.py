"""The routes of the page, called as the server calls them, on a bundle with a store of its own."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image
from pydantic import ValidationError

from tests.plugins.recommendation.conftest import host
from tests.plugins.recommendation.tastes import USERS, taste, user
from triptych.errors import DataError
from triptych.pipeline import RunResult
from triptych.predictor import Predictor, load
from triptych.routes import RouteContext
from triptych_recommendation.surface import cards, routes, routes_events, routes_experiments, routes_items, views

NAME, COLOUR = user(4)  # likes red


@pytest.fixture
def context(predictor: Predictor) -> RouteContext:
    return RouteContext(predictor, "local", lambda: False)


def listed(context: RouteContext, name: str = NAME, k: int = 30) -> list[str]:
    found: Any = context.predictor.answer(user=name, k=k)
    return [item.id for item in found.items]


def act(context: RouteContext, item: str, kind: str, name: str = NAME) -> views.Act:
    return routes_events.add_event(context, views.NewEvent.model_validate({"user": name, "item": item, "kind": kind}))


def past(context: RouteContext, name: str = NAME) -> views.History:
    return routes_events.history(context, views.HistoryQuery(user=name))


def picture_of(colour: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (900, 600), colour).save(out, "PNG")
    return out.getvalue()


def tone() -> bytes:
    out = io.BytesIO()
    soundfile.write(out, 0.3 * np.sin(np.arange(8_000) / 5), 8_000, format="WAV")
    return out.getvalue()


def new(**fields: Any) -> views.NewItem:
    files = {name: base64.b64encode(fields.pop(name)).decode() for name in ("picture", "sound") if name in fields}
    return views.NewItem.model_validate({"title": "A kite of its own kind", **fields, **files})


# -- what is shown -------------------------------------------------------------------------------------------------


def test_the_shop_tells_what_filters_are_made_from(context: RouteContext):
    found = routes.shop(context)
    assert {(one.name, one.items) for one in found.categories} == {("warm", 15), ("cool", 15)}
    assert (found.people, found.least_price, found.most_price, found.in_stock) == (USERS, 10, 50, True)
    assert set(found.reads) == {"text", "image"}


def test_people_are_found_by_a_part_of_their_name_also_those_who_came_later(context: RouteContext):
    act(context, "red-2", "click", "Guest 7%")
    found = routes.people(context, views.PeopleQuery(q="USER-1", k=3)).people
    assert found[0].startswith("user-1")
    assert len(found) == 3
    assert routes.people(context, views.PeopleQuery(q="7%")).people == ["Guest 7%"]
    assert routes.people(context, views.PeopleQuery(q="nobody")).people == []


def test_cards_come_in_order_and_pictures_small_and_without_paths(context: RouteContext, built: RunResult):
    asked = views.CardsQuery(ids=["red-1", "red-0", "no such", "red-1"])
    without, with_one = routes.item_cards(context, asked).cards
    assert (without.id, without.picture, with_one.id) == ("red-1", "", "red-0")
    assert with_one.picture
    assert "/" not in with_one.model_dump_json().replace(with_one.description, "")
    media = routes.picture(context, views.PictureQuery(item="red-0", edge="96"))
    assert media.media_type == "image/webp"
    with Image.open(io.BytesIO(media.content)) as image:
        assert max(image.size) <= 96
    with pytest.raises(DataError, match="'red-1' has no picture") as told:
        routes.picture(context, views.PictureQuery(item="red-1"))
    assert str(built.bundle) not in str(told.value)


def test_a_damaged_picture_is_named_by_its_item_alone(tmp_path: Path):
    from triptych_recommendation.data.items import Item

    path = tmp_path / "secret.png"
    path.write_bytes(b"no picture")
    with pytest.raises(DataError) as told:
        cards.thumbnail(Item("vase", image=path), 96)
    assert str(told.value) == "the picture of item 'vase' cannot be read"


def test_an_item_has_its_people_and_what_is_like_it_by_which_part(context: RouteContext):
    before = routes.item(context, views.ItemQuery(item="red-0"))
    act(context, "red-0", "like", "guest")
    after = {one.kind: one.people for one in routes.item(context, views.ItemQuery(item="red-0")).people}
    assert after == {**{one.kind: one.people for one in before.people}, "like": 1}
    found = routes.similar(context, views.SimilarQuery(item="red-0", k=5)).items
    assert np.mean([taste(one.id) == "red" for one in found]) > 0.7
    assert all(set(one.parts) <= {"text", "image"} for one in found)
    assert any("image" in one.parts for one in found)
    assert all(-1.001 <= cosine <= 1.001 for one in found for cosine in one.parts.values())
    assert max(one.people for one in found) > 0


def test_a_list_of_more_variety_has_more_variety_and_is_not_on_record(context: RouteContext):
    def colours(diversity: float) -> set[str]:
        query = views.VariedQuery(user="nobody", k=8, diversity=diversity, history=["red-0", "red-2"])
        found = routes.varied(context, query)
        assert (len(found.items), found.exposure) == (8, "")
        return {taste(item.id) for item in found.items}

    assert "blue" in colours(1.0)
    nothing = routes.varied(context, views.VariedQuery(where={"category": "hats"}, diversity=0.5))
    assert (nothing.items, "the filter" in nothing.answer) == ([], True)


# -- what people do ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["click", "purchase", "like"])
def test_what_somebody_does_counts_at_once_and_can_be_taken_back(context: RouteContext, kind: str):
    assert not past(context, "guest").known
    done = act(context, "blue-2", kind, "guest")
    found = past(context, "guest")
    assert (found.known, found.events, [(one.item, one.kind, one.key) for one in found.recent]) == (
        True,
        1,
        [("blue-2", kind, done.key)],
    )
    assert taste(listed(context, "guest")[0]) == "blue"
    assert "blue-2" not in listed(context, "guest")
    undone = routes_events.undo_event(context, views.UndoQuery(user="guest", key=done.key))
    assert undone.act.item == "blue-2"
    assert not past(context, "guest").recent
    assert "blue-2" in listed(context, "guest", 40)
    with pytest.raises(DataError, match="could be taken back"):
        routes_events.undo_event(context, views.UndoQuery(user="guest", key=done.key))


def test_what_is_not_wanted_leaves_the_lists_teaches_nothing_and_comes_back(context: RouteContext):
    first = listed(context)[0]
    before = past(context)
    done = act(context, first, "dislike")
    after = past(context)
    assert (after.events, after.recent) == (before.events, before.recent)
    assert [one.item for one in after.kept_out] == [first]
    assert first not in listed(context)
    routes_events.undo_event(context, views.UndoQuery(user=NAME, key=done.key))
    assert not past(context).kept_out
    assert first in listed(context)


def test_nobody_takes_back_what_another_did_or_what_the_bundle_has(context: RouteContext):
    done = act(context, "blue-2", "like", "guest")
    with pytest.raises(DataError, match="could be taken back"):
        routes_events.undo_event(context, views.UndoQuery(user=NAME, key=done.key))
    assert all(one.key == "" for one in past(context).recent)


def test_another_process_learns_of_what_was_taken_back(context: RouteContext, built: RunResult):
    done = act(context, "blue-2", "like", "guest")
    other = RouteContext(load(built.bundle, host=host(), state=context.predictor.state), "local", lambda: False)
    assert past(other, "guest").events == 1
    routes_events.undo_event(context, views.UndoQuery(user="guest", key=done.key))
    assert past(other, "guest").events == 0


def test_an_outcome_goes_with_its_event(context: RouteContext):
    from triptych_recommendation.surface.access import store

    item = listed(context)[0]
    done = act(context, item, "click")
    with store(context).reading() as tx:
        assert [row.item for row in tx.outcomes()] == [item]
    routes_events.undo_event(context, views.UndoQuery(user=NAME, key=done.key))
    with store(context).reading() as tx:
        assert tx.outcomes() == []


def test_an_event_with_an_item_that_is_not_there_is_refused(context: RouteContext):
    with pytest.raises(DataError, match="no item is called 'gren-1'"):
        act(context, "gren-1", "click")
    with pytest.raises(ValidationError):
        act(context, "red-1", "steal")


# -- items that come and go ----------------------------------------------------------------------------------------


def test_an_item_that_is_added_is_found_with_its_picture_and_sound_and_can_be_removed(context: RouteContext):
    fields = {"description": "clear sky ocean ice", "category": "cool", "price": 3.5, "stock": 2, "tags": ["a", "a"]}
    added = routes_items.add_item(context, new(picture=picture_of("blue"), sound=tone(), **fields))
    card = added.card
    assert card.id.startswith("a-kite-of-its-own-kind-")
    assert (card.price, card.stock, card.tags, added.notes) == (3.5, 2, ["a"], [])
    found: Any = context.predictor.answer(text="a kite in the clear sky", k=5)
    assert card.id in [item.id for item in found.items]
    with Image.open(io.BytesIO(routes.picture(context, views.PictureQuery(item=card.id)).content)) as image:
        assert image.size == (320, 213)
    heard = routes.sound(context, views.SoundQuery(item=card.id))
    samples, rate = soundfile.read(io.BytesIO(heard.content))
    assert heard.media_type == "audio/mpeg"
    assert len(samples) / rate == pytest.approx(1.0, abs=0.1)
    assert routes_items.remove_item(context, views.ItemQuery(item=card.id)).id == card.id
    assert routes.item_cards(context, views.CardsQuery(ids=[card.id])).cards == []
    with pytest.raises(DataError, match="was removed"):
        routes.item(context, views.ItemQuery(item=card.id))


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"picture": b"<svg xmlns='http://www.w3.org/2000/svg'/>"}, "not a picture"),
        ({"sound": b"no sound"}, "recording"),
        ({"picture": bytes(8_000_001)}, "at most 8,000,000"),
    ],
)
def test_files_that_are_not_what_they_should_be_are_refused_and_nothing_is_kept(
    context: RouteContext, files: dict[str, bytes], said: str
):
    with pytest.raises(DataError, match=said):
        routes_items.add_item(context, new(id="bad", **files))
    assert routes.item_cards(context, views.CardsQuery(ids=["bad"])).cards == []
    assert not list(context.predictor.state.glob("media/*"))


# -- experiments ---------------------------------------------------------------------------------------------------


def test_an_experiment_that_runs_is_reported_and_one_that_is_stopped_is_not(context: RouteContext):
    from dataclasses import replace

    from triptych_recommendation.experiments import registry
    from triptych_recommendation.experiments.assignment import new_experiment
    from triptych_recommendation.serving.recommender import now_us
    from triptych_recommendation.surface.access import store

    assert routes_experiments.experiments(context).experiments == []
    calm = new_experiment("calm", {"old": 0.5, "new": 0.5}, now_us(), changes={"new": {"diversity": 0.3}})
    with store(context).transaction() as tx:
        registry.start(tx, calm)
    listed(context)
    (found,) = routes_experiments.experiments(context).experiments
    assert (found.name, [arm.name for arm in found.arms], found.decision.stop) == ("calm", ["old", "new"], False)
    assert found.lifts["new"][0].metric == "click"
    assert found.since.endswith("+00:00")
    with store(context).transaction() as tx:
        registry.put(tx, replace(calm, stopped=calm.phases[0].since + 1))
    assert routes_experiments.experiments(context).experiments == []
