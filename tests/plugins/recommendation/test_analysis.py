"""Reports of experiments: right however often they are read, strong enough to see, and not to be fooled."""

from __future__ import annotations

import math
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from tests.plugins.recommendation.shops import AFTER, START, shop
from triptych_recommendation.catalogue.schema import ExposureRow, OutcomeRow
from triptych_recommendation.data.times import microseconds_of
from triptych_recommendation.experiments.analysis import Report, analyse
from triptych_recommendation.experiments.assignment import Experiment, new_experiment
from triptych_recommendation.experiments.sequences import Boundary, before, mean_interval, mismatch
from triptych_recommendation.experiments.settings import ExperimentSettings

SETTINGS = ExperimentSettings(planned_users=1_000)
BOUNDARY = Boundary(0.05, 2.0, 80.0)


def halves(**changes: object) -> Experiment:
    return new_experiment("colours", {"old": 0.5, "new": 0.5}, microseconds_of(START), **changes)  # type: ignore[arg-type]


def read(experiment: Experiment, rows: tuple[list, list], options: ExperimentSettings = SETTINGS, now=AFTER) -> Report:
    return analyse(experiment, *rows, options, now=now)


@pytest.mark.parametrize(("s", "v"), [(0.0, 0.0), (1.0, 0.5), (9.0, 12.0), (40.0, 90.0)])
def test_the_boundary_is_the_mixture_that_it_is_said_to_be(s: float, v: float):
    """Exp(l s - v (-log(1 - l) - l)) over l in (0, 1), weighted by (1 - l)^(r - 1) exp(-r (1 - l))."""
    boundary = Boundary(0.05, 1.0, 20.0)
    log = 2 * math.log(2 / 0.05)
    r = 20.0 / (log + math.log(1 + log))

    def weight(left: float) -> float:
        return left ** (r - 1) * math.exp(-r * left)

    def wealth(left: float) -> float:
        rate = 1 - left
        return weight(left) * math.exp(rate * s - v * (-math.log(left) - rate))

    expected = quad(wealth, 0, 1)[0] / quad(weight, 0, 1)[0]
    assert float(boundary.log_wealth(np.array(s), np.array(v))) == pytest.approx(math.log(expected), abs=1e-6)


@given(st.floats(0, 1e6), st.floats(0.001, 0.4), st.floats(0.01, 50), st.floats(0.1, 1e5))
@settings(deadline=None)
def test_the_radius_is_where_the_boundary_is_reached(v: float, alpha: float, scale: float, planned: float):
    boundary = Boundary(alpha, scale, planned)
    s = boundary.radius(np.array([v]))
    assert boundary.log_wealth(s, np.array([v]))[0] == pytest.approx(math.log(2 / alpha), abs=1e-4)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_the_means_before_know_nothing_of_what_comes(values: list[float]):
    x = np.array(values)
    changed = x.copy()
    changed[-1] = 1 - changed[-1]
    assert before(x, 0.5) == pytest.approx(before(changed, 0.5))
    assert before(x, 0.5)[0] == 0.5


def test_an_interval_of_nothing_says_nothing():
    found = mean_interval([], 0.0, 1.0, BOUNDARY)
    assert (found.low, found.high) == (0.0, 1.0)
    assert math.isnan(found.value)


@pytest.mark.parametrize("rate", [0.02, 0.3])
def test_a_mean_is_inside_at_every_moment_of_nearly_all_runs(rate: float):
    """600 runs, each looked at after every one of 1,500 values: the share that is ever wrong is at most alpha."""
    generator, alpha, wrong = np.random.default_rng(4), 0.1, 0
    for _ in range(600):
        x = (generator.random(1_500) < rate).astype(float)
        deviations = x - before(x, 0.5)
        boundary = Boundary(alpha, 1.0, 1_000 * 0.02)
        reached = boundary.log_wealth(np.abs(np.cumsum(x - rate)), np.cumsum(deviations**2))
        wrong += bool((reached >= math.log(2 / alpha)).any())
    assert wrong / 600 <= alpha


def looks(
    experiment: Experiment, chances: dict[str, float], users: int, seed: int, options: ExperimentSettings, count: int
) -> list[Report]:
    """Reports of one experiment at so many moments, while users come, each with one list and perhaps a click."""
    generator = np.random.default_rng(seed)
    lists, outcomes = [], []
    for number, chance in enumerate(generator.random(users)):
        user, time = f"{seed} {number}", microseconds_of(START) + number * 1_000_000
        variant = experiment.variant(user)
        assert variant is not None
        lists.append(ExposureRow(user, time, user, ("a",), "", "colours", variant))
        if chance < chances[variant]:
            outcomes.append(OutcomeRow(user, "a", "click", time + 1))
    window = timedelta(days=options.window_days)
    moments = [START + window + timedelta(seconds=users * (look + 1) / count) for look in range(count)]
    return [read(experiment, (lists, outcomes), options, moment) for moment in moments]


def naive(report: Report) -> bool:
    """Whether a test that may be used but once, at a level of 0.1, finds a difference."""
    one, other = ((arm.rates["click"].value, arm.complete) for arm in report.arms)
    variance = sum(rate * (1 - rate) / users for rate, users in (one, other))
    return abs(one[0] - other[0]) > 1.645 * math.sqrt(variance)


def test_no_difference_is_found_where_there_is_none_however_often_one_looks():
    """40 experiments of two equal variants, with alpha = 0.1: at most 4 may ever say more than there is."""
    options = ExperimentSettings(planned_users=400, alpha=0.1, guards=(), least_lift=0)
    wrong = fooled = 0
    for seed in range(40):
        experiment = new_experiment("colours", {"old": 0.6, "new": 0.4}, microseconds_of(START), salt=str(seed))
        found = looks(experiment, {"old": 0.3, "new": 0.3}, 400, seed, options, 6)
        wrong += any(look.lifts["new"][0].difference.excludes_zero or look.decision.stop for look in found)
        fooled += any(naive(look) for look in found)
    assert wrong <= 4
    assert fooled > 6  # so the runs do tempt whoever looks often with an interval for one look


def test_a_real_difference_is_nearly_always_found_before_all_users_have_come():
    """12 experiments in which clicks rise from 0.3 to 0.42."""
    options = ExperimentSettings(planned_users=1_000, guards=())
    stops = []
    for seed in range(12):
        experiment = new_experiment("colours", {"old": 0.5, "new": 0.5}, microseconds_of(START), salt=str(seed))
        found = looks(experiment, {"old": 0.3, "new": 0.42}, 1_600, seed, options, 4)
        assert all(look.decision.best in ("new", None) for look in found)
        stops.append(next((look for look, report in enumerate(found) if report.decision.best == "new"), None))
    late = [4 if stop is None else stop + 1 for stop in stops]
    assert sum(stop is not None for stop in stops) >= 10
    assert sum(late) / len(late) < 3.5  # of four looks


def test_a_real_difference_is_found_and_the_experiment_stops():
    experiment = halves()
    report = read(experiment, shop(experiment, 4_000, {"old": 0.10, "new": 0.16}, seed=1))
    lift = report.lifts["new"][0]
    assert lift.metric == "click"
    assert lift.difference.low > 0
    assert lift.difference.low < 0.06 < lift.difference.high
    assert lift.ratio is not None
    assert lift.ratio.low < 0.6 < lift.ratio.high
    assert report.decision.stop
    assert report.decision.best == "new"
    assert "'new' is better than 'old' in 'click'" in report.decision.reason


def test_ratio_and_difference_agree_on_which_side_of_nothing_they_are():
    experiment = halves()
    for users, new in ((400, 0.3), (3_000, 0.3), (3_000, 0.1), (3_000, 0.45)):
        report = read(experiment, shop(experiment, users, {"old": 0.3, "new": new}, seed=2))
        for lift in report.lifts["new"]:
            if lift.ratio is not None:
                assert (lift.ratio.low > 0) == (lift.difference.low > 0)
                assert (lift.ratio.high < 0) == (lift.difference.high < 0)
                assert lift.ratio.low <= lift.ratio.value <= lift.ratio.high


def test_a_difference_is_not_made_by_shares_that_change_while_clicks_do():
    """At first few have the new variant and clicks are many, later it is the other way round."""
    before_ = new_experiment("colours", {"old": 0.9, "new": 0.1}, microseconds_of(START))
    turn = START + timedelta(days=15)
    after = before_.with_shares({"old": 0.1, "new": 0.9}, microseconds_of(turn))
    early = shop(before_, 3_000, {"old": 0.5, "new": 0.5}, seed=5, days=15)
    late = shop(after, 3_000, {"old": 0.1, "new": 0.1}, seed=6, days=15)
    move = microseconds_of(turn) - microseconds_of(START)
    late = (
        [ExposureRow(r.id, r.time + move, r.user, r.items, r.policy, r.experiment, r.variant) for r in late[0]],
        [OutcomeRow(o.exposure, o.item, o.kind, o.time + move, o.weight) for o in late[1]],
    )
    report = read(after, (early[0] + late[0], early[1] + late[1]))
    rates = {arm.name: arm.rates["click"].value for arm in report.arms}
    assert rates["old"] - rates["new"] > 0.15  # what is seen at first sight
    difference = report.lifts["new"][0].difference
    assert not difference.excludes_zero
    assert abs(difference.value) < 0.05
    assert not report.mismatched


def test_users_who_do_not_come_in_their_shares_are_found_and_nothing_is_believed():
    experiment = halves()
    lists, outcomes = shop(experiment, 3_000, {"old": 0.1, "new": 0.2}, seed=3)
    lost = {row.user for row in lists if row.variant == "new" and int(row.user.split()[-1]) % 5 == 0}
    report = read(experiment, ([row for row in lists if row.user not in lost], outcomes))
    assert report.mismatched
    assert report.decision.stop
    assert report.decision.best is None
    assert "shares" in report.decision.reason
    assert not read(experiment, (lists, outcomes)).mismatched


def test_right_shares_are_hardly_ever_called_wrong_however_often_one_looks():
    generator, wrong = np.random.default_rng(7), 0
    shares = np.array([0.6, 0.3, 0.1])
    for _ in range(300):
        counts = np.cumsum(generator.multinomial(1, shares, size=400), axis=0)
        wrong += any(mismatch(row, shares) >= math.log(1 / 0.05) for row in counts[9::10])
    assert wrong / 300 <= 0.05
    assert mismatch(np.array([3, 1]), np.array([1.0, 0.0])) == math.inf


def test_a_variant_whose_guard_falls_does_not_win():
    experiment = halves()
    rows = shop(experiment, 5_000, {"old": 0.2, "new": 0.35}, seed=8, buys={"old": 0.9, "new": 0.05})
    report = read(experiment, rows)
    assert report.lifts["new"][0].difference.low > 0
    assert report.decision.stop
    assert report.decision.best is None
    assert "'purchase' falls with 'new'" in report.decision.reason


def test_a_guard_that_is_not_settled_is_told():
    experiment = halves()
    report = read(
        experiment, shop(experiment, 2_500, {"old": 0.10, "new": 0.18}, seed=9, buys={"old": 0.1, "new": 0.08})
    )
    assert report.decision.best == "new"
    assert "not shown yet to be harmless for 'purchase'" in report.decision.reason


def test_an_experiment_ends_where_a_difference_is_too_small_to_matter():
    experiment = halves()
    rows = shop(experiment, 6_000, {"old": 0.8, "new": 0.8}, seed=10)
    ended = read(experiment, rows, ExperimentSettings(planned_users=6_000, least_lift=0.1, guards=()))
    assert ended.decision.stop
    assert ended.decision.best is None
    assert "'new' changes 'click' by less than 0.1 of it" in ended.decision.reason
    going_on = read(experiment, rows, ExperimentSettings(planned_users=6_000, least_lift=0.001, guards=()))
    assert not going_on.decision.stop
    enough = ExperimentSettings(planned_users=6_000, least_lift=0.001, guards=(), most_users=5_000)
    assert "users are enough" in read(experiment, rows, enough).decision.reason


def test_several_variants_share_alpha_and_the_best_wins():
    experiment = new_experiment("three", {"old": 0.34, "new": 0.33, "other": 0.33}, microseconds_of(START))
    rows = shop(experiment, 6_000, {"old": 0.10, "new": 0.20, "other": 0.30}, seed=11)
    report = read(experiment, rows)
    assert report.decision.best == "other"
    alone = new_experiment("three", {"old": 0.34, "new": 0.33}, microseconds_of(START))
    pair = ([row for row in rows[0] if row.variant != "other"], rows[1])
    wide, narrow = (r.lifts["new"][0].difference for r in (report, read(alone, pair)))
    assert wide.high - wide.low > narrow.high - narrow.low


def test_a_user_counts_once_and_when_the_window_is_over():
    experiment = halves()
    user = next(name for name in map(str, range(20)) if experiment.variant(name) == "new")
    first = microseconds_of(START)
    day = 86_400_000_000
    lists = [
        ExposureRow(str(n), first + n * day, user, ("a",), "", "colours", "new") for n in (0, 1, 2, 3, 8)
    ]  # fmt: skip
    outcomes = [
        OutcomeRow("0", "a", "click", first + 5),
        OutcomeRow("0", "a", "purchase", first + 9 * day, 3.0),  # behind the window
        OutcomeRow("1", "a", "rating", first + day + 5, 0.0),  # a dislike
        OutcomeRow("3", "a", "purchase", first + 4 * day, 30.0),  # a value beyond the most that counts
        OutcomeRow("8", "a", "click", first + 8 * day + 5),  # of a list behind the window
    ]
    early = read(experiment, (lists, outcomes), now=START + timedelta(days=6))
    assert [arm.complete for arm in early.arms] == [0, 0]
    assert "1 users are not counted yet" in early.notes[0]
    arm = read(experiment, (lists, outcomes)).arms[1]
    assert (arm.users, arm.complete, arm.lists) == (1, 1, 4)
    values = {name: rate.value for name, rate in arm.rates.items()}
    assert values == {"click": 0.5, "purchase": 0.25, "value": (1 + 10) / 4}


def test_what_cannot_be_used_is_counted():
    experiment = halves()
    time = microseconds_of(START)
    lists = [
        ExposureRow("1", time, "Ada", ("a",), "", "colours", "old"),
        ExposureRow("2", time + 1, "Ada", ("a",), "", "colours", "new"),
        ExposureRow("3", time, "", ("a",), "", "colours", "old"),
        ExposureRow("4", time, "Ben", ("a",), "", "colours", "gone"),
    ]
    report = read(experiment, (lists, []))
    assert [arm.users for arm in report.arms] == [1, 0]
    assert len(report.notes) == 3
    assert {note[:7] for note in report.notes} == {"1 users", "1 lists"}


def test_an_experiment_without_lists_is_reported_too():
    report = read(halves(), ([], []))
    assert [arm.users for arm in report.arms] == [0, 0]
    assert report.lifts["new"][0].ratio is None
    assert not report.decision.stop


@pytest.mark.parametrize(("taste", "best"), [(0.75, "new"), (0.25, "old"), (0.5, None)], ids=["new", "old", "none"])
def test_an_interleaving_says_whose_items_are_chosen(taste: float, best: str | None):
    experiment = halves(kind="interleaving")
    generator = np.random.default_rng(12)
    lists, outcomes = [], []
    for number in range(2_000):
        time, user = microseconds_of(START) + number, f"user {number}"
        teams = ("old", "new") if number % 2 else ("new", "old")
        row = ExposureRow(user, time, user, ("a", "b"), "", "colours", "", {"teams": list(teams)})
        lists.append(row)
        if generator.random() < 0.3:
            wanted = "new" if generator.random() < taste else "old"
            outcomes.append(OutcomeRow(row.id, row.items[teams.index(wanted)], "click", time + 5))
    report = read(experiment, (lists, outcomes))
    assert report.preference is not None
    assert report.decision.best == best
    assert report.decision.stop == (best is not None)
