"""Evidence: what moved the bucket, what was like it before and what followed; nothing that was not known yet."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.plugins.finance.desks import DAY, HOUR, LATENESS, SECTORS, START, reading, sector
from triptych.errors import DataError
from triptych_finance.alerts.evidence import FOLLOW_DAYS, PRICE_DAYS, evidence
from triptych_finance.store.outlines import Outlines
from triptych_finance.store.schema import EntityRow, ItemRow, ReadingRow
from triptych_finance.store.store import Store

ALERT = 60  # the day whose bucket alarms


class Gazetteer:
    """The sectors of the desks' companies."""

    sector = staticmethod(sector)


class Days:
    """Prices in small: one close a day from `first` on, each known the day after."""

    def __init__(self, first: datetime) -> None:
        self.first = first.date()

    def position(self, symbol: str, when: date) -> int:
        if symbol not in SECTORS:
            raise DataError(f"{symbol} has no price")
        assert isinstance(when, datetime)
        return (when.date() - self.first).days - 1

    def change(self, symbol: str, when: date, days: int) -> float:
        return 0.01 * self.position(symbol, when)

    def realised_volatility(self, symbol: str, when: date, days: int) -> float:
        return -4.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "news.sqlite3", writer=True) as opened:
        yield opened


def item(
    name: str, day: float, score: float, *, about: str = "ACME", weight: float = 1.0, angle: float = 0.0, **more: Any
) -> ItemRow:
    at = START + day * DAY
    vector = np.array([np.cos(angle), np.sin(angle), 0, 0], dtype=np.float32)
    values: dict[str, Any] = {"published": at, "arrived": at, "title": f"Title {name}", "text": f"Text of {name}."}
    entity = EntityRow(about, score, weight, f"Sentence of {name}.")
    values |= {"key": name, "source": "wire", "id": name, "vector": vector, "entities": (entity,)}
    return ItemRow(**{**values, **more})


def index(day: int, value: float) -> ReadingRow:
    row = reading(day, alarm=False)
    return ReadingRow(**{**dataclasses.asdict(row), "index": value})


def ask(store: Store, items: list[ItemRow], readings: list[ReadingRow] | None = None, **more: Any) -> dict[str, Any]:
    with store.transaction() as tx:
        tx.add_items(items)
        tx.add_readings(readings or [])
        which = more.pop("reading", reading(ALERT))
        found = evidence(Outlines(tx), which, Gazetteer(), more.pop("prices", None), lateness=LATENESS, **more)
    return json.loads(json.dumps(found))


def test_the_items_that_moved_the_index_come_first_with_their_sentences_and_shares(store):
    news = [
        item("small", ALERT + 0.1, -0.2, weight=0.5),
        item("large", ALERT + 0.2, -0.9, weight=2.0, url="https://example.org/large"),
        item("against", ALERT + 0.3, 0.8),
    ]
    found = ask(store, news)
    # the index was at -0.1: it is drawn down by 2 * 0.8 and 0.5 * 0.1
    assert [(m["key"], m["share"]) for m in found["moved"]] == [("large", 0.9697), ("small", 0.0303)]
    first = found["moved"][0]
    assert (first["sentence"], first["title"], first["url"]) == (
        "Sentence of large.",
        "Title large",
        "https://example.org/large",
    )
    assert (found["items"], found["copies"]) == (3, 0)


def test_a_turn_for_the_better_is_explained_by_good_news(store):
    news = [item("good", ALERT + 0.1, 0.9), item("bad", ALERT + 0.2, -0.9)]
    assert [m["key"] for m in ask(store, news, reading=reading(ALERT, direction=1))["moved"]] == ["good"]


def test_at_most_k_items_are_shown_and_long_sentences_are_cut(store):
    long = (EntityRow("ACME", -0.9, 9.0, "word " * 200),)
    news = [item(f"n{n}", ALERT + 0.1, -0.5) for n in range(9)] + [item("long", ALERT + 0.2, -0.9, entities=long)]
    found = ask(store, news, k=2)
    assert len(found["moved"]) == 2
    assert found["items"] == 10
    assert len(found["moved"][0]["sentence"]) == 300


def test_unusual_volume_is_explained_by_weight(store):
    news = [item("light", ALERT + 0.1, -0.9), item("heavy", ALERT + 0.2, 0.0, weight=3.0)]
    found = ask(store, news, reading=reading(ALERT, direction=0))
    assert [m["key"] for m in found["moved"]] == ["heavy", "light"]


def test_only_the_bucket_and_the_entity_count(store):
    news = [
        item("before", ALERT - 0.01, -0.9),
        item("first", ALERT, -0.9),
        item("other", ALERT + 0.5, -0.9, about="OREX"),
        item("after", ALERT + 1, -0.9),
    ]
    assert [m["key"] for m in ask(store, news)["moved"]] == ["first"]


def test_copies_are_counted_and_left_out(store):
    news = [item("first", ALERT + 0.1, -0.9), item("copy", ALERT + 0.2, -0.9, duplicate_of="first")]
    found = ask(store, news)
    assert ([m["key"] for m in found["moved"]], found["items"], found["copies"]) == (["first"], 1, 1)


def test_a_sector_is_explained_by_its_entities(store):
    news = [item(name, ALERT + 0.1, -0.9, about=name) for name in ("ACME", "ADEX", "OREX", "STRANGER")]
    found = ask(store, news, reading=reading(ALERT, entity="sector:tech"))
    assert {m["entity"] for m in found["moved"]} == {"ACME", "ADEX"}


def test_what_came_after_the_bucket_was_closed_is_not_evidence(store):
    closing = item("closing", ALERT + 1.25, 0.0)
    late = item("late", ALERT + 0.5, -0.9, arrived=closing.arrived)
    late_past = item("late past", ALERT - 9, -0.9, arrived=closing.arrived)
    found = ask(store, [item("in time", ALERT + 0.5, -0.9), closing, late, late_past])
    assert [m["key"] for m in found["moved"]] == ["in time"]
    assert found["past"] == []


def test_an_item_dated_into_the_future_does_not_close_the_bucket(store):
    ahead = item("ahead", ALERT + 30, 0.0, arrived=START + ALERT * DAY)
    found = ask(store, [ahead, item("in time", ALERT + 0.5, -0.9)])
    assert [m["key"] for m in found["moved"]] == ["in time"]


def test_the_nearest_in_the_past_come_with_their_cosines(store):
    past = [item(f"at {angle}", day, 0.1, angle=angle) for day, angle in ((9, 0.5), (10, 0.0), (11, 1.5), (12, 0.2))]
    found = ask(store, [*past, item("now", ALERT + 0.1, -0.9)], k=3)
    assert [(p["key"], p["similarity"]) for p in found["past"]] == [
        ("at 0.0", 1.0),
        ("at 0.2", 0.98),
        ("at 0.5", 0.878),
    ]
    assert found["past"][0]["sentence"] == "Sentence of at 0.0."


def test_the_present_story_is_not_its_own_past(store):
    same_day = [item(f"now {n}", ALERT + 0.1 * n, -0.9) for n in range(3)]
    assert ask(store, same_day)["past"] == []


def test_what_followed_the_index_is_told(store):
    readings = [index(day, round(0.01 * day, 2)) for day in range(ALERT + 1)]
    found = ask(store, [item("then", 20.5, 0.1), item("now", ALERT + 0.1, -0.9)], readings)
    # known on day 20 at noon is the bucket of day 19; seven days later that of day 26
    assert found["past"][0]["index"] == {"before": 0.19, "after": 0.26, "days": FOLLOW_DAYS}


def test_what_followed_the_price_is_told(store):
    found = ask(store, [item("then", 20.5, 0.1), item("now", ALERT + 0.1, -0.9)], prices=Days(START))
    assert found["past"][0]["price"] == {"change": 0.19, "volatility": -4.0, "days": PRICE_DAYS}


def test_without_prices_of_the_entity_nothing_is_said_of_them(store):
    stranger = [item("then", 20.5, 0.1, about="NONE"), item("now", ALERT + 0.1, -0.9, about="NONE")]
    found = ask(store, stranger, prices=Days(START), reading=reading(ALERT, entity="NONE"))
    assert "price" not in found["past"][0]


@pytest.mark.parametrize("extra", [0, 1])
def test_what_followed_is_told_only_once_it_was_known(store, extra):
    at = ALERT + 1 - FOLLOW_DAYS - (1 if extra else 0) + 0.5
    readings = [index(day, 0.0) for day in range(ALERT + 9)]  # the store knows more by now
    found = ask(store, [item("then", at, 0.1), item("now", ALERT + 0.1, -0.9)], readings)
    assert ("index" in found["past"][0]) is bool(extra)


@pytest.mark.parametrize(("hours_short", "told"), [(0, True), (24, False)])
def test_the_price_is_told_only_when_its_days_are_over(store, hours_short, told):
    closed = START + (ALERT + 1) * DAY + LATENESS
    then = closed - PRICE_DAYS * DAY + timedelta(hours=hours_short)
    past = item("then", (then - START) / DAY, 0.1)
    found = ask(store, [past, item("now", ALERT + 0.9, -0.9)], prices=Days(START), reading=reading(ALERT))
    assert [("price" in p) for p in found["past"]] == ([told] if then < START + ALERT * DAY else [])


def test_items_without_a_vector_have_no_neighbours(store):
    found = ask(store, [item("then", 20, 0.1), item("now", ALERT + 0.1, -0.9, vector=None)])
    assert len(found["moved"]) == 1
    assert found["past"] == []


def test_vectors_of_another_model_are_passed_over(store):
    other = item("then", 20, 0.1, vector=np.ones(7, dtype=np.float32))
    assert ask(store, [other, item("now", ALERT + 0.1, -0.9)])["past"] == []


def test_a_bucket_without_news_has_no_evidence(store):
    assert ask(store, []) == {"items": 0, "copies": 0, "moved": [], "past": []}


def test_the_same_whatever_came_later(store):
    news = [item("then", 20.5, 0.1), item("now", ALERT + 0.1, -0.9)]
    readings = [index(day, 0.01 * day) for day in range(ALERT + 1)]
    before = ask(store, news, readings, prices=Days(START))
    later = [item("closing", ALERT + 1.25, -1.0), item("later", ALERT + 9, -1.0)]
    late = [dataclasses.replace(item(f"late {n}", 30 + n, -1.0), arrived=later[0].arrived + HOUR) for n in range(9)]
    assert ask(store, [*later, *late], [index(ALERT + 1, 9.0)], prices=Days(START)) == before
