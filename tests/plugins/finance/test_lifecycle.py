"""The life of an alert: every state is reached, only on allowed ways, and the same whatever the calls and restarts."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.plugins.finance import desks
from tests.plugins.finance.desks import DAY, HOUR, START, again, days, desk, known, reading, states, told
from triptych_finance.alerts.desk import Transition
from triptych_finance.alerts.lifecycle import ALLOWED, KINDS, Alert, alert_id
from triptych_finance.signal.clock import micros
from triptych_finance.store.schema import AlertRow


def quiet(first: int, last: int) -> list[Any]:
    return [reading(day, alarm=False) for day in range(first, last)]


def test_an_alarm_fires_at_once_and_ends_after_keep_firing():
    said = days(desk(keep_firing_hours=48), [reading(0), *quiet(1, 6)])
    assert states(said) == ["firing", "keep_firing", "resolved"]
    last = said[-1].alert
    assert (last.started, last.fired) == (START + DAY, known(0))
    assert last.ended == known(1) + 48 * HOUR


def test_an_alert_fires_when_it_could_be_known_and_not_at_the_end_of_its_bucket():
    said = desk().step([reading(0)], known(3), [])
    assert said[0].alert.fired == known(0)


def test_a_pending_alert_fires_only_when_the_alarm_holds():
    assert states(days(desk(for_buckets=2), [reading(0), reading(1), reading(2)])) == ["pending", "firing"]
    fired = days(desk(for_buckets=2), [reading(0), reading(1), reading(2)])[-1].alert
    assert (fired.started, fired.fired, fired.json["reading"]["end"]) == (
        START + DAY,
        known(2),
        (START + 3 * DAY).isoformat(),
    )
    said = days(desk(for_buckets=2), [reading(0), reading(1), *quiet(2, 4)])
    assert states(said) == ["pending", "inactive"]
    assert said[-1].alert.fired is None
    assert said[-1].alert.ended == known(2)


def test_nobody_is_told_of_a_pending_alert():
    assert told(days(desk(for_buckets=3), [reading(0), reading(1), *quiet(2, 4)])) == []


def test_an_alarm_that_comes_back_while_keep_firing_holds_is_the_same_alert():
    flapping = [reading(day, alarm=day % 2 == 0) for day in range(9)]
    said = days(desk(keep_firing_hours=48, repeat_hours=0), [*flapping, *quiet(9, 14)])
    assert len({t.alert.id for t in said}) == 1
    assert told(said) == [("firing", ["ACME"], []), ("resolved", [], ["ACME"])]
    assert len(said[-1].alert.json["openings"]) == 5


def test_an_alarm_at_the_very_end_of_keep_firing_goes_on_with_the_alert():
    said = days(desk(keep_firing_hours=24), [reading(0), *quiet(1, 2), reading(2), *quiet(3, 6)])
    assert states(said) == ["firing", "keep_firing", "firing", "keep_firing", "resolved"]


def test_an_alarm_after_the_end_is_another_alert():
    said = days(desk(keep_firing_hours=24), [reading(0), *quiet(1, 4), reading(4)])
    assert len({t.alert.id for t in said}) == 2


def test_without_keep_firing_the_first_quiet_bucket_ends_an_alert():
    assert states(days(desk(keep_firing_hours=0), [reading(0), *quiet(1, 2)])) == ["firing", "resolved"]


def test_opposite_directions_are_two_alerts():
    said = days(desk(), [reading(0, direction=-1), reading(1, direction=1)])
    assert {t.alert.kind for t in said} == {"negative", "positive"}


def test_unusual_volume_alone_belongs_to_the_alert_that_is_there():
    said = days(desk(), [reading(0, direction=-1), reading(1, direction=0)])
    assert {t.alert.kind for t in said} == {"negative"}
    assert states(days(desk(), [reading(0, direction=0)])) == ["firing"]


def test_the_end_comes_in_event_time_without_any_reading():
    one = desk(keep_firing_hours=48)
    days(one, [reading(0), *quiet(1, 2)])
    assert states(one.step([], known(2), [])) == []
    assert states(one.step([], known(3), [])) == ["resolved"]


def test_a_clock_that_goes_back_and_readings_that_come_again_change_nothing():
    one = desk()
    days(one, [reading(0), *quiet(1, 5)])
    before = again(one, {}).dump() or again(one, {})._stored
    assert one.step([reading(0), reading(2)], known(0), []) == []
    assert one.passed_over == 2
    assert {**before, "desk": None} == {**again(one, {})._stored, "desk": None}


def test_the_id_of_an_alert_says_what_and_since_when():
    row = desk().step([reading(0)], known(0), [])[0].alert
    assert row.id == alert_id("ACME", "negative", micros(START + DAY))
    assert len({alert_id(e, k, t) for e in ("A", "B") for k in KINDS.values() for t in (1, 2)}) == 12


def test_a_forbidden_transition_is_a_bug():
    alert = Alert.begin(reading(0), "", "ACME")
    with pytest.raises(AssertionError, match="inactive -> resolved"):
        alert._move("resolved")


def lives(said: list[Transition]) -> dict[str, list[tuple[str, str]]]:
    found: dict[str, list[tuple[str, str]]] = {}
    for one in said:
        if one.before != one.after:
            found.setdefault(one.alert.id, []).append((one.before, one.after))
    return found


@desks.unhurried
@given(desks.streams(), desks.chosen_settings, desks.silencing())
def test_every_life_begins_inactive_and_takes_only_allowed_ways(stream, chosen, silences):
    one = desk(**chosen)
    for way in lives(days(one, stream, silences)).values():
        assert way[0][0] == "inactive"
        assert all(after in ALLOWED[before] for before, after in way)
        assert all(earlier[1] == later[0] for earlier, later in itertools.pairwise(way))


@desks.unhurried
@given(desks.streams(), desks.chosen_settings, desks.silencing())
def test_every_alert_that_fired_is_over_or_still_fires(stream, chosen, silences):
    one = desk(**chosen)
    said = days(one, stream, silences)
    rows: dict[str, AlertRow] = {t.alert.id: t.alert for t in said}
    live = {key.removeprefix("alert:"): state for key, state in again(one, {})._stored.items() if "alert:" in key}
    for key, row in rows.items():
        if row.fired is not None and row.ended is None:
            assert live[key]["state"] == row.state
        assert (row.state in ("resolved", "inactive")) is (row.ended is not None)
    # once everything has been quiet for long enough, nothing fires any more
    last = {e: reading(40, alarm=False, entity=e) for e in {r.entity for r in stream}}
    said += one.step(list(last.values()), known(60), silences)
    assert {t.alert.id: t.alert for t in said}.keys() == rows.keys()
    assert all(row.ended is not None for row in {t.alert.id: t.alert for t in said}.values())


@desks.unhurried
@given(desks.streams(), desks.chosen_settings, desks.silencing(), st.data())
def test_the_cut_into_calls_and_restarts_between_them_change_nothing(stream, chosen, silences, data):
    whole = desk(**chosen).step(stream, known(20), silences)
    one, said = desk(**chosen), []
    kept: dict[str, dict[str, Any] | None] = {}
    for some, now in desks.cut(data.draw, stream):
        said += one.step(some, now, silences)
        if data.draw(st.booleans()):
            one = again(one, kept)
    assert said == whole


@desks.unhurried
@given(desks.streams(), st.randoms(use_true_random=False))
def test_the_order_of_readings_within_a_call_is_of_no_matter(stream, random):
    shuffled = list(stream)
    random.shuffle(shuffled)
    assert desk().step(shuffled, known(20), []) == desk().step(stream, known(20), [])


@desks.unhurried
@given(desks.streams(), desks.chosen_settings)
def test_an_alarm_within_keep_firing_opens_no_second_alert(stream, chosen):
    chosen = {**chosen, "keep_firing_hours": 48, "for_buckets": 0}
    said = days(desk(**chosen), stream)
    rows = {t.alert.id: t.alert for t in said}.values()
    for row in rows:
        others = [o for o in rows if (o.entity, o.kind) == (row.entity, row.kind) and o.id != row.id]
        assert not any(o.fired <= row.fired and (o.ended is None or row.fired < o.ended) for o in others)
