"""Popularity: users are counted, not events, and old ones count less where that is asked for."""

from __future__ import annotations

import numpy as np
import pytest

from tests.plugins.recommendation.conformance import check
from tests.plugins.recommendation.walks import walks
from triptych_recommendation.data.interactions import History, Interactions
from triptych_recommendation.models.popularity import DAY, Popularity
from triptych_recommendation.models.settings import PopularitySettings


@pytest.mark.parametrize("half_life", [None, 3.0])
def test_conformance(half_life, tmp_path):
    interactions = walks()
    check(Popularity.fit(interactions, PopularitySettings(half_life_days=half_life), seed=0), interactions, tmp_path)


def test_a_user_counts_once_however_many_events(interactions):
    repeated = Interactions.of(["ann"] * 5 + ["bob", "cat"], ["lamp"] * 5 + ["vase", "vase"], range(7))
    assert Popularity.fit(repeated, PopularitySettings(), seed=0).scores([History.of([])])[0].tolist() == [1, 2]
    counts = Popularity.fit(interactions, PopularitySettings(), seed=0).scores([History.of([0])])[0]
    assert dict(zip(interactions.items, counts, strict=True)) == {"lamp": 2, "vase": 3, "rug": 2, "chair": 1, "new": 0}


def test_with_a_half_life_the_newest_event_of_a_user_counts_by_its_age():
    times = [0, 10 * DAY, 4 * DAY, 10 * DAY]
    events = Interactions.of(["ann", "ann", "bob", "cat"], ["lamp", "lamp", "vase", "rug"], times)
    scores = Popularity.fit(events, PopularitySettings(half_life_days=3), seed=0).scores([History.of([])])[0]
    np.testing.assert_allclose(scores, [1, 0.25, 1])


def test_nothing_happened_yet():
    empty = Interactions.of_rows(["ann"], ["lamp", "vase"], [], [])
    model = Popularity.fit(empty, PopularitySettings(half_life_days=2), seed=0)
    assert model.scores([History.of([])]).tolist() == [[0, 0]]
    assert len(model.candidates(History.of([0]), 5)) == 0
