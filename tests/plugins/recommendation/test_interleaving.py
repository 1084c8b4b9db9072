"""Team drafts: fair to both rankings, and what choices say of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triptych_recommendation.experiments.interleaving import Draft, credit, team_draft

RANKING = st.lists(st.sampled_from("abcdefghij"), unique=True)


@given(RANKING, RANKING, st.integers(0, 12), st.text(max_size=5))
def test_a_draft_has_the_best_of_both_each_once(first: list[str], second: list[str], k: int, seed: str):
    draft = team_draft(first, second, k, seed=seed)
    assert len(draft.items) == len(draft.teams) == min(k, len({*first, *second}))
    assert len(set(draft.items)) == len(draft.items)
    assert {*draft.items} <= {*first, *second}
    assert abs(draft.teams.count(0) - draft.teams.count(1)) <= 1
    for side, ranking in enumerate((first, second)):
        places = [ranking.index(item) for item, team in zip(draft.items, draft.teams, strict=True) if team == side]
        assert places == sorted(places)
        for item, team in zip(draft.items, draft.teams, strict=True):
            if team == side:  # its best that was not there yet
                before = draft.items[: draft.items.index(item)]
                assert set(ranking[: ranking.index(item)]) <= set(before)


@given(RANKING, RANKING, st.text(max_size=5))
def test_every_second_pick_is_the_other_teams(first: list[str], second: list[str], seed: str):
    teams = [team for team in team_draft(first, second, 12, seed=seed).teams if team is not None]
    pairs = [{*teams[place : place + 2]} for place in range(0, len(teams) - 1, 2)]
    assert all(pair == {0, 1} for pair in pairs)


def test_the_same_seed_gives_the_same_draft_and_the_first_pick_is_even_over_seeds():
    drafts = [team_draft("abcd", "wxyz", 4, seed=f"list {number}") for number in range(2_000)]
    assert drafts[:50] == [team_draft("abcd", "wxyz", 4, seed=f"list {number}") for number in range(50)]
    first = sum(draft.teams[0] == 0 for draft in drafts) / len(drafts)
    assert first == pytest.approx(0.5, abs=0.035)
    assert len({draft.items for draft in drafts}) == 4


def test_rankings_that_are_alike_are_credited_evenly():
    drafts = [team_draft("abcd", "abcd", 4, seed=f"list {number}") for number in range(4_000)]
    assert {draft.items for draft in drafts} == {tuple("abcd")}
    assert sum(credit(draft, {"a"}) for draft in drafts) / len(drafts) == pytest.approx(0, abs=0.05)


def test_what_fills_up_has_no_team():
    assert team_draft("a", "xyz", 4, seed="s").teams.count(None) == 2


@pytest.mark.parametrize(("chosen", "expected"), [("", 0), ("a", -1), ("x", 1), ("ax", 0), ("axy", 1), ("c", 0)])
def test_credit_goes_to_the_team_with_more_choices(chosen: str, expected: int):
    draft = Draft(("a", "x", "b", "y", "c"), (0, 1, 0, 1, None))
    assert credit(draft, set(chosen)) == expected


def test_a_ranking_with_an_item_twice_is_refused():
    with pytest.raises(ValueError, match="twice"):
        team_draft("aba", "xyz", 3, seed="s")
