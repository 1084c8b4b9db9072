"""Lists on record: shown in vain, and what came of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from triptych.errors import DataError
from triptych_recommendation.catalogue.schema import EventRow, ExposureRow
from triptych_recommendation.catalogue.store import Store
from triptych_recommendation.data.times import DAY
from triptych_recommendation.serving.exposure import ExposureLog
from triptych_recommendation.serving.settings import RuleSettings

NOW = 1_780_000_000_000_000
RULES = RuleSettings(tired_after=2, tired_factor=0.5, tired_days=10, outcome_days=3)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store.sqlite3", writer=True) as found:
        yield found


@pytest.fixture
def log(store: Store) -> Iterator[ExposureLog]:
    found = ExposureLog(store, RULES)
    yield found
    found.close()


def _show(log: ExposureLog, name: str, days_ago: float, *items: str, user: str = "ann") -> None:
    log.record(ExposureRow(name, NOW - int(days_ago * DAY), user, items))


def test_an_item_is_lowered_once_for_each_time_beyond_those_that_are_borne(log: ExposureLog) -> None:
    _show(log, "1", 3, "lamp", "vase")
    assert log.tired("ann", NOW, RULES) == {}
    _show(log, "2", 2, "lamp", "rug")
    assert log.tired("ann", NOW, RULES) == {"lamp": 0.5}
    _show(log, "3", 1, "lamp", "rug")
    assert log.tired("ann", NOW, RULES) == {"lamp": 0.25, "rug": 0.5}
    assert log.tired("bob", NOW, RULES) == {}
    assert log.tired(None, NOW, RULES) == {}


def test_old_lists_do_not_count(log: ExposureLog) -> None:
    _show(log, "1", 11, "lamp")
    _show(log, "2", 9, "lamp")
    assert log.tired("ann", NOW, RULES) == {}


def test_rules_that_look_back_longer_are_served_when_they_are_told(log: ExposureLog) -> None:
    longer = RULES.model_copy(update={"tired_days": 30.0})
    _show(log, "1", 25, "lamp")
    _show(log, "2", 24, "lamp")
    log.flush()
    log.look_back(30)
    assert log.tired("ann", NOW, longer) == {"lamp": 0.5}


def test_lists_of_another_process_count_too(store: Store, log: ExposureLog) -> None:
    _show(log, "1", 1, "lamp")
    _show(log, "2", 1, "lamp")
    log.flush()
    other = ExposureLog(store, RULES)
    assert other.tired("ann", NOW, RULES) == {"lamp": 0.5}
    other.close()


def test_an_event_is_the_outcome_of_the_latest_list_with_its_item(store: Store, log: ExposureLog) -> None:
    _show(log, "old", 5, "lamp", "vase")
    _show(log, "first", 2, "lamp")
    _show(log, "second", 1, "lamp", "rug")
    outcomes = log.outcomes(
        [
            EventRow("ann", "lamp", "click", NOW, 2.0),
            EventRow("ann", "vase", "click", NOW),  # shown too long ago
            EventRow("ann", "rug", "click", NOW - 2 * DAY),  # before it was shown
            EventRow("bob", "lamp", "click", NOW),  # to somebody else
        ]
    )
    assert [(one.exposure, one.item, one.kind, one.weight) for one in outcomes] == [("second", "lamp", "click", 2.0)]
    with store.reading() as tx:  # no outcome is there without its list
        assert {row.id for row in tx.exposures()} == {"old", "first", "second"}


def test_what_went_wrong_is_told_to_the_next_one(store: Store) -> None:
    log = ExposureLog(store, RULES)
    _show(log, "same", 1, "lamp")
    log.flush()
    _show(log, "same", 1, "lamp")
    with pytest.raises(DataError, match="holds this already"):
        log.flush()
    _show(log, "another", 1, "lamp")
    log.close()
    with store.reading() as tx:
        assert "another" in {row.id for row in tx.exposures()}


def test_closing_writes_what_waits(store: Store) -> None:
    log = ExposureLog(store, RULES)
    for number in range(200):
        _show(log, str(number), 1, "lamp")
    log.close()
    log.close()
    with store.reading() as tx:
        assert len(tx.exposures()) == 200
    with pytest.raises(DataError, match="closed"):
        _show(log, "late", 1, "lamp")
