"""The recommender as a whole, over real files, a real model and a real store."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.plugins.recommendation import served
from tests.plugins.recommendation.stores import place, server
from triptych.errors import DataError
from triptych.types import Sample
from triptych_recommendation.catalogue.schema import EventRow
from triptych_recommendation.catalogue.store import Store
from triptych_recommendation.data.items import Item
from triptych_recommendation.data.times import DAY
from triptych_recommendation.serving.answers import Context
from triptych_recommendation.serving.recommender import Recommender, now_us
from triptych_recommendation.serving.settings import RuleSettings

__all__ = ["place", "server"]  # fixtures
NIGHT = Item("night", "Horror Night", "A horror game.", category="horror", price=9.0, stock=2, tags=("horror",))
Open = Callable[..., Recommender]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return served.write_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture
def open_shop(shop: Path, tmp_path: Path) -> Iterator[Open]:
    opened: list[Recommender] = []

    def opener(**rules: object) -> Recommender:
        place = tmp_path / "store.sqlite3"
        opened.append(Recommender.open(shop, place, RuleSettings.model_validate(rules), encode=served.encode))
        return opened[-1]

    yield opener
    for one in opened:
        one.close()


def _event(user: str, item: str, kind: str = "click", ago: int = 1_000_000) -> EventRow:
    return EventRow(user, item, kind, now_us() - ago)


def test_a_user_gets_what_his_taste_suits_and_nothing_he_knows(open_shop: Open) -> None:
    recommender = open_shop()
    found = recommender.recommend("u0", 8)
    assert found.policy == "neighbours"
    assert len(set(found.ids)) == 8
    assert sum(name.startswith("horror") for name in found.ids) >= 4
    past = served.events(served.catalogue())
    known = {past.items[row] for row in past.history(past.users.index("u0")).items}
    assert not known & set(found.ids)
    assert max(one.score for one in found.items) == 1.0  # not always on top: chance may explore the best
    assert all(one.reason == "behaviour" for one in found.items)


def test_the_list_is_on_record_with_its_explored_places(open_shop: Open, tmp_path: Path) -> None:
    recommender = open_shop(exploration=0.5, pinned=["farming03"])
    found = recommender.recommend("u0", 6)
    silent = recommender.recommend("u0", 6, record=False)
    recommender.flush()
    with Store.open(tmp_path / "store.sqlite3", writer=False) as store, store.reading() as tx:
        (row,) = tx.exposures()
    assert silent.exposure == ""
    assert (row.id, row.user, row.items, row.policy) == (found.exposure, "u0", found.ids, "neighbours")
    assert row.details["exploration"] == [n for n, one in enumerate(found.items) if one.origin == "exploration"]
    assert row.details["pinned"] == [0]
    assert found.ids[0] == "farming03"
    assert found.items[1].origin == "ranked"
    assert len(row.details["exploration"]) == 3


def test_an_unknown_user_gets_what_is_popular(open_shop: Open) -> None:
    recommender = open_shop(exploration=0.0, diversity=0.0)
    found = recommender.recommend("nobody", 5)
    assert found.policy == "popularity"
    past = served.events(served.catalogue())
    counts = np.bincount(past.item, minlength=len(past.items))
    assert [counts[past.items.index(name)] for name in found.ids] == sorted(counts)[::-1][:5]
    assert recommender.recommend(None, 5).ids == found.ids


def test_the_first_click_makes_a_list_personal_at_once(open_shop: Open) -> None:
    recommender = open_shop(exploration=0.0)
    before = recommender.recommend("fresh", 6)
    assert recommender.add_events([_event("fresh", "racing03")]).count == 1
    after = recommender.recommend("fresh", 6)
    assert before.policy == "popularity"
    assert after.policy == "neighbours"
    assert sum(name.startswith("racing") for name in after.ids) >= 5
    assert "racing03" not in after.ids


def test_the_moment_speaks_for_somebody_without_a_past(open_shop: Open) -> None:
    recommender = open_shop(exploration=0.0)
    looking = recommender.recommend(None, 5, context=Context(items=["puzzle02", "ghost"]))
    assert sum(name.startswith("puzzle") for name in looking.ids) >= 4
    assert looking.notes == ("1 items of the context are unknown: ghost",)
    query = served.encode([Sample("q", text="farming")])[0]
    asked = recommender.recommend(None, 5, context=Context(query=query))
    assert asked.policy == "query"
    assert all(one.item.category == "farming" for one in asked.items)
    both = recommender.recommend("u0", 10, context=Context(query=query))
    assert {one.item.category for one in both.items} >= {"farming", "horror"}
    assert recommender.recommend("nobody", 5, context=Context(items=["ghost"])).policy == "popularity"


@pytest.mark.parametrize("query", [np.zeros(3), np.full(served.DIM, np.nan)])
def test_a_query_that_is_none_is_refused(open_shop: Open, query: NDArray[np.float64]) -> None:
    with pytest.raises(DataError, match="16 finite numbers"):
        open_shop().recommend(None, context=Context(query=query.astype(np.float32)))


def test_rules_and_filters_hold_for_every_place(open_shop: Open) -> None:
    recommender = open_shop(most_price=40.0, blocked=["horror03"], exploration=0.3)
    for user in ("u0", "u1", "nobody"):
        found = recommender.recommend(user, 12, where={"tags": "solo"})
        assert found.items
        for one in found.items:
            assert one.item.price is not None
            assert one.item.price <= 40
            assert "solo" in one.item.tags
            assert one.item.id != "horror03"


def test_an_empty_list_says_why(open_shop: Open) -> None:
    found = open_shop(categories=["horror"]).recommend("u0", where={"category": "racing"})
    assert found.items == ()
    assert found.exposure == ""
    assert found.why == "nothing is left after the filter of the request (15 items before)".replace("15", "14")


def test_a_short_catalogue_is_shown_whole(open_shop: Open) -> None:
    found = open_shop().recommend("nobody", 10, where={"id": {"in": ["horror01", "racing02"]}})
    assert set(found.ids) == {"horror01", "racing02"}


def test_diversity_spreads_the_list(open_shop: Open) -> None:
    same = open_shop(diversity=0.0, exploration=0.0).recommend("u0", 8)
    other = open_shop(diversity=0.9, exploration=0.0).recommend("u0", 8)
    assert len({one.item.category for one in other.items}) > len({one.item.category for one in same.items})
    assert same.ids[0] == other.ids[0]


def test_what_was_shown_in_vain_gives_way(open_shop: Open) -> None:
    recommender = open_shop(tired_after=2, tired_factor=0.0, exploration=0.0, diversity=0.0)
    first = recommender.recommend("u0", 3)
    assert recommender.recommend("u0", 3).ids == first.ids
    assert not set(recommender.recommend("u0", 3).ids) & set(first.ids)
    assert recommender.recommend("u4", 3).ids  # others are not concerned


def test_exploration_shows_what_few_have_seen_until_they_have(open_shop: Open) -> None:
    recommender = open_shop(exploration=0.5, little_seen=0)
    recommender.add_items([Item(f"new{n}", "Racing Night", "A racing game.") for n in range(3)])
    seen: set[str] = set()
    for _ in range(12):
        found = recommender.recommend("u0", 4)
        explored = {one.item.id for one in found.items if one.origin == "exploration"}
        assert all(name.startswith("new") for name in explored)
        seen |= explored
    assert seen == {"new0", "new1", "new2"}
    found = recommender.recommend("u0", 4)  # each was shown, and that is more than `little_seen`
    assert all(one.origin == "ranked" for one in found.items)


def test_a_new_item_is_found_at_once_and_in_other_processes(open_shop: Open) -> None:
    recommender, other = open_shop(exploration=0.0), open_shop(exploration=0.0)
    changed = recommender.add_items([NIGHT])
    assert (changed.ids, changed.notes) == (("night",), ())
    for one in (recommender, other):
        assert "night" in one.recommend("u0", 20).ids
        assert one.similar("night", 3).items[0].item.category == "horror"
        assert one.item("night").price == 9.0


def test_a_new_item_is_changed_by_adding_it_again(open_shop: Open) -> None:
    recommender = open_shop(exploration=0.0)
    recommender.add_items([NIGHT])
    other = Item("night", "Racing Night", "A racing game.", price=9.0, stock=0)
    recommender.add_items([other])
    assert "night" not in recommender.recommend("u0", 40).ids  # out of stock
    recommender.add_items([replace(other, stock=1)])
    assert recommender.similar("night", 3).items[0].item.category == "racing"


def test_a_removed_item_is_in_no_list_any_more(open_shop: Open, shop: Path, tmp_path: Path) -> None:
    recommender, other = open_shop(little_seen=100), open_shop(little_seen=100)
    gone = recommender.recommend("u0", 3).ids[0]
    recommender.add_items([NIGHT])
    assert recommender.remove_items([gone, "night"]).ids == (gone, "night")
    recommender.close()
    third = Recommender.open(shop, tmp_path / "store.sqlite3", encode=served.encode)
    for one in (other, third):
        for user in ("u0", "u4", "nobody"):
            assert not {gone, "night"} & set(one.recommend(user, 60).ids)
        assert not {gone, "night"} & set(one.similar("horror01", 60).ids)
        with pytest.raises(DataError, match="was removed; add it again"):
            one.similar(gone)
        with pytest.raises(DataError, match="was removed"):
            one.remove_items([gone])
    third.add_items([NIGHT])
    assert "night" in third.similar("horror01", 60).ids
    third.close()


def test_similar_items_are_alike_and_chosen_together(open_shop: Open) -> None:
    recommender = open_shop()
    found = recommender.similar("horror03", 5)
    assert found.policy == "similar"
    assert "horror03" not in found.ids
    assert sum(name.startswith("horror") for name in found.ids) == 5
    assert [one.score for one in found.items] == sorted((one.score for one in found.items), reverse=True)
    assert all(one.explanation is not None and one.explanation.text for one in found.items)
    bare = recommender.similar("horror14", 5)  # has no content: who chooses it tells
    assert sum(name.startswith("horror") for name in bare.ids) >= 4
    assert all(one.reason == "behaviour" for one in bare.items)
    assert set(recommender.similar("horror03", 5, where={"tags": "solo"}).ids) <= {
        f"horror{n:02}" for n in range(1, 15, 2)
    }


def test_an_unknown_item_gets_a_hint(open_shop: Open) -> None:
    recommender = open_shop()
    with pytest.raises(DataError, match="no item is called 'horor03'; did you mean 'horror03'"):
        recommender.similar("horor03")
    with pytest.raises(DataError, match="no item is called 'zzz'"):
        recommender.remove_items(["horror01", "zzz"])
    assert recommender.item("horror01").id == "horror01"  # nothing was removed
    with pytest.raises(DataError, match="give a list of ids"):
        recommender.remove_items("horror01")


@pytest.mark.parametrize("k", [0, -1, 1_001])
def test_k_is_bounded(open_shop: Open, k: int) -> None:
    with pytest.raises(DataError, match=f"k is {k}"):
        open_shop().recommend("u0", k)


def test_items_that_cannot_be_are_refused_and_nothing_is_added(open_shop: Open) -> None:
    recommender = open_shop()
    nan = np.ones((2, served.DIM), dtype=np.float32)
    nan[1, 3] = np.nan
    wrong: list[tuple[str, Sequence[Item], NDArray[np.float32] | None]] = [
        ("same id: night", [NIGHT, NIGHT], None),
        ("no id", [NIGHT, Item(" ")], None),
        ("price nan", [NIGHT, Item("odd", price=float("nan"))], None),
        ("below 0", [NIGHT, Item("odd", stock=-1)], None),
        ("'odd' has NaN", [NIGHT, Item("odd")], nan),
        (r"shape \[2, 16\]", [NIGHT, Item("odd")], nan[:, :3]),
    ]
    for message, items, vectors in wrong:
        with pytest.raises(DataError, match=message):
            recommender.add_items(items, vectors=vectors)
        with pytest.raises(DataError):
            recommender.item("night")


def test_an_encoder_that_fails_names_the_item(shop: Path) -> None:
    def broken(samples: Sequence[Sample]) -> NDArray[np.float32]:
        found = served.encode(samples)
        found[-1] = np.inf
        return found

    with Recommender.open(shop, encode=broken) as recommender:
        with pytest.raises(DataError, match="vector of item 'last' has NaN or infinity"):
            recommender.add_items([NIGHT, Item("bare"), Item("last", "Last")])
        with pytest.raises(DataError):
            recommender.item("night")


def test_an_item_without_content_is_kept_and_told(open_shop: Open) -> None:
    recommender = open_shop(exploration=0.5, little_seen=0)
    changed = recommender.add_items([Item("bare", price=3.0)])
    assert "1 items have no content (bare)" in changed.notes[0]
    assert any("bare" in recommender.recommend("nobody", 4).ids for _ in range(30))
    assert recommender.similar("bare").why == "nothing is known to be like the item"
    recommender.add_events([_event("u0", "bare")])
    assert "bare" not in recommender.recommend("u0", 60).ids


def test_without_an_encoder_content_is_not_read_and_that_is_told(shop: Path) -> None:
    with Recommender.open(shop) as recommender:
        assert "nothing here can encode them (night)" in recommender.add_items([NIGHT]).notes[0]
        vector = served.encode([Sample("x", text="horror")])
        assert recommender.add_items([NIGHT], vectors=vector).notes == ()
        assert recommender.similar("night", 3).items[0].item.category == "horror"


def test_what_could_not_be_encoded_is_when_somebody_can(shop: Path, tmp_path: Path) -> None:
    with Recommender.open(shop, tmp_path / "s.sqlite3") as recommender:
        recommender.add_items([NIGHT, Item("bare")])
        assert recommender.similar("night").items == ()
    for _ in range(2):
        with Recommender.open(shop, tmp_path / "s.sqlite3", encode=served.encode) as recommender:
            assert recommender.similar("night", 3).items[0].item.category == "horror"
    with Store.open(tmp_path / "s.sqlite3", writer=False) as store, store.reading() as tx:
        assert sorted((row.id, row.number) for row in tx.items()) == [("bare", 2), ("night", 3)]  # it was written once


def test_vectors_of_another_encoder_are_not_mixed_in(shop: Path, tmp_path: Path) -> None:
    later = served.write_shop(tmp_path / "later", encoder="another")
    with Recommender.open(shop, tmp_path / "s.sqlite3", encode=served.encode) as recommender:
        recommender.add_items([NIGHT])
    with Recommender.open(later, tmp_path / "s.sqlite3", encode=served.encode) as recommender:
        assert recommender.item("night").title == "Horror Night"
        assert recommender.similar("night").items[0].item.category == "horror"  # it was encoded anew
    with Recommender.open(shop, tmp_path / "s.sqlite3") as recommender:
        assert recommender.similar("night").items == ()  # nothing can encode it


def test_events_are_kept_once_and_wait_for_their_items(open_shop: Open) -> None:
    recommender = open_shop(exploration=0.0)
    events = [_event("fresh", "night"), _event("fresh", "horror02", "purchase", 5_000_000)]
    first = recommender.add_events(events)
    assert (first.count, first.notes) == (2, ("1 items are unknown, and their events wait for them: night",))
    again = recommender.add_events(events)
    assert again.count == 0
    assert "2 events were there already" in again.notes[0]
    recommender.add_items([NIGHT])
    assert "night" not in recommender.recommend("fresh", 40).ids  # his event with it counts now
    assert "night" in recommender.recommend("u0", 40).ids


def test_both_databases_show_at_once_what_was_written(shop: Path, place: str) -> None:
    with Recommender.open(shop, place, RuleSettings(exploration=0.0), encode=served.encode) as recommender:
        recommender.add_items([NIGHT])
        assert "night" in recommender.recommend("u0", 40).ids
        recommender.add_events([_event("fresh", "night")])
        assert recommender.recommend("fresh", 3).policy == "content"
        recommender.remove_items(["night"])
        assert "night" not in recommender.recommend("u0", 60).ids
    with Recommender.open(shop, place, encode=served.encode) as again:
        assert "night" not in again.recommend("u0", 60).ids


def test_popularity_follows_the_events(open_shop: Open) -> None:
    recommender, other = open_shop(exploration=0.0, diversity=0.0), open_shop(exploration=0.0, diversity=0.0)
    recommender.add_items([NIGHT])
    recommender.add_events([_event(f"crowd{n}", "night") for n in range(40)])
    for one in (recommender, other, open_shop(exploration=0.0, diversity=0.0)):
        assert one.recommend("nobody", 1).ids == ("night",)


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (EventRow("u0", "horror01", "view", now_us() + 2 * DAY), "lies in the future"),
        (EventRow("u0", "horror01", "view", 2**62), "after the year 9999"),
        (EventRow("u0", "horror01", "view", 1, -1.0), "weighs -1"),
        (EventRow("u0", "horror01", "view", 1, float("nan")), "weighs nan"),
        (EventRow("", "horror01", "view", 1), "lacks a user"),
        (EventRow("u0", " ", "view", 1), "lacks a user, an item"),
    ],
)
def test_events_that_cannot_be_are_refused_whole(open_shop: Open, event: EventRow, message: str) -> None:
    recommender = open_shop()
    with pytest.raises(DataError, match=message):
        recommender.add_events([_event("fresh", "horror02"), event])
    assert recommender.recommend("fresh", 3).policy == "popularity"


def test_an_event_within_a_day_ahead_is_a_clock_that_is_fast(open_shop: Open) -> None:
    assert open_shop().add_events([_event("fresh", "horror02", ago=-DAY // 2)]).count == 1


def test_an_event_with_a_shown_item_is_that_lists_outcome(open_shop: Open, tmp_path: Path) -> None:
    recommender = open_shop()
    found = recommender.recommend("u0", 3)
    recommender.add_events([EventRow("u0", found.ids[1], "purchase", now_us(), 3.0)])
    with Store.open(tmp_path / "store.sqlite3", writer=False) as store, store.reading() as tx:
        (outcome,) = tx.outcomes()
    assert (outcome.exposure, outcome.item, outcome.kind, outcome.weight) == (
        found.exposure,
        found.ids[1],
        "purchase",
        3,
    )


def test_threads_share_a_recommender_while_items_come_and_go(open_shop: Open) -> None:
    recommender = open_shop(little_seen=100)
    stop, problems = threading.Event(), []

    def ask(user: str) -> None:
        while not stop.is_set():
            try:
                found = recommender.recommend(user, 5)
                assert len(set(found.ids)) == 5
            except Exception as error:
                problems.append(error)
                return

    threads = [threading.Thread(target=ask, args=(f"u{n}",)) for n in range(3)]
    for thread in threads:
        thread.start()
    for n in range(15):
        recommender.add_items([replace(NIGHT, id=f"night{n}")])
        recommender.add_events([_event(f"u{n % 3}", f"night{n}")])
        recommender.remove_items([f"night{n}"])
        found = recommender.recommend("nobody", 60)
        assert not any(name.startswith("night") for name in found.ids)
    time.sleep(0.05)
    stop.set()
    for thread in threads:
        thread.join()
    assert problems == []


def test_after_closing_nothing_is_answered(shop: Path) -> None:
    recommender = Recommender.open(shop)
    recommender.recommend("u0")
    recommender.close()
    recommender.close()
    with pytest.raises(DataError, match="closed"):
        recommender.recommend("u0")
