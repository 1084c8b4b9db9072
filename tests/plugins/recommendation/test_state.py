"""What users did: the bundle's events and the store's as one history."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from triptych_recommendation.catalogue.schema import EventRow
from triptych_recommendation.catalogue.store import Store
from triptych_recommendation.data.interactions import Interactions
from triptych_recommendation.data.items import Item
from triptych_recommendation.serving import state
from triptych_recommendation.serving.shelf import Shelf
from triptych_recommendation.serving.state import NOBODY, Users

PAST = Interactions.of(["ann", "ann", "bob"], ["lamp", "vase", "lamp"], [10, 30, 5], kinds=["view", "purchase", "view"])


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store.sqlite3", writer=True) as found:
        yield found


@pytest.fixture
def shelf() -> Shelf:
    return Shelf([Item(name) for name in PAST.items])


def _add(store: Store, *events: EventRow) -> None:
    with store.transaction() as tx:
        tx.add_events(events)


def test_nobody_has_no_history(store: Store, shelf: Shelf) -> None:
    users = Users(PAST, store, shelf)
    assert users.get(None) is NOBODY
    assert not users.get("ghost").known
    assert len(users.get("ghost").history) == 0


def test_new_events_take_their_place_in_time(store: Store, shelf: Shelf) -> None:
    users = Users(PAST, store, shelf)
    assert users.get("ann").history.items.tolist() == [0, 1]
    _add(store, EventRow("ann", "lamp", "click", 20, 2.0))
    assert users.get("ann").history.items.tolist() == [0, 1]  # remembered until it is told
    users.forget(["ann"])
    found = users.get("ann")
    assert found.history.items.tolist() == [0, 0, 1]
    assert found.history.weights.tolist() == [1.0, 2.0, 1.0]
    assert found.kinds == ("view", "click", "purchase")


def test_an_event_that_the_bundle_has_too_counts_once(store: Store, shelf: Shelf) -> None:
    _add(store, EventRow("ann", "lamp", "view", 10), EventRow("ann", "lamp", "purchase", 10))
    assert Users(PAST, store, shelf).get("ann").kinds == ("view", "purchase", "purchase")


def test_a_dislike_is_known_and_not_learnt_from(store: Store, shelf: Shelf) -> None:
    _add(store, EventRow("bob", "vase", "rating", 50, 0.0))
    found = Users(PAST, store, shelf).get("bob")
    assert found.history.items.tolist() == [0]
    assert found.seen.tolist() == [0, 1]


def test_events_wait_for_their_item(store: Store, shelf: Shelf) -> None:
    _add(store, EventRow("new", "sofa", "view", 50))
    users = Users(PAST, store, shelf)
    assert users.get("new").known
    assert len(users.get("new").history) == 0
    shelf.put([Item("sofa")])
    users.forget()
    assert users.get("new").history.items.tolist() == [2]


def test_who_comes_seldom_is_forgotten_and_read_again(
    store: Store, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "REMEMBERED", 1)
    _add(store, EventRow("ann", "lamp", "click", 20))
    users = Users(PAST, store, shelf)
    users.get("ann")
    users.get("bob")
    _add(store, EventRow("ann", "vase", "view", 99))
    assert users.get("ann").history.items.tolist() == [0, 0, 1, 1]
