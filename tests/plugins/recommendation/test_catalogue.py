from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.plugins.recommendation.stores import place, server
from triptych.errors import ConfigError, DataError, MissingError
from triptych_recommendation.catalogue import tables
from triptych_recommendation.catalogue.schema import EventRow, ExposureRow, ItemRow, OutcomeRow, item_json, item_of
from triptych_recommendation.catalogue.store import VERSION, Store
from triptych_recommendation.data.items import Item

__all__ = ["place", "server"]  # fixtures
LAMP = Item(
    "lamp", "A lamp", "It shines.", Path("/shop/lamp.png"), Path("/shop/lamp.wav"), "light", 12.5, 3, ("red", "new"),
    {"year": 2024},
)  # fmt: skip


def row(name: str, **changes: Any) -> ItemRow:
    vector = np.random.default_rng(len(name)).normal(size=8).astype(np.float16).astype(np.float32)
    return ItemRow(**{"id": name, "item": Item(name, f"Title of {name}"), "vector": vector, "added": 5, **changes})


def test_an_item_comes_back_as_it_was_put(place: str) -> None:
    vector = np.array([0.5, -0.25], dtype=np.float32)
    with Store.open(place, writer=True) as store, store.transaction() as tx:
        tx.put_items([ItemRow("lamp", LAMP, vector, "words", 7), ItemRow("bare", Item("bare"), added=8)])
    with Store.open(place, writer=False) as store, store.transaction() as tx:
        lamp, bare = tx.items()
    assert lamp.item == LAMP
    assert lamp.vector.tolist() == vector.tolist()
    assert (lamp.encoder, lamp.added, lamp.removed) == ("words", 7, None)
    assert (bare.item, bare.vector) == (Item("bare"), None)


def test_a_change_gives_a_new_number_so_that_others_see_it(place: str) -> None:
    with Store.open(place, writer=True) as store:
        with store.transaction() as tx:
            first = tx.put_items([row("a"), row("b")])
        with store.transaction() as tx:
            tx.put_items([row("a", added=9)])
            changed = tx.items(after=first[-1].number)
    assert [(one.id, one.added) for one in changed] == [("a", 9)]


def test_a_removed_item_stays_removed_and_its_content_known(place: str) -> None:
    with Store.open(place, writer=True) as store:
        with store.transaction() as tx:
            tx.put_items([row("a")])
            gone = tx.remove_items(["a", "never heard of", "a"], now=11)
            again = tx.remove_items(["a"], now=12)
        with store.transaction() as tx:
            stored = tx.items()
    assert [(one.id, one.removed) for one in gone] == [("a", 11), ("never heard of", 11)]
    assert again == []
    assert [(one.id, one.removed, one.item is None) for one in stored] == [
        ("a", 11, False),
        ("never heard of", 11, True),
    ]


def test_an_event_counts_once_however_often_it_is_given(place: str) -> None:
    events = [EventRow("ann", "a", "view", 1), EventRow("ann", "a", "view", 2), EventRow("ann", "a", "click", 1)]
    with Store.open(place, writer=True) as store:
        with store.transaction() as tx:
            added = tx.add_events([*events, events[0]])
        with store.transaction() as tx:
            again = tx.add_events([*events, EventRow("bob", "a", "view", 1, 0.0)])
            stored = tx.events()
            of_ann = tx.events(user="ann", since=2)
    assert [(e.kind, e.time) for e in added] == [("view", 1), ("view", 2), ("click", 1)]
    assert [(e.user, e.weight) for e in again] == [("bob", 0.0)]
    assert stored == [*added, *again]
    assert [e.time for e in of_ann] == [2]


@given(
    st.lists(st.tuples(st.text(max_size=4), st.text(max_size=4), st.text(max_size=4), st.integers(0, 99)), max_size=9)
)
def test_different_events_have_different_keys(parts: list[tuple[str, str, str, int]]) -> None:
    assert len({EventRow(*part).key for part in parts}) == len(set(parts))


def test_lists_and_their_outcomes_are_found_by_experiment_user_and_time(place: str) -> None:
    lists = [
        ExposureRow("e1", 10, "ann", ("a", "b"), "blend", "colours", "red", {"explored": [1]}),
        ExposureRow("e2", 20, "bob", ("b",), "blend", "colours", "blue"),
        ExposureRow("e3", 30, "", ("c",)),
    ]
    with Store.open(place, writer=True) as store:
        with store.transaction() as tx:
            tx.add_exposures(lists[1:])
            tx.add_exposures(lists[:1])
            hit = OutcomeRow("e1", "a", "click", 12)
            tx.add_outcomes([hit, OutcomeRow("e3", "c", "view", 31, 0.5)])
            tx.add_outcomes([hit])
        with store.transaction() as tx:
            assert tx.exposures() == lists
            assert tx.exposures()[0].details == {"explored": [1]}
            assert tx.exposures("colours") == lists[:2]
            assert (
                tx.exposures(user="bob") == tx.exposures(ids=["e2"]) == tx.exposures(since=20, until=30) == [lists[1]]
            )
            assert [o.item for o in tx.outcomes()] == ["a", "c"]
            assert [(o.exposure, o.kind) for o in tx.outcomes("colours")] == [("e1", "click")]
            assert [o.weight for o in tx.outcomes(exposures=["e3"], since=31)] == [0.5]
        with pytest.raises(DataError, match="holds this already"), store.transaction() as tx:
            tx.add_exposures(lists[:1])
        assert [store.shown_to("ann", since) for since in (10, 11)] == [lists[:1], []]
        assert (store.shown_to("bob", 0), store.shown_to("", 0), store.shown_to("cat", 0)) == (
            lists[1:2],
            lists[2:],
            [],
        )
        with pytest.raises(DataError, match="no database keeps"):
            store.shown_to("a\0b", 0)
    with pytest.raises(DataError, match="is closed"):
        store.shown_to("ann", 0)


def test_a_transaction_that_raises_leaves_nothing(place: str) -> None:
    with Store.open(place, writer=True) as store:
        with suppress(RuntimeError), store.transaction() as tx:
            tx.put_items([row("a")])
            tx.add_events([EventRow("ann", "a", "view", 1)])
            assert len(tx.items()) == len(tx.events()) == 1
            raise RuntimeError
        with store.transaction() as tx:
            assert tx.items() == tx.events() == []


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (ItemRow("a", Item("a", price=float("nan"))), "price"),
        (ItemRow("a", Item("a", metadata={"x": float("inf")})), "JSON"),
        (ItemRow("a", Item("a"), np.array([np.nan], dtype=np.float32)), "finite"),
        (ItemRow("a\0", Item("a")), "no database keeps"),
    ],
)
def test_what_cannot_be_kept_is_refused_whole(tmp_path: Path, wrong: ItemRow, message: str) -> None:
    with Store.open(tmp_path / "s.sqlite3", writer=True) as store:
        with pytest.raises(DataError, match=message), store.transaction() as tx:
            tx.put_items([row("good"), wrong])
        with store.transaction() as tx:
            assert tx.items() == []


@pytest.mark.parametrize("weight", [float("nan"), float("inf")])
def test_a_weight_that_is_no_number_is_refused(tmp_path: Path, weight: float) -> None:
    with (
        Store.open(tmp_path / "s.sqlite3", writer=True) as store,
        pytest.raises(DataError, match="finite"),
        store.transaction() as tx,
    ):
        tx.add_events([EventRow("ann", "a", "view", 1, weight)])


def test_two_processes_may_write_and_see_each_other(place: str) -> None:
    with Store.open(place, writer=True) as one, Store.open(place, writer=True) as other:
        before = other.version()
        with one.transaction() as tx:
            tx.put_items([row("a")])
        with other.transaction() as tx:
            tx.put_items([row("b")])
        with one.transaction() as tx:
            assert [found.id for found in tx.items()] == ["a", "b"]
        assert one.version() > before


def test_a_reader_writes_nothing(tmp_path: Path) -> None:
    Store.open(tmp_path / "s.sqlite3", writer=True).close()
    with (
        Store.open(tmp_path / "s.sqlite3", writer=False) as store,
        pytest.raises(DataError, match="reading only"),
        store.transaction() as tx,
    ):
        tx.put_items([row("a")])


def test_places_that_are_no_store_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="there is no store"):
        Store.open(tmp_path / "none.sqlite3", writer=False)
    (tmp_path / "text").write_text("no database, but long enough to be looked at" * 30)
    with pytest.raises(DataError, match="damaged, or no store"):
        Store.open(tmp_path / "text", writer=True)
    with pytest.raises(ConfigError, match="mysql"):
        Store.open("mysql://host/name", writer=True)


def test_a_file_of_another_program_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite3"
    with closing(sqlite3.connect(path)) as file:
        file.execute("CREATE TABLE song (name)")
    before = path.read_bytes()
    with pytest.raises(DataError, match=r"another program \(song\)"):
        Store.open(path, writer=True)
    assert path.read_bytes() == before


def test_a_store_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite3"
    Store.open(path, writer=True).close()
    with closing(sqlite3.connect(path)) as file:
        file.execute("UPDATE meta SET value = value + 1 WHERE name = 'version'")
        file.commit()
    for writer in (True, False):
        with pytest.raises(MissingError, match=f"schema {VERSION + 1}"):
            Store.open(path, writer=writer)


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "s.sqlite3", writer=True)
    store.close()
    store.close()
    with pytest.raises(DataError, match="is closed"), store.transaction():
        pass


def test_a_store_that_lost_a_table_says_so(place: str) -> None:
    with Store.open(place, writer=True) as store:
        with store.transaction() as tx:
            tables.outcome.drop(tx.connection)
        with pytest.raises((DataError, MissingError), match=r"store.sqlite3.*damaged|refuses"), store.reading() as tx:
            tx.outcomes()


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    st.builds(
        Item,
        id=texts.filter(bool),
        title=texts,
        description=texts,
        image=st.none() | st.just(Path("/a/b.png")),
        audio=st.none() | st.just(Path("/a/b.wav")),
        category=texts,
        price=st.none() | st.floats(0, 1e6),
        stock=st.none() | st.integers(0, 99),
        tags=st.lists(texts, max_size=3).map(tuple),
        metadata=st.dictionaries(texts, texts | st.integers(-9, 9), max_size=3),
    )
)
def test_any_item_survives_its_json(item: Item) -> None:
    assert item_of(item_json(item)) == item
