"""The choice: tuned on the validation, guarded by the item neighbours, the test read once and after all is decided."""

from __future__ import annotations

import numpy as np
import pytest

from tests.plugins.recommendation.walks import walks
from triptych_recommendation.data.interactions import History, Interactions
from triptych_recommendation.data.splits import leave_one_out
from triptych_recommendation.hindsight.evaluation import Evaluation, evaluate
from triptych_recommendation.hindsight.metrics import NAMES
from triptych_recommendation.models import choose as choosing
from triptych_recommendation.models.choose import BLEND, GUARD, choose, decide, part_of, sampled, tune
from triptych_recommendation.models.cost import affordable, milliseconds
from triptych_recommendation.models.settings import BlendSettings, EaseSettings, ModelSettings, NeighbourSettings

CHEAP = ModelSettings(
    candidates=["popularity", "ease"], ease=EaseSettings(l2=20), blend=BlendSettings(depth=20), tune=False
)


@pytest.fixture(scope="module")
def events():
    return walks(users=200)


@pytest.fixture(scope="module")
def split(events):
    return leave_one_out(events)


@pytest.fixture(scope="module")
def choice(split, events):
    return choose(split, events, CHEAP, seed=0)


def test_every_kind_is_a_rival_and_the_neighbours_always(choice):
    assert [rival.name for rival in choice.rivals] == [GUARD, "popularity", "ease", BLEND]
    assert choice.name in {rival.name for rival in choice.rivals}
    assert choice.model.name == choice.name
    assert any(choice.name in note or "item neighbours" in note for note in choice.notes)


def test_the_test_is_asked_of_models_that_do_not_know_it(split, choice):
    chosen = next(rival for rival in choice.rivals if rival.name == choice.name)
    knowing = evaluate(choice.model, split.before_test, split.test)
    assert knowing.metrics["ndcg@10"] > chosen.test.metrics["ndcg@10"]
    popular = next(rival for rival in choice.rivals if rival.name == "popularity")
    assert chosen.test.metrics["ndcg@10"] > popular.test.metrics["ndcg@10"]
    for rival in choice.rivals:
        assert len(rival.validation.users["mrr"]) == len(split.validation)
        assert len(rival.test.users["mrr"]) == len(split.test)
        assert rival.seconds > 0
    neighbours = next(rival for rival in choice.rivals if rival.name == GUARD)
    assert neighbours.settings == NeighbourSettings().model_dump()


def test_what_serves_knows_an_item_that_only_the_test_has(split, events):
    user = int(split.test.users[0])
    new = Interactions.of_rows(
        events.users, (*events.items, "new"), np.append(events.user, user),
        np.append(events.item, len(events.items)), np.append(events.time, events.time.max() + 1),
    )  # fmt: skip
    late = leave_one_out(new)
    assert late.test.targets[0].tolist() == [len(events.items)]
    settings = CHEAP.model_copy(update={"candidates": []})
    found = choose(late, new, settings, seed=0)
    near = late.before_test.history(user)
    assert found.model.scores([near])[0, -1] > 0


def test_nothing_is_fitted_to_the_test_and_it_is_read_once_for_each(split, events, monkeypatch):
    read = []

    def watched(model, interactions, held, **options):
        if held is split.test:
            read.append(model.name)
        return evaluate(model, interactions, held, **options)

    monkeypatch.setattr(choosing, "evaluate", watched)
    choose(split, events, CHEAP, seed=0)
    assert sorted(read) == sorted([GUARD, "popularity", "ease", BLEND])


def test_the_same_seed_gives_the_same_choice(split, events, choice):
    again = choose(split, events, CHEAP, seed=0)
    assert again.name == choice.name
    for one, other in zip(again.rivals, choice.rivals, strict=True):
        assert one.validation.metrics == other.validation.metrics
        assert one.test.metrics == other.test.metrics


def test_tuning_keeps_the_best_of_each_axis_and_what_was_given_where_nothing_is_better(split, monkeypatch):
    grid = [[{"l2": 5.0}, {"l2": 1e6}, {"l2": 20.0}], [{"recency": 1.0}, {"recency": 3.0}]]
    monkeypatch.setitem(choosing.GRIDS, "ease", grid)
    given = CHEAP.model_copy(update={"tune": True})
    tuned = tune("ease", split.train, split.validation, given, vectors=None, seed=0)
    assert tuned.tried == 5, "what was tried is not tried again"
    everything = [
        tune("ease", split.train, split.validation, one, vectors=None, seed=0).validation.metrics["ndcg@10"]
        for one in [CHEAP.model_copy(update={"ease": EaseSettings(l2=l2)}) for l2 in (5.0, 20.0, 1e6)]
    ]
    assert tuned.validation.metrics["ndcg@10"] >= max(everything)


def evaluation(values) -> Evaluation:
    users = np.asarray(values, dtype=np.float64)
    return Evaluation(dict.fromkeys(NAMES, users), np.zeros((len(users), 20), np.int32))


def test_what_does_not_surely_beat_the_neighbours_is_not_chosen():
    rng = np.random.default_rng(0)
    guard = rng.random(400)
    noisy = guard + rng.normal(0.01, 1, 400)
    better, best = guard + 0.02 + rng.normal(0, 0.01, 400), guard + rng.normal(0.12, 0.01, 400)
    names = {GUARD: evaluation(guard), "popularity": evaluation(noisy)}
    name, why = decide(names)
    assert name == GUARD
    assert "no rival surely beats" in why
    assert decide(names | {"ease": evaluation(better)})[0] == "ease"
    name, why = decide(names | {"ease": evaluation(better), BLEND: evaluation(best)})
    assert name == BLEND
    assert "interval" in why


def test_what_costs_too_much_for_a_list_does_not_serve(split, events, monkeypatch):
    monkeypatch.setattr(choosing, "milliseconds", lambda model, _: {"ease": 7.0}.get(model.name, 1.0))
    held = CHEAP.model_copy(update={"max_ms": 5.0})
    found = choose(split, events, held, seed=0)
    assert found.name != "ease"
    by_name = {rival.name: rival for rival in found.rivals}
    assert set(by_name[BLEND].settings) <= {GUARD, "popularity"}
    assert by_name["ease"].milliseconds == 7.0
    assert len(by_name["ease"].test.users["mrr"]) == len(split.test), "it is told how good it would have been"
    assert any("ease is not in the blend" in note and "max_ms" in note for note in found.notes)
    (told,) = (note for note in found.notes if "the loss is" in note)
    assert f"NDCG@10 {by_name[BLEND].validation.metrics['ndcg@10']:.4f} on the validation" in told
    everything = choose(split, events, CHEAP.model_copy(update={"max_ms": 100.0}), seed=0)
    whole = next(rival for rival in everything.rivals if rival.name == BLEND).validation.metrics["ndcg@10"]
    assert f"with all models {whole:.4f}" in told
    assert not any("the loss is" in note for note in everything.notes)


def test_the_costliest_leave_the_blend_first_and_the_guard_never():
    costs = {GUARD: 6.0, "popularity": 0.1, "ease": 2.0, "sequence": 5.0}
    assert affordable(costs, 20, (GUARD,)) == list(costs)
    assert affordable(costs, 9, (GUARD,)) == [GUARD, "popularity", "ease"]
    assert affordable(costs, 1, (GUARD, "popularity")) == [GUARD, "popularity"]


def test_the_cost_of_a_list_is_measured_on_any_history(choice, events):
    assert milliseconds(choice.model, [events.history(0), History.of([])]) > 0
    with pytest.raises(ValueError, match="nothing to measure"):
        milliseconds(choice.model, [])


def test_content_is_tried_with_vectors_only(split, events):
    settings = CHEAP.model_copy(update={"candidates": ["content"]})
    found = choose(split, events, settings, seed=0)
    assert [rival.name for rival in found.rivals] == [GUARD, "popularity", BLEND]
    assert any("content was not tried" in note for note in found.notes)


def test_a_sample_of_the_held_out_users_keeps_their_order(split):
    few = sampled(split.validation, 50, seed=1)
    assert len(few) == 50
    assert (np.diff(few.users) > 0).all()
    targets = dict(zip(split.validation.users.tolist(), split.validation.targets, strict=True))
    assert all(targets[user] is target for user, target in zip(few.users.tolist(), few.targets, strict=True))
    assert sampled(split.validation, 50, seed=1).users.tolist() == few.users.tolist()
    assert sampled(split.validation, 10_000, seed=1) is split.validation
    assert part_of(few, np.array([3, 1])).users.tolist() == few.users[[3, 1]].tolist()


def test_a_new_user_is_answered_by_the_choice(choice):
    assert choice.model.scores([History.of([])]).shape == (1, 60)
