"""The table of subsets, the verdict, the attribution, the classical rival."""

from __future__ import annotations

import json

import pytest
import torch

from tests.core.models.tiny import tiny_model, train, views
from triptych.errors import DataError
from triptych.evaluation.attribution import attribute
from triptych.evaluation.rival import classical_rival
from triptych.evaluation.subsets import subset_table
from triptych.types import Sample


def test_seven_rows_and_a_gain_where_the_parts_complete_each_other():
    model = train(tiny_model("late"), *views(400))
    table = subset_table(model, *views(600, seed=1))
    assert [row["parts"] for row in table["rows"]] == [
        "text", "image", "audio", "text + image", "text + audio", "image + audio", "text + image + audio",
    ]  # fmt: skip
    assert all(row["low"] <= row["accuracy"] <= row["high"] for row in table["rows"])
    assert table["difference"]["low"] > 0
    assert table["verdict"].startswith("all modalities together are better")
    json.dumps(table)


def test_no_gain_is_said_where_the_others_are_noise():
    noise = {"text": 0.8, "image": 50.0, "audio": 50.0}
    model = train(tiny_model("late"), *views(400, noise=noise))
    table = subset_table(model, *views(400, noise=noise, seed=1))
    assert table["best_single"] == "text"
    assert table["verdict"].startswith("no gain")


def test_samples_that_lack_a_part_are_not_compared():
    model = tiny_model("mean")
    features, targets = views(40)
    features.mask[:30, 0] = False
    assert {row["samples"] for row in subset_table(model, features, targets)["rows"]} == {10}
    features.mask[:, 0] = False
    table = subset_table(model, features, targets)
    assert table["rows"] == []
    assert "no sample has every modality" in table["verdict"]


def test_other_heads():
    features, targets = views(30)
    one_hot = torch.nn.functional.one_hot(targets, 3).float()
    several = subset_table(tiny_model(head={"kind": "multilabel", "labels": ["a", "b", "c"]}), features, one_hot)
    assert "f1" in several["rows"][0]
    numbers = subset_table(tiny_model(head={"kind": "regression", "names": ["x"]}), features, targets.float()[:, None])
    assert "mse" in numbers["rows"][0]
    assert "confidence" not in numbers["rows"][0]
    errors = {row["parts"]: row["mse"] for row in numbers["rows"]}
    assert numbers["best_single"] == min(("text", "image", "audio"), key=errors.__getitem__)
    assert numbers["difference"]["value"] == pytest.approx(
        errors[numbers["best_single"]] - errors["text + image + audio"], abs=1e-6
    )
    with pytest.raises(ValueError, match="no metric"):
        subset_table(tiny_model(head={"kind": "embedding", "outputs": 4}), features, targets)


def test_one_modality_has_nothing_to_compare():
    features, targets = views(20)
    single = type(features)({"text": features.vectors["text"]}, features.mask[:, :1])
    assert subset_table(tiny_model(parts=("text",)), single, targets)["verdict"] == "one modality: nothing to compare"


@pytest.mark.parametrize("fusion", ["mean", "concat", "gated", "attention", "late"])
def test_the_part_that_decides_has_the_largest_effect(fusion):
    noise = {"text": 0.4, "image": 20.0, "audio": 20.0}
    model = train(tiny_model(fusion), *views(400, noise=noise))
    features, _ = views(200, noise=noise, seed=1)
    features.mask[:50, 2] = False
    found = attribute(model, features)
    assert int(found.effects.mean(dim=0).argmax()) == 0
    assert bool((found.effects[:50, 2] == 0).all())
    assert bool((found.weights[:50, 2] == 0).all())
    torch.testing.assert_close(found.weights.sum(dim=1), torch.ones(200))


def test_a_part_that_is_alone_is_compared_with_knowing_nothing():
    model = train(tiny_model("late"), *views(300))
    features, _ = views(50, seed=1)
    alone = features.only(["text"])
    found = attribute(model, alone)
    confidence = model.probabilities(model.fuse(alone), alone.mask).max(dim=1).values
    torch.testing.assert_close(found.effects[:, 0], (confidence - 1 / 3).detach())


def messages(rows: int, seed: int) -> list[Sample]:
    words = {
        "billing": ("invoice", "charged", "refund"),
        "delivery": ("parcel", "courier", "late"),
        "login": ("password", "locked", "sign"),
    }
    generator = torch.Generator().manual_seed(seed)
    found = []
    for i in range(rows):
        label = list(words)[i % 3]
        pick = int(torch.randint(3, (1,), generator=generator))
        found.append(Sample(str(i), f"hello my {words[label][pick]} number {i}", target=label))
    return found


def test_the_rival_learns_and_says_what_it_costs():
    rival = classical_rival(messages(60, 0), [*messages(30, 1), Sample("silent", image=b"", target="billing")])
    assert rival.metrics["accuracy"] > 0.9
    assert rival.metrics["accuracy"] == pytest.approx(rival.correct.mean())
    assert rival.notes == ("1 of 31 test samples have no text for it to read",)
    row = rival.to_json()
    assert 0 < row["p50_ms"] <= row["p99_ms"]
    assert row["size_mb"] > 0
    assert row["train_seconds"] > 0
    json.dumps(row)


def test_the_rival_with_two_labels_and_a_label_that_only_the_test_has():
    two = [s for s in messages(60, 0) if s.target != "login"]
    rival = classical_rival(two, messages(30, 1))
    assert rival.metrics["accuracy"] == pytest.approx(2 / 3, abs=0.1)
    with pytest.raises(DataError, match="reads text"):
        classical_rival([Sample("a", image=b"x", target="b")], [])
