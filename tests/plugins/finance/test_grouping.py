"""Groups: what is told together, and when: group wait, group interval, repeats."""

from __future__ import annotations

import itertools
from datetime import timedelta

from hypothesis import given

from tests.plugins.finance import desks
from tests.plugins.finance.desks import HOUR, days, desk, known, notices, reading, told
from triptych_finance.alerts.grouping import group_of

MINUTE = timedelta(minutes=1)


def test_groups_are_sectors_or_entities():
    assert group_of("ACME", "tech", "sector") == group_of("sector:tech", "tech", "sector") == "sector:tech"
    assert group_of("ACME", "tech", "entity") == "ACME"
    assert group_of("NONE", "", "sector") == "NONE"


def test_alerts_of_one_sector_that_fire_together_are_told_in_one_notice():
    stream = [reading(0, entity=e) for e in ("ACME", "ADEX", "OREX")]
    assert {tuple(sorted(fires)) for _, fires, _ in told(days(desk(), stream))} == {("ACME", "ADEX"), ("OREX",)}
    assert len(told(days(desk(group_by="entity"), stream))) == 3


def test_the_first_notice_of_a_group_waits_for_others():
    one = desk(group_wait_minutes=30)
    assert notices(one.step([reading(0)], known(0), [])) == []
    assert notices(one.step([], known(0) + 29 * MINUTE, [])) == []
    (notice,) = notices(one.step([], known(0) + 2 * HOUR, []))
    assert notice.created == known(0) + 30 * MINUTE


def test_an_alert_that_is_over_before_its_group_is_ready_is_not_told_and_says_so():
    stream = [reading(0), *(reading(day, alarm=False) for day in range(1, 4))]
    said = days(desk(group_wait_minutes=3000, keep_firing_hours=0), stream)
    assert told(said) == []
    assert said[-1].alert.json["withheld"] == {"resolved": "over before its first notice was due"}


def test_between_two_notices_of_a_group_lies_the_interval():
    said = days(
        desk(group_interval_minutes=36 * 60, repeat_hours=0),
        [reading(0), *(reading(d, entity=e) for d in (1, 2, 3) for e in ("ACME", "ADEX"))],
    )
    assert [notice.created for notice in notices(said)] == [known(0), known(1.5)]


def test_what_still_fires_is_told_again():
    said = days(desk(repeat_hours=30), [reading(day) for day in range(5)])
    assert [(n.kind, n.created) for n in notices(said)] == [
        ("firing", known(0)),
        ("repeat", known(1.25)),
        ("repeat", known(2.5)),
        ("repeat", known(3.75)),
    ]


def test_a_notice_says_what_is_over_and_what_goes_on():
    stream = [reading(0), reading(0, entity="ADEX"), reading(1), reading(1, False, "ADEX")]
    first, second = notices(days(desk(keep_firing_hours=0, repeat_hours=0), stream))
    assert (second.kind, second.payload["resolved"]) == ("resolved", [second.alert])
    assert set(first.payload["firing"]) == {*second.payload["resolved"], *second.payload["going_on"]}


def test_every_channel_gets_its_own_notice():
    hook = {"url": "https://example.com/a", "secret_env": "SECRET"}
    one = desk(channels={"webhook": {"desk": hook}})
    (said,) = [t for t in one.step([reading(0)], known(0), []) if t.notices]
    assert [notice.channel for notice in said.notices] == ["log", "webhook:desk"]
    assert len({notice.id for notice in said.notices}) == 2


@desks.unhurried
@given(desks.streams(), desks.chosen_settings, desks.silencing())
def test_wait_interval_and_repeats_are_kept_and_news_come_once(stream, chosen, silences):
    one = desk(**chosen)
    said = days(one, stream, silences)
    rows = {t.alert.id: t.alert for t in said}
    for group in {n.payload["group"] for n in notices(said)}:
        mine = [n for n in notices(said) if n.payload["group"] == group]
        firing = [name for n in mine for name in n.payload["firing"]]
        resolved = [name for n in mine for name in n.payload["resolved"]]
        assert len(firing) == len(set(firing))
        assert len(resolved) == len(set(resolved))
        assert set(resolved) <= set(firing)
        for earlier, later in itertools.pairwise(mine):
            if later.payload["after"] == [earlier.alert, earlier.id]:
                between = later.created - earlier.created
                least = (
                    chosen["repeat_hours"] * HOUR
                    if later.kind == "repeat"
                    else chosen["group_interval_minutes"] * MINUTE
                )
                assert between >= least
        for notice in mine:
            wait = chosen["group_wait_minutes"] * MINUTE
            assert all(notice.created >= rows[name].fired for name in notice.payload["firing"])
            if notice.payload["after"] is None:
                assert notice.created >= min(rows[name].fired for name in notice.payload["firing"])
                assert (
                    notice.created - min(r.fired for r in rows.values() if r.json["group"] == group and r.fired) >= wait
                )
