"""The table that the item encoder learns from, and the strategy that learns it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.config import Config, TrainingConfig
from triptych.data.splits import load_splits
from triptych.device import choose_device, seed_everything
from triptych.errors import ConfigError, DataError
from triptych.host import Host, default_host
from triptych.models.build import build_model, create_encoder
from triptych.models.multimodal import MultimodalModel
from triptych.tuning.base import TuningContext
from triptych.types import Sample, Task
from triptych_recommendation.content.settings import CoConsumptionSettings
from triptych_recommendation.content.strategy import CoConsumption, Ridge, behaviour_of, head_weights
from triptych_recommendation.content.training import BEHAVIOUR, factors, groups, write_table
from triptych_recommendation.data.folder import RecommendationData, open_folder
from triptych_recommendation.data.interactions import Interactions
from triptych_recommendation.data.splits import Split, leave_one_out

KINDS = {"boat": "sails over the blue water", "bread": "bakes in a hot oven", "guitar": "plays a loud melody"}
EACH = 20  # items of a kind
CONFIG = Config.model_validate({"data": {"columns": {"id": "id"}, "validation": 0.15, "test": 0.15}})


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> RecommendationData:
    """A shop in which everybody wants one kind of thing, and the words of an item say of which kind it is."""
    folder, generator = tmp_path_factory.mktemp("shop"), np.random.default_rng(0)
    items = [f"{kind}{n},{kind} {n},{words}" for kind, words in KINDS.items() for n in range(EACH)]
    (folder / "items.csv").write_text("\n".join(["id,title,description", *items, "bare,,", "new,guitar 99,"]))
    rows = []
    for user in range(90):
        kind = list(KINDS)[user % len(KINDS)]
        for time, n in enumerate(generator.permutation(EACH)[:8]):
            rows.append(f"u{user},{kind}{n},{1_700_000_000 + time}")
    (folder / "events.csv").write_text("\n".join(["user,item,time", *rows, "u0,bare,1700000100", "u1,bare,1700000100"]))
    return open_folder(folder)


@pytest.fixture(scope="module")
def split(data: RecommendationData) -> Split:
    return leave_one_out(data.interactions)


def read(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_the_table_has_what_has_content_and_was_chosen(data, split, tmp_path):
    rows = read(write_table(data, split, tmp_path, CoConsumptionSettings(dimensions=4)))
    assert {row["id"] for row in rows} == {f"{kind}{n}" for kind in KINDS for n in range(EACH)}
    assert rows[0]["text"] == "boat 0. boat 0".replace(". boat 0", ". sails over the blue water")
    assert all(len(row[BEHAVIOUR]) == 4 and "image" not in row for row in rows)
    np.testing.assert_allclose(np.mean([row[BEHAVIOUR] for row in rows], axis=0), 0, atol=1e-4)


def test_groups_are_those_of_the_people(data, split, tmp_path):
    rows = read(write_table(data, split, tmp_path, CoConsumptionSettings(dimensions=4, group=10)))
    kinds: dict[str, list[str]] = {}
    for row in rows:
        kinds.setdefault(row["label"], []).append(row["id"].rstrip("0123456789"))
    assert min(map(len, kinds.values())) >= 10
    pure = sum(max(map(members.count, set(members))) for members in kinds.values()) / len(rows)
    assert pure > 0.75


def test_only_the_training_is_read(data, split, tmp_path):
    """Events of the validation and the test may be anything."""
    held = set(np.concatenate([*split.validation.targets, *split.test.targets]).tolist())
    assert held
    other = dataclasses.replace(split, before_test=split.train, validation=split.test, test=split.validation)
    settings = CoConsumptionSettings()
    (tmp_path / "other").mkdir()
    one, two = write_table(data, split, tmp_path, settings), write_table(data, other, tmp_path / "other", settings)
    assert one.read_bytes() == two.read_bytes()
    hidden = split.train.where(~np.char.startswith(np.array(data.interactions.items)[split.train.item], "boat"))
    rows = read(write_table(data, dataclasses.replace(split, train=hidden), tmp_path, settings))
    assert rows
    assert not any(row["id"].startswith("boat") for row in rows)


def test_an_item_that_too_few_chose_is_left_out(data, split, tmp_path):
    rows = read(write_table(data, split, tmp_path, CoConsumptionSettings(least_users=9)))
    counts = dict(zip(data.interactions.items, split.train.matrix().getnnz(axis=0), strict=True))
    assert {row["id"] for row in rows} == {n for n, count in counts.items() if count >= 9 and n != "bare"}
    with pytest.raises(DataError, match="0 items have both content and training events of 91 users"):
        write_table(data, split, tmp_path, CoConsumptionSettings(least_users=91))


def test_products_of_factors_count_who_chose_both():
    choices = np.random.default_rng(3).random((40, 12)) < 0.3
    user, item = np.nonzero(choices)
    events = Interactions.of_rows([str(u) for u in range(40)], [str(i) for i in range(12)], user, item)
    found = factors(events, 11)
    both = choices.T.astype(float) @ choices
    assert np.abs(found @ found.T - both).mean() < 0.15 * both.mean()
    np.testing.assert_array_equal(found, factors(events, 11))
    assert not factors(events, 20)[:, 11:].any()


def test_too_few_users_are_named():
    with pytest.raises(DataError, match="2 users and 3 items are too few"):
        factors(Interactions.of(["a", "b", "b"], ["x", "y", "z"]), 4)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 60), st.integers(2, 9), st.integers(0, 100))
def test_every_group_is_large_enough_and_numbers_have_no_gap(items, least, seed):
    behaviour = np.random.default_rng(seed).normal(size=(items, 3)).astype(np.float32)
    sizes = np.bincount(groups(behaviour, least))
    assert sizes.sum() == items
    assert sizes.min() >= min(least, items)
    assert len(sizes) == 1 or sizes.max() < 2 * least


# -- the strategy -------------------------------------------------------------------------------------------------


def new_model(train: Sequence[Sample]) -> MultimodalModel:
    """Hashed words and, where the samples have any, numbers that stand for a picture."""
    seed_everything(0)
    parts = {"text": {"use": "compact:text", "buckets": 512, "dim": 32}}
    if train[0].image is not None:
        parts["image"] = {"use": "features:image"}
    config = Config.model_validate({"encoders": parts, "fusion_dim": 128, "dropout": 0.0})
    host = Host(installed=False)
    encoders = {m: create_encoder(host, m, part) for m, part in config.encoders.items()}
    for m, encoder in encoders.items():
        encoder.fit([s.value(m) for s in train])
    return build_model(config, {"kind": "embedding", "outputs": 32}, host, encoders)


def context(folder: Path) -> TuningContext:
    return TuningContext(folder, choose_device("cpu"), 0, Task("embedding"))


def test_ridge_solves_what_numpy_solves():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(50, 6, generator=generator), torch.randn(50, 2, generator=generator)
    y = y - y.mean(dim=0)
    ridge, centred = Ridge.of(x), x - x.mean(dim=0)
    strength = 2.0 * float(torch.linalg.eigvalsh(centred.T @ centred).mean())
    expected = torch.linalg.solve(centred.T @ centred + strength * torch.eye(6), centred.T @ y)
    torch.testing.assert_close(ridge.solve(x, y, 2.0), expected, rtol=1e-3, atol=1e-4)


def test_the_head_has_behaviour_first_and_content_behind_it():
    model = new_model([Sample("a", text="a word")])
    generator = torch.Generator().manual_seed(0)
    features, behaviour = torch.randn(80, 32, generator=generator), torch.randn(80, 5, generator=generator)
    head_weights(model.head, features, behaviour, 1.0)
    logits = model.head(features)
    assert torch.isfinite(logits).all()
    torch.testing.assert_close(logits.mean(dim=0), torch.zeros(32), atol=1e-4, rtol=0)
    learnt, content = logits[:, :5], logits[:, 5:]
    torch.testing.assert_close(content.norm(dim=1).mean(), 2 * learnt.norm(dim=1).mean())
    assert torch.corrcoef(torch.stack([learnt.flatten(), behaviour.flatten()]))[0, 1] > 0.3


def test_cold_items_find_what_the_same_people_choose(data, split, tmp_path):
    table = write_table(data, split, tmp_path, CoConsumptionSettings(dimensions=8))
    splits, _ = load_splits(CONFIG.data, table, seed=0)
    model = new_model(splits.train)
    report = CoConsumption().tune(model, splits.train, splits.validation, TrainingConfig(epochs=5), context(tmp_path))
    assert report.strategy == "co-consumption"
    assert report.best == max(row["explained"] for row in report.history) > 0.2
    unseen = [*splits.test, Sample("new", text="guitar 99 plays a loud melody")]
    vectors = {}
    for name, part in (("known", splits.train), ("new", unseen)):
        with torch.no_grad():
            vectors[name] = model.head.probabilities(model.fuse(model.features(part)).logits)
    nearest = (vectors["new"] @ vectors["known"].T).argmax(dim=1).tolist()
    met = [s.id.rstrip("0123456789") for s in unseen]
    met[-1] = "guitar"
    found = [splits.train[row].id.rstrip("0123456789") for row in nearest]
    assert np.mean([a == b for a, b in zip(met, found, strict=True)]) > 0.9


def test_a_modality_that_says_nothing_is_hardly_trusted(data, split, tmp_path):
    table = write_table(data, split, tmp_path, CoConsumptionSettings(dimensions=8))
    splits, _ = load_splits(CONFIG.data, table, seed=0)
    generator = np.random.default_rng(0)
    parts = [
        [s.replace(image=generator.normal(size=6).astype(np.float32)) for s in part]
        for part in (splits.train, splits.validation)
    ]
    model = new_model(parts[0])
    report = CoConsumption().tune(model, *parts, TrainingConfig(epochs=5), context(tmp_path))
    trust = model.fusion.trust.tolist()
    assert trust[0] > trust[1]
    assert any("weights text" in note for note in report.notes)
    alone = [s.only(["text"]) for s in parts[1]]
    with torch.no_grad():
        logits = model.fuse(model.features(alone)).logits
    assert torch.isfinite(logits).all()


def test_without_validation_nothing_is_chosen(data, split, tmp_path):
    table = write_table(data, split, tmp_path, CoConsumptionSettings(dimensions=8))
    splits, _ = load_splits(CONFIG.data, table, seed=0)
    model = new_model(splits.train)
    report = CoConsumption().tune(model, splits.train, [], TrainingConfig(epochs=2), context(tmp_path))
    assert report.history == []
    assert report.best == 0


def test_samples_without_behaviour_are_named():
    good, bad = Sample("a", text="x", metadata={BEHAVIOUR: [1.0, 2.0]}), Sample("b", text="y")
    assert behaviour_of([good], 1).tolist() == [[1.0]]
    assert behaviour_of([], 4).shape[0] == 0
    with pytest.raises(DataError, match="sample 'b' has no column 'behaviour' of 2 numbers"):
        behaviour_of([good, bad], 4)
    with pytest.raises(DataError, match="sample 'c'"):
        behaviour_of([good, Sample("c", text="z", metadata={BEHAVIOUR: [1.0]})], 4)


def test_another_task_is_refused(tmp_path):
    seed_everything(0)
    config = Config.model_validate({"encoders": {"text": {"use": "compact:text"}}})
    host = Host(installed=False)
    encoder = create_encoder(host, "text", config.encoders["text"])
    model = build_model(config, {"kind": "classification", "labels": ["a", "b"]}, host, {"text": encoder})
    with pytest.raises(ConfigError, match="needs a task 'embedding'"):
        CoConsumption().tune(model, [], [], TrainingConfig(), context(tmp_path))


def test_the_plugin_offers_it():
    assert default_host().load_part("strategy", "co-consumption") is CoConsumption
