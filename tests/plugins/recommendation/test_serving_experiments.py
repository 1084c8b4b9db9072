"""Experiments in service: who gets which rules, and what is put on record."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.plugins.recommendation import served
from triptych_recommendation.catalogue.schema import EventRow
from triptych_recommendation.catalogue.store import Store
from triptych_recommendation.experiments.assignment import Experiment, new_experiment
from triptych_recommendation.experiments.registry import put, start
from triptych_recommendation.experiments.settings import ExperimentSettings
from triptych_recommendation.experiments.units import read_log
from triptych_recommendation.serving import variants
from triptych_recommendation.serving.recommender import Recommender, now_us
from triptych_recommendation.serving.settings import RuleSettings

RULES = RuleSettings(exploration=0.0, diversity=0.0)
HALVES = {"control": 0.5, "other": 0.5}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return served.write_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setattr(variants, "_FRESH_S", 0.0)
    with Store.open(tmp_path / "store.sqlite3", writer=True) as found:
        yield found


@pytest.fixture
def recommender(shop: Path, store: Store, tmp_path: Path) -> Iterator[Recommender]:
    with Recommender.open(shop, tmp_path / "store.sqlite3", RULES, encode=served.encode) as found:
        yield found


def _start(store: Store, changes: dict[str, Any], kind: Any = "ab", **shares: float) -> Experiment:
    experiment = new_experiment("trial", shares or HALVES, now_us(), kind=kind, changes={"other": changes})
    with store.transaction() as tx:
        start(tx, experiment)
    return experiment


def test_a_variant_holds_for_its_users_and_is_on_record(recommender: Recommender, store: Store) -> None:
    experiment = _start(store, {"blocked_categories": ["horror"]})
    shown = {}
    for n in range(0, 80, 4):
        found = recommender.recommend(f"u{n}", 6)
        shown[f"u{n}"] = found
        assert found.experiment == "trial"
        assert found.variant == experiment.variant(f"u{n}")
        assert any(one.item.category == "horror" for one in found.items) == (found.variant == "control")
    assert {found.variant for found in shown.values()} == {"control", "other"}
    recommender.flush()
    with store.reading() as tx:
        rows = tx.exposures("trial")
    assert {(row.user, row.variant) for row in rows} == {(user, found.variant) for user, found in shown.items()}


def test_who_takes_no_part_gets_the_rules_of_the_shop(recommender: Recommender, store: Store) -> None:
    _start(store, {"blocked_categories": ["horror"]}, control=0.05, other=0.05)
    outside = [found for n in range(40) if not (found := recommender.recommend(f"u{n}", 3)).experiment]
    assert len(outside) > 25
    assert recommender.recommend(None, 3).experiment == ""


def test_a_stopped_experiment_is_over(recommender: Recommender, store: Store) -> None:
    experiment = _start(store, {})
    assert recommender.recommend("u0", 3).experiment == "trial"
    with store.transaction() as tx:
        stopped = Experiment(
            experiment.name, experiment.variants, experiment.phases, "ab", experiment.salt, stopped=now_us()
        )
        put(tx, stopped)
    assert recommender.recommend("u0", 3).experiment == ""


def test_changes_that_are_no_settings_leave_the_experiment_out(
    recommender: Recommender, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    _start(store, {"diversity": 7})
    with caplog.at_level(logging.WARNING):
        assert recommender.recommend("u0", 3).experiment == ""
        recommender.recommend("u1", 3)
    assert [record.getMessage().split(":")[0] for record in caplog.records] == ["experiment 'trial' is left out"]


def test_an_interleaved_list_has_both_teams_and_its_outcome_is_credited(recommender: Recommender, store: Store) -> None:
    experiment = _start(store, {"categories": ["racing"]}, "interleaving")
    found = recommender.recommend("u0", 6)
    assert (found.experiment, found.variant) == ("trial", "")
    assert len(set(found.ids)) == 6
    recommender.flush()
    with store.reading() as tx:
        (row,) = tx.exposures("trial")
    teams = row.details["teams"]
    assert (teams.count("control"), teams.count("other")) == (3, 3)
    for one, team in zip(found.items, teams, strict=True):
        assert team == "control" or one.item.category == "racing"
        assert one.explanation is not None
    chosen = found.ids[teams.index("other")]
    recommender.add_events([EventRow("u0", chosen, "click", now_us())])
    with store.reading() as tx:
        log = read_log(experiment, tx.exposures("trial"), tx.outcomes("trial"), ExperimentSettings(), now_us())
    assert [(unit.user, unit.values) for unit in log.units] == [("u0", {"preference": 1.0})]


def test_an_interleaving_with_one_empty_side_shows_the_other(recommender: Recommender, store: Store) -> None:
    _start(store, {"categories": ["nothing"]}, "interleaving")
    found = recommender.recommend("u0", 4)
    assert len(found.items) == 4
    recommender.flush()
    with store.reading() as tx:
        (row,) = tx.exposures("trial")
    assert row.details["teams"] == [None] * 4
