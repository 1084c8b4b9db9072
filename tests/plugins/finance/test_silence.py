"""Silences match what they name, hold from start to end, and nobody is told of what is silenced or inhibited."""

from __future__ import annotations

import pytest
from hypothesis import given

from tests.plugins.finance import desks
from tests.plugins.finance.desks import DAY, HOUR, START, days, desk, known, reading, silence, told
from triptych.errors import ConfigError, DataError, UnknownNameError
from triptych_finance.alerts.silence import is_active, matchers, matches, new_silence
from triptych_finance.store.schema import SilenceRow


def quiet(first: int, last: int, *entities: str):
    return [reading(day, alarm=False, entity=e) for day in range(first, last) for e in entities or ("ACME",)]


@pytest.mark.parametrize(
    ("pattern", "matching"),
    [
        ("ACME", {"ACME"}),
        ("A*", {"ACME", "ADEX"}),
        ("sector:tech", {"sector:tech"}),
        ("*", {"ACME", "ADEX", "OREX", "sector:tech"}),
        ("sector=tech", {"ACME", "ADEX", "sector:tech"}),
        ("sector=tech, entity=AC*", {"ACME"}),
        ("entity=*,direction=positive", set()),
        ("direction=neg*", {"ACME", "ADEX", "OREX", "sector:tech"}),
        ("CL=F", set()),
    ],
)
def test_a_pattern_matches_what_it_names(pattern, matching):
    row = new_silence(pattern, START, START + DAY)
    sectors = {**desks.SECTORS, "sector:tech": "tech"}
    assert {e for e, s in sectors.items() if matches(row, e, s, "negative")} == matching


def test_a_symbol_with_an_equals_sign_is_an_entity():
    assert matches(new_silence("CL=F", START, START + DAY), "CL=F", "", "negative")


def test_the_kind_of_a_silence_is_a_matcher_too():
    row = new_silence("ACME", START, START + DAY, kind="positive")
    assert matches(row, "ACME", "tech", "positive")
    assert not matches(row, "ACME", "tech", "negative")


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("", "is empty"),
        ("sectr=tech", "Did you mean 'sector'"),
        ("sector=tech,ACME", "'ACME' in the silence"),
        ("sector=", "not of the form"),
        ("sector=a,sector=b", "gives sector twice"),
        ("direction=down", "direction of an alert"),
    ],
)
def test_a_pattern_that_means_nothing_is_refused(pattern, message):
    with pytest.raises((ConfigError, UnknownNameError), match=message):
        matchers(pattern)


def test_a_silence_needs_a_zone_and_an_end_after_its_start():
    with pytest.raises(ConfigError, match="not after its start"):
        new_silence("ACME", START, START)
    with pytest.raises(DataError, match="time zone"):
        new_silence("ACME", START.replace(tzinfo=None), START)
    with pytest.raises(UnknownNameError, match="direction of an alert"):
        new_silence("ACME", START, START + DAY, kind="down")


def test_a_silence_that_cannot_be_read_matches_nothing():
    assert not matches(SilenceRow("x", "sector=", START, START + DAY), "ACME", "tech", "negative")


def test_a_silence_holds_from_its_start_until_just_before_its_end():
    row = new_silence("ACME", START, START + DAY)
    assert [is_active(row, START + hours * HOUR) for hours in (-1, 0, 23, 24)] == [False, True, True, False]


def test_a_silenced_alert_fires_and_ends_without_a_word_and_says_why():
    stream = [reading(0), *quiet(1, 5)]
    said = days(desk(), stream, [silence("ACME", analyst="Ann", note="earnings")])
    assert desks.states(said) == ["firing", "keep_firing", "resolved"]
    assert told(said) == []
    assert "silenced by Ann until" in said[-1].alert.json["withheld"]["firing"]
    assert "earnings" in said[-1].alert.json["withheld"]["firing"]


def test_an_alert_that_still_fires_is_told_at_the_end_of_its_silence():
    said = days(desk(repeat_hours=0), [reading(day) for day in range(4)], [silence("ACME", 0, 1.5)])
    assert told(said) == [("firing", ["ACME"], [])]
    assert desks.notices(said)[0].created == known(1.5)


def test_the_end_of_an_alert_that_was_told_waits_for_the_end_of_the_silence():
    said = days(desk(keep_firing_hours=0), [reading(0), *quiet(1, 5)], [silence("ACME", 0.5, 3)])
    assert told(said) == [("firing", ["ACME"], []), ("resolved", [], ["ACME"])]
    assert desks.notices(said)[1].created == known(3)


def test_a_silence_that_ends_while_the_group_still_waits_withholds_nothing():
    said = days(desk(group_wait_minutes=600, repeat_hours=0), [reading(0), reading(1)], [silence("ACME", 0, 0.2)])
    assert told(said) == [("firing", ["ACME"], [])]
    assert said[-1].alert.json["withheld"] == {}


def test_a_silence_that_is_lifted_by_hand_holds_no_longer():
    one, held = desk(repeat_hours=0), silence("ACME")
    assert told(one.step([reading(0)], known(0), [held])) == []
    said = one.step([], known(0) + HOUR, [])
    assert [(n.kind, n.created) for n in desks.notices(said)] == [("firing", known(0) + HOUR)]


def test_a_firing_sector_inhibits_its_entities_of_the_same_direction():
    stream = [reading(0, entity=e) for e in ("sector:tech", "ACME", "OREX")] + [reading(0, entity="ADEX", direction=1)]
    said = days(desk(group_by="entity"), stream)
    assert {e for _, fires, _ in told(said) for e in fires} == {"sector:tech", "OREX", "ADEX"}
    (inhibited,) = {t.alert.id: t.alert for t in said if t.alert.entity == "ACME"}.values()
    assert "inhibited by alert" in inhibited.json["withheld"]["firing"]


def test_without_inhibition_all_are_told():
    said = days(desk(group_by="entity", inhibit=False), [reading(0, entity=e) for e in ("sector:tech", "ACME")])
    assert {e for _, fires, _ in told(said) for e in fires} == {"sector:tech", "ACME"}


def test_an_entity_that_still_fires_is_told_when_its_sector_is_over():
    sector = [reading(0, entity="sector:tech"), *quiet(1, 4, "sector:tech")]
    said = days(desk(group_by="entity", keep_firing_hours=24, repeat_hours=0), [*sector, *map(reading, range(4))])
    assert told(said) == [
        ("firing", ["sector:tech"], []),
        ("firing", ["ACME"], []),
        ("resolved", [], ["sector:tech"]),
    ]


def test_a_silenced_sector_inhibits_nothing():
    stream = [reading(0, entity=e) for e in ("sector:tech", "ACME")]
    said = days(desk(), stream, [silence("sector:tech")])
    assert told(said) == [("firing", ["ACME"], [])]


@desks.unhurried
@given(desks.streams(), desks.chosen_settings, desks.silencing())
def test_no_notice_names_an_alert_that_is_silenced_or_inhibited_at_that_moment(stream, chosen, silences):
    said = days(desk(**chosen), stream, silences)
    last = {t.alert.id: t.alert for t in said}
    for notice in desks.notices(said):
        at = notice.created
        for name in [*notice.payload["firing"], *notice.payload["resolved"], *notice.payload["going_on"]]:
            row = last[name]
            assert not _silenced(row, silences, at)
            if chosen["inhibit"] and not row.entity.startswith("sector:") and row.json["sector"]:
                over = [
                    s
                    for s in last.values()
                    if s.entity == f"sector:{row.json['sector']}" and s.kind == row.kind and s.fired is not None
                ]
                firing = [s for s in over if s.fired <= at and (s.ended is None or at < s.ended)]
                assert all(_silenced(s, silences, at) for s in firing)


def _silenced(row, silences, at):
    return any(is_active(s, at) and matches(s, row.entity, row.json["sector"], row.kind) for s in silences)


@desks.unhurried
@given(desks.streams(), desks.chosen_settings)
def test_without_silences_and_inhibition_every_alert_that_outlives_the_wait_is_told(stream, chosen):
    chosen = {**chosen, "inhibit": False, "group_wait_minutes": 0, "group_interval_minutes": 0}
    said = days(desk(**chosen), stream)
    fired = {t.alert.id for t in said if t.alert.fired is not None}
    assert {name for notice in desks.notices(said) for name in notice.payload["firing"]} == fired
