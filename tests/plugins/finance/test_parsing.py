"""One record to an item, or to the words that say what is wrong with it."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triptych.errors import ConfigError, DataError
from triptych_finance.sources.parsing import Rules, clean, content_id, read_options, read_record, read_time
from triptych_finance.stream.item import Item

NOW = datetime(2024, 5, 31, 14, tzinfo=UTC)
GOOD = {"text": "Aldermoor Mills raises its forecast", "published": "2024-05-30"}


def read(values: dict[str, Any], **options: Any) -> Item | str:
    return read_record(
        values, source="s", place="news.csv, row 7", spare_id="7", now=NOW, rules=Rules.model_validate(options)
    )


def item(values: dict[str, Any], **options: Any) -> Item:
    found = read(values, **options)
    assert isinstance(found, Item), found
    return found


def problem(values: dict[str, Any], **options: Any) -> str:
    found = read(values, **options)
    assert isinstance(found, str), found
    assert found.startswith("news.csv, row 7: ")
    return found


def test_every_field_is_read() -> None:
    found = item(
        {
            "id": 12.0, "title": "Aldermoor  Mills\nup", "body": "It sold more flour.", "entities": "ALDM| BRKN |ALDM",
            "published": "2024-05-30T10:00:00+02:00", "url": "https://news.example/12", "desk": "grain", "rank": 3,
            "note": "", "gap": float("nan"),
        }
    )  # fmt: skip
    assert found == Item(
        id="12", source="s", text="Aldermoor Mills up\nIt sold more flour.", title="Aldermoor Mills up",
        published=datetime(2024, 5, 30, 8, tzinfo=UTC), arrived=NOW, url="https://news.example/12",
        entities=("ALDM", "BRKN"), metadata={"desk": "grain", "rank": "3"},
    )  # fmt: skip


def test_a_body_that_repeats_its_title_is_not_told_twice() -> None:
    found = item({"title": "Mills up", "body": "Mills up, says the board", "published": "2024-05-30"})
    assert found.text == "Mills up, says the board"


def test_a_record_without_an_id_takes_the_spare_one() -> None:
    assert item(GOOD).id == "7"
    assert item({**GOOD, "id": " \x00 "}).id == "7"


@pytest.mark.parametrize("entities", ["A|B", ["A", "B"], '["A", "B"]', ("A", "B", "A")])
def test_entities_come_as_cells_and_as_lists(entities: Any) -> None:
    assert item({**GOOD, "entities": entities}).entities == ("A", "B")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2024-05-30", datetime(2024, 5, 30, tzinfo=UTC)),
        ("20240530", datetime(2024, 5, 30, tzinfo=UTC)),
        ("2024-05-30T10:00:00", datetime(2024, 5, 30, 10, tzinfo=UTC)),
        ("2024-05-30 10:00:00Z", datetime(2024, 5, 30, 10, tzinfo=UTC)),
        ("2024-05-30T10:00:00.25-05:00", datetime(2024, 5, 30, 15, 0, 0, 250_000, tzinfo=UTC)),
        ("Thu, 30 May 2024 10:00:00 GMT", datetime(2024, 5, 30, 10, tzinfo=UTC)),
        ("Thu, 30 May 2024 10:00:00 +0200", datetime(2024, 5, 30, 8, tzinfo=UTC)),
        ("30 May 24 10:00 EST", datetime(2024, 5, 30, 15, tzinfo=UTC)),
        ("Thu May 30 10:00:00 +0000 2024", datetime(2024, 5, 30, 10, tzinfo=UTC)),
        (date(2024, 5, 30), datetime(2024, 5, 30, tzinfo=UTC)),
        (datetime(2024, 5, 30, 1, tzinfo=timezone(timedelta(hours=2))), datetime(2024, 5, 29, 23, tzinfo=UTC)),
    ],
)
def test_times_are_read_as_they_are_written_and_kept_in_utc(written: Any, meant: datetime) -> None:
    found = read_time(written)
    assert (found, found.tzinfo) == (meant, UTC)


@given(st.datetimes(min_value=datetime(1970, 1, 2), max_value=datetime(2200, 1, 1)), st.integers(-14 * 60, 14 * 60))
def test_a_time_survives_being_written_in_any_zone(moment: datetime, minutes: int) -> None:
    there = moment.replace(tzinfo=UTC).astimezone(timezone(timedelta(minutes=minutes)))
    assert read_time(there.isoformat()) == moment.replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("soon", "'soon' is no time"),
        ("2024-02-31", "no time"),
        ("Thu, 30 May 2024 10:00:00 CET", "time zone 'CET'"),
        ("1970-01-01T00:00:00Z", "not after 1970"),
        ("0001-01-01T00:00:00+05:00", "outside the calendar"),
        (1717063200, "not as a int"),
        ("9" * 1_000_000, "is no time"),
    ],
)
def test_what_is_no_time_is_named(written: Any, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        read_time(written)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"text": ""}, "no text: 'text' is missing"),
        ({"text": " \x00\x01 "}, "no text"),
        ({"text": 5}, "'text' must be a text, not a int"),
        ({"published": None}, "'published' is missing"),
        ({"published": "soon"}, "'published': 'soon' is no time"),
        ({"id": ["x"]}, "'id' must be"),
        ({"id": True}, "'id' must be"),
        ({"id": "é" * 251}, "'id' is longer than 500 bytes"),
        ({"entities": [1]}, "'entities' must be"),
        ({"entities": "[broken"}, "'entities' is no list"),
        ({"blob": "x" * 1_000_001}, "beside the text"),
    ],
)
def test_a_problem_names_place_and_field(change: dict[str, Any], words: str) -> None:
    assert words in problem({**GOOD, **change})


def test_a_time_in_the_future_is_refused_or_clipped_beyond_the_leeway() -> None:
    assert item({**GOOD, "published": "2024-06-01T13:59:00Z"}).published > NOW
    late = {**GOOD, "published": "2024-06-01T14:01:00Z"}
    assert "more than 24 hours ahead" in problem(late)
    assert item(late, future="clip").published == NOW
    assert item(late, future_hours=48).published == datetime(2024, 6, 1, 14, 1, tzinfo=UTC)


def test_a_text_of_ten_megabytes_is_allowed_and_one_byte_more_is_not() -> None:
    text = "é" * (5 << 20)
    assert len(item({**GOOD, "text": text}).text) == 5 << 20
    assert "longer than 10 MB" in problem({**GOOD, "text": text + "x"})
    assert "longer than 0.001 MB" in problem({**GOOD, "text": "x" * 2000}, max_text_mb=0.001)


def test_a_title_counts_as_text() -> None:
    assert "longer than 0.001 MB" in problem({**GOOD, "title": "x" * 2000}, max_text_mb=0.001)


def test_text_is_cleaned_of_controls_references_and_halves_of_characters() -> None:
    assert clean("A&amp;B\x00 &#8364;5\r\nup\x85&lt;now\ud800 AT&T &copy2 \x0bend\x1b") == (
        "A&B €5\nup\n<now\N{REPLACEMENT CHARACTER} AT&T &copy2 \nend"
    )


@given(st.text(st.characters(codec=None)))
def test_cleaned_text_can_be_written_and_holds_no_controls(text: str) -> None:
    cleaned = clean(text)
    cleaned.encode()
    assert not [c for c in cleaned if ord(c) < 32 and c not in "\n\t"]


def test_an_address_that_is_none_stays_in_the_metadata() -> None:
    found = item({**GOOD, "url": "javascript:alert(1)"})
    assert (found.url, found.metadata) == ("", {"url": "javascript:alert(1)"})


@given(
    st.dictionaries(
        st.sampled_from(["id", "text", "title", "body", "published", "entities", "url", "other"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
            max_leaves=5,
        ),
    )
)
def test_any_record_is_an_item_or_a_problem(values: dict[str, Any]) -> None:
    found = read(values)
    assert isinstance(found, str) or (found.text.strip() and json.dumps(dict(found.metadata)).encode())


def test_the_id_of_a_record_is_its_content() -> None:
    assert content_id({"a": 1, "b": [2]}) == content_id({"b": [2], "a": 1}) != content_id({"a": 1, "b": [3]})


def test_options_are_read_behind_the_mark() -> None:
    place, rules = read_options("news.csv?future=clip&max_text_mb=2", Rules)
    assert (place, rules.future, rules.max_text_mb) == ("news.csv", "clip", 2.0)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("futur=clip", "'futur'"),
        ("future=maybe", "'future'"),
        ("future", "name=value"),
        ("max_text_mb=1&max_text_mb=2", "given twice"),
        ("max_text_mb=65", "'max_text_mb'"),
    ],
)
def test_wrong_options_are_named(query: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read_options(f"news.csv?{query}", Rules)
