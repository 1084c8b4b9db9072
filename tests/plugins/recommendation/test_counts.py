"""Counts: what the bundle and the store both have counts once, before the opening and after it."""

from __future__ import annotations

from pathlib import Path

from triptych_recommendation.catalogue.schema import EventRow
from triptych_recommendation.catalogue.store import Store
from triptych_recommendation.data.interactions import Interactions
from triptych_recommendation.serving.counts import Known, counts_of, stored_counts

PAST = Interactions.of(["ann", "ann", "bob"], ["lamp", "rug", "lamp"], [10, 20, 30], kinds=["view", "view", "purchase"])


def test_an_event_is_known_by_user_item_type_and_time() -> None:
    known = Known(PAST)
    assert known.has(EventRow("ann", "lamp", "view", 10))
    assert known.has(EventRow("bob", "lamp", "purchase", 30, weight=9.0))
    others = [("bob", "lamp", "view", 30), ("bob", "lamp", "purchase", 29), ("ann", "lamp", "purchase", 10)]
    for event in [*others, ("cat", "lamp", "view", 10), ("ann", "vase", "view", 10), ("ann", "lamp", "click", 10)]:
        assert not known.has(EventRow(*event))


def test_what_the_bundle_has_is_not_counted_again(tmp_path: Path) -> None:
    events = [
        EventRow("ann", "lamp", "view", 10),  # the bundle has it
        EventRow("ann", "rug", "view", 15),  # late, and new
        EventRow("bob", "lamp", "view", 40),
        EventRow("bob", "lamp", "view", 41),
        EventRow("bob", "rug", "view", 42, weight=0.0),  # a dislike
    ]
    with Store.open(tmp_path / "store.sqlite3", writer=True) as store:
        with store.transaction() as tx:
            tx.add_events(events)
        with store.reading() as tx:
            found = stored_counts(tx, Known(PAST))
    assert sorted(found) == [("lamp", 2), ("rug", 1)]
    assert sorted(counts_of(events, Known(PAST))) == [("lamp", 1), ("lamp", 1), ("rug", 1)]


def test_a_bundle_without_events_knows_none() -> None:
    empty = Interactions.of([], [])
    assert not Known(empty).has(EventRow("ann", "lamp", "view", -5))
