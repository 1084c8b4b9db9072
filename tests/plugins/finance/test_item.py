from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triptych import hookimpl
from triptych.errors import ConfigError, DataError, UnknownNameError
from triptych.host import Host
from triptych.types import Part
from triptych_finance.stream.item import LONGEST_NAME, Item, in_utc, key
from triptych_finance.stream.source import Poll, Source, open_source, without_secrets

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def make(**changes: Any) -> Item:
    return Item(**{"id": "1", "source": "wire", "text": "Acme rose.", "published": NOON, "arrived": NOON, **changes})


def test_the_key_tells_items_of_different_sources_apart() -> None:
    assert key(make()) == "wire\x1f1"
    assert key(make(source="a", id="b\x1fc")) != key(make(source="a\x1e", id="b"))
    with pytest.raises(DataError, match="cannot name a source"):
        make(source="a\x1fb")


@pytest.mark.parametrize("name", ["published", "arrived"])
def test_a_time_without_a_zone_is_refused(name: str) -> None:
    with pytest.raises(DataError, match=f"'{name}'.*no time zone"):
        make(**{name: datetime(2026, 3, 2, 12)})


def test_times_come_back_in_utc() -> None:
    east = timezone(timedelta(hours=5, minutes=30))
    found = make(published=datetime(2026, 3, 2, 17, 30, tzinfo=east))
    assert found.published == NOON
    assert found.published.tzinfo is UTC
    with pytest.raises(DataError, match="no date in UTC"):
        in_utc(datetime(1, 1, 1, tzinfo=east))


@pytest.mark.parametrize("name", ["id", "source", "text"])
def test_what_names_an_item_is_never_empty(name: str) -> None:
    with pytest.raises(DataError, match=f"'{name}' is empty"):
        make(**{name: " \n"})


def test_an_id_must_fit_into_an_index() -> None:
    assert make(id="x" * LONGEST_NAME).id
    with pytest.raises(DataError, match="'id' is longer than 1,000 bytes"):
        make(id="ü" * (LONGEST_NAME // 2 + 1))


@given(st.text(st.characters(), min_size=1).map(lambda text: f"x{text}"))
def test_every_text_becomes_one_that_utf8_and_postgresql_can_hold(text: str) -> None:
    found = make(text=text, title=text, metadata={text: text}, entities=(text,))
    for kept in (found.text, found.title, *found.metadata, *found.metadata.values(), *found.entities):
        assert "\0" not in kept
        kept.encode("utf-8")
        assert len(kept) == len(text)


class Bell:
    """A source that never has anything."""

    opened: ClassVar[list[tuple[str, str, object]]] = []

    def __init__(self, name: str) -> None:
        self.name = name

    @classmethod
    def open(cls, spec: str, *, name: str, store: object) -> Bell:
        cls.opened.append((spec, name, store))
        return cls(name)

    def poll(self, cursor: str | None, limit: int, wait_s: float) -> Poll:
        return Poll([], cursor or "", False, [])

    def acknowledge(self, cursor: str) -> None:
        return

    def close(self) -> None:
        return


class Plugin:
    @hookimpl
    def triptych_parts(self) -> list[Part]:
        return [Part("source", "bell", f"{__name__}:Bell", "Never rings.")]


@pytest.fixture
def host() -> Host:
    return Host({"bells": Plugin()}, installed=False)


def test_a_source_of_any_plugin_opens_by_its_scheme(host: Host) -> None:
    spec = "bell://ann:pass@tower:80/0?stream=news&token=abc"
    source = open_source(spec, host=host)
    assert isinstance(source, Source)
    assert Bell.opened[-1] == (spec, "bell://tower:80/0?stream=news&token=***", None)
    assert open_source("BELL:x", name="west", host=host).name == "west"


def test_an_unknown_or_missing_scheme_is_named(host: Host) -> None:
    with pytest.raises(UnknownNameError, match=r"No source is called 'bel'. Did you mean 'bell'\?"):
        open_source("bel:x", host=host)
    with pytest.raises(ConfigError, match=r"'news.csv' is no address of a source.*replay:news.csv"):
        open_source("news.csv", host=host)


@given(st.text("abc:/@?&=p%1", max_size=12))
def test_no_address_shows_its_password(noise: str) -> None:
    assert "s3cret" not in without_secrets(f"redis://{noise.replace('/', '').replace('?', '')}:s3cret@host/{noise}")
    assert "s3cret" not in without_secrets(f"feed:https://host/x?a={noise.replace('&', '')}&api_key=s3cret")
