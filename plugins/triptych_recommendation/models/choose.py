"""Which model serves: each kind is tuned on the validation, their blend is learnt there, and the test is read once."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.config import Section
from triptych.tuning.base import Progress
from triptych_recommendation.data.interactions import Interactions
from triptych_recommendation.data.splits import Held, Split
from triptych_recommendation.hindsight.evaluation import Evaluation, evaluate
from triptych_recommendation.hindsight.metrics import METRIC, difference
from triptych_recommendation.models.base import Report, UserModel, model_class, silent
from triptych_recommendation.models.blend import Blend
from triptych_recommendation.models.blending import Mixture, collect, learn
from triptych_recommendation.models.cost import affordable, milliseconds, some_histories
from triptych_recommendation.models.grids import GRIDS, Axes
from triptych_recommendation.models.settings import BlendSettings, ModelSettings

GUARD, BLEND = "neighbours", "blend"
FOLDS = 5  # of the users, for an honest look at the blend on the validation


@dataclass(frozen=True, slots=True, eq=False)
class Contender:
    """One model of the choice: with which settings, how good on validation and on test, and what fitting took."""

    name: str
    settings: Mapping[str, Any]
    validation: Evaluation  # on the users of `sampled`; of the blend by cross-fitting
    test: Evaluation  # refitted on all that is before the test
    seconds: float  # of the last fit, on all that is before the test; of the blend: of its weights
    milliseconds: float  # of CPU time for a list (`cost.milliseconds`)


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """The model that serves, fitted once more on all events there are, and all that was tried."""

    model: UserModel
    name: str
    rivals: list[Contender]  # the chosen one is among them
    notes: list[str]


@dataclass(frozen=True, slots=True, eq=False)
class Tuned:
    """The best settings of a kind, and the model fitted with them on the training part."""

    kind: str
    settings: Section
    model: UserModel
    validation: Evaluation
    tried: int


def choose(
    split: Split,
    interactions: Interactions,
    settings: ModelSettings,
    *,
    vectors: NDArray[np.float32] | None = None,
    seed: int = 0,
    progress: Report = silent,
) -> Choice:
    """Tune every kind, learn their blend, and choose by NDCG@10 on the validation.

    `interactions` are all events, those of the split and of its test: what serves learns from them too, so that it
    knows what people did last. `vectors` is float32 [items, d]; without it "content" is not tried. Popularity and item
    neighbours are always tried, and what does not beat the neighbours on the validation, by a paired bootstrap interval
    above 0, is not chosen. Nor is what takes more than `max_ms` for a list, and the blend is one of models that take no
    more together. Every rival is fitted again on all that is before the test, and evaluated there once.
    """
    notes = []
    kinds = list(dict.fromkeys((GUARD, "popularity", *settings.candidates)))
    if vectors is None and "content" in kinds:
        kinds.remove("content")
        notes.append("content was not tried: the items have no vectors")
    held = sampled(split.validation, settings.validation_users, seed)
    tuned = [tune(kind, split.train, held, settings, vectors=vectors, seed=seed, progress=progress) for kind in kinds]
    histories = some_histories(split.train)
    costs = {one.kind: milliseconds(one.model, histories) for one in tuned}
    within = affordable(costs, settings.max_ms, (GUARD, "popularity"))
    notes += [_too_slow(kind, cost, settings.max_ms) for kind, cost in costs.items() if kind not in within]
    parts = [one for one in tuned if one.kind in within]
    mixture, blended, blend_seconds = blend(parts, split.train, held, settings.blend)
    if len(parts) < len(tuned):
        _, whole, _ = blend(tuned, split.train, held, settings.blend)
        notes.append(_left_out(whole, blended))
    quick = [one for one in tuned if one.kind == GUARD or costs[one.kind] <= settings.max_ms]
    name, why = decide({one.kind: one.validation for one in quick} | {BLEND: blended})
    rivals, models = [], []
    for one in tuned:
        started = time.perf_counter()
        model = refit(one, split.before_test, vectors=vectors, seed=seed, progress=progress)
        seconds = time.perf_counter() - started
        test = evaluate(model, split.before_test, split.test)
        rivals.append(Contender(one.kind, one.settings.model_dump(), one.validation, test, seconds, costs[one.kind]))
        if one in parts:
            models.append(model)
    mixed = Blend(models, mixture)
    test = evaluate(mixed, split.before_test, split.test)
    cost = milliseconds(mixed, histories)
    rivals.append(Contender(BLEND, mixed.worth(), blended, test, blend_seconds, cost))
    served = [
        refit(one, interactions, vectors=vectors, seed=seed, progress=progress)
        for one in (parts if name == BLEND else tuned)
        if name in (BLEND, one.kind)
    ]
    return Choice(Blend(served, mixture) if name == BLEND else served[0], name, rivals, [*notes, why])


def tune(
    kind: str,
    train: Interactions,
    held: Held,
    settings: ModelSettings,
    *,
    vectors: NDArray[np.float32] | None,
    seed: int,
    progress: Report = silent,
    axes: Axes | None = None,
) -> Tuned:
    """The best settings of a kind on the held-out users: along each axis in turn, the best value stays.

    The axes are those of `grids.GRIDS`, unless others are given.
    """
    axes = (GRIDS.get(kind, []) if axes is None else axes) if settings.tune else []
    if not np.ptp(train.weight):  # all alike: their power is nothing to choose
        axes = [axis for axis in axes if "weighted" not in axis[0]]
    total = 1 + sum(map(len, axes))
    best: Tuned | None = None
    tried: dict[str, None] = {}

    def attempt(section: Section) -> None:
        nonlocal best
        key = section.model_dump_json()
        if key in tried:
            return
        tried[key] = None
        progress(Progress(f"tuning {kind}", len(tried), total))
        model = model_class(kind).fit(train, section, seed=seed, vectors=vectors, progress=progress)
        found = evaluate(model, train, held)
        if best is None or found.metrics[METRIC] > best.validation.metrics[METRIC]:
            best = Tuned(kind, section, model, found, 0)

    attempt(getattr(settings, kind))
    assert best is not None
    for axis in axes:
        base = best.settings
        for change in axis:
            attempt(type(base).model_validate(base.model_dump() | change))
    return replace(best, tried=len(tried))


def refit(
    tuned: Tuned,
    interactions: Interactions,
    *,
    vectors: NDArray[np.float32] | None,
    seed: int,
    progress: Report = silent,
) -> UserModel:
    """The kind with the settings that were chosen, learnt from other events."""
    kind = model_class(tuned.kind)
    return kind.fit(interactions, tuned.settings, seed=seed, vectors=vectors, progress=progress)


def blend(
    tuned: Sequence[Tuned], train: Interactions, held: Held, settings: BlendSettings
) -> tuple[Mixture, Evaluation, float]:
    """The weights of a blend of fitted models, how good it is on users that its weights did not see, and seconds.

    The users are dealt to `FOLDS` parts; each is evaluated with weights that were learnt on the others.
    """
    started = time.perf_counter()
    parts = [one.model for one in tuned]
    lessons = collect(parts, train, held, settings.depth)
    mixture = learn(lessons, settings)
    seconds = time.perf_counter() - started
    order, found = [], []
    for fold in range(FOLDS):
        own = np.arange(fold, len(held), FOLDS)
        if len(own):
            others = learn(lessons.only(lessons.places % FOLDS != fold), settings)
            found.append(evaluate(Blend(parts, others), train, part_of(held, own)))
            order.append(own)
    back = np.argsort(np.concatenate(order))
    users = {name: np.concatenate([one.users[name] for one in found])[back] for name in found[0].users}
    return mixture, Evaluation(users, np.concatenate([one.lists for one in found])[back]), seconds


def decide(validations: Mapping[str, Evaluation]) -> tuple[str, str]:
    """The name of the best on the validation that surely beats the item neighbours, or these; and why, in words."""
    means = {name: one.metrics[METRIC] for name, one in validations.items()}
    guard = validations[GUARD].users
    for name in sorted(means, key=lambda name: -means[name]):
        if name == GUARD:
            break
        gap = difference(validations[name].users, guard)
        if gap.low > 0:
            why = f"{name} is chosen: NDCG@10 on the validation {means[name]:.4f}, item neighbours {means[GUARD]:.4f}"
            return name, f"{why}; the difference is {gap.value:.4f}, 95 % interval {gap.low:.4f} to {gap.high:.4f}"
    return GUARD, f"no rival surely beats item neighbours on the validation (NDCG@10 {means[GUARD]:.4f}): they serve"


def _too_slow(kind: str, cost: float, most: float) -> str:
    """What is told of a model that is not served for its cost."""
    return (
        f"{kind} is not in the blend: it takes {cost:.1f} ms of CPU time for a list, and all parts may take "
        f"{most:g} together (vertical.models.max_ms)"
    )


def _left_out(whole: Evaluation, served: Evaluation) -> str:
    """What is told of how good the blend would be with all models."""
    gap = difference(whole.users, served.users)
    return (
        f"without what it leaves out, the blend has NDCG@10 {served.metrics[METRIC]:.4f} on the validation, with all "
        f"models {whole.metrics[METRIC]:.4f}; the loss is {gap.value:.4f}, "
        f"95 % interval {gap.low:.4f} to {gap.high:.4f}"
    )


def sampled(held: Held, most: int, seed: int) -> Held:
    """At most so many of the held-out users, drawn at random, in their order."""
    if len(held) <= most:
        return held
    return part_of(held, np.sort(np.random.default_rng(seed).choice(len(held), most, replace=False)))


def part_of(held: Held, places: NDArray[np.int64]) -> Held:
    """Some of the held-out users."""
    return Held(held.users[places], [held.targets[place] for place in places], held.as_of[places])
