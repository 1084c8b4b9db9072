"""Which variants are put in a row, and what they answer together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from triptych.cascades import MOST, arrangements, cascades
from triptych.compression.budget import Budget
from triptych.compression.contract import Standing
from triptych.economy import Economy
from triptych.evaluation.risk import settled_by
from triptych.evaluation.scope import Seen
from triptych.finalist import Judged
from triptych.runtime.cascade import CascadeSettings
from triptych.runtime.open import variant_path
from triptych.types import Sample

LABELS = ("no", "yes")
SAMPLES = 4000
TARGETS = np.arange(SAMPLES) % 2


def judged(name: str, accuracy: float, sure: Any = None, right: Any = None) -> Judged:
    """A variant with a chosen accuracy on both splits, the same answers on each of them."""
    right = np.arange(SAMPLES) / SAMPLES < accuracy if right is None else right
    sure = np.full(SAMPLES, 0.9) if sure is None else sure
    answer = np.where(right, TARGETS, 1 - TARGETS)
    probabilities = np.where(np.arange(2) == answer[:, None], sure[:, None], 1 - sure[:, None])
    seen = Seen(None, probabilities)
    session: Any = SimpleNamespace(
        kind="classification", labels=LABELS, modalities=("text",), variant=name, run=lambda samples: []
    )
    both = ("validation", "test")
    return Judged(
        name,
        session,
        Standing({"accuracy": right.mean()}),
        dict.fromkeys(both, right),
        dict.fromkeys(both, sure),
        dict.fromkeys(both, seen),
        np.zeros(0),
        {},
        {"accuracy": right.mean()},
        1.0,
    )


def trained() -> Any:
    samples = [Sample(str(row), text="", target=LABELS[target]) for row, target in enumerate(TARGETS)]
    return SimpleNamespace(inside={"validation": samples, "test": samples})


def names(found: Sequence[Sequence[Judged]]) -> list[str]:
    return [">".join(stage.name for stage in stages) for stages in found]


def three() -> tuple[Judged, Judged, Judged]:
    """Each knows of some samples that it knows them: of half, of the next three tenths, and hardly of any."""
    place = np.random.default_rng(0).permutation(SAMPLES) / SAMPLES
    static = judged("static", 0, np.where(place < 0.5, 0.99, 0.55), place < 0.7)
    small = judged("small", 0, np.where(place < 0.8, 0.99, 0.55), place < 0.85)
    good = judged("good", 0, np.where(place < 0.9, 0.99, 0.55), place < 0.9)
    return static, small, good


COST = {"static": 0.01, "small": 1.0, "good": 4.0, "parent": 10.0}


def test_every_variant_that_holds_the_drop_may_be_the_last() -> None:
    parent = judged("parent", 0.900)
    rows = [judged("static", 0.80), judged("small", 0.892), judged("good", 0.899), judged("large", 0.895)]
    cost = {"static": 0.01, "small": 1.0, "good": 4.0, "large": 8.0}
    assert names(arrangements(parent, rows, cost, 0.01)) == [
        "static>small",
        "static>good",
        "small>good",
        "static>small>good",
    ]  # "large" is both dearer and worse than "good"
    assert names(arrangements(parent, rows, cost, 0.005)) == names(arrangements(parent, rows, cost, 0.01))[1:]


def test_neighbours_in_a_row_differ_in_cost() -> None:
    parent = judged("parent", 0.9)
    rows = [judged("static", 0.8), judged("near", 0.85), judged("good", 0.9)]
    cost = {"static": 1.0, "near": 1.9, "good": 4.0}
    assert names(arrangements(parent, rows, cost, 0.005)) == ["static>good", "near>good"]


def test_the_parent_is_the_last_where_nothing_else_holds_the_drop() -> None:
    parent, rows = judged("parent", 0.9), [judged("static", 0.8)]
    assert names(arrangements(parent, rows, {"static": 0.1, "parent": 3.0}, 0.005)) == ["static>parent"]
    assert arrangements(parent, rows, {"static": 0.1}, 0.005) == []  # what the parent costs is not known


def test_three_stages_are_the_cheapest_where_each_knows_what_it_knows() -> None:
    static, small, good = three()
    parent = judged("parent", 0, good.sure["test"], good.right["test"])
    found = cascades(parent, [good, static, small], COST, trained(), Budget(max_drop=1.0), 0.9)
    assert [option.judged.name for option in found] == ["static>small>good", "small>good", "static>good"]
    best = found[0]
    assert best.threshold is not None
    assert best.threshold.escalation_rate == pytest.approx(0.5)
    assert best.judged.right["test"].mean() == pytest.approx(0.9)  # each stage answers only what it knows
    assert "hands on 50.0% and then 20.0% of the test requests" in best.judged.notes[0]
    assert "ruled out with 90.0% assurance" in best.judged.notes[0]  # of the best of three, which share the doubt
    assert best.threshold.assurance == 0.9
    assert best.session.thresholds == (best.threshold.threshold,) * 2  # type: ignore[attr-defined]


def test_a_bundle_gets_a_threshold_for_every_stage_but_the_last(tmp_path: Path) -> None:
    static, small, good = three()
    option = cascades(good, [static, small, good], COST, trained(), Budget(max_drop=1.0), 0.9)[0]
    ledger: Any = SimpleNamespace(chosen=option.judged.name)
    Economy(ledger, {option.judged.name: option}).install(tmp_path, trained())
    settings = CascadeSettings.read(variant_path(tmp_path, "static>small>good"))
    assert option.threshold is not None
    assert settings.thresholds == [option.threshold.threshold] * 2
    assert settings.promise["escalation_rate"] == pytest.approx(0.5)


def test_what_a_cascade_answers_is_what_the_settling_stage_answers() -> None:
    static, small, good = three()
    generator = np.random.default_rng(1)
    static = judged("static", 0, generator.uniform(0.5, 1, SAMPLES), static.right["test"])
    found = cascades(good, [static, small, good], COST, trained(), Budget(max_drop=20.0), 0.9)
    option = next(o for o in found if len(o.stages) == 3)
    assert option.threshold is not None
    by = settled_by(np.stack([static.sure["test"], small.sure["test"]]), option.threshold.threshold)
    assert set(by) == {0, 1} or set(by) == {0, 1, 2}
    for number, stage in enumerate(option.stages):
        rows = by == number
        np.testing.assert_array_equal(option.judged.right["test"][rows], stage.right["test"][rows])
        np.testing.assert_array_equal(
            option.judged.seen["test"].probabilities[rows], stage.seen["test"].probabilities[rows]
        )
    assert option.judged.standing.metrics["accuracy"] == pytest.approx(option.judged.right["test"].mean())
    assert option.judged.standing.groups["label yes"].sum() == option.judged.right["test"][TARGETS == 1].sum()


def test_too_few_samples_promise_nothing_and_an_assurance_of_zero_asks_for_none() -> None:
    def few(one: Judged) -> Judged:
        """The same, of its first 100 validation samples."""
        return judged_with(one, slice(0, 100))

    static, small, good = (few(one) for one in three())
    data = trained()
    data.inside["validation"] = data.inside["validation"][:100]
    arguments: Any = (good, [static, small, good], COST, data, Budget(max_drop=0.5))
    assert cascades(*arguments, 0.9) == []
    found = cascades(*arguments, 0.0)
    assert found
    assert len(found) <= MOST
    for option in found:
        assert good.right["validation"].mean() - option.judged.right["validation"].mean() <= 0.005
        assert "nothing is promised" in option.judged.notes[0]


def judged_with(one: Judged, rows: slice) -> Judged:
    seen = Seen(None, one.seen["validation"].probabilities[rows])
    right, sure = one.right["validation"][rows], one.sure["validation"][rows]
    return Judged(
        one.name,
        one.session,
        one.standing,
        {**one.right, "validation": right},
        {**one.sure, "validation": sure},
        {**one.seen, "validation": seen},
        one.strangers,
        one.group_sure,
        {"accuracy": right.mean()},
        one.size_mb,
    )


def test_a_cascade_that_hands_nearly_all_on_is_left_out() -> None:
    """Nothing is saved by a stage that settles one in ten at half the price of the next."""
    place = np.random.default_rng(2).permutation(SAMPLES) / SAMPLES
    first = judged("first", 0, np.where(place < 0.1, 0.99, 0.55), place < 0.3)
    good = judged("good", 0, None, place < 0.9)
    dear = {"first": 2.0, "good": 4.0}
    assert cascades(good, [first, good], dear, trained(), Budget(max_drop=0.5), 0.9) == []
    more = judged("first", 0, np.where(place < 0.8, 0.99, 0.55), place < 0.8)
    found = cascades(good, [more, good], dear, trained(), Budget(max_drop=0.5), 0.9)
    assert [option.judged.name for option in found] == ["first>good"]
