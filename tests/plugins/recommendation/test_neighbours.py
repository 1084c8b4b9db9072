"""Item neighbours: the similarity against a plain reckoning, order, windows, 8 bits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.plugins.recommendation.conformance import check
from tests.plugins.recommendation.walks import walks
from triptych_recommendation.data.interactions import History, Interactions
from triptych_recommendation.data.splits import leave_one_out
from triptych_recommendation.hindsight.evaluation import evaluate
from triptych_recommendation.models.neighbours import Neighbours
from triptych_recommendation.models.popularity import Popularity
from triptych_recommendation.models.settings import NeighbourSettings, PopularitySettings

VARIANTS = [
    NeighbourSettings(),
    NeighbourSettings(neighbours=5, penalty=0.3, active=1.0, last=3, recency=1.0, int8=True),
    NeighbourSettings(window=4, back=0.5, recency=1.0, last=5),
]
EVENTS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 7)), max_size=40)


@pytest.mark.parametrize("variant", VARIANTS)
def test_conformance(variant, tmp_path):
    interactions = walks()
    check(Neighbours.fit(interactions, variant, seed=0), interactions, tmp_path)


def of_pairs(pairs: list[tuple[int, int]]) -> Interactions:
    columns = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return Interactions.of_rows(list("abcdef"), list("01234567"), columns[0], columns[1])


@settings(deadline=None, max_examples=40)
@given(EVENTS, st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([0.0, 4.0]), st.sampled_from([0.0, 1.0]))
def test_similarities_are_those_of_the_textbook(pairs, penalty, shrinkage, active):
    events = of_pairs(pairs)
    chosen = events.matrix().toarray()
    votes = chosen * np.maximum(chosen.sum(axis=1, keepdims=True), 1) ** -active
    together, counts = votes.T @ chosen, votes.sum(axis=0)
    divisor = counts[:, None] ** (1 - penalty) * counts[None, :] ** penalty + shrinkage
    expected = np.divide(together, divisor, out=np.zeros_like(together), where=together > 0)
    np.fill_diagonal(expected, 0)
    wanted = NeighbourSettings(penalty=penalty, shrinkage=shrinkage, active=active)
    found = Neighbours.fit(events, wanted, seed=0).scores([History.of([row]) for row in range(8)])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


@settings(deadline=None, max_examples=40)
@given(EVENTS, st.integers(1, 3), st.sampled_from([0.0, 0.5, 1.0]))
def test_a_window_counts_what_stands_close_by_its_distance(pairs, window, back):
    events = of_pairs(pairs)
    expected = np.zeros((8, 8))
    for history in events.histories():
        order = list(dict.fromkeys(history.items.tolist()))
        for earlier, one in enumerate(order):
            for later in range(earlier + 1, min(earlier + window, len(order) - 1) + 1):
                expected[one, order[later]] += 1 / (later - earlier)
                expected[order[later], one] += back / (later - earlier)
    counts = events.matrix().toarray().sum(axis=0)
    expected /= np.sqrt(counts[:, None] * counts[None, :]) + 2
    wanted = NeighbourSettings(shrinkage=2, window=window, back=back)
    found = Neighbours.fit(events, wanted, seed=0).scores([History.of([row]) for row in range(8)])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


def test_only_the_nearest_are_kept():
    events = walks()
    full, few = (Neighbours.fit(events, NeighbourSettings(neighbours=n), seed=0) for n in (100, 4))
    for row in range(0, 60, 7):
        alone = History.of([row])
        best = full.candidates(alone, 4)
        assert few.candidates(alone, 60).tolist() == best.tolist()
        np.testing.assert_allclose(few.score(alone, best), full.score(alone, best))


def test_newer_items_count_more_and_repeats_once():
    events = Interactions.of(["a", "a", "b", "b"], ["x", "p", "y", "q"])
    x, p, y, q = range(4)
    model = Neighbours.fit(events, NeighbourSettings(recency=1.0, shrinkage=0), seed=0)
    scores = model.scores([History.of([x, y]), History.of([y, x, x, x])])
    assert scores[0, [p, q]].tolist() == [0.5, 1]
    assert scores[1, [p, q]].tolist() == [1, 0.5]
    newest = Neighbours.fit(events, NeighbourSettings(last=1, shrinkage=0), seed=0)
    assert newest.scores([History.of([x, y])])[0, [p, q]].tolist() == [0, 1]
    assert newest.contributions(History.of([x, y, y]), q).tolist() == [0, 0, 1]


def test_heavier_events_count_more():
    events = Interactions.of(["a", "a", "b", "b"], ["x", "p", "y", "q"])
    x, p, y, q = range(4)
    history = History.of([x, x, y], weights=[9, 4, 16])
    for power, expected in ((0.0, [1, 1]), (0.5, [2, 4]), (1.0, [4, 16])):
        model = Neighbours.fit(events, NeighbourSettings(weighted=power, shrinkage=0), seed=0)
        assert model.scores([history])[0, [p, q]].tolist() == expected


def test_eight_bits_hardly_change_a_score_and_take_less_room(tmp_path):
    events = walks(users=300)
    asked = [events.history(user) for user in range(20)]
    plain, small = (Neighbours.fit(events, NeighbourSettings(int8=value), seed=0) for value in (False, True))
    np.testing.assert_allclose(small.scores(asked), plain.scores(asked), rtol=0.02, atol=0.01)
    sizes = []
    for name, model in (("plain", plain), ("small", small)):
        model.save(tmp_path / name)
        sizes.append((tmp_path / name / "model.safetensors").stat().st_size)
    assert sizes[1] < 0.6 * sizes[0]


def test_they_find_what_popularity_cannot():
    split = leave_one_out(walks(users=300))
    popular = Popularity.fit(split.before_test, PopularitySettings(), seed=0)
    near = Neighbours.fit(split.before_test, NeighbourSettings(), seed=0)
    ordered = Neighbours.fit(split.before_test, NeighbourSettings(window=3, back=0, recency=1), seed=0)
    found = [evaluate(model, split.before_test, split.test).metrics["ndcg@10"] for model in (popular, near, ordered)]
    assert found[0] < found[1] < found[2], "who walks in a group is best told by the group, and better by the order"


def test_nothing_happened_yet(tmp_path):
    empty = Interactions.of_rows(["a"], ["x", "y"], [], [])
    for variant in VARIANTS:
        model = Neighbours.fit(empty, variant, seed=0)
        assert model.scores([History.of([0])]).tolist() == [[0, 0]]
        model.save(tmp_path)
        assert Neighbours.load(tmp_path).items == 2
