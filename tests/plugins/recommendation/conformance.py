"""What every user model owes to those who ask it (`models/base.py`), whatever it has learnt."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from triptych.errors import BundleError
from triptych_recommendation.data.interactions import History, Interactions
from triptych_recommendation.models.base import META, TENSORS, UserModel, load_model

CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def histories(interactions: Interactions) -> list[History]:
    """Ordinary ones, and those that are easily forgotten: none, strange rows, one item again and again."""
    items = len(interactions.items)
    ordinary = [interactions.history(user) for user in range(0, len(interactions.users), 20)]
    return [
        *ordinary,
        History.of([]),
        History.of([items, items + 7]),
        History.of([items + 7, 3, items, 1, 3]),
        History.of([2, 2, 2, 5]),
        History.of(np.arange(items).tolist() * 2),
    ]


def check(model: UserModel, interactions: Interactions, tmp_path: Path) -> None:
    """All that follows, for a model that was fitted to the interactions."""
    asked = histories(interactions)
    whole = model.scores(asked)
    _scores_are_sound(model, whole, interactions, asked)
    _a_lone_history_is_scored_as_in_a_batch(model, whole, asked)
    _candidates_are_the_best(model, whole, asked)
    _contributions_sum_up(model, whole, asked)
    _parts_are_scored_as_if_they_were_all(model, asked)
    _what_is_saved_comes_back(model, whole, asked, tmp_path / "model")
    _threads_do_not_meet(model, asked)
    _damage_is_named(model, tmp_path / "damaged")


def _scores_are_sound(model, whole, interactions, asked):
    assert model.items == len(interactions.items)
    assert whole.shape == (len(asked), model.items)
    assert whole.dtype == np.float32
    assert np.isfinite(whole).all()
    assert (whole >= 0).all()
    assert model.scores([]).shape == (0, model.items)
    np.testing.assert_array_equal(whole, model.scores(asked))


def _a_lone_history_is_scored_as_in_a_batch(model, whole, asked):
    known = np.arange(model.items, dtype=np.int32)
    rows = np.concatenate([known[::-1], [model.items, model.items + 100, 0, 0]]).astype(np.int32)
    for history, row in zip(asked, whole, strict=True):
        found = model.score(history, rows)
        assert found.dtype == np.float32
        expected = np.where(rows < model.items, row[np.minimum(rows, model.items - 1)], 0)
        np.testing.assert_allclose(found, expected, **CLOSE)
        assert model.score(history, rows[:0]).shape == (0,)


def _candidates_are_the_best(model, whole, asked):
    for history, row in zip(asked, whole, strict=True):
        for k in (1, 7, model.items + 10):
            found = model.candidates(history, k)
            assert found.dtype == np.int32
            assert len(found) <= k
            assert len(set(found.tolist())) == len(found)
            scores = model.score(history, found)
            assert (scores > 0).all()
            assert (np.diff(scores) <= 0).all()
            assert not ((np.diff(scores) == 0) & (np.diff(found) < 0)).any(), "of equals the lower row stands first"
        assert len(found) == np.count_nonzero(row), "with a large k all that score are there"
        assert len(model.candidates(history, 0)) == 0


def _parts_are_scored_as_if_they_were_all(model, asked):
    rows = np.array([5, 0, model.items + 2, 3], dtype=np.int32)
    for history in asked:
        events = len(history)
        latest = [np.arange(events) != events - 1 - place for place in range(min(events, 4))]
        among = [np.arange(events) % 3 != rest for rest in range(3)]
        kept = np.array([np.ones(events), np.zeros(events), *latest, *among]).astype(np.bool_)
        found = model.rescorer(history, rows)(kept)
        assert found.shape == (len(kept), 4)
        assert found.dtype == np.float32
        assert np.isfinite(found).all()
        assert (found[:, 2] == 0).all()
        np.testing.assert_allclose(found[0], model.score(history, rows), **CLOSE)
        if model.name != "blend":  # its scales are those of the whole
            for part, scores in zip(kept, found, strict=True):
                np.testing.assert_allclose(scores, model.score(history.where(part), rows), **CLOSE)
        assert model.rescorer(history, rows)(kept[:0]).shape == (0, 4)


def _contributions_sum_up(model, whole, asked):
    for history, row in zip(asked, whole, strict=True):
        best = int(row.argmax())
        parts = model.contributions(history, best)
        if parts is None:
            continue
        assert parts.shape == (len(history),)
        assert parts.dtype == np.float32
        assert parts.sum() <= row[best] * 1.001 + 1e-5
        strange = model.contributions(history, model.items + 3)
        assert strange is None or not strange.any()


def _what_is_saved_comes_back(model, whole, asked, folder):
    model.save(folder)
    for loaded in (load_model(folder), type(model).load(folder)):
        assert type(loaded) is type(model)
        assert loaded.items == model.items
        np.testing.assert_array_equal(loaded.scores(asked), whole)
        np.testing.assert_array_equal(loaded.candidates(asked[0], 9), model.candidates(asked[0], 9))
    again = folder.with_name("again")
    load_model(folder).save(again)
    for file in sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file()):
        assert (again / file).read_bytes() == (folder / file).read_bytes(), f"{file} is not the same"


def _threads_do_not_meet(model, asked):
    def ask(number):
        history = asked[number % len(asked)]
        return model.score(history, model.candidates(history, 10))

    expected = [ask(number) for number in range(len(asked))]
    with ThreadPoolExecutor(4) as pool:
        for number, found in enumerate(pool.map(ask, range(4 * len(asked)))):
            np.testing.assert_array_equal(found, expected[number % len(asked)])


def _damage_is_named(model, folder):
    with pytest.raises(BundleError, match=r"model\.json is missing"):
        type(model).load(folder)
    model.save(folder)
    meta = (folder / META).read_text(encoding="utf-8")
    (folder / TENSORS).write_bytes(b"no tensors")
    with pytest.raises(BundleError, match="damaged"):
        type(model).load(folder)
    (folder / META).write_text(meta.replace(f'"{model.name}"', '"other"'), encoding="utf-8")
    with pytest.raises(BundleError, match="other"):
        load_model(folder)
