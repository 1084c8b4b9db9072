"""The sequence model: what it learns, what it answers, and how it is kept."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from safetensors.numpy import load_file, save_file

from triptych.errors import BundleError, ConfigError, DataError
from triptych.tuning.base import Progress
from triptych_recommendation.data.interactions import History, Interactions
from triptych_recommendation.models.base import load_model, model_class
from triptych_recommendation.models.sequence import SequenceModel
from triptych_recommendation.models.sequence_batches import read_tokens, tokens_of_parts
from triptych_recommendation.models.sequence_settings import SequenceSettings
from triptych_recommendation.models.sequence_table import MANY, Table

ITEMS = 30
SMALL = SequenceSettings(dim=16, layers=1, heads=2, length=12, dropout=0.1, epochs=12, batch=256, learning_rate=0.01)


def walks(users: int, items: int, seed: int, *, rows: int | None = None) -> Interactions:
    """Each user starts anywhere and goes on to the next item, the last being followed by the first."""
    rng = np.random.default_rng(seed)
    user, item = [], []
    for number in range(users):
        length = int(rng.integers(4, 20))
        user += [number] * length
        item += ((rng.integers(items) + np.arange(length)) % items).tolist()
    names = [str(row) for row in range(rows or items)]
    return Interactions.of_rows([str(u) for u in range(users)], names, user, item)


@pytest.fixture(scope="module")
def model() -> SequenceModel:
    """One model of walks over 30 items."""
    return SequenceModel.fit(walks(150, ITEMS, 0), SMALL, seed=1)


@pytest.fixture(scope="module")
def histories() -> list[History]:
    """Of many lengths: none, one, and more than the model reads."""
    rng = np.random.default_rng(5)
    return [History.of(rng.integers(0, ITEMS, size)) for size in (0, 1, 2, 3, 7, 11, 12, 13, 40)]


def test_it_learns_what_comes_next(model: SequenceModel) -> None:
    starts = range(ITEMS)
    scores = model.scores([History.of([(start + step) % ITEMS for step in range(4)]) for start in starts])
    assert scores.shape == (ITEMS, ITEMS)
    assert scores.dtype == np.float32
    for start, row in zip(starts, scores, strict=True):
        row[[(start + step) % ITEMS for step in range(4)]] = -1  # as in every evaluation: what is new to the user
    right = [int(row.argmax()) == (start + 4) % ITEMS for start, row in zip(starts, scores, strict=True)]
    assert np.mean(right) > 0.9


def test_the_order_counts(model: SequenceModel) -> None:
    forth, back = model.scores([History.of([5, 6, 7]), History.of([7, 6, 5])])
    assert int(forth.argmax()) == 8
    assert int(back.argmax()) != 8


def test_scores_are_not_negative_and_finite(model: SequenceModel, histories: list[History]) -> None:
    scores = model.scores(histories)
    assert np.all(np.isfinite(scores))
    assert np.all(scores >= 0)


def test_a_history_is_scored_alike_alone_and_among_others(model: SequenceModel, histories: list[History]) -> None:
    together = model.scores(histories)
    for row, history in zip(together, histories, strict=True):
        np.testing.assert_allclose(model.scores([history])[0], row, rtol=1e-4, atol=1e-5)
        some = np.array([3, 0, 29, 3], dtype=np.int32)
        np.testing.assert_allclose(model.score(history, some), row[some], rtol=1e-4, atol=1e-5)


def test_no_history_at_all_has_scores_of_no_rows(model: SequenceModel) -> None:
    assert model.scores([]).shape == (0, ITEMS)


def test_rows_that_came_later_score_nothing_and_are_not_read(model: SequenceModel) -> None:
    known, mixed = History.of([4, 5]), History.of([4, 99, 5, ITEMS])
    np.testing.assert_allclose(model.scores([known]), model.scores([mixed]), rtol=1e-5)
    found = model.score(mixed, np.array([ITEMS, 6, 1000], dtype=np.int32))
    assert found[0] == found[2] == 0 < found[1]


def test_the_same_item_several_times_in_a_row_is_read_once(model: SequenceModel) -> None:
    once, often = History.of([4, 5, 6]), History.of([4, 4, 5, 5, 5, 6])
    np.testing.assert_array_equal(model.scores([once]), model.scores([often]))


def test_only_the_newest_events_are_read(model: SequenceModel) -> None:
    long = np.arange(60) % ITEMS
    np.testing.assert_array_equal(model.scores([History.of(long)]), model.scores([History.of(long[-12:])]))


def test_candidates_are_the_best_scores(model: SequenceModel) -> None:
    history = History.of([1, 2, 3])
    scores = model.scores([history])[0]
    np.testing.assert_array_equal(model.candidates(history, 5), np.argsort(-scores, kind="stable")[:5])


def test_a_seed_is_one_model(model: SequenceModel) -> None:
    again = SequenceModel.fit(walks(150, ITEMS, 0), SMALL, seed=1)
    other = SequenceModel.fit(walks(150, ITEMS, 0), SMALL, seed=2)
    history = [History.of([1, 2])]
    np.testing.assert_array_equal(model.scores(history), again.scores(history))
    assert not np.array_equal(model.scores(history), other.scores(history))


def test_it_comes_back_from_its_folder(model: SequenceModel, histories: list[History], tmp_path: Path) -> None:
    model.save(tmp_path)
    loaded = load_model(tmp_path)
    assert isinstance(loaded, model_class("sequence"))
    assert loaded.items == ITEMS
    np.testing.assert_array_equal(loaded.scores(histories), model.scores(histories))


def test_int8_is_smaller_and_ranks_alike(model: SequenceModel, histories: list[History], tmp_path: Path) -> None:
    small = SequenceModel.fit(walks(150, ITEMS, 0), SMALL.model_copy(update={"precision": "int8"}), seed=1)
    small.save(tmp_path / "int8")
    model.save(tmp_path / "float32")
    loaded = SequenceModel.load(tmp_path / "int8")
    np.testing.assert_array_equal(loaded.scores(histories), small.scores(histories))
    size = {
        name: sum(tensor.nbytes for tensor in load_file(tmp_path / name / "model.safetensors").values())
        for name in ("int8", "float32")
    }
    assert size["int8"] < 0.52 * size["float32"]  # a quarter of the table and half of the weights
    ours, exact = small.scores(histories), model.scores(histories)
    assert all(np.corrcoef(a, b)[0, 1] > 0.99 for a, b in zip(ours, exact, strict=True))
    some = np.array([7, 0], dtype=np.int32)
    np.testing.assert_allclose(small.score(histories[3], some), ours[3, some], rtol=1e-4)


def test_a_damaged_folder_says_so(model: SequenceModel, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="holds no user model"):
        SequenceModel.load(tmp_path)
    model.save(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    save_file({name: value for name, value in tensors.items() if name != "place"}, tmp_path / "model.safetensors")
    with pytest.raises(BundleError, match="place"):
        SequenceModel.load(tmp_path)
    save_file(tensors | {"table": tensors["table"][:-1]}, tmp_path / "model.safetensors")
    with pytest.raises(BundleError, match="30 items"):
        SequenceModel.load(tmp_path)
    save_file(tensors | {"layers.0.inner.bias": tensors["place"]}, tmp_path / "model.safetensors")
    with pytest.raises(BundleError, match=r"layers\.0\.inner\.bias"):
        SequenceModel.load(tmp_path)
    meta = json.loads((tmp_path / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps(meta | {"heads": 0}))
    with pytest.raises(BundleError, match="heads"):
        SequenceModel.load(tmp_path)


def test_asking_needs_no_torch(model: SequenceModel, tmp_path: Path) -> None:
    model.save(tmp_path)
    script = (
        "import sys; from pathlib import Path; from triptych_recommendation.models.base import load_model\n"
        "from triptych_recommendation.data.interactions import History\n"
        "print(load_model(Path(sys.argv[1])).scores([History.of([1, 2])]).argmax(), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(int(model.scores([History.of([1, 2])]).argmax())), "False"]


def test_content_ranks_an_item_that_nobody_chose() -> None:
    """Users stay in one half of the items; of two new items each has the content of one half."""
    rng = np.random.default_rng(3)
    user, item = (
        np.repeat(np.arange(120), 8),
        np.concatenate([rng.permutation(20)[:8] + 20 * (u % 2) for u in range(120)]),
    )
    names = [str(row) for row in range(42)]
    interactions = Interactions.of_rows([str(u) for u in range(120)], names, user, item)
    half = np.array([*np.repeat([0, 1], 20), 0, 1])
    vectors = (np.eye(2)[half] + rng.normal(0, 0.1, (42, 2))).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    model = SequenceModel.fit(interactions, SMALL, seed=0, vectors=vectors)
    first, second = model.scores([History.of([1, 2, 3, 4]), History.of([21, 22, 23, 24])])
    assert first[40] > first[41]
    assert second[41] > second[40]


def test_drawn_negatives_learn_it_too() -> None:
    settings = SMALL.model_copy(update={"negatives": 20, "epochs": 20})
    model = SequenceModel.fit(walks(300, 120, 0), settings, seed=1)
    scores = model.scores([History.of([(start + step) % 120 for step in range(4)]) for start in range(120)])
    assert np.mean(scores.argmax(axis=1) == (np.arange(120) + 4) % 120) > 0.8


def test_training_ends_when_nothing_gets_better() -> None:
    told: list[Progress] = []
    rng = np.random.default_rng(0)
    noise = Interactions.of_rows(
        [str(u) for u in range(40)], [str(i) for i in range(20)], np.repeat(np.arange(40), 6), rng.integers(0, 20, 240)
    )
    settings = SMALL.model_copy(update={"epochs": 60, "patience": 2})
    SequenceModel.fit(noise, settings, seed=0, progress=told.append)
    assert 3 <= len(told) < 60
    assert {step.total for step in told} == {60}


def test_a_step_may_be_smaller_than_a_history() -> None:
    settings = SMALL.model_copy(update={"batch": 2, "epochs": 1, "dim": 64, "length": 100, "dropout": 0.5})
    long = Interactions.of(["ann"] * 300, [str(row % 7) for row in range(300)])
    assert np.isfinite(SequenceModel.fit(long, settings, seed=0).scores([History.of([1])])).all()


@pytest.mark.parametrize("events", [1, 2, 3])
def test_few_events_are_enough(events: int) -> None:
    names = ["a", "b", "c"]
    model = SequenceModel.fit(Interactions.of(["ann"] * events, names[:events]).with_items(names), SMALL, seed=0)
    assert model.scores([History.of([0]), History.of([])]).shape == (2, 3)


def test_bad_input_is_refused() -> None:
    with pytest.raises(DataError, match="no events"):
        SequenceModel.fit(Interactions.of([], []), SMALL, seed=0)
    with pytest.raises(ValueError, match="3 content vectors for 30 items"):
        SequenceModel.fit(walks(10, ITEMS, 0), SMALL, seed=0, vectors=np.zeros((3, 2), np.float32))
    vectors = np.full((ITEMS, 2), 1e30, np.float32)
    with pytest.raises(ConfigError, match="learning_rate"):
        SequenceModel.fit(walks(10, ITEMS, 0), SMALL, seed=0, vectors=vectors)
    with pytest.raises(ValidationError, match="multiple of heads"):
        SequenceSettings(dim=10, heads=4)


def test_of_many_items_the_best_are_found_by_codes():
    rng = np.random.default_rng(0)
    lengths = rng.gamma(2, 0.5, (MANY + 1001, 1))  # some items are far louder than others
    table = Table.quantized((lengths * rng.normal(size=(MANY + 1001, 32))).astype(np.float32))
    met = []
    for guess in rng.normal(size=(20, 32)).astype(np.float32):
        products = table.products(guess[None])[0]
        rows, found = table.largest(guess, 50)
        assert len(rows) < MANY
        assert found == pytest.approx(products[rows], rel=1e-4, abs=1e-4)
        met.append(np.isin(np.argsort(-products)[:50], rows).mean())
    assert np.mean(met) >= 0.995


@given(
    st.lists(st.integers(-1, 6), max_size=12),
    st.integers(1, 8),
    st.integers(0, 2**32 - 1),
)
def test_the_tokens_of_parts_are_those_of_each_part_alone(history: list[int], length: int, seed: int) -> None:
    rows = np.array(history, dtype=np.int32)
    kept = np.random.default_rng(seed).random((5, len(rows))) < 0.7
    tokens, there = tokens_of_parts(rows, kept, 5, length)
    for part, own in zip(kept, there, strict=True):
        assert tokens[own].tolist() == read_tokens(rows[part], 5, length).tolist()
