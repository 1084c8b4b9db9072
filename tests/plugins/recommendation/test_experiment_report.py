"""What the report of an experiment prints, and its JSON."""

from __future__ import annotations

import json

import pytest

from tests.plugins.recommendation.shops import AFTER, START, shop
from triptych_recommendation.catalogue.schema import ExposureRow
from triptych_recommendation.catalogue.store import Store
from triptych_recommendation.data.times import microseconds_of
from triptych_recommendation.experiments import registry
from triptych_recommendation.experiments.analysis import Report, analyse
from triptych_recommendation.experiments.assignment import Experiment, new_experiment
from triptych_recommendation.experiments.report import as_json, lines
from triptych_recommendation.experiments.settings import ExperimentSettings

SETTINGS = ExperimentSettings(planned_users=1_000)


def colours(**changes: object) -> Experiment:
    shares = {"old": 0.5, "new": 0.5}
    return new_experiment("colours", shares, microseconds_of(START), **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def report() -> Report:
    experiment = colours()
    rows = shop(experiment, 1_500, {"old": 0.1, "new": 0.3}, seed=1)
    return analyse(experiment, *rows, SETTINGS, now=AFTER)


def test_the_lines_have_the_decision_every_variant_and_every_metric(report: Report):
    text = "\n".join(lines(report))
    assert "Experiment 'colours' (ab), as known at 2026-04-30 00:00 UTC" in text
    assert "Stop: 'new' is better than 'old' in 'click'" in text
    rows = [line.split() for line in lines(report)]
    (old,) = (row for row in rows if row[:1] == ["old"])
    users = {arm.name: arm.users for arm in report.arms}
    assert old[1:3] == ["50.00%", str(users["old"])]
    (click,) = (row for row in rows if row[:2] == ["new", "click"])
    lift = report.lifts["new"][0]
    assert click[2:5] == [
        f"{lift.difference.value:+.4f}", f"[{lift.difference.low:+.4f},", f"{lift.difference.high:+.4f}]"
    ]  # fmt: skip
    assert click[-1] == "higher"
    assert "Users come in the shares that were set" in text


def test_users_who_come_in_other_shares_are_told_before_all_else():
    experiment = colours()
    lists, outcomes = shop(experiment, 1_500, {"old": 0.1, "new": 0.3}, seed=1)
    kept = [row for row in lists if row.variant == "old" or row.user.endswith(("0", "1", "2"))]
    found = analyse(experiment, kept, outcomes, SETTINGS, now=AFTER)
    assert lines(found)[1].startswith("Stop: users do not come in the shares that were set")
    assert any("do not come in the shares" in line for line in lines(found)[2:])


def test_the_json_is_json_and_says_the_same(report: Report):
    read = json.loads(json.dumps(as_json(report), allow_nan=False))
    assert read["at"] == "2026-04-30T00:00:00+00:00"
    assert (read["decision"]["stop"], read["decision"]["best"], read["mismatched"]) == (True, "new", False)
    assert [arm["users"] for arm in read["arms"]] == [arm.users for arm in report.arms]
    assert read["lifts"]["new"][0]["difference"]["low"] == report.lifts["new"][0].difference.low


def test_an_experiment_that_nobody_has_seen_is_told_too():
    found = analyse(colours(), [], [], SETTINGS, now=AFTER)
    assert "Go on: no difference is shown yet." in lines(found)
    assert any(line.split()[:5] == ["new", "50.00%", "0", "0", "0"] for line in lines(found))
    read = json.loads(json.dumps(as_json(found), allow_nan=False))
    assert read["arms"][0]["rates"]["click"] == {"value": None, "low": 0.0, "high": 1.0}
    assert read["lifts"]["new"][0]["ratio"] is None


def test_an_interleaving_tells_its_preference():
    experiment = colours(kind="interleaving")
    time = microseconds_of(START)
    rows = [ExposureRow("1", time, "Ada", ("a", "b"), "", "colours", "", {"teams": ["old", "new"]})]
    found = analyse(experiment, rows, [], SETTINGS, now=AFTER)
    assert "preference from -1 (all for 'old') to 1 (all for 'new'): +0.0000 [-1.0000, +1.0000]" in lines(found)
    assert json.loads(json.dumps(as_json(found), allow_nan=False))["preference"]["low"] == -1
    assert as_json(found)["mismatch_limit"] is None


def test_an_experiment_is_read_from_the_store_as_from_the_rows(tmp_path, report: Report):
    experiment = colours()
    lists, outcomes = shop(experiment, 1_500, {"old": 0.1, "new": 0.3}, seed=1)
    with Store.open(tmp_path / "store.sqlite3", writer=True) as store:
        with store.transaction() as tx:
            registry.start(tx, experiment)
            tx.add_exposures(lists)
            tx.add_outcomes(outcomes)
        with store.reading() as tx:
            kept = registry.experiment(tx, "colours")
            found = analyse(kept, tx.exposures("colours"), tx.outcomes("colours"), SETTINGS, now=AFTER)
    assert found == report
