"""What commands print: JSON that every reader takes, and columns."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from pydantic import BaseModel

from triptych.printing import minute, plain, print_json, print_rows, say

MOMENT = datetime(2026, 1, 31, 12, 5, tzinfo=UTC)


@dataclass
class Record:
    when: datetime
    where: Path


class Answer(BaseModel):
    score: float
    record: Record


def test_numbers_that_json_lacks_become_null():
    assert plain({"a": float("nan"), "b": (1, float("inf"))}) == {"a": None, "b": [1, None]}


def test_records_become_objects_down_to_the_last(capsys: pytest.CaptureFixture[str]):
    print_json([Answer(score=0.5, record=Record(MOMENT, Path("a/b")))])
    record = {"when": "2026-01-31T12:05:00+00:00", "where": "a/b"}
    assert json.loads(capsys.readouterr().out) == [{"score": 0.5, "record": record}]


def test_columns_are_as_wide_as_their_widest_cell(capsys: pytest.CaptureFixture[str]):
    print_rows(("id", "title"), [("long id", "a"), ("b", "")])
    assert capsys.readouterr().out == "id       title\nlong id  a\nb\n"


def test_talk_goes_to_standard_error(capsys: pytest.CaptureFixture[str]):
    say("one moment")
    assert capsys.readouterr() == ("", "one moment\n")


def test_a_time_is_told_in_utc():
    assert minute(MOMENT.astimezone(timezone(timedelta(hours=5)))) == "2026-01-31 12:05"
    assert minute(None) == "-"
