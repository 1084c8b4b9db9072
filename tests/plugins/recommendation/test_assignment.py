"""Assignment: even, the same everywhere, and as few users moved as can be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2

from tests.plugins.recommendation.stores import place, server
from triptych.errors import ConfigError, UnknownNameError
from triptych_recommendation.catalogue.store import Store
from triptych_recommendation.experiments import registry
from triptych_recommendation.experiments.assignment import BUCKETS, Experiment, bucket, counts_of, new_experiment

__all__ = ["place", "server"]  # fixtures
USERS = [f"user-{number}" for number in range(20_000)]


@st.composite
def shares(draw: st.DrawFn) -> dict[str, float]:
    """Shares of two to four variants, in hundredths, that sum to at most one."""
    names = draw(st.permutations(["a", "b", "c", "d"]))[: draw(st.integers(2, 4))]
    weights = [draw(st.integers(1, 25)) for _ in names]
    return {name: weight / 100 for name, weight in zip(names, weights, strict=True)}


def assigned(experiment: Experiment, units: list[str]) -> dict[str, str | None]:
    return {unit: experiment.variant(unit) for unit in units}


@pytest.mark.parametrize("wanted", [{"a": 0.5, "b": 0.5}, {"a": 0.9, "b": 0.1}, {"a": 0.2, "b": 0.3, "c": 0.1}],
                         ids=["half", "tenth", "three and nobody"])  # fmt: skip
def test_users_fall_into_the_shares_that_are_set(wanted: dict[str, float]):
    found = list(assigned(new_experiment("colours", wanted, 0), USERS).values())
    expected: dict[str | None, float] = {**wanted, None: 1 - sum(wanted.values())}
    statistic = sum(
        (found.count(name) - share * len(USERS)) ** 2 / (share * len(USERS))
        for name, share in expected.items()
        if share > 1e-9
    )
    freedom = sum(share > 1e-9 for share in expected.values()) - 1
    assert statistic < chi2.ppf(0.999, freedom)


def test_the_salt_makes_experiments_unrelated_and_its_absence_makes_them_alike():
    one, other = (new_experiment(name, {"a": 0.5, "b": 0.5}, 0) for name in ("colours", "prices"))
    both = sum(one.variant(user) == other.variant(user) for user in USERS) / len(USERS)
    assert both == pytest.approx(0.5, abs=0.015)
    twin = new_experiment("prices", {"a": 0.5, "b": 0.5}, 0, salt="colours")
    assert assigned(one, USERS[:500]) == assigned(twin, USERS[:500])


def test_a_user_stays_where_known_values_say():
    assert [bucket("colours", user) for user in ("Ada", "Ben", "")] == [1537, 9797, 4519]


@given(shares(), shares())
def test_shares_are_kept_to_a_bucket_and_only_the_surplus_moves(before: dict[str, float], after: dict[str, float]):
    old = new_experiment("colours", before, 0)
    new = old.with_shares(after, 1)
    names = {*before, *after}
    for name in names:
        assert new.phases[-1].shares().get(name, 0) == pytest.approx(after.get(name, 0), abs=1 / BUCKETS)
    was = [name for name, count in old.phases[-1].runs for _ in range(count)]
    now = [name for name, count in new.phases[-1].runs for _ in range(count)]
    surplus = sum(max(0, was.count(name) - now.count(name)) for name in {*names, ""})
    assert sum(one != other for one, other in zip(was, now, strict=True)) == surplus


def test_nobody_moves_between_variants_whose_shares_stay():
    old = new_experiment("colours", {"a": 0.4, "b": 0.4, "c": 0.2}, 0)
    new = old.with_shares({"a": 0.4, "b": 0.5, "c": 0.1}, 1)
    moved = {(old.variant(user), new.variant(user)) for user in USERS} - {(name, name) for name in "abc"}
    assert moved == {("c", "b")}


def test_every_phase_is_remembered_with_its_shares():
    experiment = new_experiment("colours", {"a": 0.5, "b": 0.5}, 100).with_shares({"a": 0.2, "b": 0.8}, 200)
    assert [(phase.since, phase.shares()["b"]) for phase in experiment.phases] == [(100, 0.5), (200, 0.8)]


@given(shares())
def test_all_buckets_are_given_away(wanted: dict[str, float]):
    counts = counts_of(wanted)
    assert sum(counts.values()) == BUCKETS
    assert all(count >= 0 for count in counts.values())


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"a": 0.7, "b": 0.7}, "sum to 1.4"),
        ({"a": 0.5, "b": 0.0}, "variant 'b'"),
        ({"a": 0.5, "b": -0.1}, "variant 'b'"),
        ({"a": 0.5, "b": float("nan")}, "variant 'b'"),
        ({"a": 1.0}, "at least two variants"),
        ({"a": 0.5, " ": 0.5}, "cannot be the name"),
    ],
    ids=["too much", "nothing", "negative", "not a number", "one", "no name"],
)
def test_shares_that_cannot_be_are_named(wanted: dict[str, float], said: str):
    with pytest.raises(ConfigError, match=said):
        new_experiment("colours", wanted, 0)


def test_an_interleaving_has_two_variants_and_changes_belong_to_one():
    with pytest.raises(ConfigError, match="exactly two"):
        new_experiment("colours", {"a": 0.3, "b": 0.3, "c": 0.3}, 0, kind="interleaving")
    with pytest.raises(ConfigError, match="'z' is none of its variants"):
        new_experiment("colours", {"a": 0.5, "b": 0.5}, 0, changes={"z": {}})


def test_an_experiment_is_kept_as_it_is_and_once(place: str):
    made = new_experiment("farben é", {"a": 0.5, "b": 0.25}, 5, changes={"b": {"diversity": 0.4}})
    made = made.with_shares({"a": 0.5, "b": 0.5}, 9)
    with Store.open(place, writer=True) as store:
        with store.reading() as tx:
            assert registry.experiments(tx) == []
        with store.transaction() as tx:
            registry.start(tx, made)
        with store.transaction() as tx, pytest.raises(ConfigError, match="already"):
            registry.start(tx, made)
    with Store.open(place, writer=False) as store, store.reading() as tx:
        assert registry.experiment(tx, made.name) == made
        with pytest.raises(UnknownNameError, match="Known: farben"):
            registry.experiment(tx, "colours")


def test_an_interleaving_gains_no_third_variant() -> None:
    experiment = new_experiment("mix", {"old": 0.5, "new": 0.5}, 0, kind="interleaving")
    with pytest.raises(ConfigError, match="exactly two variants"):
        experiment.with_shares({"old": 0.3, "new": 0.3, "third": 0.3}, 1)
    assert experiment.with_shares({"old": 0.2, "new": 0.2}, 1).variants.keys() == {"old", "new"}
